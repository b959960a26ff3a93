/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* A 32-bit check of a blob, made to cost little beside decoding it.
 *
 * It finds damage, not malice.  The value is part of a store's layout: it is
 * the same on every instruction set and never changes.
 *
 * The blob, padded with zeroes, is blocks of 256 bytes, each 128 signed
 * little-endian 16-bit numbers v.  a and b are 16 numbers modulo 2^32, zero
 * at first.  After each block, for j = 0 … 15
 *   a[j] += the sum over s = 0 … 3 of
 *             v[32 s + 2 j] key[32 s + 2 j]
 *             + v[32 s + 2 j + 1] key[32 s + 2 j + 1]
 *   b[j] += a[j]
 * and when all are done, modulo 2^64,
 *   h = the sum over j of (a[j] ^ fold[j]) (b[j] ^ fold[16 + j])
 *   h = h + seed * mul[0] + len * mul[1]
 *   h = (h ^ (h div 2^32)) * mul[2]
 *   h = (h ^ (h div 2^29)) * mul[3]
 * The value is h div 2^32.  All keys are odd and no two have the same size, so
 * that one or two wrong bits always show in a or b.
 */
#ifndef TZ_CHECKSUM_H
#define TZ_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

#include "checksum-numbers.h"

/* Check len bytes, 1 … TZ_PAGE.  Unless they are a whole page, TZ_BLOB_SLACK
 * bytes after them may be read; they do not matter.
 */
uint32_t tz_checksum (const uint8_t *p, size_t len, uint64_t seed);

/* The first h; and what is left to do. */
typedef uint64_t tz_checksum_sum_fn (const uint8_t *p, size_t len);
tz_checksum_sum_fn tz_checksum_sum;
static inline uint32_t
tz_checksum_end (uint64_t h, size_t len, uint64_t seed)
{
  h += seed * TZ_CHECKSUM_MUL0 + len * TZ_CHECKSUM_MUL1;
  h = (h ^ h >> 32) * TZ_CHECKSUM_MUL2;
  h = (h ^ h >> 29) * TZ_CHECKSUM_MUL3;
  return h >> 32;
}

/* "scalar", "avx2", … */
const char *tz_checksum_isa (void);

/* The bodies of tz_checksum_sum, and their numbers. */
tz_checksum_sum_fn tz_checksum_sum_scalar, tz_checksum_sum_ssse3,
    tz_checksum_sum_avx2, tz_checksum_sum_avx512, tz_checksum_sum_neon;

extern const int16_t tz_checksum_key[128];
extern const uint32_t tz_checksum_fold[32];
extern const uint8_t tz_checksum_mask[128]; /* for n bytes: from 64 - n on */

#endif /* TZ_CHECKSUM_H */

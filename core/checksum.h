/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* A 32-bit check of a blob, made to cost little beside decoding it.
 *
 * It finds damage, not malice.  The value is part of a store's layout: it is
 * the same on every instruction set and never changes.
 *
 * For each whole or zero-padded stripe s of 64 bytes, seen as eight
 * little-endian words w[i], modulo 2^64:
 *   x = w[i] ^ (key[i] + s * step)
 *   acc[i] += (x mod 2^32) * (x div 2^32)
 *   acc[i ^ 1] += w[i]
 * then, with rot a rotation to the left:
 *   b[j] = acc[j] + rot (acc[j + 4], 23)    j = 0 … 3
 *   c[j] = b[j] + rot (b[j + 2], 41)        j = 0, 1
 *   h = (c[0] + seed * mul[0]) * mul[1]
 *       ^ rot ((c[1] + len * mul[1]) * mul[2], 32)
 *   h = (h ^ (h div 2^32)) * mul[3]
 *   h = (h ^ (h div 2^29)) * mul[0]
 * and the value is h div 2^32.
 */
#ifndef TZ_CHECKSUM_H
#define TZ_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

/* Check len bytes, 1 … TZ_PAGE; p is aligned to 16.  TZ_BLOB_SLACK bytes after
 * them may be read; they do not matter.
 */
uint32_t tz_checksum (const uint8_t *p, size_t len, uint64_t seed);

/* "scalar", "avx2", … */
const char *tz_checksum_isa (void);

#endif /* TZ_CHECKSUM_H */

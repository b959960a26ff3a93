/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* LZ4: what the bodies of the encoder share.  How it works is told in
 * lz4-encode.h.
 */
#ifndef TZ_LZ4_H
#define TZ_LZ4_H

#include <stdint.h>

#include "tzram.h"

#define LZ4_HASH_BITS 11
#define LZ4_WORDS     (TZ_PAGE / 4)
/* An entry is the upper bits of a word's hash and the word's number.  The last
 * word is never a reference, so that its number says: none.
 */
#define LZ4_NUMBER    (LZ4_WORDS - 1)
#define LZ4_NONE      LZ4_NUMBER

/* Odd numbers from a pseudo-random sequence. */
#define LZ4_WIDE_MUL0  0x9e3779b1u
#define LZ4_WIDE_MUL1  0x85ebca77u
#define LZ4_NARROW_MUL 0xc2b2ae3du

#define LZ4_BACK    8  /* bytes a match may grow towards the page's start */
#define LZ4_FORWARD 56 /* bytes compared before a match counts as long */

/* The scratch of one thread.  What surrounds the page stays zero. */
struct lz4_work {
  uint8_t before[64];
  uint8_t page[TZ_PAGE];
  uint8_t after[128];
  uint32_t words[LZ4_WORDS];         /* entries, then references */
  uint64_t found[LZ4_WORDS / 64 + 2]; /* words with a reference, then ones */
  uint32_t wide[1 << LZ4_HASH_BITS], narrow[1 << LZ4_HASH_BITS];
};

/* Compress work->page into dst (TZ_DST_SIZE bytes); the block's length.
 * A block of 64 words with fewer than narrow_below wide references is searched
 * for narrow ones too.
 */
typedef unsigned tz_lz4_encode_fn (struct lz4_work *work, uint8_t *dst,
                                   unsigned narrow_below);
tz_lz4_encode_fn tz_lz4_encode_scalar, tz_lz4_encode_ssse3,
    tz_lz4_encode_avx2, tz_lz4_encode_neon;

/* All bodies of this build, best first, scalar last. */
struct lz4_body {
  const char *isa;
  unsigned needs; /* enum tz_cpu_feature */
  tz_lz4_encode_fn *encode;
};
extern const struct lz4_body tz_lz4_bodies[];
extern const int tz_lz4_n_bodies;

/* As in struct tz_codec_ops, with one of them. */
int tz_lz4_encode_with (const struct lz4_body *body, void *scratch,
                        const uint8_t *page, uint8_t *dst, int level);

#endif /* TZ_LZ4_H */

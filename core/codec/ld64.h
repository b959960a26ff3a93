/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* LD64 inside: what its bodies share.  docs/ld64.md specifies the format and
 * the encoder; every body gives the same bytes.
 */
#ifndef TZ_LD64_H
#define TZ_LD64_H

#include <stddef.h>
#include <stdint.h>

#include "codec/codec.h"

#define LD64_LINE   64
#define LD64_LINES  (TZ_PAGE / LD64_LINE)
#define LD64_HEADER 16 /* the two line bitmaps */
#define LD64_BITS   11 /* of a hash */
#define LD64_K1     0x9e3779b1u
#define LD64_K2     0x85ebca77u

/* Equal bytes of a line's best reference, bonus included: */
#define LD64_GOOD  60 /* from here on no other is looked for */
#define LD64_BONUS 2  /* a reference that costs no ref[] is worth that */

/* What the levels differ in. */
struct ld64_level {
  int step;  /* bytes between the places of a line that are looked up */
  int dense; /* a line with fewer equal bytes is inserted byte by byte */
  int again; /* one with fewer is looked up at other places too, … */
  int from;  /* … from this one on … */
  int by;    /* … in steps of this */
};
#define LD64_LEVELS 2
extern const struct ld64_level tz_ld64_levels[LD64_LEVELS + 1];

struct ld64_scratch {
  uint16_t table[1 << LD64_BITS]; /* where such 8 bytes were seen last */
  uint64_t mask[LD64_LINES];      /* the bytes of each line that differ */
};

struct ld64_body {
  const char *isa;
  unsigned needs; /* enum tz_cpu_feature */
  /* As in struct tz_codec_ops. */
  int (*encode) (struct ld64_scratch *s, const uint8_t *page, uint8_t *dst,
                 const struct ld64_level *level);
  int (*decode) (const uint8_t *blob, size_t len, uint8_t *page);
};

/* All bodies of this build, best first, scalar last; then NULL. */
extern const struct ld64_body *const tz_ld64_bodies[];

#endif /* TZ_LD64_H */

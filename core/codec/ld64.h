/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* LD64 inside: what its bodies share.  docs/ld64.md specifies the format and
 * the encoder; every body gives the same bytes.
 */
#ifndef TZ_LD64_H
#define TZ_LD64_H

#include <stddef.h>
#include <stdint.h>

#include "codec/bytes.h"
#include "codec/codec.h"

#define LD64_LINE   64
#define LD64_LINES  (TZ_PAGE / LD64_LINE)
#define LD64_HEADER 16 /* the two line bitmaps */
#define LD64_BITS   11 /* of a hash */
#define LD64_K1     0x9e3779b1u
#define LD64_K2     0x85ebca77u

/* A line without reference, in place of one. */
#define LD64_ZERO 0xffffu

/* Equal bytes of a line's best reference, bonus included: */
#define LD64_DENSE1 16u /* below, level 1 inserts every byte */
#define LD64_DENSE2 24u /* … and so does level 2 … */
#define LD64_POOR   24u /* … which also looks at odd places */
#define LD64_BONUS  2u  /* a reference that costs no ref[] is worth that */

#define LD64_LEVELS 2

struct ld64_scratch {
  uint16_t table[1 << LD64_BITS]; /* where such 8 bytes were seen last */
  uint16_t hash[LD64_LINES][8];   /* of every eight bytes */
  uint16_t ref[LD64_LINES];       /* each line's best reference but one */
  uint8_t score[LD64_LINES];      /* that one's */
  uint64_t mask[LD64_LINES];      /* the bytes of each line that differ */
  /* The same of the reference at the last distance, with AVX-512. */
  uint8_t last_score[LD64_LINES];
  uint64_t last_mask[LD64_LINES];
  uint16_t more[8][8]; /* hashes at other places */
};

/* Enter where the hashes of the line at at, or up to seven bytes on, are. */
static inline __attribute__ ((always_inline)) void
insert_line (struct ld64_scratch *s, unsigned at, const uint16_t h[8])
{
  s->table[h[0]] = (uint16_t) at;
  s->table[h[1]] = (uint16_t) (at + 8);
  s->table[h[2]] = (uint16_t) (at + 16);
  s->table[h[3]] = (uint16_t) (at + 24);
  s->table[h[4]] = (uint16_t) (at + 32);
  s->table[h[5]] = (uint16_t) (at + 40);
  s->table[h[6]] = (uint16_t) (at + 48);
  s->table[h[7]] = (uint16_t) (at + 56);
}

struct ld64_body {
  const char *isa;
  unsigned needs; /* enum tz_cpu_feature */
  /* As in struct tz_codec_ops; by level, from 1. */
  int (*encode[LD64_LEVELS + 1]) (struct ld64_scratch *s, const uint8_t *page,
                                  uint8_t *dst);
  int (*decode) (const uint8_t *blob, size_t len, uint8_t *page);
  int (*decode_sum) (const uint8_t *blob, size_t len, uint8_t *page,
                     uint64_t *sum); /* NULL: one after the other will do */
};

/* Orders for a shuffle of eight bytes, lowest byte first, that bring those
 * whose bit is set together, and apart again.
 */
extern const uint64_t tz_ld64_compact[256], tz_ld64_expand[256];

/* The same without a shuffle: most masks are one or two runs of bits. */
struct ld64_runs {
  uint64_t all, run[2]; /* 255 for each bit: of the mask, of its first runs */
  uint8_t shift[2];     /* bits by which bytes of these move */
  uint8_t rest;         /* the mask without them … */
  uint8_t skip;         /* … and the bits of bytes that they take */
};
extern const struct ld64_runs tz_ld64_runs[256];

/* How many bits are set. */
extern const uint8_t tz_ld64_count[256];

extern const uint8_t tz_ld64_zeroes[LD64_LINE];

/* Half of all parts have no literals, and no branch foresees which.  So those
 * that have are listed first, half a page at a time for a number to fit a byte,
 * and then done one after the other.
 */
struct ld64_parts {
  uint8_t part[LD64_LINES / 2 * 8 + 8]; /* 8 x line + part, within the half */
  unsigned n;
};

static inline __attribute__ ((always_inline)) void
list_parts (struct ld64_parts *parts, unsigned line, unsigned flags)
{
  uint64_t places = tz_ld64_compact[flags] + line * 0x0808080808080808u;

  put64 (parts->part + parts->n, places);
  parts->n += tz_ld64_count[flags];
}

extern const struct ld64_body tz_ld64_avx512, tz_ld64_avx2, tz_ld64_ssse3,
    tz_ld64_neon;

/* All bodies of this build, best first, scalar last; then NULL. */
extern const struct ld64_body *const tz_ld64_bodies[];

#endif /* TZ_LD64_H */

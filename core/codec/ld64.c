/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* LD64: pages as lines of 64 bytes, each told by how it differs from an
 * earlier one.  docs/ld64.md is the specification.  Here are the scalar
 * bodies, which the others must equal byte for byte, and the choice of one.
 */
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "cpu.h"
#include "codec/bytes.h"
#include "codec/codec.h"
#include "codec/ld64.h"

#define LOW7 0x7f7f7f7f7f7f7f7fu
#define ONES 0x0101010101010101u

const struct ld64_level tz_ld64_levels[LD64_LEVELS + 1] = {
  [1] = { .step = 16, .dense = 16, .again = 0, .from = 0, .by = 1 },
  [2] = { .step = 8, .dense = 32, .again = 32, .from = 2, .by = 4 },
};

static const uint8_t zeroes[LD64_LINE];

static unsigned
popcount8 (unsigned x)
{
  x -= x >> 1 & 0x55;
  x = (x & 0x33) + (x >> 2 & 0x33);
  return (x + (x >> 4)) & 0x0f;
}

static unsigned
popcount64 (uint64_t x)
{
  x -= x >> 1 & 0x5555555555555555;
  x = (x & 0x3333333333333333) + (x >> 2 & 0x3333333333333333);
  x = (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0f;
  return (unsigned)(x * ONES >> 56);
}

/* One in each byte of x that is not zero. */
static uint64_t
nonzero_bytes (uint64_t x)
{
  return (((x & LOW7) + LOW7) | x) >> 7 & ONES;
}

/* How many bytes of two lines are equal. */
static unsigned
count_equal (const uint8_t *a, const uint8_t *b)
{
  uint64_t n = 0;
  int i;

  for (i = 0; i < LD64_LINE; i += 8)
    n += nonzero_bytes (get64 (a + i) ^ get64 (b + i));
  return LD64_LINE - (unsigned)(n * ONES >> 56);
}

/* Bit i: bytes i of the lines differ. */
static uint64_t
differing (const uint8_t *a, const uint8_t *b)
{
  uint64_t d, m = 0;
  int i;

  for (i = 0; i < 8; i++) {
    d = nonzero_bytes (get64 (a + 8 * i) ^ get64 (b + 8 * i));
    m |= (d * 0x0102040810204080 >> 56) << 8 * i;
  }
  return m;
}

static unsigned
hash (const uint8_t *p)
{
  uint64_t q = get64 (p);

  return ((uint32_t)q * LD64_K1 + (uint32_t)(q >> 32) * LD64_K2)
         >> (32 - LD64_BITS);
}

/* A key orders references: equal bytes first, then the later position. */
static uint32_t
key_of (const uint8_t *page, unsigned at, unsigned ref)
{
  return count_equal (page + at, page + ref) << 16 | ref;
}

/* The key of the reference that the table has for the bytes at at + i. */
static uint32_t
look_up (const struct ld64_scratch *s, const uint8_t *page, unsigned at,
         unsigned i)
{
  int ref = s->table[hash (page + at + i)] - (int)i;
  int last = (int)at - LD64_LINE;

  return key_of (page, at, (unsigned)(ref < 0 ? 0 : ref > last ? last : ref));
}

static uint32_t
greater (uint32_t a, uint32_t b)
{
  return a > b ? a : b;
}

/* The greatest key among those of the previous line and the table. */
static uint32_t
search (const struct ld64_scratch *s, const uint8_t *page, unsigned at,
        uint32_t best, const struct ld64_level *level)
{
  unsigned i;

  for (i = 0; i < LD64_LINE; i += (unsigned)level->step)
    best = greater (best, look_up (s, page, at, i));
  if ((int)(best >> 16) < level->again)
    for (i = (unsigned)level->from; i <= LD64_LINE - 8;
         i += (unsigned)level->by)
      best = greater (best, look_up (s, page, at, i));
  return best;
}

static void
insert (struct ld64_scratch *s, const uint8_t *page, unsigned at, int step)
{
  int i;

  for (i = 0; i < LD64_LINE; i += step)
    s->table[hash (page + at + i)] = (uint16_t)(at + i);
}

/* Choose a reference for every line: bitmaps and ref[] go to dst, the masks
 * to s.  Returns the end of ref[].
 */
static uint8_t *
choose (struct ld64_scratch *s, const uint8_t *page, uint8_t *dst,
        const struct ld64_level *level)
{
  uint32_t best, zero, same = 0;
  uint64_t a = 0, b = 0, bit = 1;
  unsigned at, ref, distance = LD64_LINE;
  uint8_t *p = dst + LD64_HEADER;

  memset (s->table, 0, sizeof s->table);
  for (at = 0; at < TZ_PAGE; at += LD64_LINE, bit <<= 1) {
    best = zero = (count_equal (page + at, zeroes) + LD64_BONUS) << 16;
    if (at > 0) {
      same = key_of (page, at, at - distance) + (LD64_BONUS << 16);
      same |= 0xffff; /* wins a tie */
      best = greater (best, same);
      best = greater (best, key_of (page, at, at - LD64_LINE));
      if (best >> 16 < LD64_GOOD)
        best = search (s, page, at, best, level);
    }
    if (zero >> 16 == LD64_LINE + LD64_BONUS) {
      s->mask[at / LD64_LINE] = 0;
      continue;
    }
    if (best == zero) {
      b |= bit;
      s->mask[at / LD64_LINE] = differing (page + at, zeroes);
    }
    else {
      a |= bit;
      if (best == same)
        b |= bit;
      else {
        ref = best & 0xffff;
        put16 (p, (uint16_t)ref);
        p += 2;
        distance = at - ref;
      }
      s->mask[at / LD64_LINE] = differing (page + at, page + at - distance);
    }
    if (best >> 16 < LD64_GOOD && at < TZ_PAGE - LD64_LINE)
      insert (s, page, at, (int)(best >> 16) < level->dense ? 1 : 8);
  }
  put64 (dst, a);
  put64 (dst + 8, b);
  return p;
}

static int
scalar_encode (struct ld64_scratch *s, const uint8_t *page, uint8_t *dst,
               const struct ld64_level *level)
{
  uint8_t *flags = choose (s, page, dst, level), *masks, *literals;
  uint64_t lines = get64 (dst) | get64 (dst + 8), m;
  unsigned k, i, n = 0;

  masks = flags + popcount64 (lines);
  literals = masks;
  for (k = 0; k < LD64_LINES; k++) {
    if (!(lines >> k & 1))
      continue;
    m = s->mask[k];
    n += popcount64 (m);
    for (i = 0, *flags = 0; m; i++, m >>= 8)
      if (m & 0xff) {
        *flags |= (uint8_t)(1 << i);
        *literals++ = m & 0xff;
      }
    flags++;
  }
  if (literals - dst + n >= TZ_PAGE)
    return 0;
  for (k = 0; k < LD64_LINES; k++)
    for (m = s->mask[k], i = 0; m; i++, m >>= 1) {
      *literals = page[k * LD64_LINE + i];
      literals += m & 1;
    }
  return (int)(literals - dst);
}

/* Check that the streams of a blob add up to its length and that every
 * reference lies before its line, so that nothing need be checked later.
 */
static bool
valid (const uint8_t *blob, size_t len)
{
  const uint8_t *p = blob + LD64_HEADER, *end = blob + len, *masks;
  uint64_t a, b, lines, bit;
  unsigned at, n;

  if (len < LD64_HEADER || len >= TZ_PAGE)
    return false;
  a = get64 (blob);
  b = get64 (blob + 8);
  lines = a | b;
  if (a & 1 || popcount64 (a & ~b) * 2 + popcount64 (lines) > end - p)
    return false;
  for (at = 0, bit = 1; at < TZ_PAGE; at += LD64_LINE, bit <<= 1)
    if (a & ~b & bit) {
      if ((unsigned)get16 (p) + LD64_LINE > at)
        return false;
      p += 2;
    }
  masks = p + popcount64 (lines);
  for (n = 0; p < masks; p++)
    n += popcount8 (*p);
  if (n > end - p)
    return false;
  for (masks = p + n, n = 0; p < masks; p++)
    n += popcount8 (*p);
  return n == end - p;
}

/* Copy 8 bytes from ref to p, those in mask from literals instead.  Returns
 * the end of what was taken.
 */
static const uint8_t *
patch (uint8_t *p, const uint8_t *ref, unsigned mask, const uint8_t *literals)
{
  memcpy (p, ref, 8);
  for (; mask; mask >>= 1, p++)
    if (mask & 1)
      *p = *literals++;
  return literals;
}

static int
scalar_decode (const uint8_t *blob, size_t len, uint8_t *page)
{
  const uint8_t *refs = blob + LD64_HEADER, *flags, *masks, *literals, *ref;
  uint64_t a, b, bit;
  unsigned at, f, i, distance = LD64_LINE;

  if (!valid (blob, len))
    return -EBADMSG;
  a = get64 (blob);
  b = get64 (blob + 8);
  flags = refs + 2 * popcount64 (a & ~b);
  masks = flags + popcount64 (a | b);
  literals = masks;
  for (f = 0; flags + f < masks; f++)
    literals += popcount8 (flags[f]);
  for (at = 0, bit = 1; at < TZ_PAGE; at += LD64_LINE, bit <<= 1) {
    ref = zeroes;
    if (a & ~b & bit) {
      distance = at - get16 (refs);
      refs += 2;
    }
    if (a & bit)
      ref = page + at - distance;
    f = (a | b) & bit ? *flags++ : 0;
    for (i = 0; i < 8; i++, f >>= 1)
      literals = patch (page + at + 8 * i, ref + 8 * i, f & 1 ? *masks++ : 0,
                        literals);
  }
  return 0;
}

static const struct ld64_body scalar = {
  .isa = "scalar",
  .encode = scalar_encode,
  .decode = scalar_decode,
};

const struct ld64_body *const tz_ld64_bodies[] = { &scalar, NULL };

static const struct ld64_body *
body (void)
{
  const struct ld64_body *const *b = tz_ld64_bodies;

  while (((*b)->needs & ~tz_cpu ()) != 0)
    b++;
  return *b;
}

static size_t
ld64_scratch_size (int level)
{
  (void)level;
  return sizeof (struct ld64_scratch);
}

static int
ld64_encode (void *scratch, const uint8_t *page, uint8_t *dst, int level)
{
  return body ()->encode (scratch, page, dst, &tz_ld64_levels[level]);
}

static int
ld64_decode (void *scratch, const uint8_t *blob, size_t len, uint8_t *page)
{
  (void)scratch;
  return body ()->decode (blob, len, page);
}

static const char *
ld64_isa (void)
{
  return body ()->isa;
}

const struct tz_codec_ops tz_ld64_ops = {
  .name = "ld64",
  .min_level = 1,
  .max_level = LD64_LEVELS,
  .default_level = 1,
  .scratch_size = ld64_scratch_size,
  .encode = ld64_encode,
  .decode = ld64_decode,
  .isa = ld64_isa,
};

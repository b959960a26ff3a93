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

static const uint8_t zeroes[LD64_LINE];

static unsigned
popcount8 (unsigned x)
{
  x -= x >> 1 & 0x55;
  x = (x & 0x33) + (x >> 2 & 0x33);
  return (x + (x >> 4)) & 0x0f;
}

static unsigned
popcount (uint64_t x)
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

static uint64_t
nonzero (const uint8_t *a)
{
  return differing (a, zeroes);
}

static uint16_t
hash (const uint8_t *p)
{
  uint64_t q = get64 (p);

  return (uint16_t) (((uint32_t) q * LD64_K1 + (uint32_t) (q >> 32) * LD64_K2)
                     >> (32 - LD64_BITS));
}

static void
hash_part (const uint8_t *a, uint16_t h[8])
{
  int i;

  for (i = 0; i < 7; i++)
    h[i] = hash (a + 8 * i);
}

static void
hash_line (const uint8_t *a, uint16_t h[8])
{
  hash_part (a, h);
  h[7] = hash (a + 56);
}

#define TARGET
#include "codec/ld64-choose.h"

static int
emit (const struct ld64_scratch *s, const uint8_t *page, uint8_t *dst,
      uint8_t *flags)
{
  uint8_t *masks, *literals;
  uint64_t lines = get64 (dst) | get64 (dst + 8), m;
  unsigned k, i, n = 0;

  masks = flags + popcount (lines);
  literals = masks;
  for (k = 0; k < LD64_LINES; k++) {
    if (!(lines >> k & 1))
      continue;
    m = s->mask[k];
    n += popcount (m);
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

static int
encode1 (struct ld64_scratch *s, const uint8_t *page, uint8_t *dst)
{
  return emit (s, page, dst, choose (s, page, dst, 1));
}

static int
encode2 (struct ld64_scratch *s, const uint8_t *page, uint8_t *dst)
{
  return emit (s, page, dst, choose (s, page, dst, 2));
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
  if (a & 1 || popcount (a & ~b) * 2 + popcount (lines) > end - p)
    return false;
  for (at = 0, bit = 1; at < TZ_PAGE; at += LD64_LINE, bit <<= 1)
    if (a & ~b & bit) {
      if ((unsigned)get16 (p) + LD64_LINE > at)
        return false;
      p += 2;
    }
  masks = p + popcount (lines);
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
decode (const uint8_t *blob, size_t len, uint8_t *page)
{
  const uint8_t *refs = blob + LD64_HEADER, *flags, *masks, *literals, *ref;
  uint64_t a, b, bit;
  unsigned at, f, i, distance = LD64_LINE;

  if (!valid (blob, len))
    return -EBADMSG;
  a = get64 (blob);
  b = get64 (blob + 8);
  flags = refs + 2 * popcount (a & ~b);
  masks = flags + popcount (a | b);
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
  .encode = { NULL, encode1, encode2 },
  .decode = decode,
};

const struct ld64_body *const tz_ld64_bodies[] = {
#if defined(__x86_64__)
  &tz_ld64_avx512,
  &tz_ld64_avx2,
  &tz_ld64_ssse3,
#elif defined(__AARCH64EL__) && defined(__ARM_NEON)
  &tz_ld64_neon,
#endif
  &scalar, NULL
};

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
  return body ()->encode[level](scratch, page, dst);
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

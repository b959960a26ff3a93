/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* LD64 where nothing compresses and expands a whole line: the second half of
 * the encoder, and the decoder.
 * A body includes this after ld64-choose.h and after it has defined
 *
 * unsigned nonzero_parts (uint64_t x)
 *   bit i: byte i of x is not zero
 * uint64_t compact (const uint8_t *p, unsigned bits)
 *   those of eight bytes at p whose bit is set, then anything
 * uint64_t expand (const uint8_t *p, unsigned bits)
 *   the bytes at p at the places whose bit is set, zeroes elsewhere
 * void patch (uint8_t *line, const uint8_t *ref, const uint8_t *literals,
 *             const uint8_t masks[8], const uint8_t starts[8])
 *   copy a line from ref, the bytes in masks[i] of part i from
 *   literals + starts[i] instead; may read literals up to + 64
 */

/* The number of bits in each byte of x, and that of all before it. */
INLINE uint64_t
popcount_before (uint64_t x, unsigned *all)
{
  x -= x >> 1 & 0x5555555555555555;
  x = (x & 0x3333333333333333) + (x >> 2 & 0x3333333333333333);
  x = (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0f;
  x *= 0x0101010101010101;
  *all = (unsigned) (x >> 56);
  return x << 8;
}

/* Write flags and masks.  Returns the end of the masks, and how many literals
 * there are.
 */
INLINE uint8_t *
emit_masks (const struct ld64_scratch *s, uint64_t lines, uint8_t *flags,
            unsigned *literals)
{
  uint8_t *p = flags + popcount (lines), f;
  unsigned k, n = 0;
  uint64_t m;

  for (k = 0; k < LD64_LINES; k++, lines >>= 1) {
    m = get64 (&s->mask[k]);
    n += popcount (m);
    f = (uint8_t) nonzero_parts (m);
    put64 (p, compact ((const uint8_t *) &s->mask[k], f));
    p += popcount (f);
    if (lines & 1)
      *flags++ = f;
  }
  *literals = n;
  return p;
}

INLINE int
emit (const struct ld64_scratch *s, const uint8_t *page, uint8_t *dst,
      uint8_t *flags)
{
  const uint8_t *masks;
  unsigned k, i, n;
  uint64_t starts;
  uint8_t *p;

  p = emit_masks (s, get64 (dst) | get64 (dst + 8), flags, &n);
  if (p - dst + n >= TZ_PAGE)
    return 0;
  for (k = 0; k < LD64_LINES; k++, page += LD64_LINE) {
    masks = (const uint8_t *) &s->mask[k];
    starts = popcount_before (get64 (&s->mask[k]), &n);
#pragma GCC unroll 8
    for (i = 0; i < 8; i++)
      put64 (p + (starts >> 8 * i & 0xff), compact (page + 8 * i, masks[i]));
    p += n;
  }
  return (int) (p - dst);
}

TARGET static int
encode1 (struct ld64_scratch *s, const uint8_t *page, uint8_t *dst)
{
  return emit (s, page, dst, choose (s, page, dst, 1));
}

TARGET static int
encode2 (struct ld64_scratch *s, const uint8_t *page, uint8_t *dst)
{
  return emit (s, page, dst, choose (s, page, dst, 2));
}

/* What a decoder knows of each line before it starts. */
struct unpacked {
  uint64_t mask[LD64_LINES];
  uint64_t starts[LD64_LINES]; /* byte i: literals of the parts before i */
  uint8_t literals[LD64_LINES];
};

/* Expand flags and masks.  Returns the first literal; NULL if the streams do
 * not add up.
 */
INLINE const uint8_t *
unpack (const uint8_t *flags, const uint8_t *end, uint64_t lines,
        struct unpacked *u)
{
  const uint8_t *p = flags + popcount (lines);
  unsigned k, f, n, all = 0;
  uint64_t m;

  for (k = 0; k < LD64_LINES; k++, lines >>= 1) {
    f = *flags & -(unsigned) (lines & 1);
    flags += lines & 1;
    if (p > end)
      return NULL;
    m = expand (p, f);
    put64 (&u->mask[k], m);
    put64 (&u->starts[k], popcount_before (m, &n));
    u->literals[k] = (uint8_t) n;
    p += popcount (f);
    all += n;
  }
  return p <= end && all == (size_t) (end - p) ? p : NULL;
}

TARGET static int
decode (const uint8_t *blob, size_t len, uint8_t *page)
{
  const uint8_t *refs = blob + LD64_HEADER, *end = blob + len, *p, *from;
  unsigned k, at, distance = LD64_LINE;
  struct unpacked u;
  uint64_t a, b, named;

  if (len < LD64_HEADER || len >= TZ_PAGE)
    return -EBADMSG;
  a = get64 (blob);
  b = get64 (blob + 8);
  named = a & ~b;
  p = refs + 2 * popcount (named);
  if (a & 1 || p + popcount (a | b) > end)
    return -EBADMSG;
  p = unpack (p, end, a | b, &u);
  if (!p)
    return -EBADMSG;
  for (k = 0, at = 0; k < LD64_LINES; k++, at += LD64_LINE) {
    if (named & 1) {
      if ((unsigned) get16 (refs) + LD64_LINE > at)
        return -EBADMSG;
      distance = at - get16 (refs);
      refs += 2;
    }
    from = a & 1 ? page + at - distance : tz_ld64_zeroes;
    patch (page + at, from, p, (const uint8_t *) &u.mask[k],
           (const uint8_t *) &u.starts[k]);
    p += u.literals[k];
    a >>= 1;
    named >>= 1;
  }
  return 0;
}

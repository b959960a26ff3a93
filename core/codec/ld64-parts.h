/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* LD64 where nothing compresses and expands a whole line: the second half of
 * the encoder, and the decoder but for what it is made of.
 * A body includes this after ld64-choose.h and after it has defined
 *
 * unsigned nonzero_parts (uint64_t x)
 *   bit i: byte i of x is not zero
 * uint64_t compact (const uint8_t *p, unsigned bits)
 *   those of eight bytes at p whose bit is set, then anything
 * struct unpacked
 *   what a decoder knows of each line before it starts
 * const uint8_t *unpack (const uint8_t *flags, const uint8_t *end,
 *                        uint64_t lines, struct unpacked *u)
 *   make that of all from flags on; NULL if it does not end at end; else what
 *   the first call of patch is given
 * const uint8_t *patch (uint8_t *line, const uint8_t *ref,
 *                       const uint8_t *literals, const struct unpacked *u,
 *                       unsigned k)
 *   copy line k from ref but for its literals; returns what the next is given
 */

INLINE int
emit (const struct ld64_scratch *s, const uint8_t *page, uint8_t *dst,
      uint8_t *flags)
{
  uint64_t lines = get64 (dst) | get64 (dst + 8);
  uint8_t *masks = flags + popcount (lines), *p;
  struct ld64_parts half[2];
  unsigned h, i, at, bits;
  const uint8_t *mask;

  for (h = 0; h < 2; h++) {
    half[h].n = 0;
    for (i = 0; i < LD64_LINES / 2; i++, lines >>= 1) {
      bits = nonzero_parts (get64 (&s->mask[h * LD64_LINES / 2 + i]));
      list_parts (&half[h], i, bits);
      *flags = (uint8_t) bits; /* if there is no such line, the next one's */
      flags += lines & 1;
    }
  }
  p = masks + half[0].n + half[1].n;
  for (h = 0; h < 2; h++, page += TZ_PAGE / 2) {
    mask = (const uint8_t *) &s->mask[h * LD64_LINES / 2];
    for (i = 0; i < half[h].n; i++) {
      at = half[h].part[i];
      bits = *masks++ = mask[at];
      put64 (p, compact (page + 8 * at, bits));
      p += tz_ld64_count[bits];
    }
  }
  return p - dst < TZ_PAGE ? (int) (p - dst) : 0;
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

/* Nothing foresees what kind a line is of: no branch asks. */
TARGET static int
decode (const uint8_t *blob, size_t len, uint8_t *page)
{
  const uint8_t *refs = blob + LD64_HEADER, *end = blob + len, *p;
  const uint8_t *from[2] = { tz_ld64_zeroes, page };
  unsigned k, at, named, distance = LD64_LINE;
  struct unpacked u;
  uint64_t a, b;

  if (len < LD64_HEADER || len >= TZ_PAGE)
    return -EBADMSG;
  a = get64 (blob);
  b = get64 (blob + 8);
  p = refs + 2 * popcount (a & ~b);
  if (a & 1 || p + popcount (a | b) > end)
    return -EBADMSG;
  p = unpack (p, end, a | b, &u);
  if (!p)
    return -EBADMSG;
  for (k = 0, at = 0; k < LD64_LINES; k++, at += LD64_LINE) {
    named = a & ~b & 1;
    distance += (at - get16 (refs) - distance) & -named;
    refs += 2 * named;
    if (__builtin_expect (distance - LD64_LINE > at - LD64_LINE, 0))
      return -EBADMSG;
    p = patch (page + at, from[a & 1] + ((at - distance) & -(a & 1)), p, &u, k);
    a >>= 1;
    b >>= 1;
  }
  return 0;
}

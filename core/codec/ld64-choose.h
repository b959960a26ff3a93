/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The first half of an LD64 encoder: which reference each line gets, as
 * docs/ld64.md has it.  A body includes this after it has defined
 *
 * TARGET
 *   attributes of its functions
 * unsigned popcount (uint64_t x)
 * unsigned count_equal (const uint8_t *a, const uint8_t *b)
 *   how many bytes of two lines are equal
 * uint64_t differing (const uint8_t *a, const uint8_t *b)
 * uint64_t nonzero (const uint8_t *a)
 *   bit i: bytes i of two lines differ; byte i of a line is not zero
 * void hash_line (const uint8_t *a, uint16_t h[8])
 *   the hashes of the eight bytes at a, a + 8 … a + 56
 * void hash_part (const uint8_t *a, uint16_t h[8])
 *   … at a, a + 8 … a + 48; reads no further than a + 56
 *
 * What does not depend on the choices for earlier lines is done first, for
 * all lines and without branches: the CPU then works on several at once.
 */

#define INLINE static inline __attribute__ ((always_inline)) TARGET

INLINE uint32_t
greater (uint32_t a, uint32_t b)
{
  return a > b ? a : b;
}

/* The key of the reference that the table has for hash h of the bytes at i.
 * One that is not before the line, by overlap or by wrapping, becomes the
 * previous line.
 */
INLINE uint32_t
look_up (const struct ld64_scratch *s, const uint8_t *page, unsigned at,
         unsigned i, unsigned h)
{
  unsigned ref = s->table[h] - i, last = at - LD64_LINE;

  ref = ref < last ? ref : last;
  return count_equal (page + at, page + ref) << 16 | ref;
}

INLINE uint32_t
look_up_more (const struct ld64_scratch *s, const uint8_t *page, unsigned at,
              unsigned offset, uint32_t best)
{
  uint16_t h[8];
  unsigned i;

  hash_part (page + at + offset, h);
  for (i = 0; i < 7; i++)
    best = greater (best, look_up (s, page, at, 8 * i + offset, h[i]));
  return best;
}

INLINE void
insert (struct ld64_scratch *s, unsigned at, const uint16_t h[8])
{
  unsigned i;

#pragma GCC unroll 8
  for (i = 0; i < 8; i++)
    s->table[h[i]] = (uint16_t) (at + 8 * i);
}

INLINE void
insert_more (struct ld64_scratch *s, const uint8_t *page, unsigned at)
{
  uint16_t h[8];
  unsigned i;

  for (i = 1; i < 8; i++) {
    hash_line (page + at + i, h);
    insert (s, at + i, h);
  }
}

/* The greatest key of each line but for the reference at the last distance. */
INLINE void
search (struct ld64_scratch *s, const uint8_t *page, int level)
{
  unsigned at, i, last;
  const uint16_t *h;
  uint32_t best;

  for (at = 0; at < TZ_PAGE; at += LD64_LINE) {
    h = s->hash[at / LD64_LINE];
    best = (LD64_LINE + LD64_BONUS - popcount (nonzero (page + at))) << 16
           | LD64_ZERO;
    if (at > 0) {
      last = at - LD64_LINE;
      best = greater (best,
                      count_equal (page + at, page + last) << 16 | last);
#pragma GCC unroll 8
      for (i = 0; i < 8; i += level == 1 ? 2 : 1)
        best = greater (best, look_up (s, page, at, 8 * i, h[i]));
      if (level > 1 && best < LD64_POOR << 16)
        for (i = 2; i < 8; i += 4)
          best = look_up_more (s, page, at, i, best);
    }
    s->key[at / LD64_LINE] = best;
    insert (s, at, h);
    if (best < (level == 1 ? LD64_DENSE1 : LD64_DENSE2) << 16
        && at < TZ_PAGE - LD64_LINE)
      insert_more (s, page, at);
  }
}

/* Bitmaps and ref[] go to dst, the masks to s.  Returns the end of ref[]. */
INLINE uint8_t *
choose (struct ld64_scratch *s, const uint8_t *page, uint8_t *dst, int level)
{
  uint64_t a = 0, b, bit, mask;
  unsigned at, k, ref, distance = LD64_LINE;
  uint8_t *p = dst + LD64_HEADER;

  memset (s->table, 0, sizeof s->table);
  for (k = 0; k < LD64_LINES; k++)
    hash_line (page + k * LD64_LINE, s->hash[k]);
  search (s, page, level);

  s->mask[0] = nonzero (page); /* nothing before it */
  b = s->mask[0] != 0;
  for (k = 1, bit = 2; k < LD64_LINES; k++, bit <<= 1) {
    at = k * LD64_LINE;
    ref = s->key[k] & 0xffff;
    s->mask[k] = 0;
    if (s->key[k] == ((LD64_LINE + LD64_BONUS) << 16 | LD64_ZERO))
      continue;
    mask = differing (page + at, page + at - distance);
    if (LD64_LINE + LD64_BONUS - popcount (mask) >= s->key[k] >> 16) {
      a |= bit;
      b |= bit;
    }
    else if (ref == LD64_ZERO) {
      b |= bit;
      mask = nonzero (page + at);
    }
    else {
      a |= bit;
      put16 (p, (uint16_t) ref);
      p += 2;
      distance = at - ref;
      mask = differing (page + at, page + ref);
    }
    s->mask[k] = mask;
  }
  put64 (dst, a);
  put64 (dst + 8, b);
  return p;
}

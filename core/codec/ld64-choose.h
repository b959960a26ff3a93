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
 *   bit i: bytes i of two lines differ
 * void hash_line (const uint8_t *a, uint16_t h[8])
 *   the hashes of the eight bytes at a, a + 8 … a + 56
 * void hash_part (const uint8_t *a, uint16_t h[8])
 *   … at a, a + 8 … a + 48; reads no further than a + 56
 *
 * What does not depend on the choices for earlier lines is done first, for
 * all lines and without branches: the CPU then works on several at once.
 */

#define INLINE static inline __attribute__ ((always_inline)) TARGET

/* The best of the references looked at so far. */
struct ld64_best {
  unsigned score; /* equal bytes, and the bonus */
  unsigned ref;   /* LD64_ZERO: the zero line */
};

INLINE struct ld64_best
better (struct ld64_best best, unsigned score, unsigned ref)
{
  bool b = score >= best.score;

  best.score = b ? score : best.score;
  best.ref = b ? ref : best.ref;
  return best;
}

/* Try the reference that the table has for hash h of the bytes at at + i.
 * Nothing of the line itself or the one before is in the table yet, nor of the
 * first but its end: it needs no check.
 */
INLINE struct ld64_best
look_up (const struct ld64_scratch *s, const uint8_t *page, unsigned at,
         unsigned i, unsigned h, struct ld64_best best)
{
  unsigned ref = s->table[h] - i;

  return better (best, count_equal (page + at, page + ref), ref);
}

/* Four of them, for the bytes at i, i + 16, i + 32 and i + 48.  Written out,
 * as gcc and clang differ in what they unroll.
 */
INLINE struct ld64_best
look_up_four (const struct ld64_scratch *s, const uint8_t *page, unsigned at,
              unsigned i, const uint16_t h[8], struct ld64_best best)
{
  best = look_up (s, page, at, i, h[0], best);
  best = look_up (s, page, at, i + 16, h[2], best);
  best = look_up (s, page, at, i + 32, h[4], best);
  return look_up (s, page, at, i + 48, h[6], best);
}

INLINE struct ld64_best
look_up_more (const struct ld64_scratch *s, const uint8_t *page, unsigned at,
              unsigned offset, struct ld64_best best)
{
  uint16_t h[8];
  unsigned i;

  hash_part (page + at + offset, h);
  for (i = 0; i < 7; i++)
    best = look_up (s, page, at, 8 * i + offset, h[i], best);
  return best;
}

INLINE void
insert_more (struct ld64_scratch *s, const uint8_t *page, unsigned at)
{
  uint16_t h[8];
  unsigned i;

  for (i = 1; i < 8; i++) {
    hash_line (page + at + i, h);
    insert_line (s, at + i, h);
  }
}

/* The best reference of each line but for the one at the last distance. */
INLINE void
search (struct ld64_scratch *s, const uint8_t *page, int level)
{
  const unsigned dense = level == 1 ? LD64_DENSE1 : LD64_DENSE2;
  struct ld64_best best, before = { 0, 0 };
  unsigned at, k;

  for (k = 0, at = 0; k < LD64_LINES; k++, at += LD64_LINE) {
    best.score = count_equal (page + at, tz_ld64_zeroes) + LD64_BONUS;
    best.ref = LD64_ZERO;
    if (k > 0)
      best = better (best, count_equal (page + at, page + at - LD64_LINE),
                     at - LD64_LINE);
    if (k > 1) {
      best = look_up_four (s, page, at, 0, s->hash[k], best);
      if (level > 1) {
        best = look_up_four (s, page, at, 8, s->hash[k] + 1, best);
        if (best.score < LD64_POOR) {
          best = look_up_more (s, page, at, 2, best);
          best = look_up_more (s, page, at, 6, best);
        }
      }
      insert_line (s, at - LD64_LINE, s->hash[k - 1]);
      if (before.score < dense)
        insert_more (s, page, at - LD64_LINE);
    }
    s->score[k] = (uint8_t) best.score;
    s->ref[k] = (uint16_t) best.ref;
    before = best;
  }
}

/* Bitmaps and ref[] go to dst, the masks to s.  Returns the end of ref[]. */
INLINE uint8_t *
choose (struct ld64_scratch *s, const uint8_t *page, uint8_t *dst, int level)
{
  uint64_t a = 0, b, bit, mask;
  unsigned k, distance = LD64_LINE;
  const uint8_t *line, *from;
  uint8_t *p = dst + LD64_HEADER;

  for (k = 0; k < 1 << LD64_BITS; k++)
    s->table[k] = LD64_LINE;
  for (k = 0; k < LD64_LINES; k++)
    hash_line (page + k * LD64_LINE, s->hash[k]);
  search (s, page, level);

  mask = differing (page, tz_ld64_zeroes); /* nothing before it */
  put64 (&s->mask[0], mask);
  b = mask != 0;
  for (k = 1, bit = 2; k < LD64_LINES; k++, bit <<= 1) {
    line = page + k * LD64_LINE;
    if (s->ref[k] == LD64_ZERO && s->score[k] == LD64_LINE + LD64_BONUS) {
      put64 (&s->mask[k], 0);
      continue;
    }
    from = line - distance;
    if (count_equal (line, from) + LD64_BONUS >= s->score[k]) {
      a |= bit;
      b |= bit;
      put64 (&s->mask[k], differing (line, from)); /* often known by now */
      continue;
    }
    if (s->ref[k] == LD64_ZERO) {
      b |= bit;
      from = tz_ld64_zeroes;
    }
    else {
      a |= bit;
      put16 (p, s->ref[k]);
      p += 2;
      from = page + s->ref[k];
      distance = (unsigned) (line - from);
    }
    put64 (&s->mask[k], differing (line, from));
  }
  put64 (dst, a);
  put64 (dst + 8, b);
  return p;
}

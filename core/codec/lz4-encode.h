/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* LZ4: the encoder, but for what differs between instruction sets.
 *
 * Memory is made of words, so only its 1024 aligned words are looked up.
 * For each the wide reference is the last word before that had the same bytes
 * [-2, 5) around its start; the narrow one had the same [-1, 3).  Bytes of the
 * word before are worth more than the word's own: they tell pointers apart,
 * whose upper halves are all alike.  Tables are filled without a branch; the
 * price is that a reference may be wrong, which the search finds out.
 *
 * The search is greedy.  A narrow reference gives way if the next word has a
 * wide one, which reaches back over it: that is most of what lazy matching
 * would gain.  It works on both halves of the page in turns, for a step waits
 * long for the one before it; no match crosses the middle.
 *
 * Every body makes the same blocks.  The includer defines
 *   TARGET                       an attribute for all functions, or nothing
 *   struct span measure (p, c)   see below
 *   void refer_wide (w, wide)    set words to the wide references, or to
 *                                something above 2^31, and their bits in wide
 *   uint64_t refer_narrow (w, k) find narrow references for 64-word block k,
 *                                keep them where there are no wide ones;
 *                                their bits
 * and then tz_lz4_encode_ISA as a call of encode.
 */
#ifndef TZ_LZ4_ENCODE_H
#define TZ_LZ4_ENCODE_H

#include <stdbool.h>
#include <string.h>

#include "codec/bytes.h"
#include "codec/lz4.h"

#define MIN_MATCH  4
#define LAST_WORD  ((TZ_PAGE - 12) / 4) /* no match starts after this */
#define LAST_END   (TZ_PAGE - 5)        /* the rest are literals */
#define SECOND_DST (TZ_PAGE + 512)      /* where the second half is written */

#define INLINE static inline __attribute__ ((always_inline))
#define UNLIKELY(cond) __builtin_expect (!!(cond), 0)

/* How many bytes of p and c are equal from there on, any number from
 * LZ4_FORWARD on meaning at least these, and before there, up to LZ4_BACK.
 */
struct span {
  unsigned forward, back;
};

TARGET INLINE struct span measure (const uint8_t *p, const uint8_t *c);
TARGET INLINE void refer_wide (struct lz4_work *w, uint64_t *wide);
TARGET INLINE uint64_t refer_narrow (struct lz4_work *w, unsigned k);

/* One half's search. */
struct cursor {
  unsigned word, anchor; /* the next to look at; literals start here */
  uint8_t *op;
};

struct match {
  unsigned start, end, offset;
};

TARGET static void
refer (struct lz4_work *w, unsigned narrow_below)
{
  uint64_t wide[LZ4_WORDS / 64 + 1], narrow;
  bool cleared = false;
  unsigned k;

  memset (w->wide, 255, sizeof w->wide);
  refer_wide (w, wide);
  wide[LZ4_WORDS / 64] = 0;
  for (k = 0; k < LZ4_WORDS / 64; k++) {
    narrow = 0;
    if (__builtin_popcountll (wide[k]) < (int) narrow_below) {
      if (!cleared)
        memset (w->narrow, 255, sizeof w->narrow);
      cleared = true;
      narrow = refer_narrow (w, k);
    }
    narrow &= ~(wide[k] >> 1 | wide[k + 1] << 63);
    put64 (w->found + k, wide[k] | narrow);
  }
  memset (w->found + k, 255, 16); /* lets the search end */
}

/* The end of a long match. */
TARGET static __attribute__ ((noinline)) unsigned
extend (const uint8_t *page, unsigned p, unsigned c, unsigned limit)
{
  struct span s;

  do {
    p += LZ4_FORWARD;
    c += LZ4_FORWARD;
    if (p >= limit)
      return limit;
    s = measure (page + p, page + c);
  } while (s.forward >= LZ4_FORWARD);
  return p + s.forward;
}

/* The next match that starts at or before word last and ends by limit. */
TARGET INLINE bool
find (const struct lz4_work *w, struct cursor *u, unsigned last,
      unsigned limit, struct match *m)
{
  const uint8_t *found = (const uint8_t *) w->found;
  unsigned i = u->word, p, c, end, back;
  struct span s;
  uint64_t bits;

  for (;; i++) {
    while (UNLIKELY ((bits = get64 (found + i / 8) >> i % 8) == 0))
      i += 56;
    i += __builtin_ctzll (bits);
    if (UNLIKELY (i > last)) {
      u->word = i;
      return false;
    }
    p = 4 * i;
    c = 4 * w->words[i];
    s = measure (w->page + p, w->page + c);
    end = p + s.forward;
    if (UNLIKELY (s.forward >= LZ4_FORWARD))
      end = extend (w->page, p, c, limit);
    if (UNLIKELY (end > limit))
      end = limit;
    back = s.back < p - u->anchor ? s.back : p - u->anchor;
    back = back < c ? back : c;
    if (UNLIKELY (end < p - back + MIN_MATCH))
      continue;
    m->start = p - back;
    m->end = end;
    m->offset = p - c;
    u->word = (end + 3) / 4;
    return true;
  }
}

/* Lengths over 14 go on in bytes of 255 and a last one below. */
INLINE uint8_t *
put_length (uint8_t *op, unsigned n)
{
  for (; n >= 255; n -= 255)
    *op++ = 255;
  *op++ = n;
  return op;
}

/* A sequence of any lengths; length 0 stands for the last one, which has no
 * match.  Up to 15 bytes after the literals may be overwritten.
 */
static __attribute__ ((noinline)) uint8_t *
put_sequence (uint8_t *op, const uint8_t *literals, unsigned n,
              unsigned offset, unsigned length)
{
  unsigned m = length ? length - MIN_MATCH : 0, i;

  *op++ = (n < 15 ? n : 15) << 4 | (m < 15 ? m : 15);
  if (n >= 15)
    op = put_length (op, n - 15);
  for (i = 0; i < n; i += 16)
    memcpy (op + i, literals + i, 16);
  op += n;
  if (length == 0)
    return op;
  put16 (op, offset);
  op += 2;
  if (m >= 15)
    op = put_length (op, m - 15);
  return op;
}

TARGET INLINE void
emit (const struct lz4_work *w, struct cursor *u, const struct match *m)
{
  const uint8_t *literals = w->page + u->anchor;
  unsigned n = m->start - u->anchor, more = m->end - m->start - MIN_MATCH;
  uint8_t *op = u->op;

  u->anchor = m->end;
  if (UNLIKELY (n >= 15 || more >= 15 + 255)) {
    u->op = put_sequence (op, literals, n, m->offset, more + MIN_MATCH);
    return;
  }
  memcpy (op + 1, literals, 16);
  *op = n << 4 | (more < 15 ? more : 15);
  op += 1 + n;
  put16 (op, m->offset);
  op[2] = more - 15; /* belongs to the next sequence if more < 15 */
  u->op = op + 2 + (more >= 15);
}

#define FIND_FIRST(m)                                                         \
  find (w, &a, LZ4_WORDS / 2 - 1, TZ_PAGE / 2, m)
#define FIND_SECOND(m) find (w, &b, LAST_WORD, LAST_END, m)

TARGET INLINE unsigned
encode (struct lz4_work *w, uint8_t *dst, unsigned narrow_below)
{
  struct cursor a = { .word = 0, .anchor = 0, .op = dst };
  struct cursor b = { .word = LZ4_WORDS / 2, .anchor = TZ_PAGE / 2,
                      .op = dst + SECOND_DST };
  struct match seam = { 0 }, m, n;
  bool joined;
  uint8_t *op;

  refer (w, narrow_below);
  /* The second half's first sequence waits for the first half's literals. */
  joined = FIND_SECOND (&seam);
  if (joined)
    b.anchor = seam.end;
  while (FIND_FIRST (&m)) {
    if (UNLIKELY (!FIND_SECOND (&n))) {
      emit (w, &a, &m);
      break;
    }
    emit (w, &a, &m);
    emit (w, &b, &n);
  }
  while (FIND_FIRST (&m))
    emit (w, &a, &m);
  while (FIND_SECOND (&n))
    emit (w, &b, &n);
  op = a.op;
  if (joined) {
    op = put_sequence (op, w->page + a.anchor, seam.start - a.anchor,
                       seam.offset, seam.end - seam.start);
    memmove (op, dst + SECOND_DST, b.op - (dst + SECOND_DST));
    op += b.op - (dst + SECOND_DST);
    a.anchor = b.anchor;
  }
  op = put_sequence (op, w->page + a.anchor, TZ_PAGE - a.anchor, 0, 0);
  return op - dst;
}

#endif /* TZ_LZ4_ENCODE_H */

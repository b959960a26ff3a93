/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* LD64 with AVX-512: a line is a register. */
#if defined(__x86_64__)

#include <errno.h>
#include <immintrin.h>
#include <string.h>

#include "cpu.h"
#include "codec/bytes.h"
#include "codec/ld64.h"
#include "codec/x86/checksum-avx512.h"

#define TARGET                                                                 \
  __attribute__ ((target ("avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,"     \
                          "avx512vbmi2,avx512bitalg,avx512vpopcntdq,bmi,"      \
                          "bmi2,popcnt")))
#define PRIMITIVE static inline __attribute__ ((always_inline)) TARGET

PRIMITIVE unsigned
popcount (uint64_t x)
{
  return (unsigned) _mm_popcnt_u64 (x);
}

PRIMITIVE __m512i
load (const void *p)
{
  return _mm512_loadu_si512 (p);
}

PRIMITIVE unsigned
count_equal (__m512i line, const uint8_t *p)
{
  return popcount (_mm512_cmpeq_epi8_mask (line, load (p)));
}

/* ---- The encoder: references ---- */

/* The best reference of a line so far: equal bytes with the bonus, and where;
 * LD64_ZERO: the zero line.  Whole registers.
 */
struct best {
  uint64_t score, ref;
};

/* Compilers would branch here and below, on what cannot be predicted: a
 * quarter of the encoder's time.
 */
PRIMITIVE struct best
better (struct best best, uint64_t score, uint64_t ref)
{
  __asm__ ("cmp %0, %2\n\t"
           "cmovae %2, %0\n\t"
           "cmovae %3, %1"
           : "+&r" (best.score), "+r" (best.ref)
           : "r" (score), "r" (ref)
           : "cc");
  return best;
}

PRIMITIVE const uint8_t *
if_less (uint64_t a, uint64_t b, const uint8_t *yes, const uint8_t *no)
{
  __asm__ ("cmp %2, %1\n\t"
           "cmovb %3, %0"
           : "+r" (no)
           : "r" (a), "r" (b), "r" (yes)
           : "cc");
  return no;
}

/* Eight hashes, in the uppermost bits of the quadwords. */
PRIMITIVE __m512i
hash (__m512i v)
{
  const __m512i k
      = _mm512_set1_epi64 ((long long) ((uint64_t) LD64_K2 << 32 | LD64_K1));

  v = _mm512_mullo_epi32 (v, k);
  return _mm512_add_epi32 (v, _mm512_slli_epi64 (v, 32));
}

PRIMITIVE void
put_hashes (uint16_t h[8], __m512i v)
{
  v = _mm512_srli_epi64 (hash (v), 64 - LD64_BITS);
  _mm_storeu_si128 ((__m128i *) h, _mm512_cvtepi64_epi16 (v));
}

/* Those of all lines, four lines at a time. */
PRIMITIVE void
hash_page (const uint8_t *page, uint16_t h[LD64_LINES][8])
{
  const __m512i top = _mm512_set_epi16 (
      0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 63, 59, 55, 51, 47, 43,
      39, 35, 31, 27, 23, 19, 15, 11, 7, 3);
  __m512i v, w;
  unsigned k;

  for (k = 0; k < LD64_LINES; k += 4, page += 4 * LD64_LINE) {
    v = _mm512_permutex2var_epi16 (hash (load (page)), top,
                                   hash (load (page + 64)));
    w = _mm512_permutex2var_epi16 (hash (load (page + 128)), top,
                                   hash (load (page + 192)));
    v = _mm512_inserti64x4 (v, _mm512_castsi512_si256 (w), 1);
    _mm512_storeu_si512 (h[k], _mm512_srli_epi16 (v, 16 - LD64_BITS));
  }
}

/* Try the reference that the table has for hash h of the bytes at i of the
 * line.  Nothing of the line itself or the one before is in the table yet, nor
 * of the first but its end: it needs no check.
 */
PRIMITIVE struct best
look_up (const struct ld64_scratch *s, const uint8_t *page, __m512i line,
         unsigned i, unsigned h, struct best best)
{
  uint64_t ref = (uint64_t) s->table[h] - i;

  return better (best, count_equal (line, page + ref), ref);
}

/* Four of them, for the bytes at i, i + 16, i + 32 and i + 48. */
PRIMITIVE struct best
look_up_four (const struct ld64_scratch *s, const uint8_t *page, __m512i line,
              unsigned i, const uint16_t h[8], struct best best)
{
  best = look_up (s, page, line, i, h[0], best);
  best = look_up (s, page, line, i + 16, h[2], best);
  best = look_up (s, page, line, i + 32, h[4], best);
  return look_up (s, page, line, i + 48, h[6], best);
}

PRIMITIVE struct best
look_up_more (struct ld64_scratch *s, const uint8_t *page, __m512i line,
              unsigned at, unsigned offset, struct best best)
{
  const uint8_t *p = page + at + offset;
  unsigned i;

  put_hashes (s->more[0], _mm512_maskz_loadu_epi64 (0x7f, p));
  for (i = 0; i < 7; i++)
    best = look_up (s, page, line, 8 * i + offset, s->more[0][i], best);
  return best;
}

PRIMITIVE void
insert_more (struct ld64_scratch *s, const uint8_t *page, unsigned at)
{
  unsigned i;

  for (i = 1; i < 8; i++)
    put_hashes (s->more[i - 1], load (page + at + i));
  for (i = 1; i < 8; i++)
    insert_line (s, at + i, s->more[i - 1]);
}

/* The first line: no reference, and score and masks of the others' form. */
PRIMITIVE unsigned
start (struct ld64_scratch *s, const uint8_t *page)
{
  unsigned k;

  for (k = 0; k < 1 << LD64_BITS; k += 32)
    _mm512_storeu_si512 (s->table + k, _mm512_set1_epi16 (LD64_LINE));
  hash_page (page, s->hash);
  s->mask[0] = _mm512_test_epi8_mask (load (page), load (page));
  s->ref[0] = LD64_ZERO;
  s->score[0] = (uint8_t) (LD64_LINE + LD64_BONUS - popcount (s->mask[0]));
  s->last_score[0] = 0;
  return s->score[0];
}

/* For each line the best reference but the one at the last distance, and that
 * one: their scores, and what differs.
 */
PRIMITIVE void
search (struct ld64_scratch *s, const uint8_t *page, int level)
{
  const unsigned dense = level == 1 ? LD64_DENSE1 : LD64_DENSE2;
  const uint8_t *zeroes = tz_ld64_zeroes;
  const uint8_t *last = page - LD64_LINE, *next; /* for a line at 0 */
  uint64_t before = start (s, page), n, m;
  struct best best;
  unsigned at, k;
  __m512i line;

  for (k = 1, at = LD64_LINE; k < LD64_LINES; k++, at += LD64_LINE) {
    line = load (page + at);
    best.score = popcount (_mm512_testn_epi8_mask (line, line)) + LD64_BONUS;
    best.ref = LD64_ZERO;
    best = better (best, count_equal (line, page + at - LD64_LINE),
                   at - LD64_LINE);
    if (k > 1) {
      best = look_up_four (s, page, line, 0, s->hash[k], best);
      if (level > 1) {
        best = look_up_four (s, page, line, 8, s->hash[k] + 1, best);
        if (best.score < LD64_POOR) {
          best = look_up_more (s, page, line, at, 2, best);
          best = look_up_more (s, page, line, at, 6, best);
        }
      }
      insert_line (s, at - LD64_LINE, s->hash[k - 1]);
      if (before < dense)
        insert_more (s, page, at - LD64_LINE);
    }
    next = page + (int64_t) (best.ref - at);
    next = if_less (best.ref, LD64_ZERO, next, last);
    m = _mm512_cmpneq_epi8_mask (line, load (last + at));
    n = LD64_LINE + LD64_BONUS - popcount (m);
    s->last_mask[k] = m;
    s->last_score[k] = (uint8_t) n;
    last = if_less (n, best.score, next, last);
    next = if_less (best.ref, LD64_ZERO, page + best.ref, zeroes);
    s->mask[k] = _mm512_cmpneq_epi8_mask (line, load (next));
    s->ref[k] = (uint16_t) best.ref;
    s->score[k] = (uint8_t) best.score;
    before = best.score;
  }
}

/* ---- The encoder: streams ---- */

/* Bitmaps and ref[]; which lines use the last distance.  Returns the end. */
PRIMITIVE uint8_t *
put_refs (const struct ld64_scratch *s, uint8_t *dst, uint64_t *last)
{
  __m512i score = load (s->score), lo = load (s->ref), hi = load (s->ref + 32);
  uint8_t *p = dst + LD64_HEADER;
  uint64_t zero, named;

  zero = _mm512_cmpeq_epi8_mask (score,
                                 _mm512_set1_epi8 (LD64_LINE + LD64_BONUS));
  *last = _mm512_cmpge_epu8_mask (load (s->last_score), score);
  /* Only LD64_ZERO has the upper bit. */
  named = _mm512_movepi16_mask (lo);
  named |= (uint64_t) _mm512_movepi16_mask (hi) << 32;
  named = ~named & ~*last;
  put64 (dst, (named | *last) & ~zero);
  put64 (dst + 8, ~named & ~zero);
  lo = _mm512_maskz_compress_epi16 ((uint32_t) named, lo);
  _mm512_storeu_si512 (p, lo);
  p += 2 * popcount ((uint32_t) named);
  hi = _mm512_maskz_compress_epi16 ((uint32_t) (named >> 32), hi);
  _mm512_storeu_si512 (p, hi);
  return p + 2 * popcount (named >> 32);
}

/* Flags and masks of eight lines at a time; then literals. */
PRIMITIVE int
emit (struct ld64_scratch *s, const uint8_t *page, uint8_t *dst)
{
  uint64_t last, lines, f, flag[8];
  uint8_t *flags = put_refs (s, dst, &last), *p;
  __m512i v, n = _mm512_setzero_si512 ();
  unsigned k;

  lines = get64 (dst) | get64 (dst + 8);
  p = flags + popcount (lines);
  for (k = 0; k < 8; k++, last >>= 8) {
    v = _mm512_mask_blend_epi64 ((__mmask8) last, load (s->mask + 8 * k),
                                 load (s->last_mask + 8 * k));
    _mm512_storeu_si512 (s->mask + 8 * k, v);
    n = _mm512_add_epi64 (n, _mm512_popcnt_epi64 (v));
    f = flag[k] = _mm512_test_epi8_mask (v, v);
    _mm512_storeu_si512 (p, _mm512_maskz_compress_epi8 (f, v));
    p += popcount (f);
  }
  v = _mm512_maskz_compress_epi8 (lines, load (flag));
  /* The masks follow at once and are there already. */
  f = _bzhi_u64 (~0ull, popcount (lines));
  _mm512_mask_storeu_epi8 (flags, f, v);
  if (p - dst + _mm512_reduce_add_epi64 (n) >= TZ_PAGE)
    return 0;
  for (k = 0; k < LD64_LINES; k++) {
    v = _mm512_maskz_compress_epi8 (s->mask[k], load (page + k * LD64_LINE));
    _mm512_storeu_si512 (p, v);
    p += popcount (s->mask[k]);
  }
  return (int) (p - dst);
}

TARGET static int
encode1 (struct ld64_scratch *s, const uint8_t *page, uint8_t *dst)
{
  search (s, page, 1);
  return emit (s, page, dst);
}

TARGET static int
encode2 (struct ld64_scratch *s, const uint8_t *page, uint8_t *dst)
{
  search (s, page, 2);
  return emit (s, page, dst);
}

/* ---- The decoder ---- */

/* Expand flags and masks into 64 masks.  Returns the first literal; NULL if
 * the streams do not add up.
 */
PRIMITIVE const uint8_t *
unpack_masks (const uint8_t *p, const uint8_t *end, uint64_t lines,
              uint64_t mask[LD64_LINES])
{
  __m512i v, n = _mm512_setzero_si512 ();
  uint64_t flag[8];
  unsigned k;

  v = _mm512_maskz_expand_epi8 (lines, _mm512_loadu_si512 (p));
  _mm512_storeu_si512 (flag, v);
  p += popcount (lines);
  v = _mm512_popcnt_epi64 (v);
  if (_mm512_reduce_add_epi64 (v) > end - p)
    return NULL;
  for (k = 0; k < 8; k++) {
    v = _mm512_maskz_expand_epi8 (flag[k], _mm512_loadu_si512 (p));
    _mm512_storeu_si512 (mask + 8 * k, v);
    n = _mm512_add_epi64 (n, _mm512_popcnt_epi64 (v));
    p += popcount (flag[k]);
  }
  return _mm512_reduce_add_epi64 (n) == end - p ? p : NULL;
}

/* Where each line that names a reference finds it; 0 for others.  False if
 * one of them is not before its line.
 */
PRIMITIVE int
unpack_refs (const uint8_t *p, uint64_t named, uint16_t ref[LD64_LINES])
{
  const __m512i step = _mm512_set_epi16 (
      1984, 1920, 1856, 1792, 1728, 1664, 1600, 1536, 1472, 1408, 1344, 1280,
      1216, 1152, 1088, 1024, 960, 896, 832, 768, 704, 640, 576, 512, 448, 384,
      320, 256, 192, 128, 64, 0);
  __m512i v, last = _mm512_sub_epi16 (step, _mm512_set1_epi16 (64));
  uint32_t lo = (uint32_t) named, hi = (uint32_t) (named >> 32), bad;

  v = _mm512_maskz_expand_epi16 (lo, _mm512_loadu_si512 (p));
  _mm512_storeu_si512 (ref, v);
  bad = _mm512_mask_cmpgt_epu16_mask (lo, v, last);
  last = _mm512_add_epi16 (last, _mm512_set1_epi16 (2048));
  p += 2 * _mm_popcnt_u32 (lo);
  v = _mm512_maskz_expand_epi16 (hi, _mm512_loadu_si512 (p));
  _mm512_storeu_si512 (ref + 32, v);
  return (bad | _mm512_mask_cmpgt_epu16_mask (hi, v, last)) == 0;
}

/* The first if bit k is set. */
PRIMITIVE uint64_t
if_bit (uint64_t bits, uint64_t k, uint64_t yes, uint64_t no)
{
  __asm__ ("bt %2, %1\n\t"
           "cmovc %3, %0"
           : "+r" (no)
           : "r" (bits), "r" (k), "r" (yes)
           : "cc");
  return no;
}

/* Each line waits for those it refers to: of the instructions that put the
 * literals in, this one takes least from there to the result.
 */
PRIMITIVE __m512i
merge (__m512i line, __mmask64 mask, __m512i literals)
{
  __asm__ ("vmovdqu8 %1, %0%{%2%}"
           : "+v" (line)
           : "v" (literals), "Yk" (mask));
  return line;
}

/* What is left of a blob and what is known of its lines. */
struct unpacked {
  const uint8_t *literals;
  uint64_t refer, named; /* lines with a reference, those with a ref[] */
  uint64_t distance;
  uint64_t mask[LD64_LINES];
  uint16_t ref[LD64_LINES];
};

PRIMITIVE int
unpack (const uint8_t *blob, size_t len, struct unpacked *u)
{
  const uint8_t *p = blob + LD64_HEADER, *end = blob + len;
  uint64_t a, b;

  if (len < LD64_HEADER || len >= TZ_PAGE)
    return -EBADMSG;
  a = get64 (blob);
  b = get64 (blob + 8);
  if (a & 1 || 2 * popcount (a & ~b) + popcount (a | b) > end - p)
    return -EBADMSG;
  u->refer = a;
  u->named = a & ~b;
  u->distance = LD64_LINE;
  if (!unpack_refs (p, u->named, u->ref))
    return -EBADMSG;
  p += 2 * popcount (u->named);
  u->literals = unpack_masks (p, end, a | b, u->mask);
  return u->literals ? 0 : -EBADMSG;
}

PRIMITIVE void
put_line (struct unpacked *u, uint8_t *page, uint64_t k)
{
  uint64_t at = k * LD64_LINE, from;
  __m512i v;

  u->distance = if_bit (u->named, k, at - u->ref[k], u->distance);
  from = if_bit (u->refer, k, (uintptr_t) page + at - u->distance,
                 (uintptr_t) tz_ld64_zeroes);
  v = _mm512_maskz_expand_epi8 (u->mask[k], load (u->literals));
  v = merge (load ((const void *) from), u->mask[k], v);
  u->literals += popcount (u->mask[k]);
  _mm512_storeu_si512 (page + at, v);
}

TARGET static int
decode (const uint8_t *blob, size_t len, uint8_t *page)
{
  struct unpacked u;
  uint64_t k;

  if (unpack (blob, len, &u) != 0)
    return -EBADMSG;
  for (k = 0; k < LD64_LINES; k++)
    put_line (&u, page, k);
  return 0;
}

/* Lines wait for others most of the time: a sum worked out meanwhile costs a
 * quarter of what it costs before or after.
 */
TARGET static int
decode_sum (const uint8_t *blob, size_t len, uint8_t *page, uint64_t *sum)
{
  struct sums512 s = { _mm512_setzero_si512 (), _mm512_setzero_si512 () };
  struct unpacked u;
  uint64_t k;

  if (unpack (blob, len, &u) != 0)
    return -EBADMSG;
  for (k = 0; len >= 256; k += 4, len -= 256, blob += 256) {
    put_line (&u, page, k);
    put_line (&u, page, k + 1);
    put_line (&u, page, k + 2);
    put_line (&u, page, k + 3);
    sum512_block (&s, blob);
  }
  sum512_rest (&s, blob, len);
  *sum = sum512_fold (&s);
  for (; k < LD64_LINES; k++)
    put_line (&u, page, k);
  return 0;
}

const struct ld64_body tz_ld64_avx512 = {
  .isa = "avx512",
  .needs = TZ_CPU_AVX512,
  .encode = { NULL, encode1, encode2 },
  .decode = decode,
  .decode_sum = decode_sum,
};

#endif

/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* LZ4: the encoder for x86 with vectors of 16 bytes. */
#if defined(__x86_64__)

#include <tmmintrin.h>

#define TARGET __attribute__ ((target ("ssse3")))
#include "codec/lz4-encode.h"

TARGET INLINE __m128i
load (const void *p)
{
  return _mm_loadu_si128 ((const __m128i *) p);
}

TARGET INLINE void
store (void *p, __m128i v)
{
  _mm_storeu_si128 ((__m128i *) p, v);
}

TARGET INLINE uint64_t
equal (const uint8_t *p, const uint8_t *c)
{
  return (unsigned) _mm_movemask_epi8 (_mm_cmpeq_epi8 (load (p), load (c)));
}

TARGET INLINE struct span
measure (const uint8_t *p, const uint8_t *c)
{
  uint64_t differ = ~(equal (p - LZ4_BACK, c - LZ4_BACK)
                      | equal (p + 8, c + 8) << 16
                      | equal (p + 24, c + 24) << 32
                      | equal (p + 40, c + 40) << 48);
  struct span s;

  s.forward = __builtin_ctzll (differ >> LZ4_BACK | 1ull << LZ4_FORWARD);
  s.back = __builtin_clz ((unsigned) differ << 24 | 1u << 23);
  return s;
}

/* The lower halves of the products. */
TARGET INLINE __m128i
multiply (__m128i v, unsigned factor)
{
  __m128i f = _mm_set1_epi32 ((int) factor);
  __m128i even = _mm_mul_epu32 (v, f);
  __m128i odd = _mm_mul_epu32 (_mm_srli_epi64 (v, 32), f);

  return _mm_unpacklo_epi32 (_mm_shuffle_epi32 (even, 0x08),
                             _mm_shuffle_epi32 (odd, 0x08));
}

/* Four words' entries from their hashes. */
TARGET INLINE void
put_entries (uint32_t *e, __m128i hash, unsigned first)
{
  __m128i number = _mm_add_epi32 (_mm_set1_epi32 ((int) first),
                                  _mm_setr_epi32 (0, 1, 2, 3));

  hash = _mm_andnot_si128 (_mm_set1_epi32 (LZ4_NUMBER), hash);
  store (e, _mm_or_si128 (hash, number));
}

/* As in lz4.c.  gcc would keep an array of these in memory. */
#define TAKE(i, old)                                                          \
  at = e[i] >> (32 - LZ4_HASH_BITS);                                          \
  __asm__ ("" : "+r"(at));                                                    \
  old = _mm_cvtsi32_si128 ((int) table[at]);                                  \
  table[at] = e[i]

/* Put four entries into the table, in order; what was there before. */
TARGET INLINE __m128i
exchange (uint32_t *table, const uint32_t *e)
{
  __m128i a, b, c, d;
  size_t at;

  __asm__ ("" : "+r"(table), "+r"(e)); /* short addresses */
  TAKE (0, a);
  TAKE (1, b);
  TAKE (2, c);
  TAKE (3, d);
  return _mm_unpacklo_epi64 (_mm_unpacklo_epi32 (a, b),
                             _mm_unpacklo_epi32 (c, d));
}

/* All ones for old entries of the same hash. */
TARGET INLINE __m128i
valid (__m128i old, __m128i fresh)
{
  const __m128i none = _mm_set1_epi32 (LZ4_NONE);
  __m128i differ = _mm_srli_epi32 (_mm_xor_si128 (old, fresh), 10);
  __m128i empty = _mm_cmpeq_epi32 (_mm_and_si128 (old, none), none);

  return _mm_andnot_si128 (empty,
                           _mm_cmpeq_epi32 (differ, _mm_setzero_si128 ()));
}

TARGET INLINE uint64_t
bits (__m128i v, unsigned at)
{
  return (uint64_t) _mm_movemask_ps (_mm_castsi128_ps (v)) << at;
}

TARGET INLINE void
refer_wide (struct lz4_work *w, uint64_t *wide)
{
  const __m128i number = _mm_set1_epi32 (LZ4_NUMBER);
  const __m128i all = _mm_set1_epi32 (-1);
  __m128i h0, h1, old, ok;
  uint64_t mask = 0;
  unsigned i;

  for (i = 0; i < LZ4_WORDS; i += 4) {
    h0 = multiply (load (w->page + 4 * i - 2), LZ4_WIDE_MUL0);
    h1 = multiply (load (w->page + 4 * i + 1), LZ4_WIDE_MUL1);
    put_entries (w->words + i, _mm_add_epi32 (h0, h1), i);
  }
  for (i = 0; i < LZ4_WORDS; i += 4) {
    ok = load (w->words + i);
    old = exchange (w->wide, w->words + i);
    ok = valid (old, ok);
    store (w->words + i, _mm_or_si128 (_mm_and_si128 (old, number),
                                       _mm_xor_si128 (ok, all)));
    mask |= bits (ok, i % 64);
    if (i % 64 == 60) {
      wide[i / 64] = mask;
      mask = 0;
    }
  }
}

TARGET INLINE uint64_t
refer_narrow (struct lz4_work *w, unsigned k)
{
  const __m128i number = _mm_set1_epi32 (LZ4_NUMBER);
  uint32_t *words = w->words + 64 * k, e[64];
  const uint8_t *p = w->page + 256 * k;
  __m128i old, ok, now, none;
  uint64_t mask = 0;
  unsigned i;

  for (i = 0; i < 64; i += 4)
    put_entries (e + i, multiply (load (p + 4 * i - 1), LZ4_NARROW_MUL),
                 64 * k + i);
  for (i = 0; i < 64; i += 4) {
    ok = load (e + i);
    old = exchange (w->narrow, e + i);
    mask |= bits (valid (old, ok), i);
    now = load (words + i);
    none = _mm_srai_epi32 (now, 31);
    old = _mm_and_si128 (_mm_and_si128 (old, number), none);
    store (words + i, _mm_or_si128 (old, _mm_andnot_si128 (none, now)));
  }
  return mask;
}

TARGET unsigned
tz_lz4_encode_ssse3 (struct lz4_work *work, uint8_t *dst,
                     unsigned narrow_below)
{
  return encode (work, dst, narrow_below);
}

#endif

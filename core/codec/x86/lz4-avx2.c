/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* LZ4: the encoder for AVX2.  Comparing 64 bytes at once was no faster. */
#if defined(__x86_64__)

#include <immintrin.h>

#define TARGET __attribute__ ((target ("avx2,bmi,bmi2,lzcnt,popcnt")))
#include "codec/lz4-encode.h"

TARGET INLINE __m256i
load (const void *p)
{
  return _mm256_loadu_si256 ((const __m256i *) p);
}

TARGET INLINE void
store (void *p, __m256i v)
{
  _mm256_storeu_si256 ((__m256i *) p, v);
}

TARGET INLINE unsigned
equal (const uint8_t *p, const uint8_t *c)
{
  return _mm256_movemask_epi8 (_mm256_cmpeq_epi8 (load (p), load (c)));
}

TARGET INLINE struct span
measure (const uint8_t *p, const uint8_t *c)
{
  uint64_t differ = ~(equal (p - LZ4_BACK, c - LZ4_BACK)
                      | (uint64_t) equal (p + 24, c + 24) << 32);
  struct span s;

  s.forward = _tzcnt_u64 (differ >> LZ4_BACK);
  s.back = _lzcnt_u32 ((unsigned) differ << 24 | 1u << 23);
  return s;
}

/* Eight words' entries from their hashes. */
TARGET INLINE void
put_entries (uint32_t *e, __m256i hash, unsigned first)
{
  const __m256i steps = _mm256_setr_epi32 (0, 1, 2, 3, 4, 5, 6, 7);
  __m256i number = _mm256_add_epi32 (_mm256_set1_epi32 (first), steps);

  hash = _mm256_andnot_si256 (_mm256_set1_epi32 (LZ4_NUMBER), hash);
  store (e, _mm256_or_si256 (hash, number));
}

/* The empty statement keeps clang from folding shift and scale into a shift and
 * a mask, one more step for each of thousands of words.
 */
#define TAKE(i, statement)                                                    \
  at = e[i] >> (32 - LZ4_HASH_BITS);                                          \
  __asm__ ("" : "+r"(at));                                                    \
  statement;                                                                  \
  table[at] = e[i]

/* Put eight entries into the table, in order; what was there before. */
TARGET INLINE __m256i
exchange (uint32_t *table, const uint32_t *e)
{
  __m128i a, b, c, d;
  size_t at;

  __asm__ ("" : "+r"(table), "+r"(e)); /* short addresses */
  TAKE (0, a = _mm_cvtsi32_si128 (table[at]));
  TAKE (1, a = _mm_insert_epi32 (a, table[at], 1));
  TAKE (2, b = _mm_cvtsi32_si128 (table[at]));
  TAKE (3, b = _mm_insert_epi32 (b, table[at], 1));
  TAKE (4, c = _mm_cvtsi32_si128 (table[at]));
  TAKE (5, c = _mm_insert_epi32 (c, table[at], 1));
  TAKE (6, d = _mm_cvtsi32_si128 (table[at]));
  TAKE (7, d = _mm_insert_epi32 (d, table[at], 1));
  a = _mm_unpacklo_epi64 (a, b);
  return _mm256_inserti128_si256 (_mm256_castsi128_si256 (a),
                                  _mm_unpacklo_epi64 (c, d), 1);
}

/* True for old entries of the same hash. */
TARGET INLINE __m256i
valid (__m256i old, __m256i fresh)
{
  const __m256i none = _mm256_set1_epi32 (LZ4_NONE);
  __m256i differ = _mm256_srli_epi32 (_mm256_xor_si256 (old, fresh), 10);
  __m256i empty = _mm256_cmpeq_epi32 (_mm256_and_si256 (old, none), none);

  return _mm256_andnot_si256 (
      empty, _mm256_cmpeq_epi32 (differ, _mm256_setzero_si256 ()));
}

TARGET INLINE uint64_t
bits (__m256i v, unsigned at)
{
  return (uint64_t) _mm256_movemask_ps (_mm256_castsi256_ps (v)) << at;
}

TARGET INLINE void
refer_wide (struct lz4_work *w, uint64_t *wide)
{
  const __m256i mul0 = _mm256_set1_epi32 ((int) LZ4_WIDE_MUL0);
  const __m256i mul1 = _mm256_set1_epi32 ((int) LZ4_WIDE_MUL1);
  const __m256i number = _mm256_set1_epi32 (LZ4_NUMBER);
  const __m256i all = _mm256_set1_epi32 (-1);
  __m256i h0, h1, old, ok;
  uint64_t mask = 0;
  unsigned i;

  for (i = 0; i < LZ4_WORDS; i += 8) {
    h0 = _mm256_mullo_epi32 (load (w->page + 4 * i - 2), mul0);
    h1 = _mm256_mullo_epi32 (load (w->page + 4 * i + 1), mul1);
    put_entries (w->words + i, _mm256_add_epi32 (h0, h1), i);
  }
  for (i = 0; i < LZ4_WORDS; i += 8) {
    ok = load (w->words + i);
    old = exchange (w->wide, w->words + i);
    ok = valid (old, ok);
    store (w->words + i, _mm256_or_si256 (_mm256_and_si256 (old, number),
                                          _mm256_xor_si256 (ok, all)));
    mask |= bits (ok, i % 64);
    if (i % 64 == 56) {
      wide[i / 64] = mask;
      mask = 0;
    }
  }
}

TARGET INLINE uint64_t
refer_narrow (struct lz4_work *w, unsigned k)
{
  const __m256i mul = _mm256_set1_epi32 ((int) LZ4_NARROW_MUL);
  const __m256i number = _mm256_set1_epi32 (LZ4_NUMBER);
  uint32_t *words = w->words + 64 * k, e[64];
  const uint8_t *p = w->page + 256 * k;
  __m256i old, ok;
  uint64_t mask = 0;
  unsigned i;
  __m256 now;

  for (i = 0; i < 64; i += 8)
    put_entries (e + i, _mm256_mullo_epi32 (load (p + 4 * i - 1), mul),
                 64 * k + i);
  for (i = 0; i < 64; i += 8) {
    ok = load (e + i);
    old = exchange (w->narrow, e + i);
    mask |= bits (valid (old, ok), i);
    now = _mm256_castsi256_ps (load (words + i));
    old = _mm256_and_si256 (old, number);
    now = _mm256_blendv_ps (now, _mm256_castsi256_ps (old), now);
    store (words + i, _mm256_castps_si256 (now));
  }
  return mask;
}

TARGET unsigned
tz_lz4_encode_avx2 (struct lz4_work *work, uint8_t *dst,
                    unsigned narrow_below)
{
  unsigned n = encode (work, dst, narrow_below);

  /* Where gcc knows what registers a function it calls leaves alone, it forgets
   * this, and all SSE code that runs later, whoever's, pays for it.
   */
  _mm256_zeroupper ();
  return n;
}

#endif

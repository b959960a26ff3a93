/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Checksum: the sums with AVX-512, see ../../checksum.h, in parts that can be
 * put between the steps of something else.
 */
#ifndef TZ_CHECKSUM_AVX512_H
#define TZ_CHECKSUM_AVX512_H

#include <immintrin.h>

#include "checksum.h"

#define SUM_PART                                                              \
  __attribute__ ((always_inline, target ("avx512f,avx512bw"))) static inline

__attribute__ ((always_inline, target ("avx2"))) static inline uint64_t
total256 (__m256i v)
{
  __m128i h = _mm_add_epi64 (_mm256_castsi256_si128 (v),
                             _mm256_extracti128_si256 (v, 1));

  return (uint64_t) _mm_cvtsi128_si64 (
      _mm_add_epi64 (h, _mm_unpackhi_epi64 (h, h)));
}

struct sums512 {
  __m512i a, b;
};

SUM_PART __m512i
sum512_key (int i)
{
  return _mm512_load_si512 (tz_checksum_key + 32 * i);
}

SUM_PART __m512i
sum512_stripe (const uint8_t *p, int i)
{
  return _mm512_madd_epi16 (_mm512_loadu_si512 (p), sum512_key (i));
}

/* A block of 256 bytes. */
SUM_PART void
sum512_block (struct sums512 *s, const uint8_t *p)
{
  __m512i x = _mm512_add_epi32 (sum512_stripe (p, 0),
                                sum512_stripe (p + 64, 1));
  __m512i y = _mm512_add_epi32 (sum512_stripe (p + 128, 2),
                                sum512_stripe (p + 192, 3));

  s->a = _mm512_add_epi32 (s->a, _mm512_add_epi32 (x, y));
  s->b = _mm512_add_epi32 (s->b, s->a);
}

/* The bytes after the last whole block. */
SUM_PART void
sum512_rest (struct sums512 *s, const uint8_t *p, size_t len)
{
  __m512i last;
  int i = 0;

  if (len == 0)
    return;
  for (; len > 64; len -= 64, p += 64)
    s->a = _mm512_add_epi32 (s->a, sum512_stripe (p, i++));
  last = _mm512_maskz_loadu_epi8 (~(__mmask64) 0 >> (64 - len), p);
  s->a = _mm512_add_epi32 (s->a, _mm512_madd_epi16 (last, sum512_key (i)));
  s->b = _mm512_add_epi32 (s->b, s->a);
}

SUM_PART uint64_t
sum512_fold (const struct sums512 *s)
{
  __m512i a = _mm512_xor_si512 (s->a, _mm512_load_si512 (tz_checksum_fold));
  __m512i b
      = _mm512_xor_si512 (s->b, _mm512_load_si512 (tz_checksum_fold + 16));
  __m512i x = _mm512_mul_epu32 (a, b);
  __m512i y
      = _mm512_mul_epu32 (_mm512_srli_epi64 (a, 32), _mm512_srli_epi64 (b, 32));
  __m256i h;

  /* Compilers reduce a register by adding signed numbers in the end. */
  x = _mm512_add_epi64 (x, y);
  h = _mm256_add_epi64 (_mm512_castsi512_si256 (x),
                        _mm512_extracti64x4_epi64 (x, 1));
  return total256 (h);
}

#endif /* TZ_CHECKSUM_AVX512_H */

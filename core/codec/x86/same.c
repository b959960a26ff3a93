/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Same-filled pages: the look at the whole page for x86. */
#if defined(__x86_64__)

#include <immintrin.h>

#include "codec/same.h"

#define TARGET(isa) __attribute__ ((target (isa)))

/* Each block ends in one test: most pages differ in the first. */

#define LOAD(i) _mm512_loadu_si512 (page + 64 * (i))
/* a | (b ^ c) */
#define OR_XOR(a, b, c) _mm512_ternarylogic_epi64 (a, b, c, 0xf6)

TARGET ("avx512f")
bool
tz_same_rest_avx512 (const uint8_t *page, uint64_t pattern)
{
  const __m512i v = _mm512_set1_epi64 ((long long) pattern);
  const uint8_t *end = page + TZ_PAGE;
  __m512i a, b;

  for (; page < end; page += 512) {
    a = OR_XOR (_mm512_xor_si512 (LOAD (0), v), LOAD (1), v);
    b = OR_XOR (_mm512_xor_si512 (LOAD (2), v), LOAD (3), v);
    a = OR_XOR (OR_XOR (a, LOAD (4), v), LOAD (5), v);
    b = OR_XOR (OR_XOR (b, LOAD (6), v), LOAD (7), v);
    a = _mm512_or_si512 (a, b);
    if (_mm512_test_epi64_mask (a, a) != 0)
      return false;
  }
  return true;
}

#undef LOAD
#define LOAD(i) _mm256_loadu_si256 ((const __m256i *) page + (i))

TARGET ("avx2")
bool
tz_same_rest_avx2 (const uint8_t *page, uint64_t pattern)
{
  const __m256i v = _mm256_set1_epi64x ((long long) pattern);
  const uint8_t *end = page + TZ_PAGE;
  __m256i a, b, c, d;

  for (; page < end; page += 256) {
    a = _mm256_and_si256 (_mm256_cmpeq_epi8 (LOAD (0), v),
                          _mm256_cmpeq_epi8 (LOAD (1), v));
    b = _mm256_and_si256 (_mm256_cmpeq_epi8 (LOAD (2), v),
                          _mm256_cmpeq_epi8 (LOAD (3), v));
    c = _mm256_and_si256 (_mm256_cmpeq_epi8 (LOAD (4), v),
                          _mm256_cmpeq_epi8 (LOAD (5), v));
    d = _mm256_and_si256 (_mm256_cmpeq_epi8 (LOAD (6), v),
                          _mm256_cmpeq_epi8 (LOAD (7), v));
    a = _mm256_and_si256 (_mm256_and_si256 (a, b), _mm256_and_si256 (c, d));
    if (_mm256_movemask_epi8 (a) != -1)
      return false;
  }
  return true;
}

#undef LOAD
#define LOAD(i) _mm_loadu_si128 ((const __m128i *) page + (i))

TARGET ("ssse3")
bool
tz_same_rest_ssse3 (const uint8_t *page, uint64_t pattern)
{
  const __m128i v = _mm_set1_epi64x ((long long) pattern);
  const uint8_t *end = page + TZ_PAGE;
  __m128i a, b, c, d;

  for (; page < end; page += 128) {
    a = _mm_and_si128 (_mm_cmpeq_epi8 (LOAD (0), v),
                       _mm_cmpeq_epi8 (LOAD (1), v));
    b = _mm_and_si128 (_mm_cmpeq_epi8 (LOAD (2), v),
                       _mm_cmpeq_epi8 (LOAD (3), v));
    c = _mm_and_si128 (_mm_cmpeq_epi8 (LOAD (4), v),
                       _mm_cmpeq_epi8 (LOAD (5), v));
    d = _mm_and_si128 (_mm_cmpeq_epi8 (LOAD (6), v),
                       _mm_cmpeq_epi8 (LOAD (7), v));
    a = _mm_and_si128 (_mm_and_si128 (a, b), _mm_and_si128 (c, d));
    if (_mm_movemask_epi8 (a) != 0xffff)
      return false;
  }
  return true;
}

#endif

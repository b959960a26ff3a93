/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Checksum: the sums for x86, see ../../checksum.h. */
#if defined(__x86_64__)

#include <immintrin.h>

#include "checksum.h"
#include "codec/x86/checksum-avx512.h"

#define TARGET(isa) __attribute__ ((target (isa)))
#define KEY(type)   ((const type *) tz_checksum_key)
#define FOLD(type)  ((const type *) tz_checksum_fold)

TARGET ("avx512f,avx512bw")
uint64_t
tz_checksum_sum_avx512 (const uint8_t *p, size_t len)
{
  struct sums512 s = { _mm512_setzero_si512 (), _mm512_setzero_si512 () };

  for (; len >= 256; len -= 256, p += 256)
    sum512_block (&s, p);
  sum512_rest (&s, p, len);
  return sum512_fold (&s);
}

#define LOAD256(p)                                                            \
  _mm256_loadu_si256 ((const __m256i *) (p))
#define MADD256(p, key)                                                       \
  _mm256_madd_epi16 (LOAD256 (p), key)
#define MASKED256(p, mask, key)                                               \
  _mm256_madd_epi16 (_mm256_and_si256 (LOAD256 (p), LOAD256 (mask)), key)

TARGET ("avx2")
static inline __m256i
fold256 (__m256i a, __m256i b, int i)
{
  a = _mm256_xor_si256 (a, FOLD (__m256i)[i]);
  b = _mm256_xor_si256 (b, FOLD (__m256i)[2 + i]);
  return _mm256_add_epi64 (_mm256_mul_epu32 (a, b),
                           _mm256_mul_epu32 (_mm256_srli_epi64 (a, 32),
                                             _mm256_srli_epi64 (b, 32)));
}

TARGET ("avx2")
static inline __m256i
four256 (const uint8_t *p, const __m256i *key)
{
  __m256i x, y;

  x = _mm256_add_epi32 (MADD256 (p, key[0]), MADD256 (p + 64, key[2]));
  y = _mm256_add_epi32 (MADD256 (p + 128, key[4]), MADD256 (p + 192, key[6]));
  return _mm256_add_epi32 (x, y);
}

TARGET ("avx2")
uint64_t
tz_checksum_sum_avx2 (const uint8_t *p, size_t len)
{
  const __m256i *key = KEY (__m256i);
  __m256i a0 = _mm256_setzero_si256 (), a1 = a0, b0 = a0, b1 = a0;
  const uint8_t *mask;

  for (; len >= 256; len -= 256, p += 256) {
    a0 = _mm256_add_epi32 (a0, four256 (p, key));
    b0 = _mm256_add_epi32 (b0, a0);
    a1 = _mm256_add_epi32 (a1, four256 (p + 32, key + 1));
    b1 = _mm256_add_epi32 (b1, a1);
  }
  if (len > 0) {
    for (; len >= 64; len -= 64, p += 64, key += 2) {
      a0 = _mm256_add_epi32 (a0, MADD256 (p, key[0]));
      a1 = _mm256_add_epi32 (a1, MADD256 (p + 32, key[1]));
    }
    if (len > 0) {
      mask = tz_checksum_mask + 64 - len;
      a0 = _mm256_add_epi32 (a0, MASKED256 (p, mask, key[0]));
      a1 = _mm256_add_epi32 (a1, MASKED256 (p + 32, mask + 32, key[1]));
    }
    b0 = _mm256_add_epi32 (b0, a0);
    b1 = _mm256_add_epi32 (b1, a1);
  }
  return total256 (_mm256_add_epi64 (fold256 (a0, b0, 0), fold256 (a1, b1, 1)));
}

#define LOAD128(p) _mm_loadu_si128 ((const __m128i *) (p))

struct sums {
  __m128i a[4], b[4];
};

/* Register i's share of a stripe, and of a block. */
TARGET ("ssse3")
static inline void
add128 (struct sums *s, int i, __m128i v, const __m128i *key)
{
  s->a[i] = _mm_add_epi32 (s->a[i], _mm_madd_epi16 (v, key[i]));
}

TARGET ("ssse3")
static inline void
block128 (struct sums *s, int i, const uint8_t *p, const __m128i *key)
{
  add128 (s, i, LOAD128 (p + 16 * i), key);
  add128 (s, i, LOAD128 (p + 64 + 16 * i), key + 4);
  add128 (s, i, LOAD128 (p + 128 + 16 * i), key + 8);
  add128 (s, i, LOAD128 (p + 192 + 16 * i), key + 12);
  s->b[i] = _mm_add_epi32 (s->b[i], s->a[i]);
}

TARGET ("ssse3")
static inline __m128i
fold128 (const struct sums *s, int i)
{
  __m128i x = _mm_xor_si128 (s->a[i], FOLD (__m128i)[i]);
  __m128i y = _mm_xor_si128 (s->b[i], FOLD (__m128i)[4 + i]);

  return _mm_add_epi64 (_mm_mul_epu32 (x, y),
                        _mm_mul_epu32 (_mm_srli_epi64 (x, 32),
                                       _mm_srli_epi64 (y, 32)));
}

/* What is left after the whole blocks. */
TARGET ("ssse3")
static inline void
rest128 (struct sums *s, const uint8_t *p, size_t len)
{
  const __m128i *key = KEY (__m128i);
  const uint8_t *mask;
  int i;

  for (; len >= 64; len -= 64, p += 64, key += 4)
#pragma GCC unroll 4
    for (i = 0; i < 4; i++)
      add128 (s, i, LOAD128 (p + 16 * i), key);
  mask = tz_checksum_mask + 64 - len;
  if (len > 0)
#pragma GCC unroll 4
    for (i = 0; i < 4; i++)
      add128 (s, i,
              _mm_and_si128 (LOAD128 (p + 16 * i), LOAD128 (mask + 16 * i)),
              key);
#pragma GCC unroll 4
  for (i = 0; i < 4; i++)
    s->b[i] = _mm_add_epi32 (s->b[i], s->a[i]);
}

TARGET ("ssse3")
uint64_t
tz_checksum_sum_ssse3 (const uint8_t *p, size_t len)
{
  const __m128i *key = KEY (__m128i);
  struct sums s;
  __m128i h;

  s.a[0] = s.a[1] = s.a[2] = s.a[3] = _mm_setzero_si128 ();
  s.b[0] = s.b[1] = s.b[2] = s.b[3] = _mm_setzero_si128 ();
  for (; len >= 256; len -= 256, p += 256) {
    __asm__ ("" : "+r"(key)); /* or gcc copies all keys to the stack first */
    block128 (&s, 0, p, key);
    block128 (&s, 1, p, key);
    block128 (&s, 2, p, key);
    block128 (&s, 3, p, key);
  }
  if (len > 0)
    rest128 (&s, p, len);
  h = _mm_add_epi64 (_mm_add_epi64 (fold128 (&s, 0), fold128 (&s, 1)),
                     _mm_add_epi64 (fold128 (&s, 2), fold128 (&s, 3)));
  return _mm_cvtsi128_si64 (_mm_add_epi64 (h, _mm_unpackhi_epi64 (h, h)));
}

#endif

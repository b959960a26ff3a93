/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* LD64 with AVX2: two registers a line. */
#if defined(__x86_64__)

#include <errno.h>
#include <immintrin.h>
#include <stdbool.h>
#include <string.h>

#include "cpu.h"
#include "codec/bytes.h"
#include "codec/ld64.h"

#define TARGET    __attribute__ ((target ("avx2,bmi,bmi2,popcnt,lzcnt")))
#define PRIMITIVE static inline __attribute__ ((always_inline)) TARGET

#include "codec/x86/ld64-sse.h"

PRIMITIVE __m256i
load_long (const void *p)
{
  return _mm256_loadu_si256 (p);
}

PRIMITIVE unsigned
popcount (uint64_t x)
{
  return (unsigned) _mm_popcnt_u64 (x);
}

PRIMITIVE uint64_t
equal (const uint8_t *a, const uint8_t *b)
{
  __m256i v = _mm256_cmpeq_epi8 (load_long (a), load_long (b));
  __m256i w = _mm256_cmpeq_epi8 (load_long (a + 32), load_long (b + 32));

  return (uint64_t) (unsigned) _mm256_movemask_epi8 (w) << 32
         | (unsigned) _mm256_movemask_epi8 (v);
}

PRIMITIVE unsigned
count_equal (const uint8_t *a, const uint8_t *b)
{
  return popcount (equal (a, b));
}

PRIMITIVE uint64_t
differing (const uint8_t *a, const uint8_t *b)
{
  return ~equal (a, b);
}

PRIMITIVE void
hash_vectors (__m256i v, __m256i w, uint16_t h[8])
{
  const __m256i k
      = _mm256_set1_epi64x ((int64_t) ((uint64_t) LD64_K2 << 32 | LD64_K1));
  __m128i x;

  v = _mm256_mullo_epi32 (v, k);
  w = _mm256_mullo_epi32 (w, k);
  v = _mm256_hadd_epi32 (v, w); /* 0 1 4 5, 2 3 6 7 */
  v = _mm256_srli_epi32 (v, 32 - LD64_BITS);
  x = _mm_packs_epi32 (_mm256_castsi256_si128 (v),
                       _mm256_extracti128_si256 (v, 1));
  _mm_storeu_si128 ((__m128i *) h, _mm_shuffle_epi32 (x, 0xd8));
}

PRIMITIVE void
hash_line (const uint8_t *a, uint16_t h[8])
{
  hash_vectors (load_long (a), load_long (a + 32), h);
}

PRIMITIVE void
hash_part (const uint8_t *a, uint16_t h[8])
{
  __m256i w = _mm256_castsi128_si256 (load (a + 32));

  w = _mm256_inserti128_si256 (w, load_half (a + 48), 1);
  hash_vectors (load_long (a), w, h);
}

PRIMITIVE __m256i
load_quarters (const void *a, const void *b, const void *c, const void *d)
{
  return _mm256_inserti128_si256 (_mm256_castsi128_si256 (load_halves (a, b)),
                                  load_halves (c, d), 1);
}

/* The bits of each byte, by halves of it; then those of the bytes before. */
PRIMITIVE unsigned
count_literals (const uint64_t mask[4], uint8_t upto[32])
{
  const __m256i counts = _mm256_broadcastsi128_si256 (
      _mm_setr_epi8 (0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
  const __m256i low = _mm256_set1_epi8 (15);
  __m256i v = load_long (mask), w = _mm256_srli_epi32 (v, 4);
  uint64_t n[4];

  v = _mm256_shuffle_epi8 (counts, _mm256_and_si256 (v, low));
  w = _mm256_shuffle_epi8 (counts, _mm256_and_si256 (w, low));
  v = _mm256_add_epi8 (v, w);
  v = _mm256_add_epi8 (v, _mm256_slli_epi64 (v, 8));
  v = _mm256_add_epi8 (v, _mm256_slli_epi64 (v, 16));
  v = _mm256_add_epi8 (v, _mm256_slli_epi64 (v, 32));
  _mm256_storeu_si256 ((__m256i *) upto, v);
  _mm256_storeu_si256 ((__m256i *) n, _mm256_srli_epi64 (v, 56));
  return (unsigned) (n[0] + n[1] + n[2] + n[3]);
}

#include "codec/ld64-choose.h"
#include "codec/ld64-shuffle.h"

PRIMITIVE const uint8_t *
patch (uint8_t *line, const uint8_t *ref, const uint8_t *literals,
       const struct unpacked *u, unsigned k)
{
  const uint8_t *masks = (const uint8_t *) &u->mask[k], *upto = u->upto + 8 * k;
  const __m256i upper
      = _mm256_set_epi64x (0x0808080808080808, 0, 0x0808080808080808, 0);
  const uint64_t *orders = tz_ld64_expand;
  __m256i order, v;
  int i;

#pragma GCC unroll 8
  for (i = 0; i < 8; i += 4) {
    v = load_quarters (literals + (i ? upto[i - 1] : 0), literals + upto[i],
                       literals + upto[i + 1], literals + upto[i + 2]);
    order = load_quarters (orders + masks[i], orders + masks[i + 1],
                           orders + masks[i + 2], orders + masks[i + 3]);
    v = _mm256_shuffle_epi8 (v, _mm256_or_si256 (order, upper));
    v = _mm256_blendv_epi8 (v, load_long (ref + 8 * i), order);
    _mm256_storeu_si256 ((__m256i *) (line + 8 * i), v);
  }
  return literals + upto[7];
}

#include "codec/ld64-parts.h"

const struct ld64_body tz_ld64_avx2 = {
  .isa = "avx2",
  .needs = TZ_CPU_AVX2,
  .encode = { NULL, encode1, encode2 },
  .decode = decode,
};

#endif

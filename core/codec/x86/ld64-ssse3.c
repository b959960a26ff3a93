/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* LD64 with SSSE3: four registers a line. */
#if defined(__x86_64__)

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <tmmintrin.h>

#include "cpu.h"
#include "codec/bytes.h"
#include "codec/ld64.h"

#define TARGET    __attribute__ ((target ("ssse3")))
#define PRIMITIVE static inline __attribute__ ((always_inline)) TARGET

#include "codec/x86/ld64-sse.h"

PRIMITIVE unsigned
popcount (uint64_t x)
{
  x -= x >> 1 & 0x5555555555555555;
  x = (x & 0x3333333333333333) + (x >> 2 & 0x3333333333333333);
  x = (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0f;
  return (unsigned) (x * 0x0101010101010101 >> 56);
}

PRIMITIVE unsigned
count_equal (const uint8_t *a, const uint8_t *b)
{
  __m128i s = _mm_cmpeq_epi8 (load (a), load (b));
  __m128i t = _mm_cmpeq_epi8 (load (a + 16), load (b + 16));
  __m128i u = _mm_cmpeq_epi8 (load (a + 32), load (b + 32));
  __m128i v = _mm_cmpeq_epi8 (load (a + 48), load (b + 48));

  s = _mm_add_epi8 (_mm_add_epi8 (s, t), _mm_add_epi8 (u, v));
  s = _mm_sub_epi8 (_mm_setzero_si128 (), s);
  s = _mm_sad_epu8 (s, _mm_setzero_si128 ());
  s = _mm_add_epi32 (s, _mm_unpackhi_epi64 (s, s));
  return (unsigned) _mm_cvtsi128_si32 (s);
}

PRIMITIVE uint64_t
equal_quarter (__m128i a, __m128i b)
{
  return (uint64_t) (unsigned) _mm_movemask_epi8 (_mm_cmpeq_epi8 (a, b));
}

PRIMITIVE uint64_t
differing (const uint8_t *a, const uint8_t *b)
{
  return ~(equal_quarter (load (a), load (b))
           | equal_quarter (load (a + 16), load (b + 16)) << 16
           | equal_quarter (load (a + 32), load (b + 32)) << 32
           | equal_quarter (load (a + 48), load (b + 48)) << 48);
}

/* The hashes of two times two eight bytes, 32 bits each. */
PRIMITIVE __m128i
hash_four (__m128i v, __m128i w)
{
  const __m128i k1 = _mm_set1_epi32 ((int) LD64_K1);
  const __m128i k2 = _mm_set1_epi32 ((int) LD64_K2);
  __m128i h;

  v = _mm_add_epi32 (_mm_mul_epu32 (v, k1),
                     _mm_mul_epu32 (_mm_srli_epi64 (v, 32), k2));
  w = _mm_add_epi32 (_mm_mul_epu32 (w, k1),
                     _mm_mul_epu32 (_mm_srli_epi64 (w, 32), k2));
  h = _mm_castps_si128 (
      _mm_shuffle_ps (_mm_castsi128_ps (v), _mm_castsi128_ps (w), 0x88));
  return _mm_srli_epi32 (h, 32 - LD64_BITS);
}

PRIMITIVE void
hash_line (const uint8_t *a, uint16_t h[8])
{
  __m128i v = hash_four (load (a), load (a + 16));
  __m128i w = hash_four (load (a + 32), load (a + 48));

  _mm_storeu_si128 ((__m128i *) h, _mm_packs_epi32 (v, w));
}

PRIMITIVE void
hash_part (const uint8_t *a, uint16_t h[8])
{
  __m128i v = hash_four (load (a), load (a + 16));
  __m128i w = hash_four (load (a + 32), load_half (a + 48));

  _mm_storeu_si128 ((__m128i *) h, _mm_packs_epi32 (v, w));
}

/* The bits of each byte, by halves of it; then those of the bytes before. */
PRIMITIVE __m128i
count_two (const uint64_t mask[2], uint8_t upto[16])
{
  const __m128i counts
      = _mm_setr_epi8 (0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
  const __m128i low = _mm_set1_epi8 (15);
  __m128i v = load (mask), w = _mm_srli_epi32 (v, 4);

  v = _mm_shuffle_epi8 (counts, _mm_and_si128 (v, low));
  w = _mm_shuffle_epi8 (counts, _mm_and_si128 (w, low));
  v = _mm_add_epi8 (v, w);
  v = _mm_add_epi8 (v, _mm_slli_epi64 (v, 8));
  v = _mm_add_epi8 (v, _mm_slli_epi64 (v, 16));
  v = _mm_add_epi8 (v, _mm_slli_epi64 (v, 32));
  _mm_storeu_si128 ((__m128i *) upto, v);
  return _mm_srli_epi64 (v, 56);
}

PRIMITIVE unsigned
count_literals (const uint64_t mask[4], uint8_t upto[32])
{
  __m128i v = count_two (mask, upto);

  v = _mm_add_epi64 (v, count_two (mask + 2, upto + 16));
  v = _mm_add_epi64 (v, _mm_unpackhi_epi64 (v, v));
  return (unsigned) _mm_cvtsi128_si32 (v);
}

#include "codec/ld64-choose.h"
#include "codec/ld64-shuffle.h"

PRIMITIVE const uint8_t *
patch (uint8_t *line, const uint8_t *ref, const uint8_t *literals,
       const struct unpacked *u, unsigned k)
{
  const uint8_t *masks = (const uint8_t *) &u->mask[k], *upto = u->upto + 8 * k;
  const __m128i upper = _mm_set_epi64x (0x0808080808080808, 0);
  __m128i order, v, keep;
  int i;

#pragma GCC unroll 8
  for (i = 0; i < 8; i += 2) {
    v = load_halves (literals + (i ? upto[i - 1] : 0), literals + upto[i]);
    order = load_halves (&tz_ld64_expand[masks[i]],
                         &tz_ld64_expand[masks[i + 1]]);
    order = _mm_or_si128 (order, upper);
    keep = _mm_cmpgt_epi8 (_mm_setzero_si128 (), order);
    keep = _mm_and_si128 (keep, load (ref + 8 * i));
    v = _mm_or_si128 (_mm_shuffle_epi8 (v, order), keep);
    _mm_storeu_si128 ((__m128i *) (line + 8 * i), v);
  }
  return literals + upto[7];
}

#include "codec/ld64-parts.h"

const struct ld64_body tz_ld64_ssse3 = {
  .isa = "ssse3",
  .needs = TZ_CPU_SSSE3,
  .encode = { NULL, encode1, encode2 },
  .decode = decode,
};

#endif

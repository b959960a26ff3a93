/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What LD64's bodies for SSSE3 and AVX2 have in common: eight or sixteen bytes
 * at a time.  A body includes this after it has defined PRIMITIVE.
 */

PRIMITIVE __m128i
load (const void *p)
{
  return _mm_loadu_si128 (p);
}

PRIMITIVE __m128i
load_half (const void *p)
{
  return _mm_loadl_epi64 (p);
}

/* Eight bytes at a, then eight at b. */
PRIMITIVE __m128i
load_halves (const void *a, const void *b)
{
  return _mm_castpd_si128 (_mm_loadh_pd (_mm_castsi128_pd (load_half (a)), b));
}

PRIMITIVE unsigned
nonzero_parts (uint64_t x)
{
  __m128i v
      = _mm_cmpeq_epi8 (_mm_cvtsi64_si128 ((int64_t) x), _mm_setzero_si128 ());

  return ~(unsigned) _mm_movemask_epi8 (v) & 0xff;
}

PRIMITIVE uint64_t
shuffle (const uint8_t *p, uint64_t order)
{
  return (uint64_t) _mm_cvtsi128_si64 (
      _mm_shuffle_epi8 (load_half (p), _mm_cvtsi64_si128 ((int64_t) order)));
}

PRIMITIVE uint64_t
compact (const uint8_t *p, unsigned bits)
{
  return shuffle (p, tz_ld64_compact[bits]);
}

PRIMITIVE uint64_t
expand (const uint8_t *p, unsigned bits)
{
  return shuffle (p, tz_ld64_expand[bits]);
}

/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* LD64 with AVX-512: a line is a register. */
#if defined(__x86_64__)

#include <errno.h>
#include <immintrin.h>
#include <string.h>

#include "cpu.h"
#include "codec/bytes.h"
#include "codec/ld64.h"

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

PRIMITIVE uint64_t
equal (const uint8_t *a, const uint8_t *b)
{
  return _mm512_cmpeq_epi8_mask (_mm512_loadu_si512 (a),
                                 _mm512_loadu_si512 (b));
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
hash_vector (__m512i v, uint16_t h[8])
{
  const __m512i k = _mm512_set1_epi64 ((uint64_t) LD64_K2 << 32 | LD64_K1);

  v = _mm512_mullo_epi32 (v, k);
  v = _mm512_add_epi32 (v, _mm512_slli_epi64 (v, 32));
  v = _mm512_srli_epi64 (v, 64 - LD64_BITS);
  _mm_storeu_si128 ((__m128i *) h, _mm512_cvtepi64_epi16 (v));
}

PRIMITIVE void
hash_line (const uint8_t *a, uint16_t h[8])
{
  hash_vector (_mm512_loadu_si512 (a), h);
}

PRIMITIVE void
hash_part (const uint8_t *a, uint16_t h[8])
{
  hash_vector (_mm512_maskz_loadu_epi64 (0x7f, a), h);
}

#include "codec/ld64-choose.h"

/* Flags and masks of eight lines at a time; then literals. */
INLINE int
emit (const struct ld64_scratch *s, const uint8_t *page, uint8_t *dst,
      uint8_t *flags)
{
  uint64_t lines = get64 (dst) | get64 (dst + 8), f, flag[8];
  uint8_t *p = flags + popcount (lines);
  __m512i v, n = _mm512_setzero_si512 ();
  unsigned k;

  for (k = 0; k < 8; k++) {
    v = _mm512_loadu_si512 (s->mask + 8 * k);
    n = _mm512_add_epi64 (n, _mm512_popcnt_epi64 (v));
    f = flag[k] = _mm512_test_epi8_mask (v, v);
    _mm512_storeu_si512 (p, _mm512_maskz_compress_epi8 (f, v));
    p += popcount (f);
  }
  v = _mm512_loadu_si512 (flag);
  v = _mm512_maskz_compress_epi8 (lines, v);
  /* The masks follow at once and are there already. */
  f = _bzhi_u64 (~0ull, popcount (lines));
  _mm512_mask_storeu_epi8 (flags, f, v);
  if (p - dst + _mm512_reduce_add_epi64 (n) >= TZ_PAGE)
    return 0;
  for (k = 0; k < LD64_LINES; k++) {
    v = _mm512_loadu_si512 (page + k * LD64_LINE);
    v = _mm512_maskz_compress_epi8 (s->mask[k], v);
    _mm512_storeu_si512 (p, v);
    p += popcount (s->mask[k]);
  }
  return (int) (p - dst);
}

TARGET static int
encode1 (struct ld64_scratch *s, const uint8_t *page, uint8_t *dst)
{
  return emit (s, page, dst, choose (s, page, dst, 1));
}

TARGET static int
encode2 (struct ld64_scratch *s, const uint8_t *page, uint8_t *dst)
{
  return emit (s, page, dst, choose (s, page, dst, 2));
}

/* Expand flags and masks into 64 masks.  Returns the first literal; NULL if
 * the streams do not add up.
 */
INLINE const uint8_t *
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
INLINE int
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

TARGET static int
decode (const uint8_t *blob, size_t len, uint8_t *page)
{
  const uint8_t *p = blob + LD64_HEADER, *end = blob + len, *from;
  uint64_t a, b, mask[LD64_LINES];
  uint16_t ref[LD64_LINES];
  unsigned k, distance = LD64_LINE;
  __m512i v;

  if (len < LD64_HEADER || len >= TZ_PAGE)
    return -EBADMSG;
  a = get64 (blob);
  b = get64 (blob + 8);
  if (a & 1 || 2 * popcount (a & ~b) + popcount (a | b) > end - p)
    return -EBADMSG;
  if (!unpack_refs (p, a & ~b, ref))
    return -EBADMSG;
  p = unpack_masks (p + 2 * popcount (a & ~b), end, a | b, mask);
  if (!p)
    return -EBADMSG;
  for (k = 0; k < LD64_LINES; k++, a >>= 1, b >>= 1) {
    distance = a & ~b & 1 ? k * LD64_LINE - ref[k] : distance;
    from = page + k * LD64_LINE - distance;
    from = a & 1 ? from : tz_ld64_zeroes;
    v = _mm512_mask_expand_epi8 (_mm512_loadu_si512 (from), mask[k],
                                 _mm512_loadu_si512 (p));
    p += popcount (mask[k]);
    _mm512_storeu_si512 (page + k * LD64_LINE, v);
  }
  return 0;
}

const struct ld64_body tz_ld64_avx512 = {
  .isa = "avx512",
  .needs = TZ_CPU_AVX512,
  .encode = { NULL, encode1, encode2 },
  .decode = decode,
};

#endif

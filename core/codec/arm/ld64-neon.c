/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* LD64 with NEON: four registers a line. */
#if defined(__aarch64__) && defined(__ARM_NEON) && defined(__AARCH64EL__)

#include <arm_neon.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "cpu.h"
#include "codec/bytes.h"
#include "codec/ld64.h"

#define TARGET
#define PRIMITIVE static inline __attribute__ ((always_inline))

PRIMITIVE unsigned
popcount (uint64_t x)
{
  return vaddv_u8 (vcnt_u8 (vcreate_u8 (x)));
}

PRIMITIVE unsigned
count_equal (const uint8_t *a, const uint8_t *b)
{
  uint8x16_t s = vceqq_u8 (vld1q_u8 (a), vld1q_u8 (b));
  uint8x16_t t = vceqq_u8 (vld1q_u8 (a + 16), vld1q_u8 (b + 16));
  uint8x16_t u = vceqq_u8 (vld1q_u8 (a + 32), vld1q_u8 (b + 32));
  uint8x16_t v = vceqq_u8 (vld1q_u8 (a + 48), vld1q_u8 (b + 48));

  s = vaddq_u8 (vaddq_u8 (s, t), vaddq_u8 (u, v));
  return vaddvq_u8 (vsubq_u8 (vdupq_n_u8 (0), s));
}

/* A bit for each byte of four registers, each of which is 0 or 255. */
PRIMITIVE uint64_t
gather_bits (uint8x16_t a, uint8x16_t b, uint8x16_t c, uint8x16_t d)
{
  const uint64x2_t bits = vdupq_n_u64 (0x8040201008040201);
  const uint8x16_t bit = vreinterpretq_u8_u64 (bits);

  a = vpaddq_u8 (vandq_u8 (a, bit), vandq_u8 (b, bit));
  c = vpaddq_u8 (vandq_u8 (c, bit), vandq_u8 (d, bit));
  a = vpaddq_u8 (a, c);
  return vgetq_lane_u64 (vreinterpretq_u64_u8 (vpaddq_u8 (a, a)), 0);
}

PRIMITIVE uint64_t
differing (const uint8_t *a, const uint8_t *b)
{
  return ~gather_bits (vceqq_u8 (vld1q_u8 (a), vld1q_u8 (b)),
                       vceqq_u8 (vld1q_u8 (a + 16), vld1q_u8 (b + 16)),
                       vceqq_u8 (vld1q_u8 (a + 32), vld1q_u8 (b + 32)),
                       vceqq_u8 (vld1q_u8 (a + 48), vld1q_u8 (b + 48)));
}

PRIMITIVE uint16x4_t
hash_four (uint8x16_t v, uint8x16_t w)
{
  const uint64_t k12 = (uint64_t) LD64_K2 << 32 | LD64_K1;
  const uint32x4_t k = vreinterpretq_u32_u64 (vdupq_n_u64 (k12));
  uint32x4_t a = vmulq_u32 (vreinterpretq_u32_u8 (v), k);
  uint32x4_t b = vmulq_u32 (vreinterpretq_u32_u8 (w), k);

  return vmovn_u32 (vshrq_n_u32 (vpaddq_u32 (a, b), 32 - LD64_BITS));
}

PRIMITIVE void
hash_line (const uint8_t *a, uint16_t h[8])
{
  vst1_u16 (h, hash_four (vld1q_u8 (a), vld1q_u8 (a + 16)));
  vst1_u16 (h + 4, hash_four (vld1q_u8 (a + 32), vld1q_u8 (a + 48)));
}

PRIMITIVE void
hash_part (const uint8_t *a, uint16_t h[8])
{
  uint8x16_t last = vcombine_u8 (vld1_u8 (a + 48), vdup_n_u8 (0));

  vst1_u16 (h, hash_four (vld1q_u8 (a), vld1q_u8 (a + 16)));
  vst1_u16 (h + 4, hash_four (vld1q_u8 (a + 32), last));
}

PRIMITIVE unsigned
nonzero_parts (uint64_t x)
{
  const uint8x8_t bit = vcreate_u8 (0x8040201008040201);
  uint8x8_t v = vcreate_u8 (x);

  return vaddv_u8 (vand_u8 (vtst_u8 (v, v), bit));
}

PRIMITIVE uint64_t
shuffle (const uint8_t *p, uint64_t order)
{
  uint8x16_t v = vcombine_u8 (vld1_u8 (p), vdup_n_u8 (0));

  return vget_lane_u64 (vreinterpret_u64_u8 (vqtbl1_u8 (v, vcreate_u8 (order))),
                        0);
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

PRIMITIVE uint64x2_t
count_two (const uint64_t mask[2], uint8_t upto[16])
{
  uint64x2_t v;

  v = vreinterpretq_u64_u8 (vcntq_u8 (vld1q_u8 ((const uint8_t *) mask)));
  /* Byte by byte: no sum exceeds 64. */
  v = vaddq_u64 (v, vshlq_n_u64 (v, 8));
  v = vaddq_u64 (v, vshlq_n_u64 (v, 16));
  v = vaddq_u64 (v, vshlq_n_u64 (v, 32));
  vst1q_u8 (upto, vreinterpretq_u8_u64 (v));
  return vshrq_n_u64 (v, 56);
}

PRIMITIVE unsigned
count_literals (const uint64_t mask[4], uint8_t upto[32])
{
  uint64x2_t v = count_two (mask, upto);

  v = vaddq_u64 (v, count_two (mask + 2, upto + 16));
  return (unsigned) vaddvq_u64 (v);
}

#include "codec/ld64-choose.h"
#include "codec/ld64-shuffle.h"

PRIMITIVE const uint8_t *
patch (uint8_t *line, const uint8_t *ref, const uint8_t *literals,
       const struct unpacked *u, unsigned k)
{
  const uint8_t *masks = (const uint8_t *) &u->mask[k], *upto = u->upto + 8 * k;
  const uint8x16_t upper = vcombine_u8 (vdup_n_u8 (0), vdup_n_u8 (8));
  const uint64_t *orders = tz_ld64_expand;
  uint8x16_t order, v;
  int i;

#pragma GCC unroll 8
  for (i = 0; i < 8; i += 2) {
    v = vcombine_u8 (vld1_u8 (literals + (i ? upto[i - 1] : 0)),
                     vld1_u8 (literals + upto[i]));
    order = vcombine_u8 (vcreate_u8 (orders[masks[i]]),
                         vcreate_u8 (orders[masks[i + 1]]));
    order = vorrq_u8 (order, upper);
    vst1q_u8 (line + 8 * i, vqtbx1q_u8 (vld1q_u8 (ref + 8 * i), v, order));
  }
  return literals + upto[7];
}

#include "codec/ld64-parts.h"

const struct ld64_body tz_ld64_neon = {
  .isa = "neon",
  .needs = TZ_CPU_NEON,
  .encode = { NULL, encode1, encode2 },
  .decode = decode,
};

#endif

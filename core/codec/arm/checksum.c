/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Checksum: the sums for 64-bit ARM, see ../../checksum.h. */
#if defined(__aarch64__)

#include <arm_neon.h>

#include "checksum.h"

struct sums {
  int32x4_t lo[4], hi[4]; /* products, whose pairs are still to be added up */
  uint32x4_t b[4];
};

static inline int16x8_t
load (const uint8_t *p)
{
  return vreinterpretq_s16_u8 (vld1q_u8 (p));
}

/* Register i's share of a stripe; key is the stripe's. */
static inline void
add (struct sums *s, int i, int16x8_t v, const int16_t *key)
{
  int16x8_t k = vld1q_s16 (key + 8 * i);

  s->lo[i] = vmlal_s16 (s->lo[i], vget_low_s16 (v), vget_low_s16 (k));
  s->hi[i] = vmlal_high_s16 (s->hi[i], v, k);
}

static inline uint32x4_t
a (const struct sums *s, int i)
{
  return vreinterpretq_u32_s32 (vpaddq_s32 (s->lo[i], s->hi[i]));
}

static inline void
end_block (struct sums *s)
{
  int i;

  for (i = 0; i < 4; i++)
    s->b[i] = vaddq_u32 (s->b[i], a (s, i));
}

static inline uint64_t
fold (const struct sums *s)
{
  uint64x2_t h = vdupq_n_u64 (0);
  uint32x4_t x, y;
  int i;

  for (i = 0; i < 4; i++) {
    x = veorq_u32 (a (s, i), vld1q_u32 (tz_checksum_fold + 4 * i));
    y = veorq_u32 (s->b[i], vld1q_u32 (tz_checksum_fold + 16 + 4 * i));
    h = vmlal_u32 (h, vget_low_u32 (x), vget_low_u32 (y));
    h = vmlal_high_u32 (h, x, y);
  }
  return vaddvq_u64 (h);
}

uint64_t
tz_checksum_sum_neon (const uint8_t *p, size_t len)
{
  const int16_t *key = tz_checksum_key;
  struct sums s = { .lo = { { 0 } } };
  const uint8_t *mask;
  int i;

  for (; len >= 256; len -= 256, p += 256) {
    for (i = 0; i < 16; i++)
      add (&s, i % 4, load (p + 16 * i), key + i / 4 * 32);
    end_block (&s);
  }
  if (len > 0) {
    for (; len >= 64; len -= 64, p += 64, key += 32)
      for (i = 0; i < 4; i++)
        add (&s, i, load (p + 16 * i), key);
    mask = tz_checksum_mask + 64 - len;
    if (len > 0)
      for (i = 0; i < 4; i++)
        add (&s, i, vandq_s16 (load (p + 16 * i), load (mask + 16 * i)), key);
    end_block (&s);
  }
  return fold (&s);
}

#endif

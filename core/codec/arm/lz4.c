/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* LZ4: the encoder for 64-bit ARM. */
#if defined(__aarch64__)

#include <arm_neon.h>

#define TARGET
#include "codec/lz4-encode.h"

/* Four bits for each of 16 bytes that differ. */
INLINE uint64_t
differ (const uint8_t *p, const uint8_t *c)
{
  uint16x8_t v = vreinterpretq_u16_u8 (vceqq_u8 (vld1q_u8 (p), vld1q_u8 (c)));

  return ~vget_lane_u64 (vreinterpret_u64_u8 (vshrn_n_u16 (v, 4)), 0);
}

INLINE struct span
measure (const uint8_t *p, const uint8_t *c)
{
  uint64_t before = get64 (p - 8) ^ get64 (c - 8), d;
  struct span s;

  s.back = before ? __builtin_clzll (before) / 8 : 8;
  for (s.forward = 0; s.forward < 64; s.forward += 16) {
    d = differ (p + s.forward, c + s.forward);
    if (d != 0) {
      s.forward += __builtin_ctzll (d) / 4;
      break;
    }
  }
  return s;
}

INLINE uint32x4_t
load (const uint8_t *p)
{
  return vreinterpretq_u32_u8 (vld1q_u8 (p));
}

/* Four words' entries from their hashes. */
INLINE void
put_entries (uint32_t *e, uint32x4_t hash, unsigned first)
{
  static const uint32_t count[4] = { 0, 1, 2, 3 };
  uint32x4_t number = vaddq_u32 (vdupq_n_u32 (first), vld1q_u32 (count));

  vst1q_u32 (e, vbslq_u32 (vdupq_n_u32 (LZ4_NUMBER), number, hash));
}

/* Put four entries into the table, in order; what was there before. */
INLINE uint32x4_t
exchange (uint32_t *table, const uint32_t *e)
{
  uint32x4_t old = vdupq_n_u32 (0);
  uint32_t *s;

  s = table + (e[0] >> (32 - LZ4_HASH_BITS));
  old = vld1q_lane_u32 (s, old, 0);
  *s = e[0];
  s = table + (e[1] >> (32 - LZ4_HASH_BITS));
  old = vld1q_lane_u32 (s, old, 1);
  *s = e[1];
  s = table + (e[2] >> (32 - LZ4_HASH_BITS));
  old = vld1q_lane_u32 (s, old, 2);
  *s = e[2];
  s = table + (e[3] >> (32 - LZ4_HASH_BITS));
  old = vld1q_lane_u32 (s, old, 3);
  *s = e[3];
  return old;
}

/* All ones for old entries of the same hash. */
INLINE uint32x4_t
valid (uint32x4_t old, uint32x4_t fresh)
{
  const uint32x4_t none = vdupq_n_u32 (LZ4_NONE);
  uint32x4_t same = vceqzq_u32 (vshrq_n_u32 (veorq_u32 (old, fresh), 10));

  return vbicq_u32 (same, vceqq_u32 (vandq_u32 (old, none), none));
}

INLINE uint64_t
bits (uint32x4_t v, unsigned at)
{
  static const uint32_t weight[4] = { 1, 2, 4, 8 };

  return (uint64_t) vaddvq_u32 (vandq_u32 (v, vld1q_u32 (weight))) << at;
}

INLINE void
refer_wide (struct lz4_work *w, uint64_t *wide)
{
  uint32x4_t h, old, ok;
  uint64_t mask = 0;
  unsigned i;

  for (i = 0; i < LZ4_WORDS; i += 4) {
    h = vmulq_n_u32 (load (w->page + 4 * i - 2), LZ4_WIDE_MUL0);
    h = vmlaq_n_u32 (h, load (w->page + 4 * i + 1), LZ4_WIDE_MUL1);
    put_entries (w->words + i, h, i);
  }
  for (i = 0; i < LZ4_WORDS; i += 4) {
    ok = vld1q_u32 (w->words + i);
    old = exchange (w->wide, w->words + i);
    ok = valid (old, ok);
    old = vandq_u32 (old, vdupq_n_u32 (LZ4_NUMBER));
    vst1q_u32 (w->words + i, vornq_u32 (old, ok));
    mask |= bits (ok, i % 64);
    if (i % 64 == 60) {
      wide[i / 64] = mask;
      mask = 0;
    }
  }
}

INLINE uint64_t
refer_narrow (struct lz4_work *w, unsigned k)
{
  uint32_t *words = w->words + 64 * k, e[64];
  const uint8_t *p = w->page + 256 * k;
  uint32x4_t old, ok, now;
  uint64_t mask = 0;
  unsigned i;

  for (i = 0; i < 64; i += 4)
    put_entries (e + i, vmulq_n_u32 (load (p + 4 * i - 1), LZ4_NARROW_MUL),
                 64 * k + i);
  for (i = 0; i < 64; i += 4) {
    ok = vld1q_u32 (e + i);
    old = exchange (w->narrow, e + i);
    mask |= bits (valid (old, ok), i);
    now = vld1q_u32 (words + i);
    old = vandq_u32 (old, vdupq_n_u32 (LZ4_NUMBER));
    ok = vcgeq_u32 (now, vdupq_n_u32 (1u << 31));
    vst1q_u32 (words + i, vbslq_u32 (ok, old, now));
  }
  return mask;
}

unsigned
tz_lz4_encode_neon (struct lz4_work *work, uint8_t *dst,
                    unsigned narrow_below)
{
  return encode (work, dst, narrow_below);
}

#endif

/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Same-filled pages: the look at the whole page for 64-bit ARM. */
#if defined(__aarch64__)

#include <arm_neon.h>

#include "codec/same.h"

static inline uint64x2_t
differ (const uint8_t *p, uint64x2_t v)
{
  return veorq_u64 (vreinterpretq_u64_u8 (vld1q_u8 (p)), v);
}

bool
tz_same_rest_neon (const uint8_t *page, uint64_t pattern)
{
  const uint64x2_t v = vdupq_n_u64 (pattern);
  const uint8_t *end = page + TZ_PAGE;
  uint64x2_t a, b, c, d;

  for (; page < end; page += 128) {
    a = vorrq_u64 (differ (page, v), differ (page + 16, v));
    b = vorrq_u64 (differ (page + 32, v), differ (page + 48, v));
    c = vorrq_u64 (differ (page + 64, v), differ (page + 80, v));
    d = vorrq_u64 (differ (page + 96, v), differ (page + 112, v));
    a = vorrq_u64 (vorrq_u64 (a, b), vorrq_u64 (c, d));
    if (vmaxvq_u32 (vreinterpretq_u32_u64 (a)) != 0)
      return false;
  }
  return true;
}

#endif

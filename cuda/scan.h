/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* tz_same_scan and tz_checksum: they read a page once, from global memory. */
#ifndef TZ_GPU_SCAN_H
#define TZ_GPU_SCAN_H

#include "sum.h"

/* The bits in which eight times 16 bytes differ from the pattern. */
DEVICE uint32_t
differ (uint64_t at, struct pair pattern)
{
  uint32_t d = 0, i;
  struct quad v;

  UNROLL (8)
  for (i = 0; i < 8; i++) {
    v = ldg128 (at + 16 * GROUP * i);
    d |= (v.x ^ pattern.x) | (v.y ^ pattern.y) | (v.z ^ pattern.x)
         | (v.w ^ pattern.y);
  }
  return d;
}

/* Most pages are known to differ after a quarter. */
KERNEL (tz_same_scan) KERNEL_ARGS
{
  uint32_t number = page_number (), i;
  struct pair pattern = { 0, 0 };
  bool same = number < n;
  uint64_t src = 0;

  (void) flags;
  if (same) {
    src = jobs[number].src;
    pattern = ldg64 (src);
  }
  for (i = 0; i < TZ_PAGE && any_lane (same); i += TZ_PAGE / 4)
    same = !any_member (!same || differ (src + i + 16 * member (), pattern));
  if (number < n && member () == 0) {
    result[number] = same;
    if (same)
      extra[number] = pattern.x | (uint64_t) pattern.y << 32;
  }
}

KERNEL (tz_checksum) KERNEL_ARGS
{
  struct tz_gpu_job job = { 0, 0, 0, 0, 0 };
  uint32_t number = page_number (), sum;
  bool ok;

  (void) flags;
  if (number < n)
    job = jobs[number];
  ok = job.len >= 1 && job.len <= TZ_PAGE;
  sum = checksum (false, job.src, ok ? job.len : 0, job.page);
  if (number < n && member () == 0) {
    result[number] = ok ? 0 : TZ_GPU_EBLOB;
    if (ok)
      extra[number] = sum;
  }
}

#endif /* TZ_GPU_SCAN_H */

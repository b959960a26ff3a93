/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Bytes of any alignment in shared memory, a step of a group at a time: each
 * lane makes one word of the 32 bytes around.
 */
#ifndef TZ_GPU_LZ4_COPY_H
#define TZ_GPU_LZ4_COPY_H

#include "group.h"

/* A mask of the bytes of the word at at that are below limit. */
DEVICE uint32_t
bytes_below (uint32_t at, uint32_t limit)
{
  int n = 8 * (int) (limit - at);

  return funnel_clamp (~0u, 0, 32 - (n > 32 ? 32 : n < 0 ? 0 : n));
}

/* How many bytes from to on a step can make. */
DEVICE uint32_t
copy_room (uint32_t to)
{
  return 4 * GROUP - to % 4;
}

/* Together: store n bytes at to from from, and then m from to + n - offset; the
 * latter must be there before.  What is around them stays.
 */
DEVICE void
copy_step (uint32_t to, uint32_t from, uint32_t n, uint32_t offset, uint32_t m)
{
  uint32_t at = (to & ~3u) + 4 * member (), middle = to + n, end = middle + m;
  uint32_t v = 0, mask, first;
  bool store = at < end && n + m > 0;

  if (store && at + 4 > middle)
    v = load_any32 (at - offset);
  if (store && at < middle) {
    mask = bytes_below (at, middle);
    v = (load_any32 (from + at - to) & mask) | (v & ~mask);
  }
  if (store) {
    first = lds32 (at);
    mask = bytes_below (at, end) & ~bytes_below (at, to);
    v = (v & mask) | (first & ~mask);
  }
  together ();
  if (store)
    sts32 (at, v);
  together ();
}

#endif /* TZ_GPU_LZ4_COPY_H */

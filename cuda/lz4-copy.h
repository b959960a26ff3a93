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
  int above = (int) (at + 4 - limit);

  return funnel_clamp (~0u, 0, 8 * (uint32_t) (above > 0 ? above : 0));
}

/* Where this lane's word is. */
DEVICE uint32_t
copy_place (uint32_t to)
{
  return (to & ~3u) + 4 * member ();
}

/* How many bytes from to on a step can make. */
DEVICE uint32_t
copy_room (uint32_t to)
{
  return 4 * GROUP - to % 4;
}

/* Together: store n bytes at to, of which this lane has v.  What is around
 * them stays.
 */
DEVICE void
copy_store (uint32_t to, uint32_t n, uint32_t v)
{
  uint32_t at = copy_place (to), end = to + n, mask;

  mask = bytes_below (at, end) & ~bytes_below (at, to);
  v = (v & mask) | (lds32 (at) & ~mask);
  together ();
  if (mask != 0)
    sts32 (at, v);
  together ();
}

#endif /* TZ_GPU_LZ4_COPY_H */

/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What several kernels do: a page's place in the batch, copies between global
 * memory and a slot, bytes of any alignment, sums over a group.
 */
#ifndef TZ_GPU_GROUP_H
#define TZ_GPU_GROUP_H

#include "warp.h"

/* This lane's place in its group, and the group's in the warp. */
DEVICE unsigned
member (void)
{
  return lane_number () % GROUP;
}

DEVICE unsigned
group (void)
{
  return lane_number () / GROUP;
}

/* The number in the batch of the group's page; n or more: it has none. */
DEVICE uint32_t
page_number (void)
{
  return block_number () * GROUPS + group ();
}

/* Together: true in the whole group if v is in one of its lanes. */
DEVICE bool
any_member (bool v)
{
  return (lanes_with (v) >> group () * GROUP & 0xff) != 0;
}

/* Together: the sum of v over the members before this one. */
DEVICE uint32_t
sum_before (uint32_t v)
{
  uint32_t sum = v, below;
  unsigned d;

  UNROLL (3)
  for (d = 1; d < GROUP; d *= 2) {
    below = group_before (sum, d);
    sum += member () >= d ? below : 0;
  }
  return sum - v;
}

/* Together: the sum of v over the group. */
DEVICE uint32_t
sum_group (uint32_t v)
{
  v += group_xor (v, 1);
  v += group_xor (v, 2);
  return v + group_xor (v, 4);
}

/* The four bytes at at, and the eight.  Of the word after them nothing is used,
 * but it is read.
 */
DEVICE uint32_t
load_any32 (uint32_t at)
{
  uint32_t w = at & ~3u;

  return funnel (lds32 (w), lds32 (w + 4), 8 * at);
}

DEVICE struct pair
load_any64 (uint32_t at)
{
  uint32_t w = at & ~3u, middle = lds32 (w + 4);
  struct pair v;

  v.x = funnel (lds32 (w), middle, 8 * at);
  v.y = funnel (middle, lds32 (w + 8), 8 * at);
  return v;
}

/* The eight bytes at at, where the word after them is just being stored. */
DEVICE struct pair
load_only64 (uint32_t at)
{
  uint32_t w = at & ~3u, middle = lds32 (w + 4);
  struct pair v;

  v.x = funnel (lds32 (w), middle, 8 * at);
  v.y = funnel (middle, lds32 ((at + 7) & ~3u), 8 * at);
  return v;
}

/* Copy len bytes of global memory, from a 16-byte boundary, to the slot; up
 * to a multiple of 16 zeroes follow.  For copies_done.
 */
DEVICE void
fetch (uint32_t to, uint64_t from, uint32_t len)
{
  uint32_t i;

  UNROLL (4)
  for (i = 16 * member (); i < len; i += 16 * GROUP)
    copy_async (to + i, from + i, len - i < 16 ? len - i : 16);
}

/* Copy len bytes, rounded up to 16, from the slot to global memory. */
DEVICE void
put (uint64_t to, uint32_t from, uint32_t len)
{
  uint32_t i;

  UNROLL (4)
  for (i = 16 * member (); i < len; i += 16 * GROUP)
    stg128 (to + i, lds128 (from + i));
}

#endif /* TZ_GPU_GROUP_H */

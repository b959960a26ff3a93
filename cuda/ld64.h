/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* LD64 on a GPU: what both directions share.  docs/ld64.md is the format. */
#ifndef TZ_GPU_LD64_H
#define TZ_GPU_LD64_H

#include "group.h"

#define LINES     64
#define LINE      64 /* bytes */
#define HEADER    16
#define BLOB_MAX  4095

/* A table for masks of four bits.  Lower half: the order for pick_bytes that
 * puts bytes of a to where a bit is set, and leaves those of b where not.
 * Upper half: 8 times the number of bits.
 */
#define SPREAD_SIZE 64

DEVICE void
make_spread (uint32_t at)
{
  uint32_t mask = lane_number () % 16, order = 0, count = 0, i;

  UNROLL (4)
  for (i = 0; i < 4; i++)
    if (mask >> i & 1)
      order |= count++ << 4 * i;
    else
      order |= (4 + i) << 4 * i;
  if (lane_number () < 16)
    sts32 (at + 4 * mask, order | count << 19);
}

/* Replace those of the eight bytes of old whose bit is set in mask by those of
 * fresh, in turn.
 */
DEVICE struct pair
spread (uint32_t table, uint32_t mask, struct pair fresh, struct pair old)
{
  uint32_t low = lds32 (table + (mask << 2 & 0x3c));
  uint32_t high = lds32 (table + (mask >> 2 & 0x3c));

  old.x = pick_bytes (fresh.x, old.x, low);
  old.y = pick_bytes (funnel_clamp (fresh.x, fresh.y, low >> 16), old.y, high);
  return old;
}

/* Bits set in each byte of x. */
DEVICE uint32_t
count_bytes (uint32_t x)
{
  x -= x >> 1 & 0x55555555;
  x = (x & 0x33333333) + (x >> 2 & 0x33333333);
  return (x + (x >> 4)) & 0x0f0f0f0f;
}

DEVICE uint32_t
count_pair (struct pair v)
{
  return count_bits (v.x) + count_bits (v.y);
}

/* The bits below bit 8 i of v. */
DEVICE struct pair
below (struct pair v, unsigned i)
{
  v.x &= funnel_clamp (~0u, 0, i < 4 ? 32 - 8 * i : 0);
  v.y &= i < 4 ? 0 : ~(~0u << 8 * (i - 4));
  return v;
}

#endif /* TZ_GPU_LD64_H */

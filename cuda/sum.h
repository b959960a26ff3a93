/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The checksum of core/checksum.h by a group: a lane has two of the 16 columns
 * of each 64 bytes.
 */
#ifndef TZ_GPU_SUM_H
#define TZ_GPU_SUM_H

#include "checksum-numbers.h"
#include "group.h"

TABLE int16_t sum_key[128] = { TZ_CHECKSUM_KEY };
TABLE uint32_t sum_fold[32] = { TZ_CHECKSUM_FOLD };

struct sum {
  uint32_t a[2], b[2];
};

DEVICE uint32_t
sum_product (uint32_t v, const int16_t *key)
{
  return (uint32_t) ((int32_t) (int16_t) v * key[0])
         + (uint32_t) ((int32_t) (int16_t) (v >> 16) * key[1]);
}

/* Take in eight bytes of stripe s, of which left are the blob's. */
DEVICE void
sum_take (struct sum *u, struct pair v, int left, unsigned s)
{
  const int16_t *key = sum_key + 32 * s + 4 * member ();

  if (left < 8) {
    v.y &= left > 4 ? ~0u >> (64 - 8 * left) : 0;
    v.x &= left >= 4 ? ~0u : left > 0 ? ~0u >> (32 - 8 * left) : 0;
  }
  u->a[0] += sum_product (v.x, key);
  u->a[1] += sum_product (v.y, key + 2);
}

/* Together: the checksum, when all is taken in. */
DEVICE uint32_t
sum_finish (const struct sum *u, uint32_t len, uint64_t seed)
{
  const uint32_t *fold = sum_fold + 2 * member ();
  uint64_t h;
  unsigned m;

  h = (uint64_t) (u->a[0] ^ fold[0]) * (u->b[0] ^ fold[16])
      + (uint64_t) (u->a[1] ^ fold[1]) * (u->b[1] ^ fold[17]);
  UNROLL (3)
  for (m = 1; m < GROUP; m *= 2)
    h += group_xor ((uint32_t) h, m)
         | (uint64_t) group_xor ((uint32_t) (h >> 32), m) << 32;
  h += seed * TZ_CHECKSUM_MUL0 + len * TZ_CHECKSUM_MUL1;
  h = (h ^ h >> 32) * TZ_CHECKSUM_MUL2;
  h = (h ^ h >> 29) * TZ_CHECKSUM_MUL3;
  return (uint32_t) (h >> 32);
}

/* Together: the checksum of len bytes of the slot, or if !shared of global
 * memory; from a 16-byte boundary.
 */
DEVICE uint32_t
checksum (bool shared, uint64_t at, uint32_t len, uint64_t seed)
{
  struct sum u = { { 0, 0 }, { 0, 0 } };
  const struct pair none = { 0, 0 };
  uint32_t i, s, from;
  struct pair v;
  bool last;

  for (i = 0; i < len; i += 256)
    UNROLL (4)
    for (s = 0; s < 4; s++) {
      from = i + 64 * s + 8 * member ();
      v = none;
      if (from < len)
        v = shared ? lds64 ((uint32_t) at + from) : ldg64 (at + from);
      sum_take (&u, v, (int) (len - from), s);
      last = s == 3 || i + 64 * s + 64 >= len;
      if (last && i + 64 * s < len) {
        u.b[0] += u.a[0];
        u.b[1] += u.a[1];
      }
    }
  return sum_finish (&u, len, seed);
}

/* The checksum that a blob in global memory was stored with. */
DEVICE uint32_t
stored_sum (const struct tz_gpu_job *job, uint32_t flags)
{
  uint64_t at = job->src + job->len;
  uint32_t first = (uint32_t) at & 7, next;
  struct pair v;

  if (!(flags & TZ_GPU_FOLLOWS))
    return job->sum;
  v = ldg64 (at & ~7ull);
  next = first > 4 ? ldg64 ((at & ~7ull) + 8).x : v.y;
  return funnel (first < 4 ? v.x : v.y, next, 8 * first);
}

#endif /* TZ_GPU_SUM_H */

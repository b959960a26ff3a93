/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* tz_ld64_compress: the blobs of the CPU's level 1, byte for byte.
 *
 * A lane has eight bytes of the line.  All references a line may get are
 * compared at once, and the counts of bytes that differ added up over the
 * group four in a word.  In place of a score there is a cost: differing bytes,
 * and two for all but the zero line and the last distance.  What is known when
 * the last line is chosen tells where each stream starts; the blob then takes
 * the table's place.
 */
#ifndef TZ_GPU_LD64_COMPRESS_H
#define TZ_GPU_LD64_COMPRESS_H

#include "ld64.h"
#include "sum.h"

#define HASH_BITS 11
#define HASH_K1   0x9e3779b1u
#define HASH_K2   0x85ebca77u
#define DENSE     50 /* all bytes of a line of a higher cost are inserted */

/* A slot starts with the page. */
#define ENC_TABLE TZ_PAGE /* then the blob */
#define ENC_MASKS (ENC_TABLE + TZ_PAGE) /* eight bytes a line */
#define ENC_REFS  (ENC_MASKS + 8 * LINES)
#define ENC_SLOT  (ENC_REFS + 2 * LINES + 64) /* 64: for the banks */

_Static_assert (2 << HASH_BITS == TZ_PAGE, "the table and the blob differ");
_Static_assert (GROUPS * ENC_SLOT == TZ_GPU_SMEM_LD64_COMPRESS,
                "job.h says else");

/* What is chosen for the lines so far. */
struct chosen {
  struct pair a, b; /* codes */
  uint32_t refs, masks, literals; /* how many */
  uint32_t distance;
  uint32_t cost; /* of the last line, not looking at the last distance */
};

DEVICE uint32_t
hash8 (struct pair v)
{
  return (v.x * HASH_K1 + v.y * HASH_K2) >> (32 - HASH_BITS);
}

/* Which bytes are not zero: bit 8 j + 3 is byte j of x, bit 8 j + 7 of y. */
DEVICE uint32_t
nonzero (uint32_t x, uint32_t y)
{
  x |= (x & 0x7f7f7f7f) + 0x7f7f7f7f;
  y |= (y & 0x7f7f7f7f) + 0x7f7f7f7f;
  return ((x >> 4 & 0x7f7f7f7f) | (y & 0x80808080)) & 0x88888888;
}

DEVICE uint32_t
differing (struct pair v, uint32_t at)
{
  struct pair w = load_any64 (at);

  return nonzero (v.x ^ w.x, v.y ^ w.y);
}

/* From that, bit j for byte j of all eight. */
DEVICE uint32_t
mask_of (uint32_t nonzeroes)
{
  return (nonzeroes >> 3) * 0x01020408 >> 24;
}

/* Together: of members with the same hash the last one stores. */
DEVICE void
insert (uint32_t table, uint32_t h, uint32_t position, bool store)
{
  uint32_t same = lanes_equal (h | group () << HASH_BITS);

  if (store && same >> lane_number () == 1)
    sts16 (table + 2 * h, position);
  together ();
}

/* Together: insert all but every eighth byte of the line at position, of
 * which the group has v; next is the line after it.
 */
DEVICE void
insert_more (uint32_t table, struct pair v, struct pair next,
             uint32_t position, bool store)
{
  uint32_t after = (member () + 1) % GROUP, i;
  struct pair give = member () == 0 ? next : v, w;

  next.x = group_get (give.x, after);
  next.y = group_get (give.y, after);
  UNROLL (7)
  for (i = 1; i < 8; i++) {
    if (i < 4) {
      w.x = funnel (v.x, v.y, 8 * i);
      w.y = funnel (v.y, next.x, 8 * i);
    }
    else {
      w.x = i > 4 ? funnel (v.y, next.x, 8 * i - 32) : v.y;
      w.y = i > 4 ? funnel (next.x, next.y, 8 * i - 32) : next.x;
    }
    insert (table, hash8 (w), position + i, store);
  }
}

/* The best reference so far. */
struct best {
  uint32_t cost, ref, differ;
};

DEVICE void
better (struct best *best, uint32_t cost, uint32_t ref, uint32_t differ)
{
  bool b = cost <= best->cost;

  best->cost = b ? cost : best->cost;
  best->ref = b ? ref : best->ref;
  best->differ = b ? differ : best->differ;
}

/* Put a bit before those that are there. */
DEVICE void
push_bit (struct pair *v, bool bit)
{
  v->x = funnel (v->x, v->y, 1);
  v->y = funnel (v->y, bit, 1);
}

/* Together: take line k as it is chosen. */
DEVICE void
choose (struct chosen *u, uint32_t slot, uint32_t k, bool a, bool b,
        uint32_t differ, uint32_t literals)
{
  uint32_t with = lanes_with (differ != 0) >> GROUP * group () & 0xff;

  push_bit (&u->a, a);
  push_bit (&u->b, b);
  u->masks += count_bits (with);
  u->literals += literals;
  sts8 (slot + ENC_MASKS + 8 * k + member (), mask_of (differ));
}

/* Together: choose for line k > 0, of which the group has v, where before is
 * the line before.
 */
DEVICE void
choose_line (struct chosen *u, uint32_t slot, uint32_t k, struct pair v,
             struct pair before)
{
  uint32_t at = LINE * k, own = slot + 8 * member (), refs[4], differ[7], i;
  uint32_t ref = 0, first, second;
  struct best best;
  bool zero, same;

  if (k > 1)
    ref = lds16 (slot + ENC_TABLE + 2 * hash8 (v)) - 8 * member ();
  differ[0] = nonzero (v.x, v.y);
  differ[1] = nonzero (v.x ^ before.x, v.y ^ before.y);
  UNROLL (4)
  for (i = 0; i < 4; i++) {
    refs[i] = group_get (ref, 2 * i);
    differ[2 + i] = differing (v, own + refs[i]);
  }
  differ[6] = differing (v, own + at - u->distance);
  first = count_bits (differ[0]) | count_bits (differ[1]) << 8
          | count_bits (differ[2]) << 16 | count_bits (differ[3]) << 24;
  second = count_bits (differ[4]) | count_bits (differ[5]) << 8
           | count_bits (differ[6]) << 16;
  first = sum_group (first);
  second = sum_group (second);

  best.cost = first & 0xff;
  best.ref = TZ_PAGE;
  best.differ = differ[0];
  better (&best, (first >> 8 & 0xff) + 2, at - LINE, differ[1]);
  if (k > 1) {
    better (&best, (first >> 16 & 0xff) + 2, refs[0], differ[2]);
    better (&best, (first >> 24) + 2, refs[1], differ[3]);
    better (&best, (second & 0xff) + 2, refs[2], differ[4]);
    better (&best, (second >> 8 & 0xff) + 2, refs[3], differ[5]);
  }
  u->cost = best.cost;
  zero = (first & 0xff) == 0;
  same = !zero && second >> 16 <= best.cost;
  if (same) {
    best.ref = TZ_PAGE;
    best.cost = second >> 16;
    best.differ = differ[6];
  }
  if (best.ref != TZ_PAGE) {
    best.cost -= 2;
    u->distance = at - best.ref;
    if (member () == 0)
      sts16 (slot + ENC_REFS + 2 * u->refs, best.ref);
    u->refs++;
  }
  choose (u, slot, k, same || best.ref != TZ_PAGE,
          same || (!zero && best.ref == TZ_PAGE), best.differ, best.cost);
}

/* Together: choose for all lines. */
DEVICE void
choose_lines (struct chosen *u, uint32_t slot)
{
  struct pair v = lds64 (slot + 8 * member ()), before;
  uint32_t table = slot + ENC_TABLE, differ = nonzero (v.x, v.y), k;
  uint32_t position, cost;
  bool dense;

  u->cost = sum_group (count_bits (differ));
  choose (u, slot, 0, false, u->cost != 0, differ, u->cost);
  UNROLL (1)
  for (k = 1; k < LINES; k++) {
    before = v;
    v = lds64 (slot + LINE * k + 8 * member ());
    cost = u->cost;
    choose_line (u, slot, k, v, before);
    together ();
    if (k > 1) {
      position = LINE * (k - 1) + 8 * member ();
      insert (table, hash8 (before), position, true);
      dense = cost > DENSE;
      if (any_lane (dense))
        insert_more (table, before, v, position, dense);
    }
  }
}

/* Together: write masks and literals of line k.  Nothing is written of pages
 * that have no blob.
 */
DEVICE void
emit_line (uint32_t slot, uint32_t k, uint32_t *masks, uint32_t *literals,
           uint32_t *flags, bool has_flags, bool write)
{
  uint32_t i = member (), f, at, mask, j;
  struct pair all = lds64 (slot + ENC_MASKS + 8 * k), v, less;

  mask = (i < 4 ? all.x >> 8 * i : all.y >> 8 * (i - 4)) & 0xff;
  f = lanes_with (mask != 0) >> GROUP * group () & 0xff;
  if (!write)
    return;
  if (has_flags && i == 0)
    sts8 (*flags, f);
  *flags += has_flags;
  if (mask != 0)
    sts8 (*masks + count_bits (f & ((1u << i) - 1)), mask);
  *masks += count_bits (f);
  less = below (all, i);
  at = *literals + count_pair (less);
  *literals += count_pair (all);
  v = lds64 (slot + LINE * k + 8 * i);
  UNROLL (8)
  for (j = 0; j < 8; j++)
    if (mask >> j & 1)
      sts8 (at++, (j < 4 ? v.x >> 8 * j : v.y >> (8 * j - 32)) & 0xff);
}

/* Together: write the blob; its length, or TZ_PAGE if there is none. */
DEVICE uint32_t
emit (const struct chosen *u, uint32_t slot)
{
  uint32_t start = slot + ENC_TABLE, refs, flags, masks, literals, len, k;
  struct pair lines;
  bool write;

  lines.x = u->a.x | u->b.x;
  lines.y = u->a.y | u->b.y;
  refs = start + HEADER;
  flags = refs + 2 * u->refs;
  masks = flags + count_pair (lines);
  literals = masks + u->masks;
  len = literals + u->literals - start;
  write = len < TZ_PAGE;
  if (write) {
    if (member () == 0)
      sts64 (start, u->a);
    if (member () == 1)
      sts64 (start + 8, u->b);
    for (k = member (); k < u->refs; k += GROUP)
      sts16 (refs + 2 * k, lds16 (slot + ENC_REFS + 2 * k));
  }
  UNROLL (1)
  for (k = 0; k < LINES; k++)
    emit_line (slot, k, &masks, &literals, &flags,
               ((k < 32 ? lines.x : lines.y) >> k % 32 & 1) != 0, write);
  together ();
  return write ? len : TZ_PAGE;
}

KERNEL (tz_ld64_compress) KERNEL_ARGS
{
  uint32_t slot = smem_start () + group () * ENC_SLOT, number = page_number ();
  uint32_t i, len, sum;
  struct chosen u = { { 0, 0 }, { 0, 0 }, 0, 0, 0, LINE, 0 };
  struct quad first = { 0x00400040, 0x00400040, 0x00400040, 0x00400040 };
  struct tz_gpu_job job = { 0, 0, 0, 0, 0 };
  bool raw;

  own_smem (slot, ENC_SLOT, ~0u);
  if (number < n)
    job = jobs[number];
  fetch (slot, job.src, number < n ? TZ_PAGE : 0);
  UNROLL (4)
  for (i = 16 * member (); i < TZ_PAGE; i += 16 * GROUP)
    sts128 (slot + ENC_TABLE + i, first);
  copies_done ();
  together ();
  choose_lines (&u, slot);
  len = emit (&u, slot);
  raw = len == TZ_PAGE;
  if (flags & TZ_GPU_CHECK) {
    sum = checksum (true, raw ? slot : slot + ENC_TABLE, len,
                    job.page << 4 | (raw ? TZ_RAW : TZ_LD64));
    if (number < n && member () == 0)
      extra[number] = sum;
  }
  if (number < n && !raw)
    put (job.dst, slot + ENC_TABLE, len);
  if (number < n && member () == 0)
    result[number] = (int32_t) len;
}

#endif /* TZ_GPU_LD64_COMPRESS_H */

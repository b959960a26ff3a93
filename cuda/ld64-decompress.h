/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* tz_ld64_decompress.
 *
 * A blob is loaded to the end of the slot's page and decoded in place.  Each
 * lane first works out what is to be known of eight lines, and all that can be
 * wrong is found: then come 64 steps without a test, a line each, in which a
 * lane makes eight bytes.  A step starts with what the one before it has
 * loaded, the literals of its line and the records of the next; where a line
 * is in the table is chosen so that eight lanes write eight lines, and read
 * one, without two of them wanting the same bank.
 */
#ifndef TZ_GPU_LD64_DECOMPRESS_H
#define TZ_GPU_LD64_DECOMPRESS_H

#include "ld64.h"
#include "sum.h"

/* A slot: the page, room for the blob's end and what is read after it; two
 * tables, the second of which differs in bank from group to group.
 */
#define DEC_SLACK    32
#define DEC_RECORDS  (TZ_PAGE + DEC_SLACK) /* 16 bytes a line */
#define DEC_FROM     (DEC_RECORDS + 16 * LINES) /* 4 bytes a line */
#define DEC_SLOT     (DEC_FROM + 4 * LINES + 32)
/* Common to all: */
#define DEC_SPREAD   (GROUPS * DEC_SLOT)
#define DEC_ZEROES   (DEC_SPREAD + SPREAD_SIZE)

_Static_assert (DEC_ZEROES + LINE + 16 == TZ_GPU_SMEM_LD64_DECOMPRESS,
                "job.h says else");

/* The place of line 8 i + j in a table. */
#define PLACE(i, j) (8 * (j) + (i))

/* What a lane knows of the blob. */
struct blob {
  uint32_t at;      /* where it starts */
  uint32_t len;     /* 0: there is none, or it is bad */
  uint32_t refs;    /* where ref[] has the first of this lane's */
  uint32_t flags;   /* where flags[] has the first */
  uint32_t masks;   /* where mask[] starts */
  uint32_t a, b;    /* codes of this lane's lines */
  uint32_t line;    /* last line with a ref before; 64: none */
};

/* Read the bitmaps; false if the streams they count do not fit. */
DEVICE bool
read_bitmaps (struct blob *u)
{
  struct pair a = lds64 (u->at), b = lds64 (u->at + 8), named, lines;
  unsigned i = member ();
  bool ok;

  named.x = a.x & ~b.x;
  named.y = a.y & ~b.y;
  lines.x = a.x | b.x;
  lines.y = a.y | b.y;
  u->flags = u->at + HEADER + 2 * count_pair (named);
  u->masks = u->flags + count_pair (lines);
  ok = u->len != 0 && !(a.x & 1) && u->masks <= u->at + u->len;
  lines = below (lines, i);
  named = below (named, i);
  u->flags += count_pair (lines);
  u->refs = u->at + HEADER + 2 * count_pair (named);
  u->line = named.y ? 63 - zeroes_above (named.y) : 31 - zeroes_above (named.x);
  if (!ok)
    u->line = LINES;
  u->a = ok ? (i < 4 ? a.x >> 8 * i : a.y >> 8 * (i - 4)) & 0xff : 0;
  u->b = ok ? (i < 4 ? b.x >> 8 * i : b.y >> 8 * (i - 4)) & 0xff : 0;
  return ok;
}

/* Together: the masks of this lane's lines, none if the blob is not good, and
 * where the literals start.
 */
DEVICE uint32_t
read_masks (const struct blob *u, bool ok, uint32_t table,
            struct pair masks[8])
{
  const struct pair none = { 0, 0 };
  struct pair flags;
  uint32_t at, n, f;
  unsigned j;

  flags = spread (table, u->a | u->b, load_any64 (ok ? u->flags : u->at), none);
  n = count_pair (flags);
  at = sum_before (n);
  n = group_get (at + n, GROUP - 1);
  ok = ok && u->masks + n <= u->at + u->len;
  at = ok ? u->masks + at : u->at;
  UNROLL (8)
  for (j = 0; j < 8; j++) {
    f = (j < 4 ? flags.x >> 8 * j : flags.y >> 8 * (j - 4)) & 0xff;
    f = ok ? f : 0;
    masks[j] = spread (table, f, load_any64 (at), none);
    at += count_bits (f);
  }
  return u->masks + n;
}

/* Store where the lines of this lane come from: in the lower half the
 * reference, in the upper the first literal.  Returns whether all references
 * are legal, and in odd bits 0 to 2 of all of them.
 */
DEVICE bool
store_from (const struct blob *u, uint32_t slot, const uint32_t literals[8],
            uint32_t *odd)
{
  uint32_t table = slot + DEC_FROM + group () / 2 * 32 + 4 * member ();
  uint32_t at = u->refs, distance, k, ref, from;
  bool ok = true, a, b;
  unsigned j;

  distance = u->line < LINES ? LINE * u->line - lds16 (at - 2) : LINE;
  *odd = distance;
  UNROLL (8)
  for (j = 0; j < 8; j++) {
    k = 8 * member () + j;
    a = u->a >> j & 1;
    b = u->b >> j & 1;
    if (a && !b) {
      ref = lds16 (at);
      ok = ok && ref + LINE <= LINE * k;
      distance = LINE * k - ref;
      *odd |= distance;
      at += 2;
    }
    from = a ? slot + LINE * k - distance : smem_start () + DEC_ZEROES;
    sts32 (table + 4 * PLACE (0, j), from | literals[j] << 16);
  }
  return ok;
}

/* … and which bytes are literals: for each eight the mask and the number of
 * literals before them in the line.
 */
DEVICE void
store_records (uint32_t slot, const struct pair masks[8])
{
  uint32_t table = slot + DEC_RECORDS + group () / 2 * 32 + 16 * member ();
  uint32_t x, y;
  struct quad v;
  unsigned j;

  UNROLL (8)
  for (j = 0; j < 8; j++) {
    x = count_bytes (masks[j].x) * 0x01010101;
    y = count_bytes (masks[j].y) * 0x01010101 + (x >> 24) * 0x01010101;
    y = y << 8 | x >> 24;
    x <<= 8;
    v.x = pick_bytes (masks[j].x, x, 0x5140);
    v.y = pick_bytes (masks[j].x, x, 0x7362);
    v.z = pick_bytes (masks[j].y, y, 0x5140);
    v.w = pick_bytes (masks[j].y, y, 0x7362);
    sts128 (table + 16 * PLACE (0, j), v);
  }
}

/* Records of a page of zeroes, each in place of one of this lane's. */
RARE void
store_neutral (uint32_t slot)
{
  struct quad none = { 0, 0, 0, 0 };
  uint32_t skew = group () / 2 * 32, i;

  for (i = member (); i < LINES; i += GROUP) {
    sts128 (slot + DEC_RECORDS + skew + 16 * i, none);
    sts32 (slot + DEC_FROM + skew + 4 * i,
           (smem_start () + DEC_ZEROES) | (slot + TZ_PAGE) << 16);
  }
}

/* Together: make the tables; false if the blob is bad. */
DEVICE bool
prepare (struct blob *u, uint32_t slot, bool *aligned)
{
  struct pair masks[8];
  uint32_t literals[8], at, all, odd;
  unsigned j;
  bool ok;

  ok = read_bitmaps (u);
  at = read_masks (u, ok, smem_start () + DEC_SPREAD, masks);
  all = 0;
  UNROLL (8)
  for (j = 0; j < 8; j++) {
    literals[j] = all;
    all += count_pair (masks[j]);
  }
  at += sum_before (all);
  if (group_get (at + all, GROUP - 1) != u->at + u->len)
    ok = false;
  UNROLL (8)
  for (j = 0; j < 8; j++)
    literals[j] += at;
  store_records (slot, masks);
  /* Of no use if the blob is bad, but read from within the slot. */
  ok = !any_member (!store_from (u, slot, literals, &odd)) && ok;
  *aligned = !any_lane (ok && odd % 8 != 0);
  if (!ok)
    store_neutral (slot);
  together ();
  return ok;
}

/* What a step needs to know of a line. */
struct step {
  uint32_t record; /* mask, and literals before */
  uint32_t from;
};

DEVICE struct step
load_step (uint32_t records, uint32_t froms, unsigned place)
{
  struct step s;

  s.record = lds16 (records + 16 * place);
  s.from = lds32 (froms + 4 * place);
  return s;
}

DEVICE struct pair
load_literals (struct step s)
{
  return load_any64 ((s.from >> 16) + (s.record >> 8));
}

/* Together: decode the lines. */
DEVICE void
decode_lines (uint32_t slot, bool aligned)
{
  uint32_t skew = group () / 2 * 32, to = slot + 8 * member ();
  uint32_t records = slot + DEC_RECORDS + skew + 2 * member ();
  uint32_t froms = slot + DEC_FROM + skew, from;
  uint32_t table = smem_start () + DEC_SPREAD;
  struct step s = load_step (records, froms, PLACE (0, 0));
  struct step next = load_step (records, froms, PLACE (0, 1)), then;
  struct pair literals = load_literals (s), old, later;
  unsigned i, j;

  UNROLL (1)
  for (i = 0; i < 8; i++) {
    UNROLL (8)
    for (j = 0; j < 8; j++) {
      then = next;
      later = literals;
      from = (s.from & 0xffff) + 8 * member ();
      old = aligned ? lds64 (from) : load_only64 (from);
      if (j < 6 || i < 7)
        then = load_step (records, froms, PLACE (j < 6 ? 0 : 1, (j + 2) % 8));
      if (j < 7 || i < 7)
        later = load_literals (next);
      sts64 (to + LINE * j, spread (table, s.record, literals, old));
      together ();
      s = next;
      next = then;
      literals = later;
    }
    to += LINE * 8;
    records += 16;
    froms += 4;
  }
}

KERNEL (tz_ld64_decompress) KERNEL_ARGS
{
  uint32_t start = smem_start (), slot = start + group () * DEC_SLOT;
  uint32_t number = page_number (), sum = 0;
  struct tz_gpu_job job = { 0, 0, 0, 0, 0 };
  bool aligned, ok, same = true;
  struct quad none = { 0, 0, 0, 0 };
  struct blob u;

  (void) extra;
  own_smem (slot, DEC_SLOT, start + DEC_SPREAD);
  if (number < n)
    job = jobs[number];
  u.len = job.len >= HEADER && job.len <= BLOB_MAX ? job.len : 0;
  u.at = slot + ((TZ_PAGE - u.len + 15) & ~15u);
  fetch (u.at, job.src, u.len);
  if (number < n && u.len)
    sum = stored_sum (&job, flags);
  make_spread (start + DEC_SPREAD);
  if (lane_number () < LINE / 16)
    sts128 (start + DEC_ZEROES + 16 * lane_number (), none);
  copies_done ();
  together ();
  if (flags & TZ_GPU_CHECK)
    same = checksum (true, u.at, u.len, job.page << 4 | TZ_LD64) == sum;
  ok = prepare (&u, slot, &aligned);
  if (aligned)
    decode_lines (slot, true);
  else
    decode_lines (slot, false);
  if (number < n && ok && same)
    put (job.dst, slot, TZ_PAGE);
  if (number < n && member () == 0)
    result[number] = !ok ? TZ_GPU_EBLOB : same ? 0 : TZ_GPU_ESUM;
}

#endif /* TZ_GPU_LD64_DECOMPRESS_H */

/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* tz_lz4_decompress: what the CPU's decoder takes, no more and no less.
 *
 * A block is loaded to the end of the slot's page and decoded in place.  In
 * turns, a group that has nothing to copy looks at its next sequence, and all
 * copy up to 32 bytes: literals, and as much of the match as was there before.
 *
 * A block that makes a page never overtakes itself: what is left of it, r
 * bytes, makes at least r - r / 255 - 2.  One that does is bad.
 */
#ifndef TZ_GPU_LZ4_DECOMPRESS_H
#define TZ_GPU_LZ4_DECOMPRESS_H

#include "lz4-copy.h"
#include "sum.h"

#define UNZ_PAGE  16 /* a word may start before it */
#define UNZ_AHEAD 20 /* the block ends at least that far behind the page */
#define UNZ_SLOT  (UNZ_PAGE + TZ_PAGE + 80) /* 80: and what is read after it */

#define MIN_MATCH 4

_Static_assert (GROUPS * UNZ_SLOT == TZ_GPU_SMEM_LZ4_DECOMPRESS,
                "job.h says else");

/* Places in shared memory, and bytes left to copy. */
struct unpack {
  uint32_t ip, end;  /* of the block; at its end there is no sequence left */
  uint32_t op, page; /* where to write, and the page's start */
  uint32_t literals, from;
  uint32_t match, offset;
};

/* Add the bytes of a length that go on after a first one of 255. */
DEVICE uint32_t
more_length (struct unpack *u, uint32_t byte)
{
  uint32_t n = byte;

  u->ip++;
  while (byte == 255 && u->ip < u->end) {
    byte = lds8 (u->ip++);
    n += byte;
  }
  return n;
}

/* Read a sequence.  Bytes after the end may be read; that is found out later,
 * as ip is then behind it.  A bad one ends the block where no page does.
 */
DEVICE void
next_sequence (struct unpack *u)
{
  uint32_t v = load_any32 (u->ip), match = v & 15, stop;
  bool last, bad;

  u->ip++;
  u->literals = v >> 4 & 15;
  if (u->literals == 15)
    u->literals += more_length (u, v >> 8 & 0xff);
  u->from = u->ip;
  u->ip += u->literals;
  last = u->ip == u->end;
  v = load_any32 (u->ip < u->end ? u->ip : u->end);
  u->ip += 2;
  u->offset = v & 0xffff;
  if (match == 15)
    match += more_length (u, v >> 16 & 0xff);
  u->match = match + MIN_MATCH;
  stop = u->op + u->literals;
  bad = u->ip >= u->end || u->offset - 1 >= stop - u->page
        || stop + u->match > u->ip;
  if (last) {
    bad = stop != u->page + TZ_PAGE;
    u->match = 0;
    u->ip = u->end;
  }
  if (bad) {
    u->literals = u->match = 0;
    u->op = u->from = u->page;
    u->ip = u->end;
  }
}

/* Together: one step's copy. */
DEVICE void
copy_some (struct unpack *u)
{
  uint32_t room = copy_room (u->op), at = copy_place (u->op), n, m = 0, mask;
  uint32_t literals, match;
  int back = (int) (at - u->offset), first = (int) u->page - 4;

  n = u->literals < room ? u->literals : room;
  if (n == u->literals && u->offset > n) {
    m = room - n < u->match ? room - n : u->match;
    m = m < u->offset - n ? m : u->offset - n;
  }
  /* Of what a lane does not need anything may be read. */
  literals = load_any32 (u->from + at - u->op);
  match = load_any32 ((uint32_t) (back > first ? back : first));
  mask = bytes_below (at, u->op + n);
  copy_store (u->op, n + m, (literals & mask) | (match & ~mask));
  u->op += n + m;
  u->from += n;
  u->literals -= n;
  u->match -= m;
  if (m == u->offset) /* the pattern is there twice now */
    u->offset += m;
}

/* Together: decode; false if the block is bad. */
DEVICE bool
unpack (struct unpack *u)
{
  bool idle = true;

  while (any_lane (!idle || u->ip < u->end)) {
    if (idle && u->ip < u->end)
      next_sequence (u);
    copy_some (u);
    idle = u->literals + u->match == 0;
  }
  return u->op == u->page + TZ_PAGE;
}

KERNEL (tz_lz4_decompress) KERNEL_ARGS
{
  uint32_t slot = smem_start () + group () * UNZ_SLOT, number = page_number ();
  uint32_t start, sum = 0;
  struct tz_gpu_job job = { 0, 0, 0, 0, 0 };
  struct unpack u = { 0, 0, 0, 0, 0, 0, 0, 0 };
  bool ok, same = true;

  (void) extra;
  own_smem (slot, UNZ_SLOT, ~0u);
  if (number < n)
    job = jobs[number];
  if (job.len >= TZ_PAGE)
    job.len = 0;
  u.page = slot + UNZ_PAGE;
  start = u.page + ((TZ_PAGE + UNZ_AHEAD + 15 - job.len) & ~15u);
  fetch (start, job.src, job.len);
  if (number < n && job.len)
    sum = stored_sum (&job, flags);
  copies_done ();
  together ();
  if (flags & TZ_GPU_CHECK)
    same = checksum (true, start, job.len, job.page << 4 | TZ_LZ4) == sum;
  u.op = u.from = u.page;
  u.ip = start;
  u.end = start + job.len;
  ok = unpack (&u);
  if (number < n && ok && same)
    put (job.dst, u.page, TZ_PAGE);
  if (number < n && member () == 0)
    result[number] = !ok ? TZ_GPU_EBLOB : same ? 0 : TZ_GPU_ESUM;
}

#endif /* TZ_GPU_LZ4_DECOMPRESS_H */

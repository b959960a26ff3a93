/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* tz_lz4_compress: the blocks of the CPU's level 1, byte for byte; how that
 * works is told in core/codec/lz4-encode.h.
 *
 * References are looked for eight words at a time.  The table has the words'
 * numbers only: what is left of a hash is made again from the word itself.
 * Then groups search, in turns: one compares a reference, the first lane before
 * it and seven after, or copies up to 32 literals.  By then the table is no
 * longer needed, and the block takes its place.
 */
#ifndef TZ_GPU_LZ4_COMPRESS_H
#define TZ_GPU_LZ4_COMPRESS_H

#include "codec/lz4.h"
#include "lz4-copy.h"
#include "sum.h"

/* A slot starts with zeroes that are compared with what is before the page. */
#define ZIP_PAGE   16
#define ZIP_AFTER  64 /* zeroes again */
#define ZIP_WORDS  (ZIP_PAGE + TZ_PAGE + ZIP_AFTER) /* each word's reference */
#define ZIP_FOUND  (ZIP_WORDS + 2 * LZ4_WORDS) /* a bit a word: it has one */
#define ZIP_TABLE  (ZIP_FOUND + LZ4_WORDS / 8 + 16)
#define ZIP_SLOT   (ZIP_TABLE + TZ_PAGE)

#define NARROW_BELOW 24 /* of 64 words */
#define LAST_WORD    ((TZ_PAGE - 12) / 4) /* no match starts after this */
#define LAST_END     (TZ_PAGE - 5) /* the rest are literals */

_Static_assert (2 << LZ4_HASH_BITS == TZ_PAGE, "table and block differ");
_Static_assert (GROUPS * ZIP_SLOT == TZ_GPU_SMEM_LZ4_COMPRESS,
                "job.h says else");

/* ---- References ---- */

DEVICE uint32_t
hash_word (uint32_t page, uint32_t i, bool wide)
{
  uint32_t at = page + 4 * i, v = lds32 (at), before = lds32 (at - 4);

  if (!wide)
    return funnel (before, v, 24) * LZ4_NARROW_MUL;
  return funnel (before, v, 16) * LZ4_WIDE_MUL0
         + funnel (v, lds32 (at + 4), 8) * LZ4_WIDE_MUL1;
}

/* Together: word i, and the group's others, go into the table.  The number of
 * the last one before of the same hash, or LZ4_NONE.
 */
DEVICE uint32_t
exchange (uint32_t slot, uint32_t i, bool wide, bool store)
{
  uint32_t page = slot + ZIP_PAGE, h = hash_word (page, i, wide);
  uint32_t at = slot + ZIP_TABLE + 2 * (h >> (32 - LZ4_HASH_BITS)), same, old;

  same = lanes_equal (h >> (32 - LZ4_HASH_BITS) | group () << LZ4_HASH_BITS);
  old = lds16 (at);
  same >>= group () * GROUP;
  if (same & ((1u << member ()) - 1))
    old = i - member () + 31
          - zeroes_above (same & ((1u << member ()) - 1));
  together ();
  if (store && same >> member () == 1)
    sts16 (at, i);
  together ();
  if (old != LZ4_NONE && (hash_word (page, old, wide) ^ h) > LZ4_NUMBER)
    old = LZ4_NONE;
  return old;
}

DEVICE void
clear_table (uint32_t slot)
{
  const struct quad none = { 0x03ff03ff, 0x03ff03ff, 0x03ff03ff, 0x03ff03ff };
  uint32_t i;

  UNROLL (4)
  for (i = 16 * member (); i < TZ_PAGE; i += 16 * GROUP)
    sts128 (slot + ZIP_TABLE + i, none);
  together ();
}

DEVICE uint32_t
members_with (bool v)
{
  return lanes_with (v) >> GROUP * group () & 0xff;
}

DEVICE void
refer_wide (uint32_t slot)
{
  uint32_t k, i, old, found;

  UNROLL (1)
  for (k = 0; k < LZ4_WORDS / GROUP; k++) {
    i = GROUP * k + member ();
    old = exchange (slot, i, true, true);
    sts16 (slot + ZIP_WORDS + 2 * i, old);
    found = members_with (old != LZ4_NONE);
    if (member () == 0)
      sts8 (slot + ZIP_FOUND + k, found);
  }
}

/* Together: block k of 64 words; narrow references are kept where there is no
 * wide one, but not before a word that has one.
 */
DEVICE void
refer_narrow (uint32_t slot, uint32_t k, bool here)
{
  uint32_t j, i, old, wide, next, found;

  UNROLL (1)
  for (j = 8 * k; j < 8 * (k + 1); j++) {
    i = GROUP * j + member ();
    wide = lds8 (slot + ZIP_FOUND + j);
    next = lds8 (slot + ZIP_FOUND + j + 1);
    if (j == LZ4_WORDS / GROUP - 1)
      next = 0; /* the bits that end the search */
    old = exchange (slot, i, false, here);
    found = members_with (old != LZ4_NONE);
    if (here && !(wide >> member () & 1))
      sts16 (slot + ZIP_WORDS + 2 * i, old);
    found &= ~(wide >> 1 | next << 7);
    if (here && member () == 0)
      sts8 (slot + ZIP_FOUND + j, wide | found);
    together ();
  }
}

/* Together: fill words and found. */
DEVICE void
refer (uint32_t slot)
{
  const struct quad ones = { ~0u, ~0u, ~0u, ~0u };
  bool cleared = false, here;
  struct pair wide;
  uint32_t k;

  if (member () == 0)
    sts128 (slot + ZIP_FOUND + LZ4_WORDS / 8, ones);
  clear_table (slot);
  refer_wide (slot);
  together ();
  UNROLL (1)
  for (k = 0; k < LZ4_WORDS / 64; k++) {
    wide = lds64 (slot + ZIP_FOUND + 8 * k);
    here = count_bits (wide.x) + count_bits (wide.y) < NARROW_BELOW;
    if (!any_lane (here))
      continue;
    if (!cleared)
      clear_table (slot);
    cleared = true;
    refer_narrow (slot, k, here);
  }
}

/* ---- Sequences ---- */

struct pack {
  uint32_t page, slot;
  uint32_t word;         /* the next to look at */
  uint32_t anchor;       /* literals start here: places in the page */
  uint32_t start, limit; /* of this half; limit 0: there is no other */
  uint32_t op;           /* where to write */
  uint32_t to, from, literals; /* left to copy */
};

/* How two places are alike: any number from LZ4_FORWARD on means at least
 * these.
 */
struct span {
  uint32_t forward, back;
};

/* Together: compare what is before and at two words. */
DEVICE struct span
measure (uint32_t page, uint32_t p, uint32_t c)
{
  uint32_t at = page - 8 + 8 * member (), x, y, near, far, n, with;
  struct span s;

  x = lds32 (at + p) ^ lds32 (at + c);
  y = lds32 (at + p + 4) ^ lds32 (at + c + 4);
  with = members_with ((x | y) != 0) >> 1;
  /* The last byte that differs before, or the first from there on. */
  near = member () == 0 ? y : reverse_bits (x);
  far = member () == 0 ? x : reverse_bits (y);
  n = (near ? zeroes_above (near) : 32 + zeroes_above (far)) / 8;
  s.back = group_get (n, 0);
  n += 8 * (member () - 1);
  n = group_get (n, with ? 1 + zeroes_below (with) : 0);
  s.forward = with ? n : LZ4_FORWARD;
  return s;
}

/* The next word of this half that has a reference; false if there is none. */
DEVICE bool
next_word (struct pack *u)
{
  uint32_t at, bits;

  for (;;) {
    at = u->slot + ZIP_FOUND + (u->word / 8 & ~3u);
    bits = funnel (lds32 (at), lds32 (at + 4), u->word);
    if (bits != 0)
      break;
    u->word += 32;
  }
  u->word += zeroes_below (bits);
  return u->word < (u->start ? LAST_WORD + 1 : LZ4_WORDS / 2);
}

DEVICE uint32_t
length_size (uint32_t n)
{
  return n < 15 ? 0 : 1 + (n - 15) / 255;
}

/* Lengths of more than one byte. */
RARE void
put_length (uint32_t at, uint32_t n)
{
  for (; n >= 255; n -= 255)
    sts8 (at++, 255);
  sts8 (at, n);
}

/* Write a sequence but for its literals.  Length 0 stands for the last one.
 * One that would not fit ends the search.
 */
DEVICE void
put_sequence (struct pack *u, uint32_t start, uint32_t offset, uint32_t length)
{
  uint32_t n = start - u->anchor, m = length ? length - 4 : 0, behind, end;
  uint32_t i = member (), at, v, most = u->slot + ZIP_TABLE + TZ_PAGE;

  u->to = u->op + 1 + length_size (n);
  u->from = u->page + u->anchor;
  u->anchor = start + length;
  behind = u->to + n;
  end = behind + (length ? 2 + length_size (m) : 0);
  u->literals = end < most ? n : 0;
  u->limit = end < most ? u->limit : 0;
  /* A lane a byte: token, offset, rests of the lengths. */
  at = i == 0 ? u->op : i == 4 ? u->op + 1 : behind + i - 1;
  v = (n < 15 ? n : 15) << 4 | (m < 15 ? m : 15);
  v = i == 1 ? offset : i == 2 ? offset >> 8 : v;
  v = i == 3 ? m - 15 : i == 4 ? n - 15 : v;
  if (i <= 4 && at < (i == 4 ? u->to : end) && end < most) {
    if (i >= 3 && v >= 255)
      put_length (at, v);
    else
      sts8 (at, v & 0xff);
  }
  u->op = end < most ? end : most;
}

/* Together: how far a match goes on that is at least as long as compared. */
DEVICE uint32_t
extend (const struct pack *u, uint32_t p, uint32_t c, uint32_t forward,
        bool look)
{
  bool more = look && forward >= LZ4_FORWARD;
  uint32_t end = p + forward;
  struct span s;

  while (any_lane (more)) {
    p += LZ4_FORWARD;
    c += LZ4_FORWARD;
    more = more && p < u->limit;
    s = measure (u->page, more ? p : 0, more ? c : 0);
    end = more ? p + s.forward : end;
    more = more && s.forward >= LZ4_FORWARD;
  }
  return end < u->limit ? end : u->limit;
}

/* Together: groups without literals to copy look at their next reference. */
DEVICE void
search (struct pack *u)
{
  bool look = u->limit != 0 && u->literals == 0, found = false, ends;
  uint32_t p = 0, c = 0, end, back;
  struct span s;

  if (look)
    found = next_word (u);
  ends = look && !found;
  if (found) {
    p = 4 * u->word;
    c = 4 * lds16 (u->slot + ZIP_WORDS + 2 * u->word);
  }
  s = measure (u->page, p, c);
  end = extend (u, p, c, s.forward, found);
  back = p - (u->anchor > u->start ? u->anchor : u->start);
  back = s.back < back ? s.back : back;
  back = back < c ? back : c;
  p -= back;
  c -= back;
  if (found)
    u->word = end < p + 4 ? u->word + 1 : (end + 3) / 4;
  found = found && end >= p + 4;
  if (ends) {
    found = u->start != 0;
    u->word = LZ4_WORDS / 2;
    u->limit = u->start ? 0 : LAST_END;
    u->start = TZ_PAGE / 2;
    p = c = end = TZ_PAGE;
  }
  if (found)
    put_sequence (u, p, p - c, end - p);
}

/* Together: write the block; its length, or TZ_PAGE if there is none. */
DEVICE uint32_t
pack (struct pack *u)
{
  uint32_t n, v;

  while (any_lane ((u->limit | u->literals) != 0)) {
    search (u);
    together ();
    n = copy_room (u->to);
    n = n < u->literals ? n : u->literals;
    v = load_any32 (u->from + copy_place (u->to) - u->to);
    copy_store (u->to, n, v);
    u->to += n;
    u->from += n;
    u->literals -= n;
  }
  return u->op - (u->slot + ZIP_TABLE);
}

KERNEL (tz_lz4_compress) KERNEL_ARGS
{
  uint32_t slot = smem_start () + group () * ZIP_SLOT, number = page_number ();
  uint32_t len, sum;
  const struct quad zeroes = { 0, 0, 0, 0 };
  struct tz_gpu_job job = { 0, 0, 0, 0, 0 };
  struct pack u;
  bool raw;

  own_smem (slot, ZIP_SLOT, ~0u);
  if (number < n)
    job = jobs[number];
  u.slot = slot;
  u.page = slot + ZIP_PAGE;
  fetch (u.page, job.src, number < n ? TZ_PAGE : 0);
  if (member () < 4)
    sts128 (u.page + TZ_PAGE + 16 * member (), zeroes);
  else if (member () == 4)
    sts128 (slot, zeroes);
  copies_done ();
  refer (slot); /* the lanes meet when the table is clear */
  u.word = u.anchor = u.start = u.literals = 0;
  u.limit = number < n ? TZ_PAGE / 2 : 0;
  u.op = u.to = slot + ZIP_TABLE;
  u.from = u.page;
  len = pack (&u);
  raw = len == TZ_PAGE;
  if (flags & TZ_GPU_CHECK) {
    sum = checksum (true, raw ? u.page : slot + ZIP_TABLE, len,
                    job.page << 4 | (raw ? TZ_RAW : TZ_LZ4));
    if (number < n && member () == 0)
      extra[number] = sum;
  }
  if (number < n && !raw)
    put (job.dst, slot + ZIP_TABLE, len);
  if (number < n && member () == 0)
    result[number] = (int32_t) len;
}

#endif /* TZ_GPU_LZ4_COMPRESS_H */

/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* LD64: every body against the scalar one, byte for byte, between guard
 * pages; known answers; malformed blobs.  Arguments are files of pages to
 * try as well.
 */
#include <errno.h>

#include "codec/bytes.h"
#include "codec/ld64.h"
#include "cpu.h"
#include "pages.h"

#define BODIES 8

static const struct ld64_body *bodies[BODIES];
static unsigned n_bodies;
static struct ld64_scratch *scratch;
static uint8_t *source, *blobs, *output, *target; /* two pages each */

static void
find_bodies (void)
{
  unsigned i;

  for (i = 0; tz_ld64_bodies[i]; i++)
    if ((tz_ld64_bodies[i]->needs & ~tz_cpu ()) == 0) {
      CHECK (n_bodies < BODIES);
      bodies[n_bodies++] = tz_ld64_bodies[i];
      printf ("%s ", tz_ld64_bodies[i]->isa);
    }
  puts ("");
  CHECK (n_bodies > 0 && bodies[n_bodies - 1]->needs == 0);
  CHECK (strcmp (tz_ld64_ops.isa (), bodies[0]->isa) == 0);
}

/* Decoding and adding up at once does the same, and adds up as others do. */
static void
decode_sum (const struct ld64_body *body, const uint8_t *blob, size_t len,
            uint8_t *out, int expected)
{
  uint8_t page[TZ_PAGE];
  uint64_t sum;

  memcpy (page, out, TZ_PAGE);
  memset (out, 0x5a, TZ_PAGE);
  CHECK (body->decode_sum (blob, len, out, &sum) == expected);
  if (expected == 0) {
    CHECK (memcmp (out, page, TZ_PAGE) == 0);
    CHECK (sum == tz_checksum_sum_scalar (blob, len));
  }
}

/* Decode a blob, its slack ending where a guard page starts, with every body
 * into a page that touches a guard page at its end and one that does at its
 * start.  All must agree; returns what they say and leaves the page.
 */
static int
decode (const uint8_t *blob, size_t len, uint8_t *page)
{
  uint8_t *in = blobs + 2 * TZ_PAGE - TZ_BLOB_SLACK - len, *out;
  int r, expected = 0;
  unsigned i;

  memcpy (in, blob, len);
  memset (in + len, 0xa5, TZ_BLOB_SLACK);
  for (i = 0; i < 2 * n_bodies; i++) {
    out = target + (i % 2 ? 0 : TZ_PAGE);
    memset (target, (int) i, 2 * TZ_PAGE);
    r = bodies[i / 2]->decode (in, len, out);
    CHECK (r == 0 || r == -EBADMSG);
    if (bodies[i / 2]->decode_sum)
      decode_sum (bodies[i / 2], in, len, out, r);
    CHECK (target[i % 2 ? TZ_PAGE : TZ_PAGE - 1] == i);
    if (i == 0) {
      expected = r;
      memcpy (page, out, TZ_PAGE);
    }
    CHECK (r == expected);
    CHECK (r != 0 || memcmp (page, out, TZ_PAGE) == 0);
  }
  return expected;
}

/* Encode with every body, decode again; returns the blob's length. */
static int
round_trip (const uint8_t *page, int level, uint8_t *blob)
{
  uint8_t back[TZ_PAGE], *in;
  int r, expected = 0;
  unsigned i;

  for (i = 0; i < 2 * n_bodies; i++) {
    in = source + (i % 2 ? 0 : TZ_PAGE);
    memcpy (in, page, TZ_PAGE);
    memset (scratch, (int) i, sizeof *scratch);
    r = bodies[i / 2]->encode[level](scratch, in, output);
    CHECK (r >= 0 && r < TZ_PAGE);
    if (i == 0) {
      expected = r;
      memcpy (blob, output, (size_t) r);
    }
    CHECK (r == expected);
    CHECK (memcmp (blob, output, (size_t) r) == 0);
  }
  if (expected > 0) {
    CHECK (decode (blob, (size_t) expected, back) == 0);
    CHECK (memcmp (back, page, TZ_PAGE) == 0);
  }
  return expected;
}

static void
test_page (const uint8_t *page)
{
  uint8_t blob[TZ_PAGE];
  int level;

  for (level = 1; level <= LD64_LEVELS; level++)
    round_trip (page, level, blob);
}

/* What sizes must be, whatever the encoder chooses. */
static void
test_sizes (int level)
{
  uint8_t page[TZ_PAGE] = { 0 }, blob[TZ_PAGE];
  unsigned i;

  CHECK (round_trip (page, level, blob) == 16);
  for (i = 0; i < TZ_PAGE; i++) {
    page[i] = 0x80;
    CHECK (round_trip (page, level, blob) == 19);
    page[i] = 0;
  }
  make_page (1, 0, page); /* 63 lines like the first */
  CHECK (round_trip (page, level, blob) == 16 + 64 + 8 + 64);
  make_page (7, 1, page);
  CHECK (round_trip (page, level, blob) <= 16 + 64 + 8 + 64);
  make_page (3, 1, page);
  CHECK (round_trip (page, level, blob) == 0);
}

/* Pages that turn from one kind into another, piece by piece. */
static void
test_mutations (int level)
{
  uint8_t page[TZ_PAGE], other[TZ_PAGE], blob[TZ_PAGE];
  unsigned i, at, from, n;
  uint64_t rng = 2;

  make_page (5, 1, page);
  for (i = 0; i < 6000; i++) {
    if (i % 64 == 0)
      make_page (i / 64 % PAGE_KINDS, i, other);
    n = rnd (&rng) % (rnd (&rng) % 4 ? 20 : 400);
    at = rnd (&rng) % (TZ_PAGE - n);
    from = rnd (&rng) % (TZ_PAGE - n);
    if (i % 3 == 0)
      memmove (page + at, page + from, n);
    else
      memcpy (page + at, other + from, n);
    round_trip (page, level, blob);
  }
}

/* One line of each kind, by hand. */
static const uint8_t by_hand[] = {
  0x0c, 0,    0,    0,    0,   0,   0,   0x80, /* lines 2, 3 and 63 have a
                                                  reference, */
  0x0a, 0,    0,    0,    0,   0,   0,   0x80, /* 1 has none, 3 and 63 the same
                                                  distance */
  0x01, 0,                /* line 2 is bytes 1 … 64, 127 before it */
  0x81, 0x80, 0x00, 0x01, /* flags of lines 1, 2, 3 and 63 */
  0x03, 0x01, 0x80, 0xff, /* masks: two of line 1, of 2 and of 63 */
  'a',  'b',  'c',  'd',  'A', 'B', 'C', 'D',  'E', 'F', 'G', 'H',
};

static void
test_by_hand (void)
{
  uint8_t page[TZ_PAGE] = { 0 }, back[TZ_PAGE], bad[sizeof by_hand + 1];
  size_t i;

  page[64] = 'a';
  page[65] = 'b';
  page[120] = 'c';
  page[128 + 63] = 'd';
  page[192] = 'b';
  page[192 + 55] = 'c';
  memcpy (page + 4032, "ABCDEFGH", 8);
  CHECK (decode (by_hand, sizeof by_hand, back) == 0);
  CHECK (memcmp (back, page, TZ_PAGE) == 0);

  /* Any other length is wrong. */
  memcpy (bad, by_hand, sizeof by_hand);
  bad[sizeof by_hand] = 0;
  for (i = 0; i <= sizeof bad; i++)
    CHECK (decode (bad, i, back) == (i == sizeof by_hand ? 0 : -EBADMSG));
  /* References may not reach into their line. */
  for (i = 0; i < 0x10000; i++) {
    put16 (bad + 16, (uint16_t) i);
    CHECK (decode (bad, sizeof by_hand, back) == (i <= 64 ? 0 : -EBADMSG));
  }
  put16 (bad + 16, 1);
  /* One byte more or less flagged, masked. */
  for (i = 8 * 18; i < 8 * 26; i++) {
    bad[i / 8] ^= (uint8_t) (1 << i % 8);
    CHECK (decode (bad, sizeof by_hand, back) == -EBADMSG);
    bad[i / 8] ^= (uint8_t) (1 << i % 8);
  }
  /* The first line has nothing before it. */
  memset (bad, 0, sizeof bad);
  bad[0] = bad[8] = 1;
  CHECK (decode (bad, 17, back) == -EBADMSG);
  bad[8] = 0;
  CHECK (decode (bad, 19, back) == -EBADMSG);
  bad[0] = 0;
  bad[8] = 1;
  CHECK (decode (bad, 17, back) == 0);
}

/* Mutants of blobs: the bodies agree and stay within bounds. */
static void
test_malformed (int level)
{
  uint8_t page[TZ_PAGE], blob[TZ_PAGE], bad[TZ_PAGE];
  unsigned i, len = 0, changes, accepted = 0;
  uint64_t rng = 3;

  for (i = 0; i < 20000; i++) {
    if (i % 100 == 0) {
      make_page (i / 100 % PAGE_KINDS, i, page);
      len = (unsigned) round_trip (page, level, blob);
    }
    if (len == 0)
      continue;
    memcpy (bad, blob, len);
    for (changes = rnd (&rng) % 4; changes > 0; changes--)
      bad[rnd (&rng) % (changes % 2 ? 16 : len)] ^= 1 << rnd (&rng) % 8;
    accepted += decode (bad, len - rnd (&rng) % 16 / 15, page) == 0;
  }
  CHECK (accepted > 2000); /* or nothing was tested */
}

/* The encoder's output is part of the specification. */
static void
test_known_answers (void)
{
  static const struct {
    unsigned kind;
    int level, len;
    uint64_t sum;
  } answers[] = {
#include "ld64-answers.h"
  };
  uint8_t page[TZ_PAGE], blob[TZ_PAGE];
  uint64_t sum;
  unsigned i;
  bool bad = false;
  int len, j;

  for (i = 0; i < sizeof answers / sizeof answers[0]; i++) {
    make_page (answers[i].kind, 12345, page);
    len = round_trip (page, answers[i].level, blob);
    for (sum = 0xcbf29ce484222325, j = 0; j < len; j++)
      sum = (sum ^ blob[j]) * 0x100000001b3; /* FNV-1a */
    if (len != answers[i].len || sum != answers[i].sum) {
      fprintf (stderr, "{ %u, %d, %d, 0x%016llx },\n", answers[i].kind,
               answers[i].level, len, (unsigned long long)sum);
      bad = true;
    }
  }
  CHECK (!bad);
}

int
main (int argc, char **argv)
{
  int level;

  (void)argc;
  scratch = aligned_alloc (64, sizeof *scratch);
  CHECK (scratch != NULL);
  source = guarded (2 * TZ_PAGE);
  blobs = guarded (2 * TZ_PAGE);
  output = guarded (TZ_DST_SIZE);
  target = guarded (2 * TZ_PAGE);
  find_bodies ();
  test_by_hand ();
  for (level = 1; level <= LD64_LEVELS; level++) {
    test_sizes (level);
    test_mutations (level);
    test_malformed (level);
  }
  all_pages (argv + 1, 1, test_page);
  test_known_answers ();
  free (scratch);
  return 0;
}

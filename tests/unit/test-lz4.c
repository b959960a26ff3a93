/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* LZ4: legal blocks both ways, exact bounds, any bytes in. */
#include <config.h>

#include <errno.h>

#ifdef HAVE_LIBLZ4
#include <lz4.h>
#include <lz4hc.h>
#endif

#include "cpu.h"
#include "codec/codec.h"
#include "codec/lz4.h"
#include "pages.h"

static uint8_t scratch[65536] __attribute__ ((aligned (64)));
static uint8_t dst[TZ_DST_SIZE] __attribute__ ((aligned (64)));
static uint8_t *room; /* where blobs lie, their slack ends at a guard */
static uint8_t *page; /* where pages are decoded to, guarded */
#define ROOM (2 * TZ_PAGE)

/* Decode a copy whose slack ends at a guard, with what the slack holds set. */
static int
decode (const uint8_t *blob, size_t len, int slack)
{
  size_t at = (ROOM - TZ_BLOB_SLACK - len) / 16 * 16;

  memset (room + at + len, slack, ROOM - at - len);
  memcpy (room + at, blob, len);
  return tz_lz4_ops.decode (scratch, room + at, len, page);
}

/* Walk over the block's sequences as its format's text has them. */
static bool
legal (const uint8_t *p, size_t len)
{
  const uint8_t *end = p + len;
  size_t out = 0, n, m, offset;
  uint8_t token;

  for (;;) {
    token = *p++;
    n = token >> 4;
    if (n == 15)
      do
        n += *p;
      while (*p++ == 255);
    p += n;
    out += n;
    if (p == end)
      return out == TZ_PAGE && n >= 5;
    if (p > end - 2 || out > TZ_PAGE - 12)
      return false;
    offset = p[0] | p[1] << 8;
    p += 2;
    m = (token & 15) + 4;
    if (token % 16 == 15)
      do
        m += *p;
      while (*p++ == 255);
    if (offset == 0 || offset > out)
      return false;
    out += m;
  }
}

static void
with_liblz4 (const uint8_t *in, const uint8_t *blob, int n)
{
#ifdef HAVE_LIBLZ4
  static uint8_t out[TZ_PAGE];

  CHECK (LZ4_decompress_safe ((const char *) blob, (char *) out, n, TZ_PAGE)
         == TZ_PAGE);
  CHECK (memcmp (out, in, TZ_PAGE) == 0);
#else
  (void) in;
  (void) blob;
  (void) n;
#endif
}

static void
from_liblz4 (const uint8_t *in)
{
#ifdef HAVE_LIBLZ4
  static const int levels[] = { 1, 8, 3, 12 };
  unsigned i;
  int n;

  for (i = 0; i < 4; i++) {
    n = i < 2 ? LZ4_compress_fast ((const char *) in, (char *) dst, TZ_PAGE,
                                   TZ_DST_SIZE, levels[i])
              : LZ4_compress_HC ((const char *) in, (char *) dst, TZ_PAGE,
                                 TZ_DST_SIZE, levels[i]);
    CHECK (n > 0);
    CHECK (decode (dst, n, 0x11) == 0);
    CHECK (memcmp (page, in, TZ_PAGE) == 0);
  }
#else
  (void) in;
#endif
}

/* Every body makes the block that the reference makes. */
static void
bodies (const uint8_t *in)
{
  static const unsigned narrow_below[] = { 0, 1, 20, 40, 65 };
  static uint8_t expected[TZ_DST_SIZE];
  struct lz4_work *work = (struct lz4_work *) scratch;
  const struct lz4_body *body;
  unsigned i, n, m;

  for (i = 0; i < sizeof narrow_below / sizeof narrow_below[0]; i++) {
    memcpy (work->page, in, TZ_PAGE);
    m = tz_lz4_encode_scalar (work, expected, narrow_below[i]);
    for (body = tz_lz4_bodies; body < tz_lz4_bodies + tz_lz4_n_bodies; body++) {
      if ((body->needs & ~tz_cpu ()) != 0)
        continue;
      memcpy (work->page, in, TZ_PAGE);
      n = body->encode (work, dst, narrow_below[i]);
      CHECK (n == m && memcmp (dst, expected, n) == 0);
    }
  }
}

static void
round_trip (const uint8_t *in)
{
  int level, n;

  for (level = tz_lz4_ops.min_level; level <= tz_lz4_ops.max_level; level++) {
    n = tz_lz4_ops.encode (scratch, in, dst, level);
    CHECK (n >= 0 && n < TZ_PAGE);
    if (n == 0)
      continue;
    CHECK (legal (dst, n));
    with_liblz4 (in, dst, n);
    memset (page, 0xa5, TZ_PAGE);
    CHECK (decode (dst, n, 0) == 0);
    CHECK (memcmp (page, in, TZ_PAGE) == 0);
    CHECK (decode (dst, n, 0xff) == 0);
    CHECK (memcmp (page, in, TZ_PAGE) == 0);
  }
  from_liblz4 (in);
}

/* Any bytes: an answer of the two, and nothing touched that must not be. */
static void
mutants (const uint8_t *in)
{
  static uint64_t rng;
  uint8_t bad[TZ_PAGE + 16];
  int n, i, j, r, len;

  n = tz_lz4_ops.encode (scratch, in, dst, 1 + rnd (&rng) % 3);
  for (i = 0; i < (n > 0 ? 50 : 0); i++) {
    memcpy (bad, dst, n);
    len = rnd (&rng) % 4 ? n : 1 + (int) (rnd (&rng) % n);
    for (j = rnd (&rng) % 4; j >= 0; j--)
      bad[rnd (&rng) % len] = rnd (&rng) % 2 ? rnd (&rng) : 255;
    r = decode (bad, len, 0xff);
    CHECK (r == 0 || r == -EBADMSG);
    CHECK (decode (bad, len, 0) == r);
  }
  for (i = 1; i < n; i += 1 + n / 37)
    CHECK (decode (dst, i, 0) == -EBADMSG);
  if (n > 0 && n < TZ_PAGE - 1) {
    dst[n] = 0;
    CHECK (decode (dst, n + 1, 0) == -EBADMSG);
  }
}

/* One literal, then a run of it and five literals. */
static void
known_answers (void)
{
  uint8_t run[32] = { 0x1f, 'x', 1, 0 }, bad[32];
  int i, level;

  for (i = 4; i < 19; i++)
    run[i] = 255;
  run[19] = TZ_PAGE - 6 - 19 - 15 * 255;
  memcpy (run + 20, "\x50vwxyz", 6);
  CHECK (decode (run, 26, 0x33) == 0);
  for (i = 0; i < TZ_PAGE - 5; i++)
    CHECK (page[i] == 'x');
  CHECK (memcmp (page + i, "vwxyz", 5) == 0);

  memcpy (bad, run, 26);
  bad[2] = 0; /* no distance */
  CHECK (decode (bad, 26, 0) == -EBADMSG);
  bad[2] = 2; /* before the page */
  CHECK (decode (bad, 26, 0) == -EBADMSG);
  memcpy (bad, run, 26);
  bad[19]++; /* a byte too long */
  CHECK (decode (bad, 26, 0) == -EBADMSG);
  bad[19] -= 2; /* a byte too short */
  CHECK (decode (bad, 26, 0) == -EBADMSG);
  memcpy (bad, run, 26);
  bad[20] = 0x60; /* a literal too many */
  CHECK (decode (bad, 26, 0) == -EBADMSG);
  CHECK (decode (bad, 27, 0) == -EBADMSG);
  CHECK (decode (run, 20, 0) == -EBADMSG); /* ends with a match */
  memset (bad, 255, sizeof bad);
  CHECK (decode (bad, sizeof bad, 255) == -EBADMSG);

  /* The same page, whose last match is short and ends with it. */
  memcpy (bad, run, 19);
  bad[19] = run[19] + 1;
  memcpy (bad + 20, "\0\1\0\0", 4);
  CHECK (decode (bad, 24, 0) == 0);
  for (i = 0; i < TZ_PAGE; i++)
    CHECK (page[i] == 'x');

  /* A page of zeroes has one shortest block up to where its run starts. */
  memset (page, 0, TZ_PAGE);
  for (level = 1; level <= 3; level++) {
    static const uint8_t zeroes[TZ_PAGE];

    i = tz_lz4_ops.encode (scratch, zeroes, dst, level);
    CHECK (i > 0 && i < 48);
  }
}

int
main (int argc, char *argv[])
{
  (void) argc;
  CHECK (tz_lz4_ops.scratch_size == NULL
         || tz_lz4_ops.scratch_size (3) <= sizeof scratch);
  room = guarded (ROOM);
  page = guarded (TZ_PAGE);
  printf ("lz4: %s\n", tz_lz4_ops.isa ());
  known_answers ();
  all_pages (argv + 1, 1, bodies);
  all_pages (argv + 1, 1, round_trip);
  all_pages (argv + 1, 16, mutants);
  return EXIT_SUCCESS;
}

/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* zstd: every level, without allocation, any bytes in. */
#include <errno.h>
#include <malloc.h>

#include "codec/codec.h"
#include "pages.h"

static uint8_t dst[TZ_DST_SIZE] __attribute__ ((aligned (64)));
static uint8_t *page;
static void *scratch;
static int level;
static uint64_t total; /* bytes of blobs */

static void *
contexts (int l)
{
  size_t size = tz_zstd_ops.scratch_size (l);
  void *p;

  CHECK (posix_memalign (&p, 64, size) == 0);
  memset (p, 0, size);
  CHECK (tz_zstd_ops.init (p, size, l) == 0);
  return p;
}

static void
round_trip (const uint8_t *in)
{
  int n = tz_zstd_ops.encode (scratch, in, dst, level);

  CHECK (n >= 0 && n < TZ_PAGE);
  total += n > 0 ? n : TZ_PAGE;
  if (n == 0)
    return;
  CHECK (dst[0] == 0); /* neither size nor checksum nor dictionary */
  memset (page, 0xa5, TZ_PAGE);
  CHECK (tz_zstd_ops.decode (scratch, dst, n, page) == 0);
  CHECK (memcmp (page, in, TZ_PAGE) == 0);
}

static void
mutants (const uint8_t *in)
{
  static uint64_t rng;
  uint8_t bad[TZ_PAGE];
  int n, i, r;

  n = tz_zstd_ops.encode (scratch, in, dst, level);
  for (i = 0; i < (n > 0 ? 30 : 0); i++) {
    memcpy (bad, dst, n);
    bad[rnd (&rng) % n] = rnd (&rng);
    bad[rnd (&rng) % (n < 16 ? n : 16)] ^= 1 << rnd (&rng) % 8;
    r = tz_zstd_ops.decode (scratch, bad, n, page);
    CHECK (r == 0 || r == -EBADMSG);
  }
  for (i = 1; i < n; i += 1 + n / 17)
    CHECK (tz_zstd_ops.decode (scratch, dst, i, page) == -EBADMSG);
  if (n > 0 && n < TZ_PAGE - 1) {
    dst[n] = 0;
    CHECK (tz_zstd_ops.decode (scratch, dst, n + 1, page) == -EBADMSG);
  }
}

/* A frame of one run of 4096 bytes; the format's text gives every bit of it:
 * descriptor, window of 4 KiB, header of a last block of type RLE.
 */
static void
known_answers (void)
{
  uint8_t run[] = { 0x00, 0x10, 0x03, 0x80, 0x00, 0x5a };
  int i;

  CHECK (tz_zstd_ops.decode (scratch, run, sizeof run, page) == 0);
  for (i = 0; i < TZ_PAGE; i++)
    CHECK (page[i] == 0x5a);
  run[2] -= 8; /* 4095 */
  run[3]--;
  CHECK (tz_zstd_ops.decode (scratch, run, sizeof run, page) == -EBADMSG);
  run[2] = 0x0b; /* 4097 */
  run[3] = 0x80;
  CHECK (tz_zstd_ops.decode (scratch, run, sizeof run, page) == -EBADMSG);
}

/* Bytes that all pages take at a level. */
static uint64_t
all_at (int l, char **files)
{
  level = l;
  total = 0;
  scratch = contexts (level);
  all_pages (files, 1, round_trip);
  free (scratch);
  return total;
}

int
main (int argc, char *argv[])
{
  struct mallinfo2 before, after;
  uint64_t fast, dense;
  int l;

  (void) argc;
  page = guarded (TZ_PAGE);
  printf ("libzstd %s\n", tz_zstd_version ());
  CHECK (tz_zstd_ops.init (page, 64, 1) == -EINVAL);
  for (l = tz_zstd_ops.min_level; l <= tz_zstd_ops.max_level; l++) {
    level = l;
    scratch = contexts (l);
    before = mallinfo2 ();
    for (unsigned kind = 0; kind < PAGE_KINDS; kind++) {
      static uint8_t in[TZ_PAGE];

      make_page (kind, l + 7, in);
      round_trip (in);
    }
    known_answers ();
    after = mallinfo2 ();
    CHECK (after.uordblks == before.uordblks);
    free (scratch);
  }
  fast = all_at (tz_zstd_ops.min_level, argv + 1);
  dense = all_at (tz_zstd_ops.max_level, argv + 1);
  total = all_at (tz_zstd_ops.default_level, argv + 1);
  CHECK (dense < total && total < fast);
  scratch = contexts (level);
  all_pages (argv + 1, 16, mutants);
  free (scratch);
  return EXIT_SUCCESS;
}

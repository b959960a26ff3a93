/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Pages of one pattern: found, and nothing else; and filled. */
#include <errno.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cpu.h"
#include "codec/codec.h"
#include "codec/same.h"
#include "pages.h"

static uint8_t *page;

static bool
is_same (const uint8_t *p)
{
  size_t i;

  for (i = 8; i < TZ_PAGE; i++)
    if (p[i] != p[i - 8])
      return false;
  return true;
}

static void
one_page (const uint8_t *in)
{
  uint64_t pattern = 0;
  bool same;

  memcpy (page, in, TZ_PAGE);
  same = tz_same_filled (page, &pattern);
  CHECK (same == is_same (in));
  if (same) {
    memset (page, 0xa5, TZ_PAGE);
    tz_same_fill (page, TZ_PAGE, pattern);
    CHECK (memcmp (page, in, TZ_PAGE) == 0);
  }
}

/* What there is to hide, by a process of its own, too: once this one has asked,
 * nothing can be hidden any more.
 */
static unsigned
unhidden (void)
{
  unsigned cpu = 0;
  int end[2];
  pid_t pid;

  CHECK (pipe (end) == 0);
  pid = fork ();
  if (pid == 0) {
    cpu = tz_cpu ();
    CHECK (write (end[1], &cpu, sizeof cpu) == sizeof cpu);
    _exit (0);
  }
  CHECK (read (end[0], &cpu, sizeof cpu) == sizeof cpu);
  CHECK (waitpid (pid, NULL, 0) == pid);
  close (end[0]);
  close (end[1]);
  return cpu;
}

/* A hidden feature hides what is built upon it; in processes of their own, as
 * that cannot be taken back.
 */
static void
hidden (const char *features, unsigned gone, unsigned stays)
{
  pid_t pid = fork ();
  int status;

  if (pid == 0) {
    CHECK (tz_cpu_hide ("ssse3,avx") == -EINVAL);
    CHECK (tz_cpu_hide (",ssse3") == -EINVAL);
    CHECK (tz_cpu_hide (features) == 0);
    CHECK ((tz_cpu () & gone) == 0);
    CHECK ((tz_cpu () & stays) == stays);
    CHECK (tz_cpu_hide (features) == -EBUSY);
    if (tz_cpu () == 0)
      CHECK (strcmp (tz_cpu_features (), "none") == 0
             && strcmp (tz_same_isa (), "scalar") == 0);
    _exit (0);
  }
  CHECK (waitpid (pid, &status, 0) == pid && status == 0);
}

/* Every body sees every byte. */
static void
bodies (void)
{
  static const struct {
    unsigned cpu;
    tz_same_rest_fn *fn;
  } body[] = {
    { 0, tz_same_rest_scalar },
#if defined(__x86_64__)
    { TZ_CPU_SSSE3, tz_same_rest_ssse3 },
    { TZ_CPU_AVX2, tz_same_rest_avx2 },
    { TZ_CPU_AVX512, tz_same_rest_avx512 },
#elif defined(__aarch64__)
    { TZ_CPU_NEON, tz_same_rest_neon },
#endif
  };
  const uint64_t pattern = 0x8001020304050607;
  unsigned i, at;

  tz_same_fill (page, TZ_PAGE, pattern);
  for (i = 0; i < sizeof body / sizeof body[0]; i++) {
    if ((tz_cpu () & body[i].cpu) != body[i].cpu)
      continue;
    CHECK (body[i].fn (page, pattern));
    CHECK (!body[i].fn (page, pattern ^ 1));
    for (at = 0; at < TZ_PAGE; at++) {
      page[at] ^= 1;
      CHECK (!body[i].fn (page, pattern));
      page[at] ^= 1;
    }
  }
}

/* Every single bit that differs is seen, and every pattern is found. */
static void
detect (void)
{
  static const uint64_t patterns[]
      = { 0, 0xffffffffffffffff, 0x0102030405060708, 0x00ff00ff00ff00ff, 1,
          0x8000000000000000 };
  uint64_t got;
  unsigned i, bit;

  for (i = 0; i < sizeof patterns / sizeof patterns[0]; i++) {
    tz_same_fill (page, TZ_PAGE, patterns[i]);
    got = ~patterns[i];
    CHECK (tz_same_filled (page, &got));
    CHECK (got == patterns[i]);
    for (bit = 0; bit < 8 * TZ_PAGE; bit++) {
      page[bit / 8] ^= 1 << bit % 8;
      CHECK (!tz_same_filled (page, &got));
      page[bit / 8] ^= 1 << bit % 8;
    }
  }
}

/* Every length, against either guard. */
static void
fill (uint64_t pattern)
{
  uint8_t bytes[8], *p;
  unsigned n, i, at_end;

  memcpy (bytes, &pattern, 8);
  for (n = 0; n <= TZ_PAGE; n += n < 600 ? 1 : 173)
    for (at_end = 0; at_end < 2; at_end++) {
      p = at_end ? page + TZ_PAGE - n : page;
      memset (page, 0xa5, TZ_PAGE);
      tz_same_fill (p, n, pattern);
      for (i = 0; i < n; i++)
        CHECK (p[i] == bytes[i % 8]);
      for (i = 0; i < TZ_PAGE - n; i++)
        CHECK (page[at_end ? i : n + i] == 0xa5);
    }
}

int
main (int argc, char *argv[])
{
  unsigned cpu;

  (void) argc;
  cpu = unhidden ();
  hidden ("ssse3,neon", ~0u, 0);
  hidden ("neon,avx2", TZ_CPU_AVX2 | TZ_CPU_AVX512, cpu & TZ_CPU_SSSE3);
  hidden ("avx512", TZ_CPU_AVX512, cpu & ~TZ_CPU_AVX512);
  page = guarded (TZ_PAGE);
  printf ("same: %s\n", tz_same_isa ());
  bodies ();
  detect ();
  fill (0);
  fill (0x0102030405060708);
  fill (0x4141414141414141);
  fill (0x4142414241424142);
  all_pages (argv + 1, 1, one_page);
  return EXIT_SUCCESS;
}

/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* A store in a file that outlives its process: found again after it was killed
 * at any moment, and refused if anything about it is not right.
 */
#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "internal.h"
#include "pages.h"

#define MiB    (1 << 20)
#define SIZE   (40 * MiB) /* two leaves */

static struct tz_params params
    = { .size = SIZE, .memory = 8 * MiB, .codec = TZ_LZ4, .level = 1,
        .checksum = true };

static void
numbered_page (uint8_t *page, uint64_t number)
{
  uint64_t rng = number;
  unsigned i;

  for (i = 0; i < TZ_PAGE; i++)
    page[i] = i < 256 ? rnd (&rng) : page[i - 256];
  memcpy (page, &number, sizeof number);
}

static struct tz_store *
create (int fd)
{
  struct tz_params p = params;
  struct tz_store *s;

  p.fd = fd;
  CHECK (tz_open (&p, &s) == 0);
  return s;
}

static int
attach (int fd, struct tz_store **s)
{
  struct tz_params p = params;

  p.fd = fd;
  p.attach = true;
  return tz_open (&p, s);
}

/* ---- What must be refused ---- */

/* A file with pages 0, 1 and one in the second leaf. */
static int
sample (uint64_t *dir, uint64_t *words)
{
  int fd = memfd_create ("store", 0);
  struct tz_store *s = create (fd);
  uint8_t buf[TZ_PAGE];
  unsigned i;

  for (i = 0; i < 2; i++) {
    numbered_page (buf, i);
    CHECK (tz_write (s, buf, TZ_PAGE, i * TZ_PAGE) == 0);
  }
  CHECK (tz_write (s, buf, TZ_PAGE, 33 * MiB) == 0);
  *dir = (uint8_t *) s->table.dir - s->region.base;
  *words = (uint8_t *) tz_slot (&s->table, 0, false) - s->region.base;
  tz_close (s);
  return fd;
}

static void
put (int fd, const void *p, size_t n, uint64_t at)
{
  CHECK (pwrite (fd, p, n, at) == (ssize_t) n);
}

static uint64_t
word_at (int fd, uint64_t at)
{
  uint64_t w;

  CHECK (pread (fd, &w, sizeof w, at) == sizeof w);
  return w;
}

/* Put a value where it must not be, and want this error. */
static void
refuse (const char *what, size_t n, uint64_t value, int where, int64_t at,
        int want)
{
  uint64_t dir, words;
  int fd = sample (&dir, &words), err;
  struct tz_store *s;

  at += where == 'd' ? dir : where == 'w' ? words : 0;
  put (fd, &value, n, at);
  err = attach (fd, &s);
  if (err != want) {
    fprintf (stderr, "%s: %s instead of %s\n", what, strerror (-err),
             strerror (-want));
    abort ();
  }
  close (fd);
}

static void
test_refused (void)
{
  uint64_t dir, words, one, second, w;
  int fd = sample (&dir, &words);
  struct tz_store *s;

  one = word_at (fd, words + 8);
  second = (word_at (fd, dir) >> 32) * TZ_CHUNK - words;
  CHECK (attach (fd, &s) == 0);
  tz_close (s);
  close (fd);

  refuse ("no magic", 1, 'X', 's', 0, -EMEDIUMTYPE);
  refuse ("version", 4, 2, 's', 8, -EMEDIUMTYPE);
  refuse ("unit", 4, 64, 's', 12, -EMEDIUMTYPE);
  refuse ("torn", 4, 12345, 's', 28, -EUCLEAN);
  refuse ("torn id", 1, 0, 's', 52, -EUCLEAN);
  refuse ("leaf past the end", 4, 99999, 'd', 0, -EUCLEAN);
  refuse ("leaf in the directory", 4, 1, 'd', 0, -EUCLEAN);
  refuse ("leaf twice", 4, words / TZ_CHUNK, 'd', 4, -EUCLEAN);
  refuse ("run twice", 8, one, 'w', 0, -EUCLEAN);
  refuse ("run inside another", 8, one + (UINT64_C (1) << WORD_RUN_SHIFT),
          'w', 0, -EUCLEAN);
  refuse ("run past the end", 8, one | UINT64_C (1) << 60, 'w', 0, -EUCLEAN);
  refuse ("run in a leaf", 8, word_make (TZ_RAW, TZ_PAGE, words / UNIT), 'w',
          0, -EUCLEAN);
  refuse ("run in the superblock", 8, word_make (TZ_RAW, TZ_PAGE, 0), 'w', 0,
          -EUCLEAN);
  refuse ("run over a chunk's end", 8,
          word_make (TZ_RAW, TZ_PAGE, (word_run (one) / CHUNK_UNITS + 2)
                                              * CHUNK_UNITS
                                          - 10),
          'w', 0, -EUCLEAN);
  w = one & ~(WORD_CODEC_MASK << WORD_CODEC_SHIFT);
  refuse ("absent with a run", 8, w, 'w', 8, -EUCLEAN);
  refuse ("unknown codec", 8, w | UINT64_C (9) << WORD_CODEC_SHIFT, 'w', 8,
          -EUCLEAN);
  w = one & ~(WORD_LEN_MASK << WORD_LEN_SHIFT);
  refuse ("no length", 8, w, 'w', 8, -EUCLEAN);
  refuse ("beyond the disk", 8, word_make (TZ_SAME, 0, 7), 'w',
          second + 8 * (LEAF_WORDS - 1), -EUCLEAN);
  refuse ("too long", 8, w | UINT64_C (5000) << WORD_LEN_SHIFT, 'w', 8,
          -EUCLEAN);
}

static void
test_other_parameters (void)
{
  uint64_t dir, words;
  int fd = sample (&dir, &words);
  struct tz_params p = params;
  struct tz_store *s;

  p.fd = fd;
  p.attach = true;
  p.size = SIZE - TZ_PAGE;
  CHECK (tz_open (&p, &s) == -ESTALE);
  p.size = 2 * SIZE;
  CHECK (tz_open (&p, &s) == -ESTALE);
  p.size = SIZE;
  p.checksum = false;
  CHECK (tz_open (&p, &s) == -ESTALE);
  p.checksum = true;
  p.memory = 16 * MiB;
  CHECK (tz_open (&p, &s) == -ESTALE);
  CHECK (ftruncate (fd, MiB) == 0);
  CHECK (attach (fd, &s) == -ESTALE);
  CHECK (ftruncate (fd, 0) == 0);
  CHECK (attach (fd, &s) == -EMEDIUMTYPE);
  close (fd);
}

/* A lock that was held when the process died is not held by anybody. */
static void
test_locked (void)
{
  uint8_t want[TZ_PAGE], got[TZ_PAGE];
  uint64_t dir, words, w;
  int fd = sample (&dir, &words);
  struct tz_store *s;

  w = word_at (fd, words) | WORD_LOCK | WORD_WAITER;
  put (fd, &w, sizeof w, words);
  CHECK (attach (fd, &s) == 0);
  numbered_page (want, 0);
  CHECK (tz_read (s, got, TZ_PAGE, 0) == 0);
  CHECK (memcmp (want, got, TZ_PAGE) == 0);
  tz_close (s);
  close (fd);
}

/* A page's codec need not be the one that the store now writes. */
static void
test_other_codec (enum tz_codec was, enum tz_codec is)
{
  struct tz_params p = params;
  uint8_t want[TZ_PAGE], got[TZ_PAGE];
  struct tz_store *s;
  int min, max;

  p.fd = memfd_create ("store", 0);
  p.codec = was;
  tz_codec_levels (was, &min, &max, &p.level);
  CHECK (tz_open (&p, &s) == 0);
  numbered_page (want, 77);
  CHECK (tz_write (s, want, TZ_PAGE, 0) == 0);
  tz_close (s);
  p.codec = is;
  p.attach = true;
  tz_codec_levels (is, &min, &max, &p.level);
  CHECK (tz_open (&p, &s) == 0);
  CHECK (tz_read (s, got, TZ_PAGE, 0) == 0);
  CHECK (memcmp (want, got, TZ_PAGE) == 0);
  tz_close (s);
  close (p.fd);
}

/* ---- Killed while it writes ---- */

/* What the writer has been told is stored, by page: the last number that was
 * acknowledged, and the one under way.
 */
struct progress {
  _Atomic uint64_t done[64], doing[64];
};

static void
write_until_killed (struct tz_store *s, struct progress *pr, uint64_t seed)
{
  uint8_t buf[TZ_PAGE];
  uint64_t n, page;

  for (n = seed << 32;; n++) {
    page = rnd (&seed) % 64;
    numbered_page (buf, n);
    atomic_store (&pr->doing[page], n);
    if (tz_write (s, buf, TZ_PAGE, page * TZ_PAGE))
      _exit (1);
    atomic_store (&pr->done[page], n);
  }
}

static void
check_progress (struct tz_store *s, struct progress *pr)
{
  uint8_t want[TZ_PAGE], got[TZ_PAGE];
  uint64_t page, n;

  for (page = 0; page < 64; page++) {
    CHECK (tz_read (s, got, TZ_PAGE, page * TZ_PAGE) == 0);
    memcpy (&n, got, sizeof n);
    CHECK (n == atomic_load (&pr->done[page])
           || n == atomic_load (&pr->doing[page]));
    if (n)
      numbered_page (want, n);
    else
      memset (want, 0, TZ_PAGE);
    CHECK (memcmp (want, got, TZ_PAGE) == 0);
    atomic_store (&pr->done[page], n);
    atomic_store (&pr->doing[page], n);
  }
}

static void
test_killed (unsigned kills)
{
  struct progress *pr = mmap (NULL, sizeof *pr, PROT_READ | PROT_WRITE,
                              MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  int fd = memfd_create ("store", 0), status;
  uint64_t rng = 9;
  unsigned i;

  CHECK (pr != MAP_FAILED);
  tz_close (create (fd));
  for (i = 1; i <= kills; i++) {
    struct timespec t = { 0, rnd (&rng) % 8000000 };
    struct tz_store *s;
    pid_t pid = fork ();

    if (pid == 0) {
      if (attach (fd, &s) || tz_start (s))
        _exit (2);
      write_until_killed (s, pr, i);
    }
    nanosleep (&t, NULL);
    kill (pid, SIGKILL);
    CHECK (waitpid (pid, &status, 0) == pid && WIFSIGNALED (status));
    CHECK (attach (fd, &s) == 0);
    check_progress (s, pr);
    tz_close (s);
  }
  CHECK (atomic_load (&pr->done[0]) != 0);
  munmap (pr, sizeof *pr);
  close (fd);
}

int
main (void)
{
  test_refused ();
  test_other_parameters ();
  test_locked ();
  test_other_codec (TZ_ZSTD, TZ_LD64);
  test_other_codec (TZ_LD64, TZ_ZSTD);
  test_other_codec (TZ_LZ4, TZ_RAW);
  test_killed (200);
  return 0;
}

/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* A store in a file that outlives its process: found again after it was killed
 * at any moment, and refused if anything about it is not right.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
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

/* hugetlbfs does not tell of holes. */
static bool no_holes;

off_t
lseek (int fd, off_t offset, int whence)
{
  static off_t (*real) (int, off_t, int);

  if (!real)
    real = (off_t (*) (int, off_t, int)) dlsym (RTLD_NEXT, "lseek");
  if (no_holes && whence == SEEK_DATA) {
    errno = EINVAL;
    return -1;
  }
  return real (fd, offset, whence);
}

static atomic_uint punched;

int
fallocate (int fd, int mode, off_t offset, off_t len)
{
  static int (*real) (int, int, off_t, off_t);

  if (!real)
    real = (int (*) (int, int, off_t, off_t)) dlsym (RTLD_NEXT, "fallocate");
  if (mode & FALLOC_FL_PUNCH_HOLE)
    atomic_fetch_add (&punched, 1);
  return real (fd, mode, offset, len);
}

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
  uint64_t dir, words, one, second, last, w;
  cpu_set_t all, here;
  struct tz_store *s;
  int fd;

  /* On another processor, the next sample would have chunks elsewhere. */
  CHECK (sched_getaffinity (0, sizeof all, &all) == 0);
  CPU_ZERO (&here);
  CPU_SET (sched_getcpu (), &here);
  CHECK (sched_setaffinity (0, sizeof here, &here) == 0);
  fd = sample (&dir, &words);
  one = word_at (fd, words + 8);
  second = (word_at (fd, dir) >> 32) * TZ_CHUNK - words;
  last = second + 8 * (33 * MiB / TZ_PAGE % LEAF_WORDS);
  w = word_at (fd, words + last) & ~(WORD_LEN_MASK << WORD_LEN_SHIFT);
  CHECK (attach (fd, &s) == 0);
  tz_close (s);
  close (fd);

  refuse ("as long as a page", 8, w | (uint64_t) TZ_PAGE << WORD_LEN_SHIFT, 'w',
          last, -EUCLEAN);
  refuse ("no magic", 1, 'X', 's', 0, -EMEDIUMTYPE);
  refuse ("version", 4, 2, 's', 8, -EMEDIUMTYPE);
  refuse ("unit", 4, 64, 's', 12, -EMEDIUMTYPE);
  refuse ("torn", 4, 12345, 's', 28, -EUCLEAN);
  refuse ("torn id", 8, 0, 's', 48, -EUCLEAN);
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
  CHECK (sched_setaffinity (0, sizeof all, &all) == 0);
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
  close (fd);
}

/* Nor may two entries share a leaf in which no page has a run. */
static void
test_shared_leaf (void)
{
  int fd = memfd_create ("store", 0);
  struct tz_store *s = create (fd);
  uint8_t buf[TZ_PAGE];
  uint64_t dir;

  memset (buf, 7, sizeof buf);
  CHECK (tz_write (s, buf, TZ_PAGE, 0) == 0);
  CHECK (tz_write (s, buf, TZ_PAGE, 33 * MiB) == 0);
  dir = (uint8_t *) s->table.dir - s->region.base;
  tz_close (s);
  put (fd, &(uint32_t) { word_at (fd, dir) }, 4, dir + 4);
  CHECK (attach (fd, &s) == -EUCLEAN);
  close (fd);
}

/* Who does not attach starts afresh, whatever the file holds. */
static void
test_anew (void)
{
  uint64_t dir, words;
  int fd = sample (&dir, &words);
  struct tz_store *s = create (fd);
  uint8_t got[TZ_PAGE], zeroes[TZ_PAGE] = { 0 };

  CHECK (tz_read (s, got, TZ_PAGE, 0) == 0);
  CHECK (memcmp (got, zeroes, TZ_PAGE) == 0);
  tz_close (s);
  CHECK (attach (fd, &s) == 0);
  CHECK (tz_read (s, got, TZ_PAGE, 33 * MiB) == 0);
  CHECK (memcmp (got, zeroes, TZ_PAGE) == 0);
  tz_close (s);
  close (fd);
}

/* ---- What may happen to a file ---- */

#define SUPERBLOCK_WORDS 7

/* Each mixture of a superblock with what was there before, or came after. */
static void
test_torn (void)
{
  uint64_t dir, words, whole[SUPERBLOCK_WORDS], mixed[SUPERBLOCK_WORDS];
  uint64_t others[4][SUPERBLOCK_WORDS] = { { 0 } };
  int fd = sample (&dir, &words), other = memfd_create ("other", 0), err;
  struct tz_params p = params;
  struct tz_store *s;
  unsigned o, set, i;

  memset (others[1], 0xff, sizeof others[1]);
  p.fd = other;
  p.size = SIZE - TZ_PAGE;
  p.checksum = false;
  CHECK (tz_open (&p, &s) == 0);
  tz_close (s);
  CHECK (pread (other, others[2], sizeof whole, 0) == sizeof whole);
  tz_close (create (other));
  CHECK (pread (other, others[3], sizeof whole, 0) == sizeof whole);
  CHECK (pread (fd, whole, sizeof whole, 0) == sizeof whole);
  for (o = 0; o < 4; o++)
    for (set = 0; set < 1 << SUPERBLOCK_WORDS; set++) {
      for (i = 0; i < SUPERBLOCK_WORDS; i++)
        mixed[i] = set >> i & 1 ? others[o][i] : whole[i];
      put (fd, mixed, sizeof mixed, 0);
      err = attach (fd, &s);
      if (err == 0)
        tz_close (s);
      if (memcmp (mixed, whole, sizeof whole) == 0
          || memcmp (mixed, others[3], sizeof whole) == 0)
        CHECK (err == 0);
      else if (memcmp (mixed, others[2], sizeof whole) == 0)
        CHECK (err == -ESTALE);
      else
        CHECK (err == -EMEDIUMTYPE || err == -EUCLEAN);
    }
  close (other);
  close (fd);
}

static void
test_truncated (void)
{
  static const off_t begin[] = { 0, 1, 8, 55 };
  uint64_t dir, words;
  int fd = sample (&dir, &words), cut;
  off_t length = lseek (fd, 0, SEEK_END), at;
  struct tz_store *s;
  unsigned i;

  CHECK (ftruncate (fd, length + 1) == 0);
  CHECK (attach (fd, &s) == 0);
  tz_close (s);
  for (at = length - 1; at >= 56; at = (at - 1) / TZ_CHUNK * TZ_CHUNK) {
    CHECK (ftruncate (fd, at) == 0);
    CHECK (attach (fd, &s) == -EUCLEAN);
    CHECK (lseek (fd, 0, SEEK_END) == at);
    if (at == TZ_CHUNK)
      break;
  }
  for (i = 0; i < sizeof begin / sizeof *begin; i++) {
    cut = sample (&dir, &words);
    CHECK (ftruncate (cut, begin[i]) == 0);
    CHECK (attach (cut, &s) == -EMEDIUMTYPE);
    close (cut);
  }
  close (fd);
}

/* ---- Table words and the directory, at random ---- */

#define PAGES 96

/* Of all kinds there are. */
static void
page_of (unsigned i, uint8_t *page)
{
  unsigned k;

  make_page (i % PAGE_KINDS, i, page);
  if (i % PAGE_KINDS == 15)
    for (k = 0; k < TZ_PAGE; k += 8)
      memcpy (page + k, i % 32 == 15 ? "patterns" : "samesame", 8);
}

static int
many_pages (uint64_t *dir, uint64_t *words)
{
  int fd = sample (dir, words);
  uint8_t buf[TZ_PAGE];
  struct tz_store *s;
  unsigned i;

  CHECK (attach (fd, &s) == 0);
  CHECK (tz_zero (s, SIZE, 0) == 0);
  for (i = 0; i < PAGES; i++) {
    page_of (i, buf);
    CHECK (tz_write (s, buf, TZ_PAGE, i * TZ_PAGE) == 0);
  }
  tz_close (s);
  return fd;
}

/* It is refused as damaged; or, if the word could be a page's, that page cannot
 * be read but the others can, and all can be written.  Only a page of a pattern
 * that is in its word may have become another.
 */
static void
refused_or_contained (int fd, unsigned broken)
{
  uint8_t want[TZ_PAGE], got[TZ_PAGE];
  struct tz_store *s;
  int err = attach (fd, &s);
  uint64_t pattern;
  unsigned i;

  if (err != 0) {
    CHECK (err == -EUCLEAN);
    return;
  }
  for (i = 0; i < PAGES; i++) {
    page_of (i, want);
    err = tz_read (s, got, TZ_PAGE, i * TZ_PAGE);
    if (i == broken)
      CHECK (err == -EIO || memcmp (got, want, TZ_PAGE) == 0
             || tz_same_filled (got, &pattern));
    else
      CHECK (err == 0 && memcmp (got, want, TZ_PAGE) == 0);
  }
  for (i = 0; i < PAGES; i++) {
    page_of (i ^ 5, want);
    CHECK (tz_write (s, want, TZ_PAGE, i * TZ_PAGE) == 0);
  }
  for (i = 0; i < PAGES; i++) {
    page_of (i ^ 5, want);
    CHECK (tz_read (s, got, TZ_PAGE, i * TZ_PAGE) == 0);
    CHECK (memcmp (got, want, TZ_PAGE) == 0);
  }
  tz_close (s);
}

/* A copy of the file, with a value put into it. */
static void
try_with (int fd, uint64_t at, const void *value, size_t n, unsigned broken)
{
  const size_t length = lseek (fd, 0, SEEK_END);
  int copy = memfd_create ("copy", 0);
  off_t from = 0, to = 0;

  CHECK (ftruncate (copy, length) == 0);
  while ((from = lseek (fd, to, SEEK_DATA)) != -1) {
    to = lseek (fd, from, SEEK_HOLE);
    CHECK (lseek (copy, from, SEEK_SET) == from);
    while (from < to)
      CHECK (sendfile (copy, fd, &from, to - from) > 0);
  }
  put (copy, value, n, at);
  refused_or_contained (copy, broken);
  close (copy);
}

/* Any bit of the word of a page of each kind. */
static void
test_flipped (void)
{
  uint64_t dir, words, w;
  int fd = many_pages (&dir, &words);
  unsigned page, bit;

  for (page = PAGES - PAGE_KINDS; page < PAGES; page++)
    for (bit = 0; bit < 64; bit++) {
      w = word_at (fd, words + page * 8) ^ UINT64_C (1) << bit;
      try_with (fd, words + page * 8, &w, sizeof w, page);
    }
  close (fd);
}

static void
test_garbage (unsigned n)
{
  uint64_t dir, words, rng = 4, w;
  int fd = many_pages (&dir, &words);
  unsigned i, page, codec, len;
  uint32_t leaf;

  for (i = 0; i < n; i++) {
    page = rnd (&rng) % PAGES;
    codec = rnd (&rng) % 7;
    len = rnd (&rng) % 4 ? rnd (&rng) % 4200 : codec == TZ_SAME ? 8 : TZ_PAGE;
    w = i % 4 ? word_make (codec, len, rnd (&rng) % (9 * MiB / UNIT))
              : rnd (&rng);
    try_with (fd, words + page * 8, &w, sizeof w, page);
  }
  /* A directory entry stands for no page that is compared here, or for all. */
  for (i = 0; i < n / 4; i++) {
    leaf = i % 4 ? rnd (&rng) % 140 : rnd (&rng);
    if (leaf)
      try_with (fd, dir + 4, &leaf, sizeof leaf, PAGES);
  }
  close (fd);
}

/* ---- The room between pages ---- */

static uint64_t
bytes_of (int fd)
{
  struct stat st;

  CHECK (fstat (fd, &st) == 0);
  return (uint64_t) st.st_blocks * 512;
}

/* What was free when the store was left is as good as before, and what nobody
 * needs goes back to the system.
 */
static void
test_room (void)
{
  int fd = memfd_create ("store", 0);
  struct tz_store *s = create (fd);
  uint8_t buf[TZ_PAGE];
  uint64_t n, i;

  make_page (3, 1, buf);
  for (n = 0; tz_write (s, buf, TZ_PAGE, n * TZ_PAGE) == 0; n++)
    ;
  CHECK (n == 127 * 15);
  for (i = 0; i < n; i += 2)
    CHECK (tz_zero (s, TZ_PAGE, i * TZ_PAGE) == 0);
  tz_close (s);
  CHECK (attach (fd, &s) == 0);
  for (i = 0; i < n; i += 2)
    CHECK (tz_write (s, buf, TZ_PAGE, i * TZ_PAGE) == 0);
  CHECK (tz_write (s, buf, TZ_PAGE, n * TZ_PAGE) == -ENOSPC);
  CHECK (bytes_of (fd) >= 8 * MiB);
  CHECK (tz_zero (s, SIZE, 0) == 0);
  CHECK (bytes_of (fd) <= MiB);
  tz_close (s);
  close (fd);
}

/* ---- Killed, and found by another ---- */

/* A lock that was held when the process died is not held by anybody, and no
 * list of pages to compress is left.
 */
static void
test_locked (void)
{
  uint8_t want[TZ_PAGE], got[TZ_PAGE];
  uint64_t dir, words, was, w;
  int fd = sample (&dir, &words);
  struct tz_store *s;

  was = word_at (fd, words);
  w = was | WORD_LOCK | WORD_WAITER | UINT64_C (3) << WORD_AGE_SHIFT;
  put (fd, &w, sizeof w, words);
  CHECK (attach (fd, &s) == 0);
  CHECK (word_at (fd, words) == was);
  numbered_page (want, 0);
  CHECK (tz_read (s, got, TZ_PAGE, 0) == 0);
  CHECK (memcmp (want, got, TZ_PAGE) == 0);
  tz_close (s);
  close (fd);
}

static void
test_no_holes (void)
{
  uint64_t dir, words;
  int fd = sample (&dir, &words);
  struct tz_store *s;
  struct tz_stats st;

  no_holes = true;
  CHECK (attach (fd, &s) == 0);
  no_holes = false;
  tz_stats (s, &st);
  CHECK (st.orig_data_size == 3 * TZ_PAGE && st.run_bytes > 0);
  tz_close (s);
  close (fd);
}

/* Who stands by has its memory before it knows what is in it, and keeps it. */
static void
test_standby (void)
{
  struct tz_params p = params;
  uint8_t want[TZ_PAGE], got[TZ_PAGE];
  struct tz_store *first, *second;
  unsigned i, before;

  p.fd = memfd_create ("store", 0);
  p.prefault = true;
  CHECK (tz_open (&p, &first) == 0 && tz_start (first) == 0);
  p.attach = p.standby = true;
  CHECK (tz_open (&p, &second) == 0 && tz_start (second) == 0);
  for (i = 0; i < 1000; i++) {
    numbered_page (want, i);
    CHECK (tz_write (first, want, TZ_PAGE, i * TZ_PAGE) == 0);
  }
  CHECK (tz_zero (first, 900 * TZ_PAGE, 0) == 0);
  CHECK (memcmp (tz_id (first), tz_id (second), TZ_ID_LEN) == 0);
  tz_close (first);
  before = atomic_load (&punched);
  CHECK (tz_attach (second) == 0);
  CHECK (atomic_load (&punched) == before);
  for (i = 900; i < 1000; i++) {
    numbered_page (want, i);
    CHECK (tz_read (second, got, TZ_PAGE, i * TZ_PAGE) == 0);
    CHECK (memcmp (want, got, TZ_PAGE) == 0);
  }
  tz_close (second);
  close (p.fd);
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
  test_shared_leaf ();
  test_anew ();
  test_other_parameters ();
  test_torn ();
  test_truncated ();
  test_flipped ();
  test_garbage (1000);
  test_room ();
  test_locked ();
  test_no_holes ();
  test_standby ();
  test_other_codec (TZ_ZSTD, TZ_LD64);
  test_other_codec (TZ_LD64, TZ_ZSTD);
  test_other_codec (TZ_LZ4, TZ_RAW);
  test_killed (200);
  return 0;
}

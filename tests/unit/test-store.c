/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The store when things go wrong: a full pool, a failing codec, damaged blobs, no
 * memory; and what becomes of memory that is freed.
 */
#include <dlfcn.h>
#include <errno.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "internal.h"
#include "pages.h"

#define MiB (1 << 20)

/* ---- A system without memory: madvise as the region calls it ---- */

static bool no_memory;

int
madvise (void *p, size_t len, int advice)
{
  static int (*real) (void *, size_t, int);

  if (!real)
    real = (int (*) (void *, size_t, int)) dlsym (RTLD_NEXT, "madvise");
  if (no_memory && advice == 23 /* MADV_POPULATE_WRITE */) {
    errno = ENOMEM;
    return -1;
  }
  return real (p, len, advice);
}

/* ---- Help ---- */

static struct tz_store *
store_with (uint64_t size, uint64_t memory, enum tz_codec codec, int fd)
{
  struct tz_params p = {
    .size = size, .memory = memory, .codec = codec, .checksum = true, .fd = fd
  };
  struct tz_store *s;
  int min, max;

  CHECK (tz_codec_levels (codec, &min, &max, &p.level) == 0);
  CHECK (tz_open (&p, &s) == 0);
  return s;
}

static struct tz_stats
stats (struct tz_store *s)
{
  struct tz_stats st;

  tz_stats (s, &st);
  return st;
}

/* A page that differs for each number, and that every codec makes smaller. */
static void
numbered_page (uint8_t *page, uint64_t number)
{
  uint64_t rng = number;
  unsigned i, changes = 40 + number % 200;

  for (i = 0; i < TZ_PAGE; i++)
    page[i] = i < 256 ? rnd (&rng) : page[i - 256];
  for (i = 0; i < changes; i++)
    page[rnd (&rng) % TZ_PAGE] = rnd (&rng);
}

static void
write_numbered (struct tz_store *s, uint64_t page, uint64_t number)
{
  uint8_t buf[TZ_PAGE];

  numbered_page (buf, number);
  CHECK (tz_write (s, buf, TZ_PAGE, page * TZ_PAGE) == 0);
}

static bool
holds_numbered (struct tz_store *s, uint64_t page, uint64_t number)
{
  uint8_t want[TZ_PAGE], got[TZ_PAGE];

  numbered_page (want, number);
  return tz_read (s, got, TZ_PAGE, page * TZ_PAGE) == 0
         && memcmp (want, got, TZ_PAGE) == 0;
}

static uint64_t
word_of (struct tz_store *s, uint64_t page)
{
  return atomic_load (tz_slot (&s->table, page, false));
}

/* ---- A full pool ---- */

static void
test_full (void)
{
  struct tz_store *s = store_with (64 * MiB, 16 * TZ_CHUNK, TZ_LZ4, -1);
  uint8_t noise[TZ_PAGE];
  uint64_t rng = 1, page, pages;
  struct tz_stats st;
  unsigned i;

  for (i = 0; i < TZ_PAGE; i++)
    noise[i] = rnd (&rng);
  for (page = 0; tz_write (s, noise, TZ_PAGE, page * TZ_PAGE) == 0; page++)
    ;
  /* One chunk is the table's, each of the others holds 15 such pages. */
  CHECK (page == 15 * 15);
  pages = page;
  st = stats (s);
  CHECK (st.pool_full == 1 && st.failed_writes == 1);
  CHECK (st.huge_pages == pages);
  CHECK (st.pool_bytes + st.table_bytes == st.mem_limit);

  /* No page can be overwritten by another like it; what it held stays. */
  noise[0]++;
  CHECK (tz_write (s, noise, TZ_PAGE, 3 * TZ_PAGE) == -ENOSPC);
  CHECK (tz_write (s, noise, 9, 3 * TZ_PAGE + 5) == -ENOSPC);
  for (page = 0; page < pages; page++) {
    uint8_t got[TZ_PAGE];

    CHECK (tz_read (s, got, TZ_PAGE, page * TZ_PAGE) == 0);
    CHECK (got[0] == (uint8_t) (noise[0] - 1));
    CHECK (memcmp (got + 1, noise + 1, TZ_PAGE - 1) == 0);
  }
  /* A page without a blob always fits; then there is room again. */
  memset (noise, 7, TZ_PAGE);
  CHECK (tz_write (s, noise, TZ_PAGE, 4 * TZ_PAGE) == 0);
  write_numbered (s, 5 * 1000, 5);
  CHECK (holds_numbered (s, 5 * 1000, 5));
  tz_close (s);
}

/* ---- A failing codec ---- */

static int
failing_encode (void *scratch, const uint8_t *page, uint8_t *dst, int level)
{
  (void) scratch;
  (void) page;
  (void) dst;
  (void) level;
  return -EINVAL;
}

static void
test_codec_failure (enum tz_codec codec)
{
  struct tz_store *s = store_with (MiB, 0, codec, -1);
  const struct tz_codec_ops *ops = tz_codecs[codec];
  struct tz_codec_ops failing = *ops;
  uint8_t buf[2 * TZ_PAGE];

  write_numbered (s, 0, 10);
  write_numbered (s, 1, 11);
  failing.encode = failing_encode;
  tz_codecs[codec] = &failing;
  numbered_page (buf, 12);
  numbered_page (buf + TZ_PAGE, 13);
  CHECK (tz_write (s, buf, sizeof buf, 0) == -EIO);
  CHECK (tz_write (s, buf, 10, 100) == -EIO);
  CHECK (tz_zero (s, 10, 100) == -EIO);
  tz_codecs[codec] = ops;
  CHECK (stats (s).failed_writes == 3);
  CHECK (holds_numbered (s, 0, 10) && holds_numbered (s, 1, 11));
  CHECK (tz_write (s, buf, sizeof buf, 0) == 0);
  CHECK (holds_numbered (s, 0, 12) && holds_numbered (s, 1, 13));
  tz_close (s);
}

/* ---- Damaged blobs ---- */

static void
test_damage (enum tz_codec codec)
{
  struct tz_store *s = store_with (MiB, 0, codec, -1);
  uint8_t buf[3 * TZ_PAGE], *blob;
  unsigned len, i;

  for (i = 0; i < 3; i++)
    write_numbered (s, i, i);
  blob = run_address (&s->region, word_run (word_of (s, 1)));
  len = word_len (word_of (s, 1));
  CHECK (word_codec (word_of (s, 1)) == codec);
  for (i = 0; i < len + CHECKSUM_LEN; i += 7) {
    blob[i] ^= 0x10;
    CHECK (tz_read (s, buf, sizeof buf, 0) == -EIO);
    CHECK (tz_read (s, buf, 1, TZ_PAGE) == -EIO);
    CHECK (tz_write (s, buf, 1, TZ_PAGE) == -EIO);
    CHECK (holds_numbered (s, 0, 0) && holds_numbered (s, 2, 2));
    blob[i] ^= 0x10;
  }
  CHECK (stats (s).bad_blobs == 3 * DIV_UP (len + CHECKSUM_LEN, 7));
  CHECK (stats (s).failed_reads == 2 * DIV_UP (len + CHECKSUM_LEN, 7));
  CHECK (holds_numbered (s, 1, 1));
  /* Overwriting or dropping a damaged page mends it. */
  blob[0] ^= 1;
  write_numbered (s, 1, 5);
  CHECK (holds_numbered (s, 1, 5));
  tz_close (s);
}

/* A word that points at another page's blob is damage, too. */
static void
test_misplaced (void)
{
  struct tz_store *s = store_with (MiB, 0, TZ_LZ4, -1);
  slot_t *slot = tz_slot (&s->table, 0, true);
  uint8_t buf[TZ_PAGE];
  uint64_t zero, one;

  write_numbered (s, 0, 1);
  write_numbered (s, 1, 2);
  zero = atomic_load (&slot[0]);
  one = atomic_load (&slot[1]);
  atomic_store (&slot[0], one);
  CHECK (tz_read (s, buf, TZ_PAGE, 0) == -EIO);
  atomic_store (&slot[0], zero);
  CHECK (holds_numbered (s, 0, 1));
  tz_close (s);
}

/* ---- No memory ---- */

static void
test_no_memory (void)
{
  struct tz_store *s = store_with (64 * MiB, 0, TZ_LZ4, -1);
  uint8_t buf[TZ_PAGE];
  uint64_t page;
  int err = 0;

  write_numbered (s, 0, 1000);
  no_memory = true;
  numbered_page (buf, 1);
  for (page = 1; page < 1000 && err == 0; page++)
    err = tz_write (s, buf, TZ_PAGE, page * TZ_PAGE);
  CHECK (err == -ENOSPC && page > 10);
  CHECK (tz_write (s, buf, TZ_PAGE, 40 * MiB) == -ENOSPC); /* no leaf */
  CHECK (holds_numbered (s, 0, 1000) && holds_numbered (s, page - 2, 1));
  no_memory = false;
  CHECK (tz_write (s, buf, TZ_PAGE, (page - 1) * TZ_PAGE) == 0);
  CHECK (tz_write (s, buf, TZ_PAGE, 40 * MiB) == 0);
  CHECK (holds_numbered (s, 40 * MiB / TZ_PAGE, 1));
  tz_close (s);
}

/* ---- What a full disk takes, and what is left of it ---- */

static uint64_t
resident (void)
{
  unsigned long size, rss;
  FILE *f = fopen ("/proc/self/statm", "r");

  CHECK (f && fscanf (f, "%lu %lu", &size, &rss) == 2);
  fclose (f);
  return (uint64_t) rss * sysconf (_SC_PAGESIZE);
}

/* Wait for upkeep to bring the pool to rest. */
static void
settle (struct tz_store *s)
{
  const struct timespec t = { 0, 20000000 };
  unsigned i;

  for (i = 0; i < 500; i++) {
    nanosleep (&t, NULL);
    if (stats (s).reserve_bytes <= (uint64_t) s->pool.reserve * TZ_CHUNK)
      return;
  }
  CHECK (!"upkeep did not bring the reserve to its length");
}

#define PAGES 24000

static void
test_memory (void)
{
  struct tz_store *s = store_with (PAGES * TZ_PAGE, 0, TZ_LZ4, -1);
  uint64_t idle, full, left, rng = 3, i, page, memory;
  struct tz_stats st;

  CHECK (tz_start (s) == 0);
  settle (s);
  idle = resident ();
  for (page = 0; page < PAGES; page++)
    write_numbered (s, page, page);
  settle (s);
  full = resident () - idle;
  st = stats (s);
  memory = st.compr_data_size + st.table_bytes;
  printf ("full: %.4f of blobs and table; ", (double) full / memory);
  CHECK (full <= 1.06 * memory);

  for (i = 0; i < 3 * PAGES; i++)
    write_numbered (s, rnd (&rng) % PAGES, rnd (&rng));
  settle (s);
  st = stats (s);
  printf ("pool after rewriting: %.4f of blobs; ",
          (double) (st.pool_bytes - st.reserve_bytes) / st.compr_data_size);
  CHECK (st.pool_bytes - st.reserve_bytes <= 1.06 * st.compr_data_size);

  CHECK (tz_zero (s, PAGES * TZ_PAGE, 0) == 0);
  settle (s);
  left = resident () > idle ? resident () - idle : 0;
  printf ("left after trimming all: %.4f\n", (double) left / full);
  CHECK (left <= 0.05 * full);
  CHECK (stats (s).run_bytes == 0 && stats (s).orig_data_size == 0);
  tz_close (s);
}

/* ---- Nothing is allocated or touched first while requests are served ---- */

static atomic_ulong allocations;

void *__libc_malloc (size_t n);
void *__libc_calloc (size_t n, size_t m);
void *__libc_realloc (void *p, size_t n);

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define COUNTING 1
void *
malloc (size_t n)
{
  atomic_fetch_add (&allocations, 1);
  return __libc_malloc (n);
}

void *
calloc (size_t n, size_t m)
{
  atomic_fetch_add (&allocations, 1);
  return __libc_calloc (n, m);
}

void *
realloc (void *p, size_t n)
{
  atomic_fetch_add (&allocations, 1);
  return __libc_realloc (p, n);
}
#else
#define COUNTING 0
#endif

static long
my_faults (void)
{
  struct rusage r;

  CHECK (getrusage (RUSAGE_THREAD, &r) == 0);
  return r.ru_minflt + r.ru_majflt;
}

static void
random_request (struct tz_store *s, uint8_t *buf, uint8_t *pages,
                uint64_t *rng)
{
  uint64_t page = rnd (rng) % 4096, at = rnd (rng) % 64 * TZ_PAGE;

  switch (rnd (rng) % 8) {
  case 0:
    CHECK (tz_write (s, pages + at, 100, page * TZ_PAGE + 50) == 0);
    break;
  case 1:
    CHECK (tz_zero (s, TZ_PAGE, page * TZ_PAGE) == 0);
    break;
  case 2:
  case 3:
  case 4:
    CHECK (tz_read (s, buf, TZ_PAGE, page * TZ_PAGE) == 0);
    break;
  default:
    CHECK (tz_write (s, pages + at, TZ_PAGE, page * TZ_PAGE) == 0);
  }
}

static void
test_no_allocation (enum tz_codec codec, unsigned requests)
{
  static uint8_t buf[TZ_PAGE], pages[64 * TZ_PAGE];
  struct tz_store *s = store_with (4096 * TZ_PAGE, 0, codec, -1);
  unsigned long mallocs;
  uint64_t rng = 5;
  long faults;
  unsigned i;

  CHECK (tz_start (s) == 0);
  for (i = 0; i < 64; i++)
    numbered_page (pages + i * TZ_PAGE, i);
  for (i = 0; i < 20000; i++)
    random_request (s, buf, pages, &rng);
  settle (s);
  faults = my_faults ();
  mallocs = atomic_load (&allocations);
  for (i = 0; i < requests; i++)
    random_request (s, buf, pages, &rng);
  faults = my_faults () - faults;
  mallocs = atomic_load (&allocations) - mallocs;
  printf ("%s: %u requests, %ld page faults, %lu allocations\n",
          tz_codec_name (codec), requests, faults, mallocs);
  if (COUNTING)
    CHECK (faults == 0 && mallocs == 0);
  CHECK (stats (s).reserve_misses == 0);
  tz_close (s);
}

int
main (void)
{
  static const enum tz_codec codecs[] = { TZ_LD64, TZ_LZ4, TZ_ZSTD };
  unsigned i;

  test_full ();
  for (i = 0; i < 3; i++) {
    test_codec_failure (codecs[i]);
    test_damage (codecs[i]);
  }
  test_misplaced ();
  test_no_memory ();
  if (COUNTING)
    test_memory (); /* sanitizers keep memory of their own */
  test_no_allocation (TZ_LD64, COUNTING ? 1000000 : 20000);
  test_no_allocation (TZ_LZ4, COUNTING ? 100000 : 20000);
  test_no_allocation (TZ_ZSTD, COUNTING ? 20000 : 5000);
  return 0;
}

/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The store when things go wrong: a full pool, a failing codec, damaged blobs,
 * no memory; and what becomes of memory that is freed.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "internal.h"
#include "pages.h"

#define MiB (1 << 20)

/* Sanitizers allocate and keep memory of their own. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define COUNTING 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define COUNTING 0
#endif
#endif
#ifndef COUNTING
#define COUNTING 1
#endif

/* ---- A system without memory: madvise as the region calls it ---- */

static _Atomic bool no_memory;

/* … or one before Linux 5.14, where only a file system says that it is full. */
static _Atomic bool old_system;

/* … or one that does not take memory back, as from huge pages. */
static _Atomic bool no_release;
static atomic_ulong refused_releases;

/* … or only if told that it is locked. */
static _Atomic bool locked;

int
madvise (void *p, size_t len, int advice)
{
  static int (*real) (void *, size_t, int);

  if (!real)
    real = (int (*) (void *, size_t, int)) dlsym (RTLD_NEXT, "madvise");
  if ((old_system || no_memory) && advice == 23 /* MADV_POPULATE_WRITE */) {
    errno = old_system ? EINVAL : ENOMEM;
    return -1;
  }
  if (no_release && (advice == MADV_DONTNEED || advice == 24 /* …_LOCKED */)) {
    atomic_fetch_add (&refused_releases, 1);
    errno = EINVAL;
    return -1;
  }
  if (locked && advice == MADV_DONTNEED) {
    errno = EINVAL;
    return -1;
  }
  return real (p, len, locked && advice == 24 ? MADV_DONTNEED : advice);
}

int
fallocate (int fd, int mode, off_t offset, off_t len)
{
  static int (*real) (int, int, off_t, off_t);

  if (!real)
    real = (int (*) (int, int, off_t, off_t)) dlsym (RTLD_NEXT, "fallocate");
  if (no_memory && !(mode & FALLOC_FL_PUNCH_HOLE)) {
    errno = ENOSPC;
    return -1;
  }
  return real (fd, mode, offset, len);
}

/* ---- Help ---- */

static uint64_t
now_ms (void)
{
  struct timespec ts;

  clock_gettime (CLOCK_MONOTONIC, &ts);
  return ts.tv_sec * UINT64_C (1000) + ts.tv_nsec / 1000000;
}

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

static cpu_set_t all; /* CPUs this process may use */

/* Run on the n-th of them. */
static void
run_on (unsigned n)
{
  cpu_set_t one;
  unsigned cpu;

  n %= CPU_COUNT (&all);
  for (cpu = 0; !CPU_ISSET (cpu, &all) || n-- > 0;)
    cpu++;
  CPU_ZERO (&one);
  CPU_SET (cpu, &one);
  CHECK (sched_setaffinity (0, sizeof one, &one) == 0);
}

static void
run_anywhere (void)
{
  CHECK (sched_setaffinity (0, sizeof all, &all) == 0);
}

/* ---- What may be asked for ---- */

static void
refused (struct tz_params p)
{
  struct tz_store *s;

  CHECK (tz_open (&p, &s) == -EINVAL);
}

static void
test_parameters (void)
{
  static const struct tz_params good
      = { .size = 1, .memory = TZ_MEMORY_MIN, .codec = TZ_LZ4, .level = 3,
          .fd = -1 };
  struct tz_params p = good;
  struct tz_store *s;
  uint8_t byte = 1;
  int codec, n = 0;

  CHECK (tz_open (&p, &s) == 0);
  CHECK (tz_write (s, &byte, 1, 0) == 0);
  CHECK (tz_write (s, &byte, 1, 1) == -EINVAL);
  CHECK (tz_zero (s, 2, 0) == -EINVAL && tz_read (s, &byte, 1, 0) == 0);
  CHECK (byte == 1 && tz_read (s, &byte, UINT64_MAX, 1) == -EINVAL);
  tz_close (s);
  refused ((p = good, p.size = 0, p));
  refused ((p = good, p.size = UINT64_C (1) << 63, p));
  refused ((p = good, p.memory--, p));
  refused ((p = good, p.level++, p));
  refused ((p = good, p.level = 0, p));
  refused ((p = good, p.codec = TZ_SAME, p));
  refused ((p = good, p.codec = TZ_CODECS, p));
  refused ((p = good, p.attach = true, p));
  refused ((p = good, p.standby = true, p));
  for (codec = 0; codec <= TZ_AUTO; codec++)
    if (tz_codec_by_name (tz_codec_name (codec)) == codec)
      n++;
    else
      CHECK (tz_codec_by_name (tz_codec_name (codec)) == -EINVAL);
  CHECK (n == 5 && tz_codec_by_name ("same") == -EINVAL);
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
  CHECK (st.reserve_misses == 16); /* nobody had made any ready */
  CHECK (st.huge_pages == pages && st.huge_pages_since == pages);
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

/* ---- Where a blob is put ---- */

/* The smallest hole that will do, and never a chunk's last units. */
static void
test_fit (void)
{
  struct tz_store *s = store_with (MiB, TZ_MEMORY_MIN, TZ_RAW, -1);
  struct pool *p = &s->pool;
  int64_t large, small, last, r;

  large = tz_pool_alloc (p, 10);
  CHECK (tz_pool_alloc (p, 1) == large + 10);
  small = tz_pool_alloc (p, 5);
  last = tz_pool_alloc (p, 1);
  CHECK (small == large + 11 && last == small + 5);
  tz_pool_free (p, large, 10);
  tz_pool_free (p, small, 5);
  CHECK (tz_pool_alloc (p, 5) == small);
  CHECK (tz_pool_alloc (p, 10) == large);
  tz_pool_free (p, small, 5);
  CHECK (tz_pool_alloc (p, 6) == last + 1);
  while ((r = tz_pool_alloc (p, MAX_RUN)) >= 0)
    CHECK (r % CHUNK_UNITS + MAX_RUN <= CHUNK_UNITS - CHUNK_TAIL);
  CHECK (r == -ENOSPC);
  while ((r = tz_pool_alloc (p, 1)) >= 0)
    CHECK (r % CHUNK_UNITS < CHUNK_UNITS - CHUNK_TAIL);
  CHECK (stats (s).run_bytes == 2 * (CHUNK_UNITS - CHUNK_TAIL) * UNIT);
  tz_close (s);
}

/* When nothing else is left, another CPU's hole is found however small. */
static void
test_last_hole (void)
{
  struct tz_store *s = store_with (64 * MiB, 8 * MiB, TZ_RAW, -1);
  int64_t hole, last = 0, r;

  run_on (0);
  hole = tz_pool_alloc (&s->pool, 5);
  while ((r = tz_pool_alloc (&s->pool, MAX_RUN)) >= 0)
    last = r;
  while (tz_pool_alloc (&s->pool, 1) >= 0)
    ;
  tz_pool_free (&s->pool, hole, 5);
  run_on (1);
  CHECK (tz_pool_alloc (&s->pool, 6) == -ENOSPC);
  CHECK (tz_pool_alloc (&s->pool, 5) == hole);
  tz_pool_free (&s->pool, last, MAX_RUN);
  run_on (0);
  CHECK (tz_pool_alloc (&s->pool, MAX_RUN) == last);
  run_anywhere ();
  tz_close (s);
}

/* ---- The table's leaves ---- */

/* Memory that held blobs becomes a leaf: its pages are absent all the same. */
static void
test_used_leaf (void)
{
  struct tz_params p = { .size = 256 * MiB, .memory = 4 * TZ_CHUNK,
                         .codec = TZ_RAW, .checksum = true,
                         .prefault = true, .fd = -1 };
  const uint64_t leaf = (uint64_t) LEAF_WORDS * TZ_PAGE;
  struct tz_store *s;
  uint8_t got[TZ_PAGE];
  uint64_t page, i;

  CHECK (tz_open (&p, &s) == 0 && tz_start (s) == 0);
  for (page = 0; page < 3 * 15; page++)
    write_numbered (s, page, page);
  CHECK (tz_zero (s, 3 * 15 * TZ_PAGE, 0) == 0);
  memset (got, 7, sizeof got);
  for (i = 1; i < 4; i++)
    CHECK (tz_write (s, got, TZ_PAGE, i * leaf) == 0);
  for (page = 1; page < 3 * LEAF_WORDS; page++)
    CHECK (word_of (s, page + LEAF_WORDS)
           == (page % LEAF_WORDS ? 0 : word_of (s, LEAF_WORDS)));
  CHECK (stats (s).table_bytes == 4 * TZ_CHUNK);
  tz_close (s);
}

#define LEAVES 300

static void *
touch_leaves (void *opaque)
{
  uint8_t page[TZ_PAGE];
  unsigned i;

  memset (page, 7, sizeof page);
  for (i = 0; i < LEAVES; i++)
    CHECK (tz_write (opaque, page, TZ_PAGE,
                     (uint64_t) i * LEAF_WORDS * TZ_PAGE) == 0);
  return NULL;
}

/* Threads that need the same leaf at once make one of it. */
static void
test_leaf_race (void)
{
  struct tz_store *s
      = store_with ((uint64_t) LEAVES * LEAF_WORDS * TZ_PAGE, 0, TZ_RAW, -1);
  pthread_t id[4];
  unsigned i;

  for (i = 0; i < 4; i++)
    CHECK (pthread_create (&id[i], NULL, touch_leaves, s) == 0);
  for (i = 0; i < 4; i++)
    pthread_join (id[i], NULL);
  CHECK (stats (s).table_bytes == (uint64_t) LEAVES * TZ_CHUNK);
  CHECK (stats (s).pages[TZ_SAME] == LEAVES && stats (s).run_bytes == 0);
  tz_close (s);
}

/* ---- Extents ---- */

struct extents {
  unsigned n;
  struct {
    uint64_t offset, count;
    enum tz_extent type;
  } e[8];
};

static int
add_extent (void *opaque, uint64_t offset, uint64_t count, enum tz_extent type)
{
  struct extents *x = opaque;

  CHECK (x->n < 8);
  x->e[x->n].offset = offset;
  x->e[x->n].count = count;
  x->e[x->n++].type = type;
  return x->n == 7 ? -ECANCELED : 0;
}

static void
test_extents (void)
{
  const uint64_t leaf = (uint64_t) LEAF_WORDS * TZ_PAGE, size = 3 * leaf + 100;
  struct tz_store *s = store_with (size, 0, TZ_LD64, -1);
  static const uint8_t zeroes[2 * TZ_PAGE];
  struct extents x = { 0 };
  slot_t *slot;

  /* data up to the leaf's end and beyond, zeroes, a leaf that is none */
  write_numbered (s, LEAF_WORDS - 1, 1);
  write_numbered (s, LEAF_WORDS, 2);
  CHECK (tz_write (s, zeroes, 2 * TZ_PAGE, leaf + TZ_PAGE) == 0);
  CHECK (tz_write (s, "x", 1, size - 1) == 0);
  /* What is absent stays so. */
  CHECK (tz_zero (s, 10, TZ_PAGE + 100) == 0);
  CHECK (tz_zero (s, 10, 2 * leaf + 100) == 0);
  /* A page that is being read or written is what it is. */
  slot = tz_slot (&s->table, LEAF_WORDS + 1, false);
  CHECK (tz_slot_lock (&slot[0]) && tz_slot_lock (&slot[5]) == 0);

  CHECK (tz_extents (s, size - 5, 5, add_extent, &x) == 0);
  CHECK (x.n == 5);
  CHECK (x.e[0].offset == 5 && x.e[0].count == leaf - TZ_PAGE - 5);
  CHECK (x.e[0].type == TZ_EXTENT_HOLE);
  CHECK (x.e[1].count == 2 * TZ_PAGE && x.e[1].type == TZ_EXTENT_DATA);
  CHECK (x.e[2].count == 2 * TZ_PAGE && x.e[2].type == TZ_EXTENT_ZERO);
  CHECK (x.e[3].count == 2 * leaf - 3 * TZ_PAGE);
  CHECK (x.e[3].type == TZ_EXTENT_HOLE);
  CHECK (x.e[4].offset == 3 * leaf && x.e[4].count == 100);
  CHECK (x.e[4].type == TZ_EXTENT_DATA);
  /* Inside one page; none at all; stopped; outside. */
  CHECK (tz_extents (s, 7, leaf + 3, add_extent, &x) == 0 && x.n == 6);
  CHECK (x.e[5].offset == leaf + 3 && x.e[5].count == 7);
  CHECK (tz_extents (s, 0, leaf, add_extent, &x) == 0 && x.n == 6);
  CHECK (tz_extents (s, size, 0, add_extent, &x) == -ECANCELED && x.n == 7);
  CHECK (tz_extents (s, 1, size, add_extent, &x) == -EINVAL);
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

/* What would take as many units as the page itself is stored as that. */
static int blob_len;

static int
sized_encode (void *scratch, const uint8_t *page, uint8_t *dst, int level)
{
  (void) scratch;
  (void) level;
  memcpy (dst, page, blob_len);
  return blob_len;
}

static void
test_not_worth_it (void)
{
  const int most = (MAX_RUN - 1) * UNIT - CHECKSUM_LEN;
  struct tz_store *s = store_with (MiB, 0, TZ_LZ4, -1);
  const struct tz_codec_ops *ops = tz_codecs[TZ_LZ4];
  struct tz_codec_ops sized = *ops;

  sized.encode = sized_encode;
  tz_codecs[TZ_LZ4] = &sized;
  for (blob_len = most - 1; blob_len < TZ_PAGE; blob_len++) {
    write_numbered (s, 0, blob_len);
    CHECK (word_codec (word_of (s, 0)) == (blob_len <= most ? TZ_LZ4 : TZ_RAW));
  }
  CHECK (holds_numbered (s, 0, TZ_PAGE - 1));
  tz_codecs[TZ_LZ4] = ops;
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

/* A pattern's blob, too; and a word that says another codec than wrote it. */
static void
test_damaged_pattern (void)
{
  struct tz_store *s = store_with (MiB, 0, TZ_RAW, -1);
  uint8_t page[TZ_PAGE], got[TZ_PAGE], *blob;
  slot_t *slot;
  uint64_t w;
  unsigned i;

  tz_same_fill (page, TZ_PAGE, 0x0123456789abcdef);
  CHECK (tz_write (s, page, TZ_PAGE, 0) == 0);
  slot = tz_slot (&s->table, 0, false);
  w = atomic_load (slot);
  CHECK (word_codec (w) == TZ_SAME && word_len (w) == 8);
  blob = run_address (&s->region, word_run (w));
  for (i = 0; i < 8 + CHECKSUM_LEN; i++) {
    blob[i] ^= 1;
    CHECK (tz_read (s, got, TZ_PAGE, 0) == -EIO);
    blob[i] ^= 1;
  }
  atomic_store (slot, word_make (TZ_RAW, 8, word_run (w)));
  CHECK (tz_read (s, got, TZ_PAGE, 0) == -EIO);
  atomic_store (slot, w);
  CHECK (tz_read (s, got, TZ_PAGE, 0) == 0);
  CHECK (memcmp (got, page, TZ_PAGE) == 0);
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
test_no_memory (int fd, bool old)
{
  struct tz_store *s;
  uint8_t buf[TZ_PAGE];
  uint64_t page;
  int err = 0;

  old_system = old;
  s = store_with (64 * MiB, 0, TZ_LZ4, fd);
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
  old_system = false;
  if (fd != -1)
    close (fd);
}

/* More than table words can tell apart is refused, not cut short. */
static void
test_too_much (void)
{
  struct tz_params p = { .size = INT64_MAX, .codec = TZ_RAW, .fd = -1 };
  struct tz_store *s;

  for (p.memory = UINT64_C (1) << 46; p.memory; p.memory <<= 1)
    CHECK (tz_open (&p, &s) == -ENOMEM);
}

/* ---- All memory at the start ---- */

static void
test_prefault (void)
{
  struct tz_params p = { .size = 64 * MiB, .memory = 8 * MiB, .codec = TZ_RAW,
                         .checksum = true, .prefault = true, .fd = -1 };
  struct tz_store *s;
  uint8_t page[TZ_PAGE];
  uint64_t n;

  CHECK (tz_open (&p, &s) == 0 && tz_start (s) == 0);
  CHECK (stats (s).pool_bytes == 8 * MiB);
  no_memory = true; /* nobody may ask for more */
  for (n = 0;; n++) {
    numbered_page (page, n);
    if (tz_write (s, page, TZ_PAGE, n * TZ_PAGE))
      break;
  }
  CHECK (n == 127 * 15); /* one chunk is the table's */
  CHECK (tz_zero (s, p.size, 0) == 0);
  CHECK (stats (s).pool_bytes == 127 * TZ_CHUNK);
  CHECK (stats (s).reserve_bytes == 127 * TZ_CHUNK);
  tz_close (s);

  CHECK (tz_open (&p, &s) == 0 && tz_start (s) == -ENOMEM);
  tz_close (s);
  no_memory = false;
  p.memory = 0;
  CHECK (tz_open (&p, &s) == -EINVAL);
}

/* ---- A reserve: requests use it and wait for upkeep, which alone asks for
 * more
 */

static void
test_reserve (void)
{
  struct tz_params p = { .size = 64 * MiB, .memory = 8 * MiB, .codec = TZ_RAW,
                         .checksum = true, .prefault = true,
                         .reserve = MiB, .fd = -1 };
  struct tz_store *s;
  uint8_t page[TZ_PAGE];
  uint64_t n;
  int i;

  CHECK (tz_open (&p, &s) == 0 && tz_start (s) == 0);
  CHECK (stats (s).pool_bytes == MiB);
  no_memory = true;
  for (n = 0;; n++) {
    numbered_page (page, n);
    if (tz_write (s, page, TZ_PAGE, n * TZ_PAGE))
      break;
  }
  CHECK (n == 15 * 15); /* one chunk is the table's */
  CHECK (stats (s).reserve_misses == 1);
  CHECK (tz_write (s, page, TZ_PAGE, n * TZ_PAGE) == -ENOSPC);
  CHECK (stats (s).reserve_misses == 1); /* it did not wait again */
  /* Upkeep looks for more again though nobody wakes it. */
  usleep (10000);
  no_memory = false;
  for (i = 0; i < 5000 && stats (s).reserve_bytes == 0; i++)
    usleep (1000);
  CHECK (i < 5000);
  for (; n < 127 * 15; n++) {
    numbered_page (page, n);
    for (i = 0; i < 5000; i++) {
      if (tz_write (s, page, TZ_PAGE, n * TZ_PAGE) == 0)
        break;
      usleep (1000);
    }
    CHECK (i < 5000);
  }
  CHECK (tz_write (s, page, TZ_PAGE, n * TZ_PAGE) == -ENOSPC);
  CHECK (stats (s).pool_bytes + stats (s).table_bytes == 8 * MiB);
  CHECK (holds_numbered (s, 0, 0) && holds_numbered (s, n - 1, n - 1));
  CHECK (tz_zero (s, p.size, 0) == 0);
  for (i = 0; i < 5000 && stats (s).pool_bytes != MiB; i++)
    usleep (1000);
  CHECK (stats (s).pool_bytes == MiB);
  tz_close (s);

  p.reserve = TZ_CHUNK - 1;
  CHECK (tz_open (&p, &s) == -EINVAL);
  p.reserve = TZ_CHUNK;
  p.prefault = false;
  CHECK (tz_open (&p, &s) == -EINVAL);
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

/* Few pages of a large disk: its table and directory are counted, too. */
static void
test_sparse (void)
{
  struct tz_store *s = store_with (UINT64_C (1) << 44, 0, TZ_RAW, -1);
  uint64_t before = resident (), was = stats (s).mem_used_total, at;
  uint8_t page[TZ_PAGE];

  CHECK (was >= sizeof *s + s->scratch_len);
  memset (page, 7, sizeof page);
  for (at = 0; at < UINT64_C (1) << 44; at += UINT64_C (1) << 35)
    CHECK (tz_write (s, page, TZ_PAGE, at) == 0);
  CHECK (resident () - before <= stats (s).mem_used_total - was + MiB / 4);
  tz_close (s);
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

/* What cannot be given back is kept, and upkeep does not try on and on. */
static void
test_no_release (void)
{
  struct tz_store *s = store_with (64 * MiB, 0, TZ_RAW, -1);
  const uint64_t pages = 2000;
  unsigned long tried;
  uint64_t page, start;

  CHECK (tz_start (s) == 0);
  for (page = 0; page < pages; page++)
    write_numbered (s, page, page);
  no_release = true;
  start = now_ms ();
  CHECK (tz_zero (s, pages * TZ_PAGE, 0) == 0);
  usleep (30000);
  tried = atomic_load (&refused_releases);
  CHECK (tried == 0 || now_ms () - start >= 100); /* it may be used again */
  usleep (500000); /* several times that */
  tried = atomic_load (&refused_releases);
  CHECK (tried > 0);
  usleep (500000);
  CHECK (atomic_load (&refused_releases) - tried <= 20);
  CHECK (stats (s).reserve_bytes >= pages * TZ_PAGE);

  for (page = 0; page < pages; page++)
    write_numbered (s, page, page + 1);
  CHECK (holds_numbered (s, 0, 1) && holds_numbered (s, pages - 1, pages));
  no_release = false;
  locked = true;
  CHECK (tz_zero (s, pages * TZ_PAGE, 0) == 0);
  settle (s);
  locked = false;
  tz_close (s);
}

#define PAGES 48000

/* Pages of real processes; each is used often, with some bytes changed. */
static uint8_t (*samples)[TZ_PAGE];
static unsigned n_samples;

static void
add_sample (const uint8_t *page)
{
  samples = realloc (samples, (n_samples + 1) * sizeof *samples);
  CHECK (samples != NULL);
  memcpy (samples[n_samples++], page, TZ_PAGE);
}

static void
read_samples (void)
{
  const char *dir = getenv ("top_srcdir");
  char pattern[4096];
  glob_t g;
  size_t i;

  snprintf (pattern, sizeof pattern, "%s/tests/data/*.pages", dir ? dir : ".");
  CHECK (glob (pattern, 0, NULL, &g) == 0);
  for (i = 0; i < g.gl_pathc; i++)
    file_pages (g.gl_pathv[i], 1, add_sample);
  globfree (&g);
}

static void
write_sample (struct tz_store *s, uint64_t page, uint64_t *rng)
{
  uint8_t buf[TZ_PAGE];
  unsigned i;

  memcpy (buf, samples[rnd (rng) % n_samples], TZ_PAGE);
  for (i = 0; i < 8; i++)
    buf[rnd (rng) % TZ_PAGE] = rnd (rng);
  CHECK (tz_write (s, buf, TZ_PAGE, page * TZ_PAGE) == 0);
}

static double
overhead (struct tz_store *s)
{
  struct tz_stats st = stats (s);

  return (double) (st.pool_bytes - st.reserve_bytes) / st.compr_data_size;
}

static void
test_memory (enum tz_codec codec)
{
  struct tz_store *s = store_with (PAGES * TZ_PAGE, 0, codec, -1);
  uint64_t idle, full, left, rng = 3, i, memory;
  struct tz_stats st, after;

  CHECK (tz_start (s) == 0);
  run_on (0);
  settle (s);
  idle = resident ();
  for (i = 0; i < PAGES; i++)
    write_sample (s, i, &rng);
  settle (s);
  full = resident () - idle;
  st = stats (s);
  memory = st.compr_data_size + st.table_bytes;
  printf ("%s: full %.4f of blobs and table\n", tz_codec_name (codec),
          (double) full / memory);
  CHECK (full <= 1.06 * memory);
  CHECK (st.mem_used_total
         == st.pool_bytes + st.table_bytes + st.fixed_bytes);
  CHECK (st.fixed_bytes >= s->scratch_len && st.table_bytes > 0);

  /* From another CPU each time: none may leave its holes behind. */
  for (i = 0; i < 3 * PAGES; i++) {
    if (i % PAGES == 0)
      run_on (i / PAGES);
    write_sample (s, rnd (&rng) % PAGES, &rng);
  }
  settle (s);
  printf ("%s: pool after rewriting %.4f of blobs\n", tz_codec_name (codec),
          overhead (s));
  CHECK (overhead (s) <= 1.06);

  CHECK (tz_zero (s, PAGES * TZ_PAGE, 0) == 0);
  settle (s);
  left = resident () > idle ? resident () - idle : 0;
  printf ("%s: left after trimming %.4f\n", tz_codec_name (codec),
          (double) left / full);
  CHECK (left <= 0.05 * full);
  after = stats (s);
  CHECK (after.run_bytes == 0 && after.orig_data_size == 0);
  CHECK (after.mem_used_total < st.mem_used_total / 4);
  CHECK (after.mem_used_max >= st.mem_used_total);
  run_anywhere ();
  tz_close (s);
}

/* ---- Nothing is allocated or touched first while requests are served ---- */

static atomic_ulong allocations;

void *__libc_malloc (size_t n);
void *__libc_calloc (size_t n, size_t m);
void *__libc_realloc (void *p, size_t n);

#if COUNTING
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
#endif

static long
my_faults (void)
{
  struct rusage r;

  CHECK (getrusage (RUSAGE_THREAD, &r) == 0);
  return r.ru_minflt + r.ru_majflt;
}

/* A server forks after it has set up; what it then shares with its parent it
 * would copy at the first touch.
 */
static void
touch (volatile void *start, size_t len)
{
  long faults = my_faults ();
  size_t i;

  for (i = 0; i < len; i += TZ_PAGE)
    ((volatile uint8_t *) start)[i] |= 0;
  CHECK (my_faults () == faults);
}

static void
test_forked (bool prefault)
{
  struct tz_params p = { .size = MiB, .memory = 64 * MiB, .codec = TZ_LD64,
                         .level = 1, .prefault = prefault, .fd = -1 };
  struct tz_store *s;
  pid_t pid;
  int status;

  CHECK (tz_open (&p, &s) == 0);
  pid = fork ();
  if (pid == 0) {
    CHECK (tz_start (s) == 0);
    touch (s->scratch, s->scratch_len);
    if (prefault) {
      touch (s->region.base, s->region.len);
      touch (s->pool.chunks, s->pool.end * sizeof *s->pool.chunks);
    }
    _exit (0);
  }
  CHECK (waitpid (pid, &status, 0) == pid && status == 0);
  tz_close (s);
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
  uint64_t rng = 5, misses;
  long faults;
  unsigned i;

  run_on (0); /* another CPU's shard would take chunks of its own */
  CHECK (tz_start (s) == 0);
  for (i = 0; i < 64; i++)
    numbered_page (pages + i * TZ_PAGE, i);
  for (i = 0; i < 20000; i++)
    random_request (s, buf, pages, &rng);
  settle (s);
  misses = stats (s).reserve_misses;
  faults = my_faults ();
  mallocs = atomic_load (&allocations);
  for (i = 0; i < requests; i++)
    random_request (s, buf, pages, &rng);
  faults = my_faults () - faults;
  mallocs = atomic_load (&allocations) - mallocs;
  printf ("%s: %u requests, %ld page faults, %lu allocations\n",
          tz_codec_name (codec), requests, faults, mallocs);
  CHECK (stats (s).reserve_misses == misses);
  if (COUNTING)
    CHECK (faults == 0 && mallocs == 0);
  run_anywhere ();
  tz_close (s);
}

/* ---- A page is read as one of those written, never as a mixture ---- */

#define SHARED 3 /* pages that all threads use */
#define RACES  (COUNTING ? 30000 : 3000) /* sanitizers take long */

struct racer {
  pthread_t thread;
  struct tz_store *store;
  uint64_t seed;
};

/* All pages ever written: their number is in the first byte. */
static uint8_t race_pages[16][TZ_PAGE];

static void *
race (void *opaque)
{
  struct racer *r = opaque;
  uint8_t got[TZ_PAGE];
  unsigned i;
  uint64_t x, at;

  for (i = 0; i < RACES; i++) {
    x = rnd (&r->seed);
    at = x / 64 % SHARED * TZ_PAGE;
    if (x % 64 == 0)
      CHECK (tz_zero (r->store, TZ_PAGE, at) == 0);
    else if (x % 2)
      CHECK (tz_write (r->store, race_pages[x >> 32 & 15], TZ_PAGE, at) == 0);
    else {
      CHECK (tz_read (r->store, got, TZ_PAGE, at) == 0);
      CHECK (memcmp (got, race_pages[got[0] & 15], TZ_PAGE) == 0);
    }
  }
  return NULL;
}

static void
test_race (enum tz_codec codec)
{
  struct tz_store *s = store_with (MiB, 0, codec, -1);
  struct racer r[4];
  unsigned i;

  CHECK (tz_start (s) == 0);
  for (i = 1; i < 16; i++) { /* number 0 is the page of zeroes */
    numbered_page (race_pages[i], i);
    race_pages[i][0] = i;
  }
  memset (race_pages[5] + 1, 5, TZ_PAGE - 1); /* some take no run */
  memset (race_pages[6] + 1, 6, TZ_PAGE - 1);
  for (i = 0; i < 4; i++) {
    r[i] = (struct racer) { .store = s, .seed = i };
    CHECK (pthread_create (&r[i].thread, NULL, race, &r[i]) == 0);
  }
  for (i = 0; i < 4; i++)
    pthread_join (r[i].thread, NULL);
  CHECK (stats (s).bad_blobs == 0);
  CHECK (tz_zero (s, MiB, 0) == 0 && stats (s).run_bytes == 0);
  tz_close (s);
}

/* A page may need a codec's scratch only once its lock was waited for. */

static void *
read_first (void *opaque)
{
  CHECK (holds_numbered (opaque, 0, 9));
  return NULL;
}

static void
test_changed_meanwhile (void)
{
  struct tz_store *s = store_with (MiB, 0, TZ_ZSTD, -1);
  pthread_t id;
  slot_t *slot;
  uint64_t w;

  write_numbered (s, 0, 9);
  slot = tz_slot (&s->table, 0, false);
  w = tz_slot_lock (slot);
  CHECK (word_codec (w) == TZ_ZSTD);
  atomic_store (slot, word_make (TZ_SAME, 0, 7) | WORD_LOCK);
  CHECK (pthread_create (&id, NULL, read_first, s) == 0);
  while (!(atomic_load (slot) & WORD_WAITER))
    usleep (100);
  tz_slot_unlock (slot, w);
  pthread_join (id, NULL);
  tz_close (s);
}

int
main (void)
{
  static const enum tz_codec codecs[] = { TZ_LD64, TZ_LZ4, TZ_ZSTD };
  unsigned i;

  setlinebuf (stdout);
  CHECK (sched_getaffinity (0, sizeof all, &all) == 0);
  test_parameters ();
  test_full ();
  test_fit ();
  test_last_hole ();
  test_used_leaf ();
  test_leaf_race ();
  test_extents ();
  test_not_worth_it ();
  for (i = 0; i < 3; i++) {
    test_codec_failure (codecs[i]);
    test_damage (codecs[i]);
    test_race (codecs[i]);
  }
  test_changed_meanwhile ();
  test_damage (TZ_RAW);
  test_damaged_pattern ();
  test_misplaced ();
  test_no_memory (-1, false);
  test_no_memory (memfd_create ("store", 0), false);
  test_no_memory (memfd_create ("store", 0), true);
  test_too_much ();
  test_prefault ();
  test_reserve ();
  test_no_release ();
  if (COUNTING) {
    test_sparse ();
    test_forked (false);
    test_forked (true);
    read_samples ();
    test_memory (TZ_LD64);
    test_memory (TZ_LZ4);
    free (samples);
  }
  test_no_allocation (TZ_LD64, COUNTING ? 1000000 : 20000);
  test_no_allocation (TZ_LZ4, COUNTING ? 100000 : 20000);
  test_no_allocation (TZ_ZSTD, COUNTING ? 20000 : 5000);
  return 0;
}

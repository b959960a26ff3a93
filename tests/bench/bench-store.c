/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The store in one process against kernel zram through its device: the same
 * pages, one thread.
 *
 *   bench-store [--json] [-r ROUNDS] [-z DEVICE] FILE.pages...
 *
 * Each round fills every disk afresh, reads it back in order and at random, in
 * requests of 4 KiB and of 128 KiB, and compares.  The disks take turns, file
 * by file; for each file the fastest round counts, and TOTAL is the sum over
 * the files.  The device must be unused (disksize 0): it is reset between
 * rounds and at the end.  Without one, ours are measured alone.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench.h"
#include "tzram.h"

#define BIG   (128u << 10) /* bytes of a large request */
#define ALIGN 4096         /* what O_DIRECT needs */

enum metric {
  WRITE_4K,
  READ_4K,
  RANDREAD_4K,
  WRITE_128K,
  READ_128K,
  TIMES, /* those above are nanoseconds of one file */
  MEMORY = TIMES,
  METRICS
};

static const char *const names[METRICS] = {
  "write-4k", "read-4k", "randread-4k", "write-128k", "read-128k", "memory",
};

struct disk {
  const char *name; /* codec, or algorithm of zram */
  enum tz_codec codec;
  int level;
  struct tz_store *store; /* NULL: zram */
  int fd;
  uint64_t now[METRICS], file[METRICS], total[METRICS];
};

static const char *device = "zram0";
static unsigned rounds = 5;
static uint8_t *pages, *buf;
static uint64_t bytes; /* of the file at hand */
static uint32_t *order;

static void __attribute__ ((noreturn))
die (const char *what)
{
  fprintf (stderr, "bench-store: %s: %s\n", what, strerror (errno));
  exit (1);
}

/* ---- Kernel zram ---- */

static bool
zram_set (const char *name, const char *value)
{
  char path[128];
  ssize_t n;
  int fd;

  snprintf (path, sizeof path, "/sys/block/%s/%s", device, name);
  fd = open (path, O_WRONLY);
  if (fd == -1)
    return false;
  n = write (fd, value, strlen (value));
  close (fd);
  return n == (ssize_t) strlen (value);
}

static bool
zram_get (const char *name, char *value, size_t size)
{
  char path[128];
  ssize_t n;
  int fd;

  snprintf (path, sizeof path, "/sys/block/%s/%s", device, name);
  fd = open (path, O_RDONLY);
  if (fd == -1)
    return false;
  n = read (fd, value, size - 1);
  close (fd);
  value[n > 0 ? n : 0] = 0;
  return n > 0;
}

static bool
zram_free (void)
{
  char value[64];

  if (!zram_get ("disksize", value, sizeof value)) {
    fprintf (stderr, "bench-store: no /sys/block/%s: no kernel zram beside\n",
             device);
    return false;
  }
  if (strtoull (value, NULL, 10) != 0) {
    fprintf (stderr, "bench-store: %s is in use: no kernel zram beside\n",
             device);
    return false;
  }
  if (!zram_set ("reset", "1")) {
    fprintf (stderr, "bench-store: %s cannot be set up (%s): no kernel zram "
                     "beside\n",
             device, strerror (errno));
    return false;
  }
  return true;
}

static uint64_t
zram_memory (void)
{
  unsigned long long orig, compr, used;
  char value[256];

  if (!zram_get ("mm_stat", value, sizeof value)
      || sscanf (value, "%llu %llu %llu", &orig, &compr, &used) != 3)
    die ("mm_stat");
  return used;
}

/* ---- Disks of either kind ---- */

static void
disk_open (struct disk *d)
{
  struct tz_params p = { .size = bytes, .codec = d->codec, .level = d->level,
                         .checksum = true, .fd = -1 };
  char value[64];

  if (d->codec) {
    errno = -tz_open (&p, &d->store);
    if (errno || (errno = -tz_start (d->store)))
      die ("tz_open");
    return;
  }
  snprintf (value, sizeof value, "%llu", (unsigned long long) bytes);
  if (!zram_set ("comp_algorithm", d->name) || !zram_set ("disksize", value))
    die ("setting up kernel zram");
  snprintf (value, sizeof value, "/dev/%s", device);
  d->fd = open (value, O_RDWR | O_DIRECT);
  if (d->fd == -1)
    die (value);
}

static void
disk_close (struct disk *d)
{
  if (d->codec)
    tz_close (d->store);
  else {
    close (d->fd);
    if (!zram_set ("reset", "1"))
      die ("resetting kernel zram");
  }
}

static uint64_t
disk_memory (struct disk *d)
{
  struct tz_stats st;

  if (!d->codec)
    return zram_memory ();
  tz_stats (d->store, &st);
  return st.mem_used_total;
}

static void
put (struct disk *d, uint64_t at, uint64_t n)
{
  if (d->codec)
    errno = -tz_write (d->store, pages + at, n, at);
  else
    errno = pwrite (d->fd, pages + at, n, at) == (ssize_t) n ? 0 : EIO;
  if (errno)
    die ("write");
}

static void
get (struct disk *d, uint64_t at, uint64_t n)
{
  if (d->codec)
    errno = -tz_read (d->store, buf + at, n, at);
  else
    errno = pread (d->fd, buf + at, n, at) == (ssize_t) n ? 0 : EIO;
  if (errno)
    die ("read");
}

/* ---- Measuring ---- */

static void
verify (struct disk *d)
{
  if (memcmp (buf, pages, bytes) != 0) {
    fprintf (stderr, "bench-store: %s returned other data\n", d->name);
    exit (1);
  }
  memset (buf, 0, bytes);
}

static uint64_t
pass (struct disk *d, void (*op) (struct disk *, uint64_t, uint64_t),
      uint64_t step, bool random)
{
  uint64_t t = now_ns (), at, i;

  if (random)
    for (i = 0; i < bytes / TZ_PAGE; i++)
      op (d, (uint64_t) order[i] * TZ_PAGE, TZ_PAGE);
  else
    for (at = 0; at < bytes; at += step)
      op (d, at, bytes - at < step ? bytes - at : step);
  return now_ns () - t;
}

static void
measure (struct disk *d)
{
  unsigned m;

  disk_open (d);
  d->now[WRITE_4K] = pass (d, put, TZ_PAGE, false);
  d->now[MEMORY] = disk_memory (d);
  d->now[READ_4K] = pass (d, get, TZ_PAGE, false);
  verify (d);
  d->now[RANDREAD_4K] = pass (d, get, TZ_PAGE, true);
  verify (d);
  disk_close (d);
  disk_open (d);
  d->now[WRITE_128K] = pass (d, put, BIG, false);
  d->now[READ_128K] = pass (d, get, BIG, false);
  verify (d);
  disk_close (d);
  for (m = 0; m < METRICS; m++)
    if (d->file[m] == 0 || d->now[m] < d->file[m])
      d->file[m] = d->now[m];
}

static void
shuffle (uint64_t n)
{
  uint64_t i, j, x = 88172645463325252;
  uint32_t t;

  for (i = 0; i < n; i++)
    order[i] = i;
  for (i = n - 1; i > 0; i--) {
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    j = x % (i + 1);
    t = order[i];
    order[i] = order[j];
    order[j] = t;
  }
}

/* Speeds in GB/s and memory in MiB; a ratio above 1 is more of either. */
static double
figure (const uint64_t *v, unsigned m, uint64_t n)
{
  return m == MEMORY ? v[m] / 1048576.0 : (double) n / v[m];
}

static void
report (const char *file, struct disk *d, unsigned n, bool total, uint64_t all)
{
  const uint64_t *ours, *theirs;
  unsigned i, k, m;

  for (m = 0; m < METRICS; m++)
    for (i = 0; i < n; i++)
      for (k = 0; k < n; k++) {
        char peer[32];
        bool alone = n == 1 || d[n - 1].codec != TZ_ABSENT;
        struct bench_row row = { .bench = "store", .file = file,
                                 .codec = d[i].name, .level = d[i].level,
                                 .metric = names[m] };

        if (!d[i].codec || (d[k].codec && !(alone && k == i)))
          continue;
        ours = total ? d[i].total : d[i].file;
        theirs = total ? d[k].total : d[k].file;
        snprintf (peer, sizeof peer, "zram:%s", d[k].name);
        row.isa = tz_codec_isa (d[i].codec);
        row.unit = m == MEMORY ? "MiB" : "GB/s";
        row.ours = figure (ours, m, all);
        if (!alone) {
          row.peer = peer;
          row.theirs = figure (theirs, m, all);
        }
        bench_row (&row);
      }
}

static void
load (const char *path)
{
  struct stat st;
  int fd = open (path, O_RDONLY);

  if (fd == -1 || fstat (fd, &st) == -1)
    die (path);
  bytes = st.st_size / TZ_PAGE * TZ_PAGE;
  if (bytes == 0) {
    fprintf (stderr, "bench-store: %s holds no page\n", path);
    exit (1);
  }
  pages = aligned_alloc (ALIGN, bytes);
  buf = aligned_alloc (ALIGN, bytes);
  order = malloc (bytes / TZ_PAGE * sizeof *order);
  if (!pages || !buf || !order || read (fd, pages, bytes) != (ssize_t) bytes)
    die (path);
  close (fd);
  memset (buf, 0, bytes);
  shuffle (bytes / TZ_PAGE);
}

static const char *
base_name (char *path)
{
  char *slash = strrchr (path, '/'), *dot;

  path = slash ? slash + 1 : path;
  dot = strstr (path, ".pages");
  if (dot)
    *dot = 0;
  return path;
}

int
main (int argc, char **argv)
{
  static const struct option longopts[] = { { "json", 0, NULL, 'j' },
                                            { NULL, 0, NULL, 0 } };
  struct disk disks[] = {
    { .name = "ld64", .codec = TZ_LD64, .level = 1 },
    { .name = "ld64", .codec = TZ_LD64, .level = 2 },
    { .name = "lz4", .codec = TZ_LZ4, .level = 1 },
    { .name = "lz4", .codec = TZ_LZ4, .level = 3 },
    { .name = "zstd", .codec = TZ_ZSTD, .level = 1 },
    { .name = "lz4" },
    { .name = "lzo-rle" },
  };
  unsigned n = sizeof disks / sizeof disks[0], i, r, m;
  uint64_t all = 0;
  int c, f;

  while ((c = getopt_long (argc, argv, "jr:z:", longopts, NULL)) != -1)
    switch (c) {
    case 'j':
      bench_json = true;
      break;
    case 'r':
      rounds = atoi (optarg);
      break;
    case 'z':
      device = optarg;
      break;
    default:
      return 2;
    }
  if (optind == argc || rounds < 1) {
    fprintf (stderr,
             "usage: bench-store [--json] [-r ROUNDS] [-z DEVICE] FILE...\n");
    return 2;
  }
  if (!zram_free ())
    n -= 2;
  for (f = optind; f < argc; f++) {
    load (argv[f]);
    for (i = 0; i < n; i++)
      memset (disks[i].file, 0, sizeof disks[i].file);
    for (r = 0; r < rounds; r++)
      for (i = 0; i < n; i++)
        measure (&disks[i]);
    for (i = 0; i < n; i++)
      for (m = 0; m < METRICS; m++)
        disks[i].total[m] += disks[i].file[m];
    report (base_name (argv[f]), disks, n, false, bytes);
    all += bytes;
    free (pages);
    free (buf);
    free (order);
  }
  report ("TOTAL", disks, n, true, all);
  return 0;
}

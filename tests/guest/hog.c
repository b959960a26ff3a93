/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Uses more memory than there is, and knows what must be in each page of it.
 *   hog [-n PROCESSES] [-r ROUNDS] [-p FILE.pages | -c] [-d DEVICE] [-t] MIB
 * Each process fills MIB and works on it for some rounds, in a manner of its
 * own; at the end all of it is read once more.  With -p the pages are those of
 * the file, stamped with where they are; without, they are made up, and with -c
 * compress to next to nothing.  With -d the memory is a part of that device.
 * With -t it says how long it takes to touch a page that was swapped out.
 *   hog -x COMMAND [-n PROCESSES] [-p FILE.pages] MIB
 * Only fills, and runs the command while all is filled.
 *   hog -w [DEVICE]
 * Locked in memory, says every second how far all are, so that who watches can
 * tell slow from stuck; and for how long requests of the device had no answer,
 * if that was more than a second.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE     4096
#define WORDS    (PAGE / 8)
#define PROGRESS "/run/hog"

struct shared {
  _Atomic uint64_t done; /* pages written or verified by all, ever */
  _Atomic uint64_t bad;
};

static struct shared *shared;
static const uint64_t *file; /* pages to use, or NULL */
static size_t file_pages;
static bool compressible;
static const char *disk; /* to use as memory, or NULL */

static void
die (const char *what)
{
  fprintf (stderr, "hog: %s: %s\n", what, strerror (errno));
  exit (1);
}

static double
now (void)
{
  struct timespec t;

  clock_gettime (CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

/* Every bit of the result depends on every bit of x. */
static uint64_t
mix (uint64_t x)
{
  x = (x ^ x >> 31) * UINT64_C (0x9e3779b97f4a7c15);
  x = (x ^ x >> 29) * UINT64_C (0xd1342543de82ef95);
  return x ^ x >> 32;
}

/* What page number i of process p holds after it was written v times. */
static void
make_page (uint64_t *page, uint64_t p, uint64_t i, uint64_t v)
{
  const uint64_t stamp = p << 48 | v << 40 | i;
  /* As dense as the memory of processes usually is, or not at all. */
  size_t random = compressible ? 0 : i % 32 == 31 ? WORDS : 150, w;

  if (file)
    memcpy (page, file + (i * 13 + p * 7 + v) % file_pages * WORDS, PAGE);
  else if (i % 32 == 7) /* one pattern, which alone says whose it is */
    for (w = 0; w < WORDS; w++)
      page[w] = stamp << 32 | (stamp & UINT32_MAX);
  else
    for (w = 0; w < WORDS; w++)
      page[w] = w < random   ? mix (stamp + (w << 56))
                : compressible ? i
                               : i + w / 16;
  if (i % 32 != 7 || file) {
    page[0] = stamp;
    page[WORDS - 1] = mix (stamp);
  }
}

struct area {
  uint64_t *memory;
  uint8_t *version;
  uint64_t process, pages;
};

/* Faults by how long they took: eight counters an octave of nanoseconds. */
static _Atomic uint64_t *faults; /* NULL: not wanted */

static void
touch (void *page)
{
  unsigned char resident;
  uint64_t ns;
  double start;
  unsigned e;

  if (!faults || mincore (page, PAGE, &resident) == -1 || (resident & 1))
    return;
  start = now ();
  (void) *(volatile char *) page;
  ns = (now () - start) * 1e9 + 8;
  e = 63 - __builtin_clzll (ns);
  atomic_fetch_add (&faults[8 * e + (ns >> (e - 3)) % 8], 1);
}

static double
fault_us (uint64_t rank)
{
  unsigned i = 0;
  uint64_t n;

  for (n = faults[0]; n <= rank && i < 8 * 64 - 1; n += faults[i])
    i++;
  return (double) ((8 + i % 8) * (UINT64_C (1) << i / 8)) / 8e3;
}

static void
say_faults (void)
{
  uint64_t n = 0;
  unsigned i;

  if (!faults)
    return;
  for (i = 0; i < 8 * 64; i++)
    n += faults[i];
  if (n)
    printf ("hog: %" PRIu64 " faults, p50 %.1f us, p99 %.1f us\n", n,
            fault_us (n / 2), fault_us (n - n / 100 - 1));
}

static void
put (struct area *a, uint64_t i)
{
  make_page (a->memory + i * WORDS, a->process, i, ++a->version[i]);
  atomic_fetch_add (&shared->done, 1);
}

static void
check (struct area *a, uint64_t i)
{
  uint64_t want[WORDS];

  make_page (want, a->process, i, a->version[i]);
  touch (a->memory + i * WORDS);
  if (memcmp (a->memory + i * WORDS, want, PAGE) != 0
      && atomic_fetch_add (&shared->bad, 1) < 8)
    fprintf (stderr, "hog: BAD page %" PRIu64 " of process %" PRIu64 "\n", i,
             a->process);
  atomic_fetch_add (&shared->done, 1);
}

static void
one_round (struct area *a, unsigned round)
{
  uint64_t k, i;

  for (k = 0; k < a->pages; k++)
    switch ((a->process + round) % 4) {
    case 0: /* rewrite all */
      put (a, k);
      break;
    case 1: /* here and there */
      i = mix (k << 8 | round) % a->pages;
      check (a, i);
      if (i & 1)
        put (a, i);
      break;
    case 2: /* backwards */
      check (a, a->pages - 1 - k);
      break;
    default:
      check (a, k);
    }
}

static int filled = -1; /* where to say that all is filled, and stay */

static void
stay (void)
{
  if (write (filled, "", 1) != 1)
    die ("pipe");
  for (;;)
    pause ();
}

static void
one_process (unsigned process, size_t mib, unsigned rounds)
{
  struct area a = { .process = process, .pages = mib << 20 >> 12 };
  int fd = disk ? open (disk, O_RDWR) : -1;
  unsigned r;
  uint64_t i;

  if (disk && fd == -1)
    die (disk);
  a.memory = mmap (NULL, a.pages * PAGE, PROT_READ | PROT_WRITE,
                   disk ? MAP_SHARED
                        : MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                   fd, disk ? process * a.pages * PAGE : 0);
  a.version = calloc (a.pages, 1);
  if (a.memory == MAP_FAILED || !a.version)
    die ("memory");
  for (i = 0; i < a.pages; i++)
    put (&a, i);
  if (filled != -1)
    stay ();
  for (r = 0; r < rounds; r++)
    one_round (&a, r);
  for (i = 0; i < a.pages; i++)
    check (&a, i);
  _exit (0);
}

static int
run (unsigned processes, size_t mib, unsigned rounds)
{
  const uint64_t before = atomic_load (&shared->done);
  const double start = now ();
  unsigned p, died = 0;
  int status;

  for (p = 0; p < processes; p++)
    switch (fork ()) {
    case -1:
      die ("fork");
      break;
    case 0:
      one_process (p, mib, rounds);
    }
  while (wait (&status) > 0)
    if (status != 0)
      died++;
  printf ("hog: %" PRIu64 " pages in %.1f s, %" PRIu64 " bad, %u died\n",
          atomic_load (&shared->done) - before, now () - start,
          atomic_load (&shared->bad), died);
  say_faults ();
  return died || atomic_load (&shared->bad) ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int
fill_and_run (unsigned processes, size_t mib, const char *command)
{
  pid_t pids[64];
  int ready[2], status;
  unsigned p, n = 0;
  char c;

  if (processes > 64 || pipe (ready) == -1)
    die ("pipe");
  filled = ready[1];
  for (p = 0; p < processes; p++)
    switch (pids[p] = fork ()) {
    case -1:
      die ("fork");
      break;
    case 0:
      one_process (p, mib, 0);
    }
  close (ready[1]);
  while (n < processes && read (ready[0], &c, 1) == 1)
    n++;
  status = n == processes ? system (command) : -1;
  for (p = 0; p < processes; p++)
    kill (pids[p], SIGKILL);
  while (wait (NULL) > 0)
    ;
  return status == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

static uint64_t
number_in (const char *text, const char *name)
{
  const char *s = strstr (text, name);

  return s ? strtoull (s + strlen (name), NULL, 10) : 0;
}

/* A whole file of /proc or /sys. */
static const char *
look (int fd)
{
  static char text[16384];
  ssize_t n = pread (fd, text, sizeof text - 1, 0);

  if (n == -1)
    die ("look");
  text[n] = 0;
  return text;
}

static void
say_progress (int vmstat, double seconds)
{
  const char *text = look (vmstat);

  dprintf (1,
           "watch: %.0f s, %" PRIu64 " in, %" PRIu64 " out, %" PRIu64
           " done, %" PRIu64 " free\n",
           seconds, number_in (text, "\npswpin "),
           number_in (text, "\npswpout "), atomic_load (&shared->done),
           number_in (text, "nr_free_pages "));
}

/* Say for how long some request waited and none ended. */
static void
look_for_outage (int stat, double t)
{
  static uint64_t last;
  static double since;
  uint64_t n[12] = { 0 }, ended;
  char *text = (char *) look (stat);
  int i;

  for (i = 0; i < 12; i++)
    n[i] = strtoull (text, &text, 10);
  ended = n[0] + n[4] + n[11]; /* reads, writes, discards */
  if (ended == last && n[8] > 0) /* in flight */
    return;
  if (ended != last && t - since > 1)
    dprintf (1, "outage: %.1f s without an answer, until %.1f s\n", t - since,
             t);
  last = ended;
  since = t;
}

/* Nothing here may wait for memory: not even stdio. */
static void
watch (const char *device)
{
  const struct timespec pause = { .tv_nsec = 50000000 };
  const struct sched_param first = { .sched_priority = 2 };
  const double start = now ();
  int vmstat = open ("/proc/vmstat", O_RDONLY), stat = -1;
  double t, next = 0;
  char path[64];

  snprintf (path, sizeof path, "/sys/block/%s/stat", device ?: "");
  if (device)
    stat = open (path, O_RDONLY);
  if (vmstat == -1 || (device && stat == -1)
      || mlockall (MCL_CURRENT | MCL_FUTURE) == -1
      || sched_setscheduler (0, SCHED_FIFO, &first) == -1)
    die ("watch");
  for (;; nanosleep (&pause, NULL)) {
    t = now () - start;
    if (device)
      look_for_outage (stat, t);
    if (t < next)
      continue;
    say_progress (vmstat, t);
    next = t + 1;
  }
}

static void
open_shared (void)
{
  int fd = open (PROGRESS, O_RDWR | O_CREAT, 0600);

  if (fd == -1 || ftruncate (fd, PAGE) == -1)
    die (PROGRESS);
  shared = mmap (NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (shared == MAP_FAILED)
    die (PROGRESS);
  close (fd);
}

static void
time_faults (void)
{
  faults = mmap (NULL, 8 * 64 * sizeof *faults, PROT_READ | PROT_WRITE,
                 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (faults == MAP_FAILED)
    die ("memory");
}

static void
open_file (const char *name)
{
  int fd = open (name, O_RDONLY);
  struct stat st;

  if (fd == -1 || fstat (fd, &st) == -1)
    die (name);
  file_pages = st.st_size / PAGE;
  file = mmap (NULL, file_pages * PAGE, PROT_READ, MAP_PRIVATE, fd, 0);
  if (file == MAP_FAILED)
    die (name);
  close (fd);
}

int
main (int argc, char *argv[])
{
  unsigned processes = 1, rounds = 2;
  const char *command = NULL;
  bool watching = false;
  int c;

  open_shared ();
  while ((c = getopt (argc, argv, "n:r:p:cd:wtx:")) != -1)
    switch (c) {
    case 'n': processes = atoi (optarg); break;
    case 'r': rounds = atoi (optarg); break;
    case 'p': open_file (optarg); break;
    case 't': time_faults (); break;
    case 'x': command = optarg; break;
    case 'c': compressible = true; break;
    case 'd': disk = optarg; break;
    case 'w': watching = true; break;
    default: return EXIT_FAILURE;
    }
  if (watching)
    watch (argv[optind]);
  if (optind != argc - 1)
    return EXIT_FAILURE;
  if (command)
    return fill_and_run (processes, atoi (argv[optind]), command);
  return run (processes, atoi (argv[optind]), rounds);
}

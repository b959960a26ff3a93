/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The plugin against nbdkit's memory plugin, all over NBD.
 *
 *   bench-nbd [--json] [-p PLUGIN] [-r ROUNDS] [-t SECONDS] FILE.pages...
 *
 * Each server has a disk of real pages: the files, repeated to 64 MiB if they
 * are shorter.  One client, the same for all, asks one server after the other
 * for a slice of SECONDS, ROUNDS times over, so that whatever else the
 * machine does hurts all alike; medians count.  Every disk is verified after
 * it was filled and after all writes.
 *
 * Memory is the resident set above that of nbdkit's null plugin after the
 * same requests: what the store costs, without nbdkit's own buffers.
 */
#include <config.h>

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <libnbd.h>

#include "bench.h"
#include "tzram.h"

#define PAGE      ((size_t) TZ_PAGE)
#define BIG       32 /* pages of a large request */
#define DEPTH     32 /* requests in flight at most */
#define MIN_PAGES 16384
#define ROUNDS    64 /* at most */

enum metric {
  RANDOM_WRITE,
  RANDOM_READ,
  WRITE,
  READ,
  LATENCY_50,
  LATENCY_99,
  SPEEDS, /* those above are measured once a round */
  IDLE = SPEEDS,
  FULL,
  REWRITTEN,
  TRIMMED,
  METRICS
};

static const struct {
  const char *name, *unit;
  bool write;
  size_t pages; /* of a request */
  unsigned depth;
} metrics[METRICS] = {
  [RANDOM_WRITE] = { "4k-randwrite", "kIOPS", true, 1, 32 },
  [RANDOM_READ] = { "4k-randread", "kIOPS", false, 1, 32 },
  [WRITE] = { "128k-write", "MB/s", true, BIG, 8 },
  [READ] = { "128k-read", "MB/s", false, BIG, 8 },
  [LATENCY_50] = { "4k-read-p50", "us", false, 1, 1 },
  [LATENCY_99] = { "4k-read-p99", "us", false, 1, 1 },
  [IDLE] = { "memory-idle", "MiB", false, 0, 0 },
  [FULL] = { "memory-full", "MiB", false, 0, 0 },
  [REWRITTEN] = { "memory-rewritten", "MiB", false, 0, 0 },
  [TRIMMED] = { "memory-trimmed", "MiB", false, 0, 0 },
};

struct server {
  const char *name; /* as a peer */
  const char *plugin, *param, *setting;
  enum tz_codec codec; /* ours; TZ_ABSENT for a peer */
  pid_t pid;
  struct nbd_handle *nbd;
  uint32_t *holds; /* the page that each block holds */
  double rss[METRICS];
  double speed[SPEEDS][ROUNDS];
  double result[METRICS];
};

static struct server servers[] = {
  { .name = "null", .plugin = "null" }, /* first: all memory is above its */
  { .name = "sparse", .plugin = "memory", .param = "allocator=sparse" },
  { .name = "malloc", .plugin = "memory", .param = "allocator=malloc" },
  { .name = "zstd", .plugin = "memory", .param = "allocator=zstd" },
  { .name = "ours:ld64", .param = "codec=ld64", .codec = TZ_LD64 },
  { .name = "ours:lz4", .param = "codec=lz4", .codec = TZ_LZ4 },
  { .name = "ours:zstd", .param = "codec=zstd", .codec = TZ_ZSTD },
  { .name = "ld64later", .param = "codec=ld64", .setting = "compress=later",
    .codec = TZ_LD64 },
};
#define SERVERS (sizeof servers / sizeof servers[0])

/* One request in flight. */
struct slot {
  struct load *load;
  uint8_t *buf;
  size_t block, pages;
  bool busy;
};

/* A stream of requests to one server. */
struct load {
  struct server *server;
  bool verify;
  unsigned busy;
  uint64_t done;
  struct slot slots[DEPTH];
};

static uint8_t *content; /* blocks + BIG pages: the first BIG come twice */
static size_t blocks;    /* of the disk */
static uint32_t *order;  /* blocks in random order */
static uint8_t *buffers;
static unsigned rounds = 5;
static double seconds = 0.4;
static char dir[] = "/tmp/bench-nbd-XXXXXX";
static pid_t parent;
static uint64_t rng = 1;

static void __attribute__ ((format (printf, 1, 2), noreturn))
die (const char *fmt, ...)
{
  va_list args;

  va_start (args, fmt);
  fputs ("bench-nbd: ", stderr);
  vfprintf (stderr, fmt, args);
  putc ('\n', stderr);
  va_end (args);
  exit (EXIT_FAILURE);
}

static void *
allocate (size_t n, size_t size)
{
  void *p = NULL;

  if (posix_memalign (&p, PAGE, n * size) != 0)
    die ("out of memory");
  return memset (p, 0, n * size);
}

static uint64_t
random_below (uint64_t n)
{
  rng ^= rng << 13;
  rng ^= rng >> 7;
  rng ^= rng << 17;
  return rng % n;
}

static void
shuffle (void)
{
  size_t i, j;
  uint32_t t;

  for (i = blocks - 1; i > 0; i--) {
    j = random_below (i + 1);
    t = order[i];
    order[i] = order[j];
    order[j] = t;
  }
}

/* Read the files into content and repeat them to fill the disk. */
static void
load_files (char **files)
{
  size_t have = 0, all;
  struct stat st;
  char **f;
  FILE *in;

  for (f = files; *f; f++) {
    if (stat (*f, &st) == -1)
      die ("%s: %m", *f);
    have += (size_t) st.st_size / PAGE;
  }
  if (have == 0)
    die ("the files hold no whole page");
  blocks = have > MIN_PAGES ? have : MIN_PAGES;
  blocks = (blocks + BIG - 1) / BIG * BIG;
  all = blocks + BIG;
  content = allocate (all, PAGE);
  order = allocate (blocks, sizeof *order);
  buffers = allocate (DEPTH * BIG, PAGE);

  have = 0;
  for (f = files; *f; f++) {
    in = fopen (*f, "rb");
    if (!in)
      die ("%s: %m", *f);
    have += fread (content + have * PAGE, PAGE, all - have, in);
    if (ferror (in))
      die ("%s: cannot be read", *f);
    fclose (in);
  }
  for (size_t i = have; i < blocks; i++)
    memcpy (content + i * PAGE, content + (i - have) * PAGE, PAGE);
  memcpy (content + blocks * PAGE, content, BIG * PAGE);
  for (size_t i = 0; i < blocks; i++)
    order[i] = (uint32_t) i;
}

static void
clean_up (void)
{
  char path[sizeof dir + 32];
  size_t i;

  if (getpid () != parent)
    return;
  for (i = 0; i < SERVERS; i++) {
    if (servers[i].pid > 0) {
      kill (servers[i].pid, SIGKILL); /* it would wait for us to leave */
      waitpid (servers[i].pid, NULL, 0);
    }
    snprintf (path, sizeof path, "%s/%zu", dir, i);
    unlink (path);
  }
  rmdir (dir);
}

static void
start (struct server *s)
{
  const struct timespec pause = { 0, 10000000 };
  char path[sizeof dir + 32], size[32];
  unsigned tries;

  snprintf (path, sizeof path, "%s/%zu", dir, (size_t) (s - servers));
  snprintf (size, sizeof size, "%zu", blocks * PAGE);
  s->holds = allocate (blocks, sizeof *s->holds);
  s->pid = fork ();
  if (s->pid == -1)
    die ("fork: %m");
  if (s->pid == 0) {
    execlp ("nbdkit", "nbdkit", "-f", "--exit-with-parent", "-U", path,
            s->plugin, size, s->param, s->setting, NULL);
    fprintf (stderr, "bench-nbd: nbdkit: %s\n", strerror (errno));
    _exit (EXIT_FAILURE);
  }
  s->nbd = nbd_create ();
  if (!s->nbd)
    die ("%s", nbd_get_error ());
  for (tries = 0; nbd_connect_unix (s->nbd, path) == -1; tries++) {
    if (tries == 500)
      die ("%s: %s", s->name, nbd_get_error ());
    if (waitpid (s->pid, NULL, WNOHANG) != 0) {
      s->pid = 0;
      die ("%s: the server did not start", s->name);
    }
    nbd_close (s->nbd);
    s->nbd = nbd_create ();
    nanosleep (&pause, NULL);
  }
}

/* Bytes resident in memory, by the exact count. */
static double
resident (const struct server *s)
{
  unsigned long long kib;
  char path[64], line[256];
  double rss = -1;
  FILE *f;

  snprintf (path, sizeof path, "/proc/%d/smaps_rollup", (int) s->pid);
  f = fopen (path, "r");
  if (!f)
    die ("%s: %m", path);
  while (fgets (line, sizeof line, f))
    if (sscanf (line, "Rss: %llu kB", &kib) == 1)
      rss = (double) kib * 1024;
  fclose (f);
  if (rss < 0)
    die ("%s holds no resident set", path);
  return rss;
}

static void
check_content (const struct slot *slot)
{
  const struct server *s = slot->load->server;
  size_t i, b;

  for (i = 0; i < slot->pages; i++) {
    b = slot->block + i;
    if (memcmp (slot->buf + i * PAGE, content + s->holds[b] * PAGE, PAGE) != 0)
      die ("%s: block %zu came back changed", s->name, b);
  }
}

static int
completed (void *opaque, int *error)
{
  struct slot *slot = opaque;
  struct load *load = slot->load;

  if (*error)
    die ("%s: block %zu: %s", load->server->name, slot->block,
         strerror (*error));
  if (load->verify)
    check_content (slot);
  slot->busy = false;
  load->busy--;
  load->done++;
  return 1; /* retire it */
}

static void
send_request (struct slot *slot, bool write, size_t block, size_t page,
              size_t pages)
{
  nbd_completion_callback done = { .callback = completed, .user_data = slot };
  struct server *s = slot->load->server;
  int64_t r;
  size_t i;

  slot->block = block;
  slot->pages = pages;
  slot->busy = true;
  slot->load->busy++;
  if (write) {
    for (i = 0; i < pages; i++)
      s->holds[block + i] = (uint32_t) ((page + i) % blocks);
    r = nbd_aio_pwrite (s->nbd, content + page * PAGE, pages * PAGE,
                        block * PAGE, done, 0);
  }
  else
    r = nbd_aio_pread (s->nbd, slot->buf, pages * PAGE, block * PAGE, done, 0);
  if (r == -1)
    die ("%s: %s", s->name, nbd_get_error ());
}

static void
init_load (struct load *load, struct server *s, bool verify)
{
  unsigned i;

  memset (load, 0, sizeof *load);
  load->server = s;
  load->verify = verify;
  for (i = 0; i < DEPTH; i++) {
    load->slots[i].load = load;
    load->slots[i].buf = buffers + i * BIG * PAGE;
  }
}

static struct slot *
free_slot (struct load *load, unsigned depth)
{
  unsigned i;

  for (i = 0; i < depth; i++)
    if (!load->slots[i].busy)
      return &load->slots[i];
  return NULL;
}

static void
wait_for_reply (struct load *load)
{
  if (nbd_poll (load->server->nbd, -1) == -1)
    die ("%s: %s", load->server->name, nbd_get_error ());
}

/* Small requests go to random blocks, large ones in order.  Each pass over
 * the disk writes pages shifted against the blocks, so what is rewritten
 * changes its content and its compressed size.
 */
static double
run_slice (struct server *s, enum metric m)
{
  const size_t pages = metrics[m].pages;
  const uint64_t begin = now_ns ();
  const uint64_t end = begin + (uint64_t) (seconds * 1e9);
  size_t shift = random_below (blocks), next = random_below (blocks) / pages;
  struct load load;
  struct slot *slot;
  size_t block;

  init_load (&load, s, false);
  while (now_ns () < end) {
    while ((slot = free_slot (&load, metrics[m].depth)) != NULL) {
      if (next == blocks / pages) {
        next = 0;
        shift = random_below (blocks);
      }
      block = pages == 1 ? order[next] : next * pages;
      next++;
      send_request (slot, metrics[m].write, block, (block + shift) % blocks,
                    pages);
    }
    wait_for_reply (&load);
  }
  while (load.busy > 0)
    wait_for_reply (&load);
  return (double) load.done / (double) (now_ns () - begin) * 1e9;
}

static void
run_latency (struct server *s, unsigned round)
{
  enum { MOST = 100000 };
  static double took[MOST];
  const uint64_t end = now_ns () + (uint64_t) (seconds * 1e9);
  uint64_t t;
  size_t n;

  for (n = 0; n < MOST && (n == 0 || now_ns () < end); n++) {
    t = now_ns ();
    if (nbd_pread (s->nbd, buffers, PAGE, random_below (blocks) * PAGE, 0)
        == -1)
      die ("%s: %s", s->name, nbd_get_error ());
    took[n] = (double) (now_ns () - t) / 1e3;
  }
  s->speed[LATENCY_50][round] = median (took, n); /* sorts */
  s->speed[LATENCY_99][round] = took[n - 1 - n / 100];
}

/* Go over the whole disk once, in order. */
static void
sweep (struct server *s, bool write)
{
  struct load load;
  struct slot *slot;
  size_t block;

  init_load (&load, s, !write && s != &servers[0]);
  for (block = 0; block < blocks; block += BIG) {
    while ((slot = free_slot (&load, metrics[WRITE].depth)) == NULL)
      wait_for_reply (&load);
    send_request (slot, write, block, block, BIG);
  }
  while (load.busy > 0)
    wait_for_reply (&load);
}

static void
run_round (unsigned round)
{
  struct server *s;
  enum metric m;
  double rate;
  size_t i;

  shuffle ();
  for (m = RANDOM_WRITE; m <= LATENCY_50; m++)
    for (i = 0; i < SERVERS; i++) {
      s = &servers[(i + round) % SERVERS]; /* no server is always the first */
      if (m == LATENCY_50) {
        run_latency (s, round);
        continue;
      }
      rate = run_slice (s, m);
      s->speed[m][round]
        = metrics[m].pages == 1
            ? rate / 1e3
            : rate * (double) (metrics[m].pages * PAGE) / 1e6;
    }
}

static void
measure_memory (enum metric m)
{
  size_t i;

  sleep (1); /* what is given back in the background is given back */
  for (i = 0; i < SERVERS; i++) {
    servers[i].rss[m] = resident (&servers[i]);
    servers[i].result[m]
      = (servers[i].rss[m] - servers[0].rss[m]) / (1 << 20);
  }
}

static void
trim (struct server *s)
{
  const size_t most = 1 << 30;
  size_t offset, n;

  for (offset = 0; offset < blocks * PAGE; offset += n) {
    n = blocks * PAGE - offset < most ? blocks * PAGE - offset : most;
    if (nbd_can_trim (s->nbd) == 1 && nbd_trim (s->nbd, n, offset, 0) == -1)
      die ("%s: %s", s->name, nbd_get_error ());
  }
}

static void
run (void)
{
  enum metric m;
  unsigned r;
  size_t i;

  for (i = 0; i < SERVERS; i++)
    start (&servers[i]);
  measure_memory (IDLE);
  for (i = 0; i < SERVERS; i++) {
    sweep (&servers[i], true);
    sweep (&servers[i], false);
  }
  measure_memory (FULL);
  for (r = 0; r < rounds; r++)
    run_round (r);
  for (i = 0; i < SERVERS; i++)
    sweep (&servers[i], false);
  measure_memory (REWRITTEN);
  for (i = 0; i < SERVERS; i++)
    trim (&servers[i]);
  measure_memory (TRIMMED);
  for (i = 0; i < SERVERS; i++)
    for (m = 0; m < SPEEDS; m++)
      servers[i].result[m] = median (servers[i].speed[m], rounds);
}

static void
print_json (const char *file)
{
  const struct server *s, *peer;
  enum metric m;
  int min, max;

  bench_json = true;
  for (s = servers; s < servers + SERVERS; s++) {
    if (s->codec == TZ_ABSENT)
      continue;
    for (m = 0; m < METRICS; m++)
      for (peer = servers; peer < servers + SERVERS; peer++) {
        struct bench_row row = {
          .bench = "nbd",
          .file = file,
          .setting = s->setting,
          .codec = tz_codec_name (s->codec),
          .isa = tz_codec_isa (s->codec),
          .peer = peer->name,
          .metric = metrics[m].name,
          .unit = metrics[m].unit,
          .ours = s->result[m],
          .theirs = peer->result[m],
        };

        tz_codec_levels (s->codec, &min, &max, &row.level);
        if (peer->codec == TZ_ABSENT)
          bench_row (&row);
      }
  }
}

static void
print_table (void)
{
  const struct server *s, *peer;
  enum metric m;

  printf ("%zu MiB of real pages, %u rounds, medians\n\n%-17s %-6s",
          blocks * PAGE >> 20, rounds, "", "");
  for (s = servers; s < servers + SERVERS; s++)
    printf (" %9s", s->name);
  for (m = 0; m < METRICS; m++) {
    printf ("\n%-17s %-6s", metrics[m].name, metrics[m].unit);
    for (s = servers; s < servers + SERVERS; s++)
      printf (" %9.1f", s->result[m]);
  }
  printf ("\n\n%-17s %-6s", "ours over theirs", "");
  for (s = servers; s < servers + SERVERS; s++)
    if (s->codec == TZ_ABSENT)
      printf (" %9s", s->name);
  for (m = 0; m < METRICS; m++)
    for (s = servers; s < servers + SERVERS; s++) {
      if (s->codec == TZ_ABSENT)
        continue;
      printf ("\n%-17s %-6s", metrics[m].name,
              s->setting ? "later" : tz_codec_name (s->codec));
      for (peer = servers; peer < servers + SERVERS; peer++)
        if (peer->codec == TZ_ABSENT && peer->result[m] > 0)
          printf (" %8.2fx", s->result[m] / peer->result[m]);
        else if (peer->codec == TZ_ABSENT)
          printf (" %9s", "-");
    }
  putchar ('\n');
}

static const char *
base_name (const char *path)
{
  const char *slash = strrchr (path, '/');

  return slash ? slash + 1 : path;
}

int
main (int argc, char **argv)
{
  static const struct option options[] = {
    { "json", no_argument, NULL, 'j' },
    { NULL, 0, NULL, 0 },
  };
  const char *plugin = "trueno-zram";
  bool json = false;
  size_t i;
  int c;

  while ((c = getopt_long (argc, argv, "p:r:t:", options, NULL)) != -1)
    switch (c) {
    case 'j': json = true; break;
    case 'p': plugin = optarg; break;
    case 'r': rounds = (unsigned) strtoul (optarg, NULL, 10); break;
    case 't': seconds = strtod (optarg, NULL); break;
    default: return EXIT_FAILURE;
    }
  if (optind == argc || rounds < 1 || rounds > ROUNDS || !(seconds > 0))
    die ("usage: bench-nbd [--json] [-p PLUGIN] [-r ROUNDS (1 to %d)] "
         "[-t SECONDS] FILE.pages...", ROUNDS);
  for (i = 0; i < SERVERS; i++)
    if (!servers[i].plugin)
      servers[i].plugin = plugin;
  load_files (argv + optind);
  if (!mkdtemp (dir))
    die ("%s: %m", dir);
  parent = getpid ();
  atexit (clean_up);
  run ();
  if (json)
    print_json (argc - optind == 1 ? base_name (argv[optind]) : "TOTAL");
  else
    print_table ();
  return EXIT_SUCCESS;
}

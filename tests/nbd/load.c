/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Random requests of one page each to a server, many in flight, every answer
 * checked.
 *
 *   load [-c CONNECTIONS] [-d DEPTH] [-w WARM-UP] [-n REQUESTS] [-z SIZE]
 *        [-s SEED] [-t] [-p PID] [-k FILE] URI
 *
 * The first SIZE bytes of the disk are written once; then come the requests of
 * the warm-up and those that count, half of them writes (with -t, some
 * of these trims and zeroes); then every page is read once more.  -p prints the
 * page faults of the server's threads that were created for the connections,
 * -k what tests/nbd/count.c counted in FILE, both of the requests that count.
 */
#include <config.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <libnbd.h>

#include "count.h"

#define PAGE      4096
#define MAX_CONNS 16
#define MAX_DEPTH 64
#define MAX_TASKS 256

enum op { READ, WRITE, ZERO, TRIM };

struct conn;

struct request {
  struct conn *conn;
  enum op op;
  uint32_t page;
  uint32_t tag;
  bool busy;
  uint8_t buf[PAGE];
};

/* A connection owns the pages whose number is its own modulo all: so it knows
 * what each of them holds.
 */
struct conn {
  struct nbd_handle *nbd;
  unsigned number;
  uint64_t random;
  unsigned long todo;
  uint32_t next; /* when pages are taken in order */
  bool failed;
  struct request requests[MAX_DEPTH];
};

static unsigned n_conns = 1, depth = 32;
static unsigned long warm_up, n_requests = 100000;
static uint64_t size = 16 << 20, seed = 1;
static bool with_trims;
static const char *uri;
static struct conn *conns;
static uint32_t n_pages;
static uint32_t *tags; /* what page i holds; 0: zeroes */
static bool *page_busy;
static enum { FILL, MIX, CHECK } phase;

static uint64_t
next_random (uint64_t *state)
{
  uint64_t z = *state += UINT64_C (0x9e3779b97f4a7c15);

  z = (z ^ z >> 30) * UINT64_C (0xbf58476d1ce4e5b9);
  z = (z ^ z >> 27) * UINT64_C (0x94d049bb133111eb);
  return z ^ z >> 31;
}

/* A page of lines that resemble each other, as in memory, all of it from page
 * and tag.  It compresses to about a third.
 */
static void
make_page (uint8_t *buf, uint32_t page, uint32_t tag)
{
  uint64_t state = (uint64_t) page << 32 | tag, lines[4][8], r;
  size_t i;

  if (tag == 0) {
    memset (buf, 0, PAGE);
    return;
  }
  for (i = 0; i < 32; i++)
    lines[i / 8][i % 8] = next_random (&state);
  for (i = 0; i < PAGE; i += 64) {
    r = next_random (&state);
    memcpy (buf + i, lines[r % 4], 64);
    memcpy (buf + i + r / 4 % 8 * 8, &r, 8);
    memcpy (buf + i + r / 32 % 8 * 8, &i, 8);
  }
}

static int
completed (void *opaque, int *error)
{
  struct request *req = opaque;
  uint8_t want[PAGE];

  if (*error) {
    fprintf (stderr, "page %" PRIu32 ": %s\n", req->page, strerror (*error));
    req->conn->failed = true;
  }
  else if (req->op == READ) {
    make_page (want, req->page, tags[req->page]);
    if (memcmp (want, req->buf, PAGE) != 0) {
      fprintf (stderr, "page %" PRIu32 " is not what was written to it\n",
               req->page);
      req->conn->failed = true;
    }
  }
  else
    tags[req->page] = req->tag;
  page_busy[req->page] = false;
  req->busy = false;
  return 1;
}

static uint32_t
choose_page (struct conn *c)
{
  uint32_t page;

  if (phase != MIX)
    return c->next++ * n_conns + c->number;
  do
    page = next_random (&c->random) % (n_pages / n_conns) * n_conns
           + c->number;
  while (page_busy[page]);
  return page;
}

static enum op
choose_op (struct conn *c)
{
  uint64_t r = next_random (&c->random);

  if (phase == FILL)
    return WRITE;
  if (phase == CHECK || r % 2)
    return READ;
  if (with_trims && r / 2 % 4 == 0)
    return r / 8 % 2 ? ZERO : TRIM;
  return WRITE;
}

static bool
send_request (struct conn *c, struct request *req)
{
  nbd_completion_callback cb = { .callback = completed, .user_data = req };
  int64_t cookie = -1;
  uint64_t offset;

  req->conn = c;
  req->page = choose_page (c);
  req->op = choose_op (c);
  req->busy = page_busy[req->page] = true;
  offset = (uint64_t) req->page * PAGE;
  req->tag = req->op == WRITE ? next_random (&c->random) | 1 : 0;
  switch (req->op) {
  case READ:
    cookie = nbd_aio_pread (c->nbd, req->buf, PAGE, offset, cb, 0);
    break;
  case WRITE:
    make_page (req->buf, req->page, req->tag);
    cookie = nbd_aio_pwrite (c->nbd, req->buf, PAGE, offset, cb, 0);
    break;
  case ZERO:
    cookie = nbd_aio_zero (c->nbd, PAGE, offset, cb, 0);
    break;
  case TRIM:
    cookie = nbd_aio_trim (c->nbd, PAGE, offset, cb, 0);
    break;
  }
  c->todo--;
  return cookie != -1;
}

static void *
run_conn (void *opaque)
{
  struct conn *c = opaque;
  unsigned i, busy = 1;

  while (!c->failed && (c->todo || busy)) {
    busy = 0;
    for (i = 0; i < depth && !c->failed; i++) {
      if (!c->requests[i].busy && c->todo
          && !send_request (c, &c->requests[i]))
        c->failed = true;
      busy += c->requests[i].busy;
    }
    if (busy && nbd_poll (c->nbd, -1) == -1)
      c->failed = true;
  }
  if (c->failed && nbd_get_error ())
    fprintf (stderr, "%s\n", nbd_get_error ());
  return NULL;
}

static void
run (int which, unsigned long requests)
{
  pthread_t threads[MAX_CONNS];
  bool failed = false;
  unsigned i;

  phase = which;
  for (i = 0; i < n_conns; i++) {
    conns[i].todo = requests / n_conns;
    conns[i].next = 0;
    if (pthread_create (&threads[i], NULL, run_conn, &conns[i]) != 0)
      abort ();
  }
  for (i = 0; i < n_conns; i++) {
    pthread_join (threads[i], NULL);
    failed |= conns[i].failed;
  }
  if (failed)
    exit (EXIT_FAILURE);
}

/* ---- The server's page faults ---- */

static long tasks[MAX_TASKS]; /* those that no connection brought */
static unsigned n_tasks;

static bool
known_task (long tid)
{
  unsigned i;

  for (i = 0; i < n_tasks; i++)
    if (tasks[i] == tid)
      return true;
  return false;
}

/* Call fn for each task that is not known. */
static void
each_task (const char *pid, void (*fn) (const char *pid, long tid))
{
  char name[64];
  struct dirent *d;
  DIR *dir;

  snprintf (name, sizeof name, "/proc/%s/task", pid);
  dir = opendir (name);
  if (!dir) {
    perror (name);
    exit (EXIT_FAILURE);
  }
  while ((d = readdir (dir)))
    if (d->d_name[0] != '.' && !known_task (atol (d->d_name)))
      fn (pid, atol (d->d_name));
  closedir (dir);
}

static void
remember_task (const char *pid, long tid)
{
  (void) pid;
  if (n_tasks < MAX_TASKS)
    tasks[n_tasks++] = tid;
}

static unsigned long minor_faults, major_faults;
static unsigned n_counted;

static void
add_faults (const char *pid, long tid)
{
  unsigned long minor, major;
  char name[64], line[1024], *p;
  FILE *f;

  snprintf (name, sizeof name, "/proc/%s/task/%ld/stat", pid, tid);
  f = fopen (name, "r");
  if (!f || !fgets (line, sizeof line, f) || !(p = strrchr (line, ')'))
      || sscanf (p, ") %*c %*d %*d %*d %*d %*d %*u %lu %*u %lu", &minor,
                 &major) != 2) {
    fprintf (stderr, "%s: not understood\n", name);
    exit (EXIT_FAILURE);
  }
  fclose (f);
  minor_faults += minor;
  major_faults += major;
  n_counted++;
}

static void
count_faults (const char *pid)
{
  minor_faults = major_faults = n_counted = 0;
  each_task (pid, add_faults);
}

/* ---- The program ---- */

static struct counts *
map_counts (const char *file)
{
  int fd = open (file, O_RDWR);
  void *p = MAP_FAILED;

  if (fd != -1)
    p = mmap (NULL, sizeof (struct counts), PROT_READ | PROT_WRITE, MAP_SHARED,
              fd, 0);
  if (p == MAP_FAILED) {
    perror (file);
    exit (EXIT_FAILURE);
  }
  close (fd);
  return p;
}

static void
connect_all (void)
{
  unsigned i;

  conns = calloc (n_conns, sizeof *conns);
  tags = calloc (n_pages, sizeof *tags);
  page_busy = calloc (n_pages, sizeof *page_busy);
  if (!conns || !tags || !page_busy)
    abort ();
  for (i = 0; i < n_conns; i++) {
    conns[i].number = i;
    conns[i].random = seed * MAX_CONNS + i;
    conns[i].nbd = nbd_create ();
    if (!conns[i].nbd || nbd_connect_uri (conns[i].nbd, uri) == -1) {
      fprintf (stderr, "%s\n", nbd_get_error ());
      exit (EXIT_FAILURE);
    }
  }
}

static void
measure (const char *pid, const char *count_file)
{
  struct counts *counts = count_file ? map_counts (count_file) : NULL;
  unsigned long minor = 0, major = 0;
  struct counts before;

  if (pid) {
    count_faults (pid);
    minor = minor_faults;
    major = major_faults;
  }
  if (counts)
    before = *counts;
  run (MIX, n_requests);
  if (counts)
    printf ("reads=%" PRIu64 " plugin=%" PRIu64 " server=%" PRIu64
            " mappings=%" PRIu64 "\n",
            counts->reads - before.reads, counts->plugin - before.plugin,
            counts->server - before.server,
            counts->mappings - before.mappings);
  if (pid) {
    count_faults (pid);
    printf ("threads=%u minor=%lu major=%lu\n", n_counted,
            minor_faults - minor, major_faults - major);
  }
}

int
main (int argc, char *argv[])
{
  const char *pid = NULL, *count_file = NULL;
  unsigned i;
  int opt;

  while ((opt = getopt (argc, argv, "c:d:w:n:z:s:tp:k:")) != -1)
    switch (opt) {
    case 'c': n_conns = atoi (optarg); break;
    case 'd': depth = atoi (optarg); break;
    case 'w': warm_up = atol (optarg); break;
    case 'n': n_requests = atol (optarg); break;
    case 'z': size = atoll (optarg); break;
    case 's': seed = atoll (optarg); break;
    case 't': with_trims = true; break;
    case 'p': pid = optarg; break;
    case 'k': count_file = optarg; break;
    default: return EXIT_FAILURE;
    }
  uri = argv[optind];
  n_pages = n_conns ? size / PAGE / n_conns * n_conns : 0;
  if (!uri || n_conns < 1 || n_conns > MAX_CONNS || depth < 1
      || depth > MAX_DEPTH || n_pages < 2 * n_conns * depth) {
    fprintf (stderr, "%s: see the source for what to say\n", argv[0]);
    return EXIT_FAILURE;
  }
  printf ("seed=%" PRIu64 "\n", seed);
  if (pid)
    each_task (pid, remember_task);
  connect_all ();
  run (FILL, n_pages);
  run (MIX, warm_up);
  measure (pid, count_file);
  run (CHECK, n_pages);
  for (i = 0; i < n_conns; i++) {
    if (nbd_shutdown (conns[i].nbd, 0) == -1)
      fprintf (stderr, "%s\n", nbd_get_error ());
    nbd_close (conns[i].nbd);
  }
  free (conns);
  free (tags);
  free (page_busy);
  return EXIT_SUCCESS;
}

/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The model checker, see model.h. */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "model.h"

#define PAGE    4096
#define MAX_IO  (192 << 10) /* bytes of a read or write */
/* The first half of the disk is dealt out in stripes that share pages. */
#define STRIPE  10007

struct run {
  const struct model_disk *disk;
  const struct model_options *o;
  uint8_t *shadow;
  atomic_bool failed;
  atomic_ulong full; /* writes refused for want of space */
};

struct worker {
  struct run *run;
  unsigned number;
  void *conn;
  uint64_t rng;
  unsigned long op;
  uint8_t *buf;
};

/* ---- Random numbers: a 64-bit mixing counter ---- */

static uint64_t
rnd (struct worker *w)
{
  uint64_t z = (w->rng += 0x9e3779b97f4a7c15);

  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

static uint64_t
below (struct worker *w, uint64_t n)
{
  return rnd (w) % n;
}

static bool
fail (struct worker *w, const char *what, uint64_t count, uint64_t offset,
      int err)
{
  atomic_store (&w->run->failed, true);
  fprintf (stderr,
           "model: thread %u, operation %lu: %s, %" PRIu64 " bytes at %" PRIu64
           "%s%s\n",
           w->number, w->op, what, count, offset, err ? ": " : "",
           err ? strerror (-err) : "");
  return false;
}

/* ---- Content of every kind a codec treats apart ---- */

static void
fill_lines (struct worker *w, uint8_t *p, uint64_t n)
{
  uint64_t i, k;

  for (i = 0; i < n; i++)
    p[i] = i < 64 ? rnd (w) : p[i - 64];
  for (k = n / 40; k > 0; k--)
    p[below (w, n)] = rnd (w);
}

static void
fill_words (struct worker *w, uint8_t *p, uint64_t n)
{
  static const char *const words[]
      = { "page ", "blob ", "run ", "\0\0\0\0", "slot\n", "chunk ", "0x7f" };
  const char *word;
  uint64_t i, len;

  for (i = 0; i < n; i += len) {
    word = words[below (w, 7)];
    len = *word ? strlen (word) : 4;
    if (len > n - i)
      len = n - i;
    memcpy (p + i, word, len);
  }
}

static void
fill (struct worker *w, uint8_t *p, uint64_t n)
{
  uint64_t pattern = rnd (w), i;

  switch (below (w, 8)) {
  case 0:
    memset (p, 0, n);
    return;
  case 1: /* a page of one pattern, that fits in a table word or does not */
    if (below (w, 2))
      pattern = (uint32_t) pattern * UINT64_C (0x100000001);
    for (i = 0; i < n; i++)
      p[i] = pattern >> 8 * (i % 8);
    return;
  case 2: /* incompressible */
    for (i = 0; i < n; i++)
      p[i] = i % 8 ? p[i - 1] * 5 + (rnd (w) >> 40) : rnd (w);
    return;
  case 3:
    memset (p, pattern, n);
    return;
  case 4:
    fill_words (w, p, n);
    return;
  default:
    fill_lines (w, p, n);
  }
}

/* ---- Where ---- */

/* A range that only this thread touches. */
static void
choose (struct worker *w, uint64_t most, uint64_t *count, uint64_t *offset)
{
  unsigned threads = w->run->o->threads;
  uint64_t size = w->run->disk->size, half = size / 2, from, len, row;

  if (threads > 1 && below (w, 2)) {
    row = below (w, half / STRIPE / threads);
    from = (row * threads + w->number) * STRIPE;
    len = STRIPE;
  }
  else if (threads > 1) {
    len = (size - half) / threads;
    from = half + w->number * len;
    if (w->number == threads - 1)
      len = size - from;
  }
  else {
    from = 0;
    len = size;
  }
  if (most > len)
    most = len;
  switch (below (w, 8)) {
  case 0: /* any bytes */
    *count = 1 + below (w, most < 3 * PAGE ? most : 3 * PAGE);
    break;
  case 1: /* large */
    *count = below (w, 8) ? 1 + below (w, PAGE) : 1 + below (w, most);
    break;
  default:
    *count = PAGE * (1 + below (w, 2));
  }
  if (*count > most)
    *count = most;
  *offset = from + below (w, len - *count + 1);
  /* Mostly whole pages, as far as they lie within. */
  if (below (w, 4) && *offset / PAGE * PAGE >= from)
    *offset = *offset / PAGE * PAGE;
}

/* ---- The requests ---- */

static bool
check_read (struct worker *w, uint64_t count, uint64_t offset)
{
  const uint8_t *want = w->run->shadow + offset;
  uint64_t i;
  int err;

  memset (w->buf, 0xa5, count);
  err = w->run->disk->read (w->conn, w->buf, count, offset);
  if (err)
    return fail (w, "read failed", count, offset, err);
  if (memcmp (w->buf, want, count) == 0)
    return true;
  for (i = 0; w->buf[i] == want[i];)
    i++;
  fprintf (stderr, "model: byte %" PRIu64 " is %02x and should be %02x\n",
           offset + i, w->buf[i], want[i]);
  return fail (w, "read other data than was written", count, offset, 0);
}

/* A write was refused: its pages up to some page hold the new data, the rest
 * what they held.
 */
static bool
check_refused (struct worker *w, const uint8_t *data, uint64_t count,
               uint64_t offset)
{
  uint8_t *got = malloc (count), *shadow = w->run->shadow;
  bool old = false, ok = true;
  uint64_t i, n;
  int err = w->run->disk->read (w->conn, got, count, offset);

  if (err)
    ok = fail (w, "read after a refused write failed", count, offset, err);
  for (i = 0; ok && i < count; i += n) {
    n = PAGE - (offset + i) % PAGE;
    if (n > count - i)
      n = count - i;
    if (!old && memcmp (got + i, data + i, n) == 0)
      memcpy (shadow + offset + i, data + i, n);
    else {
      old = true;
      if (memcmp (got + i, shadow + offset + i, n) != 0)
        ok = fail (w, "a refused write changed a page", n, offset + i, 0);
    }
  }
  if (ok && !old && memcmp (got, data, count) != 0)
    ok = fail (w, "a refused write left a mixture", count, offset, 0);
  free (got);
  return ok;
}

static bool
is_zero (const uint8_t *p, uint64_t n)
{
  return p[0] == 0 && memcmp (p, p + 1, n - 1) == 0;
}

/* Zeroing was refused: a partial page at either end may hold what it held. */
static bool
check_refused_zero (struct worker *w, uint64_t count, uint64_t offset)
{
  uint8_t *got = malloc (count), *was;
  uint64_t i, n;
  bool ok = true;
  int err = w->run->disk->read (w->conn, got, count, offset);

  if (err)
    ok = fail (w, "read after a refused zero failed", count, offset, err);
  for (i = 0; ok && i < count; i += n) {
    n = PAGE - (offset + i) % PAGE;
    if (n > count - i)
      n = count - i;
    was = w->run->shadow + offset + i;
    if (!is_zero (got + i, n)
        && (n == PAGE || memcmp (got + i, was, n) != 0))
      ok = fail (w, "a refused zero changed a page", n, offset + i, 0);
    else
      memcpy (was, got + i, n);
  }
  free (got);
  return ok;
}

static bool
do_write (struct worker *w)
{
  uint64_t count, offset;
  int err;

  choose (w, MAX_IO, &count, &offset);
  fill (w, w->buf, count);
  err = w->run->disk->write (w->conn, w->buf, count, offset);
  if (err == -ENOSPC && w->run->disk->may_fill) {
    atomic_fetch_add (&w->run->full, 1);
    return check_refused (w, w->buf, count, offset);
  }
  if (err)
    return fail (w, "write failed", count, offset, err);
  memcpy (w->run->shadow + offset, w->buf, count);
  return true;
}

static bool
do_zero (struct worker *w)
{
  uint64_t count, offset;
  int err;

  /* Sometimes much, so that leaves are crossed and space comes back. */
  choose (w, below (w, 64) ? MAX_IO : UINT64_MAX, &count, &offset);
  err = w->run->disk->zero (w->conn, count, offset, rnd (w));
  if (err == -ENOSPC && w->run->disk->may_fill) {
    atomic_fetch_add (&w->run->full, 1);
    return check_refused_zero (w, count, offset);
  }
  if (err)
    return fail (w, "zero failed", count, offset, err);
  memset (w->run->shadow + offset, 0, count);
  return true;
}

static bool
do_read (struct worker *w)
{
  uint64_t count, offset;

  choose (w, MAX_IO, &count, &offset);
  return check_read (w, count, offset);
}

struct extents {
  struct worker *w;
  uint64_t next;
  bool ok;
};

int
model_extent (void *opaque, uint64_t offset, uint64_t count, bool zero)
{
  struct extents *e = opaque;
  const uint8_t *p = e->w->run->shadow + offset;

  if (offset != e->next || count == 0)
    e->ok = fail (e->w, "extents are not contiguous", count, offset, 0);
  else if (zero && !is_zero (p, count))
    e->ok = fail (e->w, "an extent of zeroes holds data", count, offset, 0);
  e->next = offset + count;
  return e->ok ? 0 : -EIO;
}

static bool
check_extents (struct worker *w, uint64_t count, uint64_t offset)
{
  struct extents e = { w, offset, true };
  int err = w->run->disk->extents (w->conn, count, offset, &e);

  if (e.ok && err)
    return fail (w, "extents failed", count, offset, err);
  return e.ok && (e.next == offset + count
                  || fail (w, "extents end early", count, offset, 0));
}

static bool
do_extents (struct worker *w)
{
  uint64_t count, offset, size = w->run->disk->size;

  if (w->run->o->threads == 1 && below (w, 64) == 0)
    return check_extents (w, size, 0);
  choose (w, below (w, 16) ? MAX_IO : UINT64_MAX, &count, &offset);
  return check_extents (w, count, offset);
}

static bool
step (struct worker *w)
{
  switch (below (w, 16)) {
  case 0:
  case 1:
    return do_zero (w);
  case 2:
    return do_extents (w);
  case 3:
  case 4:
  case 5:
  case 6:
  case 7:
    return do_read (w);
  default:
    return do_write (w);
  }
}

static void *
work (void *opaque)
{
  struct worker *w = opaque;
  struct run *r = w->run;
  unsigned long n = r->o->ops / r->o->threads;

  for (w->op = 0; w->op < n && !atomic_load (&r->failed); w->op++)
    if (!step (w))
      break;
  return NULL;
}

/* ---- The whole ---- */

/* Compare everything, with all threads at rest. */
static void
check_all (struct worker *w)
{
  uint64_t size = w->run->disk->size, at, n;

  for (at = 0; at < size; at += n) {
    n = size - at < MAX_IO ? size - at : MAX_IO;
    if (!check_read (w, n, at))
      return;
  }
  check_extents (w, size, 0);
}

static bool
start_worker (struct worker *w, struct run *r, unsigned number)
{
  w->run = r;
  w->number = number;
  w->rng = r->o->seed * 1000 + number;
  w->buf = malloc (MAX_IO);
  w->conn = r->disk->connect ();
  return w->buf && w->conn;
}

bool
model_run (const struct model_disk *disk, const struct model_options *o,
           const char *replay)
{
  struct run r = { .disk = disk, .o = o, .shadow = calloc (1, disk->size) };
  struct worker *w = calloc (o->threads, sizeof *w);
  pthread_t *id = calloc (o->threads, sizeof *id);
  unsigned i;

  printf ("model: seed %" PRIu64 ", %lu operations, %u thread%s\n", o->seed,
          o->ops, o->threads, o->threads > 1 ? "s" : "");
  fflush (stdout);
  for (i = 0; i < o->threads; i++)
    if (!start_worker (&w[i], &r, i))
      abort ();
  for (i = 0; i < o->threads; i++)
    if (pthread_create (&id[i], NULL, work, &w[i]))
      abort ();
  for (i = 0; i < o->threads; i++)
    pthread_join (id[i], NULL);
  if (!atomic_load (&r.failed))
    check_all (&w[0]);
  for (i = 0; i < o->threads; i++) {
    disk->disconnect (w[i].conn);
    free (w[i].buf);
  }
  if (disk->may_fill && atomic_load (&r.full) == 0 && !atomic_load (&r.failed)
      && o->ops >= 100000) {
    fprintf (stderr, "model: the disk never ran full: nothing was tested\n");
    atomic_store (&r.failed, true);
  }
  if (disk->may_fill)
    printf ("model: %lu requests found the disk full\n",
            atomic_load (&r.full));
  if (atomic_load (&r.failed))
    fprintf (stderr, "model: replay with: %s -s %" PRIu64 " -n %lu -t %u\n",
             replay, o->seed, o->ops, o->threads);
  free (r.shadow);
  free (id);
  free (w);
  return !atomic_load (&r.failed);
}

int
model_options (struct model_options *o, int argc, char **argv)
{
  int c;

  o->seed = time (NULL) ^ (uint64_t) getpid () << 32;
  o->ops = 100000;
  o->threads = 1;
  while ((c = getopt (argc, argv, "s:n:t:")) != -1) {
    switch (c) {
    case 's':
      o->seed = strtoull (optarg, NULL, 0);
      break;
    case 'n':
      o->ops = strtoul (optarg, NULL, 0);
      break;
    case 't':
      o->threads = strtoul (optarg, NULL, 0);
      break;
    default:
      return -1;
    }
  }
  return o->threads >= 1 && o->threads <= 64 ? optind : -1;
}

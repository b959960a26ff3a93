/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Compressing later: pages are stored raw at first, and a thread of low
 * priority replaces them in batches, by the engine if it has the codec and is
 * faster, else by cores that are idle.
 *
 * Such a page is like any other, but that it is written where it is; the
 * backlog is only a list of numbers of pages worth looking at, and the table
 * alone says what a page is.  A page is copied, the copy compressed, and
 * what came out published if the page still holds just that: whoever wrote
 * it meanwhile wins.  The age of a raw page's word is AGE_QUEUED while its
 * number is in the backlog, and AGE_TRIED from when it was taken off, so
 * that a page that does not compress is not tried again.
 *
 * The backlog is bounded, and where it or the memory is nearly full pages are
 * compressed by those who write them.  A writer that finds the memory full
 * works on the backlog itself.
 */
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "bulk.h"

#define AGE_QUEUED UINT64_C (1)
#define AGE_TRIED  UINT64_C (2)

#define BACKLOG    65536 /* pages at most, … */
#define SHARE      8     /* … and such a part of the memory */
#define CPU_BATCH  256   /* pages, where no engine compresses */
#define HELP       32    /* pages that a writer does at a time, … */
#define LOOK       8     /* … and that it looks at in a full list */
#define REST_MS    200   /* that a page waits for a batch to fill */
/* So many pages written since the last batch, or in such a time, are a bulk. */
#define BULK       CPU_BATCH
#define BULK_MS    50

struct later {
  struct tz_store *s;
  struct offload *o;
  unsigned limit, batch, bulk;
  atomic_uint count; /* in the list, promised a place in it, or being done */

  pthread_mutex_t lock; /* for what follows */
  pthread_cond_t work;
  bool stop;
  unsigned head, tail; /* modulo BACKLOG */
  uint64_t *list;

  uint64_t *taken; /* the thread's own: a batch, and the pages … */
  uint64_t seen;   /* … that had been stored raw when it looked last */
  pthread_t thread;
  bool running;
  atomic_uint_fast64_t done, kept, batches;
};

static unsigned
word_age (uint64_t w)
{
  return w >> WORD_AGE_SHIFT & WORD_AGE_MASK;
}

static uint64_t
with_age (uint64_t w, uint64_t age)
{
  return (w & ~(WORD_AGE_MASK << WORD_AGE_SHIFT)) | age << WORD_AGE_SHIFT;
}

static bool
queued (uint64_t w)
{
  return word_codec (w) == TZ_RAW && word_age (w) == AGE_QUEUED;
}

/* ---- The list ---- */

static void
push (struct later *l, uint64_t page)
{
  unsigned n;

  pthread_mutex_lock (&l->lock);
  l->list[l->tail++ % BACKLOG] = page;
  n = l->tail - l->head;
  if (n == 1 || n == l->batch)
    pthread_cond_signal (&l->work);
  pthread_mutex_unlock (&l->lock);
}

/* With the lock held. */
static unsigned
pop (struct later *l, uint64_t *pages, unsigned max)
{
  unsigned n;

  for (n = 0; n < max && l->head != l->tail; n++)
    pages[n] = l->list[l->head++ % BACKLOG];
  return n;
}

/* Look at some of a list that is full: true if not all of them still wait.  A
 * page that no longer does stays in the list, and is there twice when it waits
 * again.
 */
static bool
drop_stale (struct later *l)
{
  uint64_t pages[LOOK];
  unsigned n, i, dropped = 0;
  const slot_t *slot;

  pthread_mutex_lock (&l->lock);
  n = pop (l, pages, LOOK);
  for (i = 0; i < n; i++) {
    slot = tz_slot (&l->s->table, pages[i], false);
    if (slot && queued (atomic_load_explicit (slot, memory_order_relaxed)))
      l->list[l->tail++ % BACKLOG] = pages[i];
    else
      dropped++;
  }
  pthread_mutex_unlock (&l->lock);
  atomic_fetch_sub (&l->count, dropped);
  return dropped > 0;
}

/* A place in the list for a page that is about to be stored raw. */
static bool
reserve (struct later *l)
{
  struct pool *p = &l->s->pool;
  unsigned least = p->reserve < 32 ? p->reserve : 32;

  if (atomic_load_explicit (&p->ready_count, memory_order_relaxed)
      < least / 4)
    return false;
  do {
    if (atomic_fetch_add (&l->count, 1) < l->limit)
      return true;
    atomic_fetch_sub (&l->count, 1);
  } while (drop_stale (l));
  return false;
}

/* A page that waits in the list is written where it is.  But what outlives this
 * process would be damaged if that ended meanwhile.
 */
static bool
overwrite (struct tz_store *s, slot_t *slot, uint64_t page, const uint8_t *buf)
{
  uint64_t w = atomic_load_explicit (slot, memory_order_relaxed);
  bool there;

  if (!queued (w) || s->region.fd != -1)
    return false;
  w = tz_slot_lock (slot);
  there = queued (w);
  if (there)
    tz_fill_raw (s, page, word_run (w), buf);
  tz_slot_unlock (slot, w);
  if (there)
    stat_add (&tz_stat_cell (s)->huge_since, 1);
  return there;
}

bool
tz_later_write (struct tz_store *s, slot_t *slot, uint64_t page,
                const uint8_t *buf)
{
  struct later *l = s->later;
  uint64_t old, new, pattern;

  if (tz_same_filled (buf, &pattern))
    return false;
  if (overwrite (s, slot, page, buf))
    return true;
  if (!reserve (l))
    return false;
  new = tz_put_passing (s, page, buf);
  if (new == 0) {
    atomic_fetch_sub (&l->count, 1);
    return false;
  }
  new = with_age (new, AGE_QUEUED);
  old = tz_slot_lock (slot);
  tz_slot_unlock (slot, new);
  if (queued (old))
    atomic_fetch_sub (&l->count, 1); /* it is in the list already */
  else
    push (l, page);
  tz_retire (s, old, new);
  return true;
}

/* ---- One page ---- */

/* Take a copy of a page that is to be compressed: its slot, or NULL. */
static slot_t *
take_copy (struct tz_store *s, uint64_t page, uint8_t *copy)
{
  slot_t *slot = tz_slot (&s->table, page, false);
  uint64_t w;
  int err;

  if (!slot)
    return NULL;
  w = tz_slot_lock (slot);
  if (!queued (w)) {
    tz_slot_unlock (slot, w);
    return NULL;
  }
  err = tz_load_page (s, NULL, page, w, copy);
  tz_slot_unlock (slot, with_age (w, AGE_TRIED));
  return err ? NULL : slot;
}

/* With the slot locked: the page still is what was copied. */
static bool
unchanged (const struct later *l, uint64_t w, const uint8_t *copy)
{
  return word_codec (w) == TZ_RAW
         && memcmp (run_address (&l->s->region, word_run (w)), copy, TZ_PAGE)
                == 0;
}

/* Publish the blob if the page still is what was copied.  -ENOSPC: there is no
 * room for it, and the page is to be tried again.
 */
static int
publish (struct later *l, slot_t *slot, uint64_t page, const uint8_t *copy,
         unsigned codec, const uint8_t *blob, unsigned len)
{
  struct tz_store *s = l->s;
  uint64_t old, new = tz_put_blob (s, NULL, page, codec, blob, len);
  bool same;

  old = tz_slot_lock (slot);
  same = unchanged (l, old, copy);
  if (new == 0) {
    tz_slot_unlock (slot, same ? with_age (old, AGE_QUEUED) : old);
    return same && word_age (old) != AGE_QUEUED ? -ENOSPC : 0;
  }
  tz_slot_unlock (slot, same ? new : old);
  if (same) {
    tz_retire (s, old, new);
    atomic_fetch_add (&l->done, 1);
  }
  else
    tz_free_blob (s, new);
  return same;
}

/* A page that stays as it is does not stay where it is, if there is room for it
 * elsewhere: there whole chunks are to become free.
 */
static void
keep (struct later *l, slot_t *slot, uint64_t page, const uint8_t *copy)
{
  struct tz_store *s = l->s;
  uint64_t old, new = tz_put_blob (s, NULL, page, TZ_RAW, copy, TZ_PAGE);
  bool same;

  atomic_fetch_add (&l->kept, 1);
  if (new == 0)
    return;
  new = with_age (new, AGE_TRIED);
  old = tz_slot_lock (slot);
  same = word_age (old) == AGE_TRIED && unchanged (l, old, copy);
  tz_slot_unlock (slot, same ? new : old);
  tz_free_blob (s, same ? old : new);
}

/* Compress a copy here and publish that: 1 if memory was freed, or as publish.
 */
static int
compress (struct later *l, struct stream *st, slot_t *slot, uint64_t page,
          const uint8_t *copy)
{
  const uint8_t *blob;
  unsigned len;
  int codec = tz_encode_page (l->s, st, copy, &blob, &len);

  if (codec < 0 || codec == TZ_RAW) {
    keep (l, slot, page, copy);
    return 0;
  }
  return publish (l, slot, page, copy, codec, blob, len);
}

/* A page of the list is through with, unless there was no room for it. */
static void
settle (struct later *l, uint64_t page, int r)
{
  if (r == -ENOSPC)
    push (l, page);
  else
    atomic_fetch_sub (&l->count, 1);
}

static int
squeeze (struct later *l, struct stream *st, uint64_t page)
{
  slot_t *slot = take_copy (l->s, page, st->page);
  int r = slot ? compress (l, st, slot, page, st->page) : 0;

  settle (l, page, r);
  return r;
}

bool
tz_later_help (struct tz_store *s, struct stream *st)
{
  struct later *l = s->later;
  uint64_t pages[HELP];
  unsigned n, i, freed = 0;

  if (!l)
    return false;
  pthread_mutex_lock (&l->lock);
  n = pop (l, pages, HELP);
  pthread_mutex_unlock (&l->lock);
  for (i = 0; i < n; i++)
    freed += squeeze (l, st, pages[i]) > 0;
  return freed > 0;
}

/* ---- Batches ---- */

struct work {
  struct later *l;
  const uint64_t *pages;
  atomic_uint full; /* pages there was no room for */
};

static void
squeeze_part (void *opaque, unsigned from, unsigned n)
{
  struct work *w = opaque;
  struct stream *st;

  /* For a page at a time: those who write come first. */
  for (; n > 0; n--, from++) {
    st = tz_stream_get (w->l->s);
    if (squeeze (w->l, st, w->pages[from]) == -ENOSPC)
      atomic_fetch_add (&w->full, 1);
    tz_stream_put (st);
  }
}

static void
by_cores (struct work *w, unsigned n)
{
  struct offload *o = w->l->o;

  if (o->helpers)
    tz_helpers_run (o->helpers, n, 16, 0, squeeze_part, w);
  else
    squeeze_part (w, 0, n);
}

/* Fill a ticket with copies of pages; how many pages were looked at. */
static unsigned
fill_ticket (struct work *w, struct ticket *t, const uint64_t *pages,
             unsigned n)
{
  unsigned max = tz_device_pages (w->l->o->device), i;
  uint8_t *copy;
  slot_t *slot;

  t->op = TZ_ENCODE;
  t->codec = w->l->s->codec;
  for (i = 0, t->n = 0; i < n && t->n < max; i++) {
    copy = t->stage + (size_t) t->n * STAGE_STRIDE;
    slot = take_copy (w->l->s, pages[i], copy);
    if (!slot) {
      settle (w->l, pages[i], 0);
      continue;
    }
    t->job[t->n].src = copy;
    t->job[t->n].len = TZ_PAGE;
    t->job[t->n].page = pages[i];
    t->slot[t->n++] = slot;
  }
  return i;
}

/* What came back for one page of a ticket. */
static int
take_result (struct work *w, struct ticket *t, unsigned i, bool there)
{
  const struct tz_job *j = &t->job[i];
  int len = there ? t->result[i] : -1, r;
  struct stream *st;

  if (len == TZ_PAGE
      || (len > 0 && len < TZ_PAGE
          && DIV_UP (len + CHECKSUM_LEN, UNIT) >= MAX_RUN)) {
    keep (w->l, t->slot[i], j->page, j->src);
    return 0;
  }
  if (len > 0 && len < TZ_PAGE)
    return publish (w->l, t->slot[i], j->page, j->src, t->codec, j->dst, len);
  st = tz_stream_get (w->l->s);
  r = compress (w->l, st, t->slot[i], j->page, j->src);
  tz_stream_put (st);
  return r;
}

static void
collect (struct work *w, struct ticket *t)
{
  struct device *d = w->l->o->device;
  bool there = tz_device_wait (d, t);
  unsigned i, good = 0;
  int r;

  for (i = 0; i < t->n; i++) {
    r = take_result (w, t, i, there);
    if (r == -ENOSPC)
      atomic_fetch_add (&w->full, 1);
    settle (w->l, t->job[i].page, r);
    good += there && t->result[i] > 0;
  }
  tz_device_count (d, good, t->n - good);
  tz_device_put (d, t);
}

/* Returns how many pages were done: fewer, if there were no tickets. */
static unsigned
by_engine (struct work *w, unsigned n)
{
  struct device *d = w->l->o->device;
  struct ticket *t, *own = NULL, **last = &own;
  unsigned i = 0;

  while (i < n && (t = tz_device_get (d))) {
    i += fill_ticket (w, t, w->pages + i, n - i);
    if (t->n == 0) {
      tz_device_put (d, t);
      continue;
    }
    t->own = NULL;
    *last = t;
    last = &t->own;
    tz_device_submit (d, t);
  }
  while ((t = own)) {
    own = t->own;
    collect (w, t);
  }
  return i;
}

static bool
engine_compresses (struct later *l)
{
  return l->o->device_compresses && tz_device_usable (l->o->device);
}

/* ---- The thread ---- */

/* With the lock held: sleep until there is work, for ms at most. */
static void
rest (struct later *l, long ms)
{
  struct timespec ts;
  uint64_t end = tz_now_ns () + ms * UINT64_C (1000000);

  ts.tv_sec = end / 1000000000;
  ts.tv_nsec = end % 1000000000;
  pthread_cond_timedwait (&l->work, &l->lock, &ts);
}

/* With the lock held: leave the cores to those who write in bulk.  They are not
 * done sooner if compressing starts at once, and where they never end the
 * backlog fills up, and they compress themselves.
 */
static void
let_writers_end (struct later *l)
{
  const struct timespec pause = { .tv_nsec = BULK_MS * 1000000 };
  uint64_t n;

  while (!l->stop && (n = tz_raw_writes (l->s)) - l->seen >= l->bulk) {
    l->seen = n;
    pthread_mutex_unlock (&l->lock);
    nanosleep (&pause, NULL);
    pthread_mutex_lock (&l->lock);
  }
}

/* True if there was no room for some page. */
static bool
do_batch (struct later *l, unsigned n)
{
  struct work w = { .l = l, .pages = l->taken };
  unsigned done = engine_compresses (l) ? by_engine (&w, n) : 0;

  if (done < n) {
    w.pages += done;
    by_cores (&w, n - done);
  }
  atomic_fetch_add (&l->batches, 1);
  return atomic_load (&w.full) > 0;
}

static void *
run (void *opaque)
{
  struct later *l = opaque;
  bool full = false;
  unsigned n;

  pthread_mutex_lock (&l->lock);
  while (!l->stop) {
    n = l->tail - l->head;
    if (n == 0) {
      pthread_cond_wait (&l->work, &l->lock);
      continue;
    }
    if (n < l->batch || full)
      rest (l, REST_MS);
    if (!engine_compresses (l))
      let_writers_end (l);
    if (l->stop)
      break;
    n = pop (l, l->taken, l->batch);
    pthread_mutex_unlock (&l->lock);
    full = do_batch (l, n);
    pthread_mutex_lock (&l->lock);
  }
  pthread_mutex_unlock (&l->lock);
  return NULL;
}

static int
make_thread (struct later *l)
{
  const struct sched_param param = { .sched_priority = 0 };
  pthread_attr_t attr;
  int err;

  pthread_attr_init (&attr);
  pthread_attr_setinheritsched (&attr, PTHREAD_EXPLICIT_SCHED);
  pthread_attr_setschedpolicy (&attr, SCHED_OTHER);
  pthread_attr_setschedparam (&attr, &param);
  err = pthread_create (&l->thread, &attr, run, l);
  pthread_attr_destroy (&attr);
  l->running = err == 0;
  return -err;
}

int
tz_later_start (struct tz_store *s, struct offload *o, unsigned batch,
                unsigned bulk)
{
  struct later *l = calloc (1, sizeof *l);
  uint64_t most = s->params.memory / SHARE / TZ_PAGE;
  pthread_condattr_t attr;

  if (!l)
    return -ENOMEM;
  s->later = l;
  l->s = s;
  l->o = o;
  l->limit = most > 0 && most < BACKLOG ? most : BACKLOG;
  l->batch = o->device_compresses ? batch : CPU_BATCH;
  l->bulk = bulk ? bulk : BULK;
  if (l->batch > DIV_UP (l->limit, 2))
    l->batch = DIV_UP (l->limit, 2);
  pthread_mutex_init (&l->lock, NULL);
  pthread_condattr_init (&attr);
  pthread_condattr_setclock (&attr, CLOCK_MONOTONIC);
  pthread_cond_init (&l->work, &attr);
  pthread_condattr_destroy (&attr);
  l->list = tz_map (2 * BACKLOG * sizeof *l->list);
  if (!l->list)
    return -ENOMEM;
  memset (l->list, 0, 2 * BACKLOG * sizeof *l->list); /* touch it now */
  l->taken = l->list + BACKLOG;
  return make_thread (l);
}

void
tz_later_stop (struct tz_store *s)
{
  struct later *l = s->later;

  if (!l)
    return;
  if (l->running) {
    pthread_mutex_lock (&l->lock);
    l->stop = true;
    pthread_cond_signal (&l->work);
    pthread_mutex_unlock (&l->lock);
    pthread_join (l->thread, NULL);
  }
  pthread_cond_destroy (&l->work);
  pthread_mutex_destroy (&l->lock);
  tz_unmap (l->list, 2 * BACKLOG * sizeof *l->list);
  free (l);
  s->later = NULL;
}

size_t
tz_later_bytes (const struct later *l)
{
  return l ? sizeof *l + 2 * BACKLOG * sizeof *l->list : 0;
}

void
tz_later_stats (struct later *l, struct tz_offload_stats *st)
{
  if (!l)
    return;
  st->later_backlog = atomic_load (&l->count);
  st->later_batches = atomic_load (&l->batches);
  st->later_pages = atomic_load (&l->done);
  st->later_raw = atomic_load (&l->kept);
}

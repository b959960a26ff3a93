/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The queue between requests and an engine.
 *
 * A request fills in tickets, queues them and waits; a worker thread, which
 * alone speaks to the engine, makes one batch of what is queued, of all
 * requests, as soon as a lane of the engine is free.  While batches are under
 * way others gather, so that batches grow with the load.
 *
 * A request waits no longer than the timeout, whatever the engine does, and a
 * ticket that it gave up on becomes an orphan: its memory is not used again
 * before the engine is through with it.  While a batch is late nobody is given
 * a ticket; an engine that stays late, or says that it is lost, is given up.
 *
 * The worker itself may never return from a call of the engine's.  Those who
 * wait notice that, as long as there are any; then those who ask whether the
 * engine is usable do, and at the end who stops it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "bulk.h"

/* An engine that is later than this many timeouts will not come back. */
#define LOST_AFTER 20
/* How long to wait for a worker that is in a call of an engine given up. */
#define LEAVE_NS   1000000000
/* How long the worker asks again and again before it starts to sleep. */
#define SPIN_NS    50000
#define NAP_NS     10000
/* Tickets to spare, so that some are filled in while all lanes are full. */
#define SPARE      4
#define MAX_TICKETS (TZ_ENGINE_LANES * TZ_ENGINE_BATCH / TICKET_PAGES + SPARE)

struct lane {
  bool busy, late;
  uint64_t since;
  struct ticket *tickets; /* in the order of their numbers in origin */
  struct tz_batch batch;
  struct tz_job *jobs;
  int32_t *result;
  uint32_t *origin; /* of each job: number of its ticket << 8 | its own */
};

struct device {
  const struct tz_engine_ops *ops;
  struct tz_engine *engine;
  struct tz_engine_params with;
  bool checksum, follows;
  uint64_t wait_ns, timeout_ns;
  void (*lost_fn) (void *, int);
  void *lost_opaque;
  unsigned codecs[TZ_ENGINE_OPS];
  unsigned ticket_pages;

  pthread_t thread;
  pthread_mutex_t lock; /* for what follows */
  pthread_cond_t work;
  bool running, stop;
  bool late; /* a batch is: nothing is given to it until that is done */
  bool lost; /* given up, … */
  int lost_err; /* … for that */
  atomic_bool ready; /* none of these; read without the lock */
  uint64_t call_since; /* since when the worker is in a call, or 0 … */
  unsigned call_lane; /* … for this lane */
  atomic_uint_fast64_t look; /* late: when others are to look at it, or 0 */
  bool ended; /* the worker has, or is about to */
  pthread_cond_t end;
  struct ticket *free;
  struct ticket *queue, **queue_end;
  unsigned queued; /* pages */
  uint64_t batches, batch_pages, errors, timeouts;

  struct lane lane[TZ_ENGINE_LANES]; /* the worker's own */
  atomic_uint_fast64_t good, bad;
  struct ticket *tickets;
  unsigned n_tickets;
  void *memory;
  size_t memory_len, shared_len;
  struct device *left; /* see leave_behind */
};

static bool
usable (const struct device *d)
{
  return !d->late && !d->lost && !d->stop;
}

/* ---- The worker: from the queue to the engine and back ---- */

/* With the lock held. */
static void
release (struct device *d, struct ticket *t)
{
  t->state = TICKET_OWN;
  t->orphan = false;
  t->next = d->free;
  d->free = t;
}

/* With the lock held. */
static void
finish (struct device *d, struct ticket *t, bool failed)
{
  t->failed = failed;
  t->state = TICKET_DONE;
  if (t->orphan)
    release (d, t);
  else
    pthread_cond_signal (&t->done);
}

/* With the lock held: take what makes one batch off the queue. */
static void
take_tickets (struct device *d, struct lane *l)
{
  struct ticket *t, **from = &d->queue, **to = &l->tickets;

  l->batch.op = d->queue->op;
  l->batch.codec = d->queue->codec;
  l->batch.n = 0;
  while ((t = *from)) {
    if (t->op != l->batch.op || t->codec != l->batch.codec
        || l->batch.n + t->n > d->with.batch) {
      from = &t->next;
      continue;
    }
    *from = t->next;
    *to = t;
    to = &t->next;
    t->state = TICKET_RUNNING;
    l->batch.n += t->n;
    d->queued -= t->n;
  }
  *to = NULL;
  d->queue_end = from;
}

/* Put the longest blobs first where they take the longest: neighbours then
 * finish together.
 */
static bool
wants_order (const struct lane *l)
{
  return l->batch.op == TZ_DECODE && l->batch.codec == TZ_LZ4;
}

static void
fill_lane (struct device *d, struct lane *l)
{
  unsigned at[TZ_PAGE / 16 + 1] = { 0 }, i, k, number = 0, sum = 0, n;
  bool order = wants_order (l);
  struct ticket *t;

  for (t = l->tickets; order && t; t = t->next)
    for (i = 0; i < t->n; i++)
      at[t->job[i].len / 16]++;
  for (i = TZ_PAGE / 16 + 1; order && i-- > 0;) {
    n = at[i];
    at[i] = sum;
    sum += n;
  }
  for (t = l->tickets; t; t = t->next, number++)
    for (i = 0; i < t->n; i++) {
      k = order ? at[t->job[i].len / 16]++ : sum++;
      l->jobs[k] = t->job[i];
      l->origin[k] = number << 8 | i;
    }
  l->batch.jobs = l->jobs;
  l->batch.result = l->result;
  l->batch.checksum = d->checksum && l->batch.op == TZ_DECODE;
  l->batch.follows = d->follows;
}

/* With the lock held: what waits in the queue shall not wait any more. */
static void
fail_queue (struct device *d)
{
  struct ticket *t;

  while ((t = d->queue)) {
    d->queue = t->next;
    finish (d, t, true);
  }
  d->queue_end = &d->queue;
  d->queued = 0;
}

/* With the lock held: give up the engine.  The tickets it has stay with it. */
static void
lose (struct device *d, int err)
{
  struct ticket *t;
  unsigned i;

  if (d->lost && (d->lost_err == err || err != -ENODEV))
    return;
  d->lost = true;
  d->lost_err = err;
  atomic_store (&d->ready, false);
  atomic_store (&d->look, 0);
  fail_queue (d);
  for (i = 0; i < d->with.lanes; i++)
    for (t = d->lane[i].tickets; t; t = t->next)
      pthread_cond_signal (&t->done);
  if (d->lost_fn)
    d->lost_fn (d->lost_opaque, err);
}

/* With the lock held: hand the results of a lane out. */
static void
finish_lane (struct device *d, struct lane *l, int err)
{
  struct ticket *t, *by_number[MAX_TICKETS];
  unsigned i, n = 0;

  for (t = l->tickets; t; t = t->next)
    by_number[n++] = t;
  for (i = 0; err == 0 && i < l->batch.n; i++)
    by_number[l->origin[i] >> 8]->result[l->origin[i] & 255] = l->result[i];
  for (i = 0; i < n; i++)
    finish (d, by_number[i], err != 0);
  l->tickets = NULL;
  l->busy = l->late = false;
  if (err)
    d->errors++;
  if (err == -ENODEV)
    lose (d, err);
}

/* With the lock held: nothing is given to the engine while a batch is late. */
static void
see_late (struct device *d)
{
  unsigned i;

  d->late = false;
  for (i = 0; i < d->with.lanes; i++)
    if (d->lane[i].busy && d->lane[i].late)
      d->late = true;
  if (!d->late)
    atomic_store (&d->look, 0);
  atomic_store (&d->ready, usable (d));
}

/* With the lock held, which it drops. */
static void
begin_call (struct device *d, unsigned lane)
{
  d->call_lane = lane;
  d->call_since = tz_now_ns ();
  pthread_mutex_unlock (&d->lock);
}

static void
end_call (struct device *d)
{
  pthread_mutex_lock (&d->lock);
  d->call_since = 0;
}

/* With the lock held, which it drops meanwhile. */
static void
start_lane (struct device *d, unsigned i)
{
  struct lane *l = &d->lane[i];
  int err;

  take_tickets (d, l);
  l->busy = true;
  d->batches++;
  d->batch_pages += l->batch.n;
  begin_call (d, i);
  fill_lane (d, l);
  l->since = tz_now_ns ();
  err = d->ops->submit (d->engine, i, &l->batch);
  end_call (d);
  if (err)
    finish_lane (d, l, err);
  see_late (d);
}

/* With the lock held: a batch, or the call for it, is late by so much. */
static void
note_late (struct device *d, struct lane *l, uint64_t took)
{
  if (!l->late) {
    l->late = true;
    d->timeouts++;
    atomic_store (&d->look, tz_now_ns () + d->timeout_ns);
  }
  fail_queue (d);
  if (took > d->timeout_ns * LOST_AFTER)
    lose (d, -ETIMEDOUT);
}

/* With the lock held, by others than the worker, when a request was not
 * answered in time, and while a batch is late: if the worker has been in one
 * call for most of that time, it may never come back to see to it.
 */
static void
check_worker (struct device *d)
{
  uint64_t now = tz_now_ns (), took = now - d->call_since;

  if (atomic_load (&d->look))
    atomic_store (&d->look, now + d->timeout_ns);
  if (d->call_since == 0 || d->lost || took < d->timeout_ns / 2)
    return;
  d->late = true;
  atomic_store (&d->ready, false);
  note_late (d, &d->lane[d->call_lane], took);
}

/* With the lock held, which it drops meanwhile: true if a lane is done. */
static bool
poll_lanes (struct device *d)
{
  bool done = false;
  uint64_t now = tz_now_ns ();
  struct lane *l;
  unsigned i;
  int r;

  for (i = 0; i < d->with.lanes && !d->lost; i++) {
    l = &d->lane[i];
    if (!l->busy)
      continue;
    begin_call (d, i);
    r = d->ops->poll (d->engine, i);
    end_call (d);
    if (r) {
      finish_lane (d, l, r < 0 ? r : 0);
      done = true;
    }
    else if (now > l->since && now - l->since > d->timeout_ns)
      note_late (d, l, now - l->since);
  }
  see_late (d);
  return done;
}

/* The lane to start next, or -1: none is free, or it is better to wait; then
 * until when, if that is not 0.
 */
static int
next_lane (struct device *d, uint64_t *until)
{
  unsigned i;

  *until = 0;
  if (!d->queue || !usable (d))
    return -1;
  if (d->queued < d->with.batch && d->wait_ns > 0) {
    *until = d->queue->since + d->wait_ns;
    if (tz_now_ns () < *until)
      return -1;
  }
  for (i = 0; i < d->with.lanes; i++)
    if (!d->lane[i].busy)
      return i;
  return -1;
}

static bool
any_busy (const struct device *d)
{
  unsigned i;

  for (i = 0; i < d->with.lanes; i++)
    if (d->lane[i].busy)
      return true;
  return false;
}

/* With the lock held, which it drops meanwhile: let time pass while batches are
 * under way.
 */
static void
nap (struct device *d, uint64_t idle_since)
{
  const struct timespec ts = { 0, NAP_NS };

  pthread_mutex_unlock (&d->lock);
  if (tz_now_ns () - idle_since < SPIN_NS)
    tz_pause_cpu ();
  else
    nanosleep (&ts, NULL);
  pthread_mutex_lock (&d->lock);
}

static void
wait_for_work (struct device *d, uint64_t until)
{
  struct timespec ts = { until / 1000000000, until % 1000000000 };

  if (until)
    pthread_cond_timedwait (&d->work, &d->lock, &ts);
  else
    pthread_cond_wait (&d->work, &d->lock);
}

static void *
worker (void *opaque)
{
  struct device *d = opaque;
  uint64_t until, idle_since = 0;
  int lane;

  /* Sleep for as long as is asked for, not 50 us more. */
  prctl (PR_SET_TIMERSLACK, 1000, 0, 0, 0);
  pthread_mutex_lock (&d->lock);
  for (;;) {
    lane = next_lane (d, &until);
    if (lane >= 0) {
      start_lane (d, lane);
      idle_since = tz_now_ns ();
    }
    else if (any_busy (d) && !d->lost) {
      if (poll_lanes (d))
        idle_since = tz_now_ns ();
      else
        nap (d, idle_since);
    }
    else if (d->stop)
      break;
    else
      wait_for_work (d, until);
  }
  d->ended = true;
  pthread_cond_signal (&d->end);
  pthread_mutex_unlock (&d->lock);
  return NULL;
}

/* ---- What requests call ---- */

bool
tz_device_usable (struct device *d)
{
  uint64_t at;

  if (!d)
    return false;
  if (likely (atomic_load_explicit (&d->ready, memory_order_relaxed)))
    return true;
  at = atomic_load_explicit (&d->look, memory_order_relaxed);
  if (at && tz_now_ns () > at) {
    pthread_mutex_lock (&d->lock);
    check_worker (d);
    pthread_mutex_unlock (&d->lock);
  }
  return false;
}

unsigned
tz_device_pages (const struct device *d)
{
  return d->ticket_pages;
}

bool
tz_device_can (struct device *d, enum tz_engine_op op, unsigned codec)
{
  return d->codecs[op] >> codec & 1;
}

void
tz_device_lose (struct device *d, int err)
{
  pthread_mutex_lock (&d->lock);
  lose (d, err);
  pthread_mutex_unlock (&d->lock);
}

struct ticket *
tz_device_get (struct device *d)
{
  struct ticket *t;

  pthread_mutex_lock (&d->lock);
  t = usable (d) ? d->free : NULL;
  if (t)
    d->free = t->next;
  pthread_mutex_unlock (&d->lock);
  return t;
}

void
tz_device_submit (struct device *d, struct ticket *t)
{
  pthread_mutex_lock (&d->lock);
  t->since = tz_now_ns ();
  t->next = NULL;
  if (usable (d)) {
    t->state = TICKET_QUEUED;
    *d->queue_end = t;
    d->queue_end = &t->next;
    d->queued += t->n;
    pthread_cond_signal (&d->work);
  }
  else {
    t->state = TICKET_DONE;
    t->failed = true;
  }
  pthread_mutex_unlock (&d->lock);
}

bool
tz_device_wait (struct device *d, struct ticket *t)
{
  uint64_t end = t->since + d->timeout_ns;
  struct timespec ts = { end / 1000000000, end % 1000000000 };
  bool done;
  int err = 0;

  pthread_mutex_lock (&d->lock);
  while (t->state != TICKET_DONE && !d->lost && err != ETIMEDOUT)
    err = pthread_cond_timedwait (&t->done, &d->lock, &ts);
  if (t->state != TICKET_DONE)
    check_worker (d);
  done = t->state == TICKET_DONE && !t->failed;
  pthread_mutex_unlock (&d->lock);
  return done;
}

static void
unqueue (struct device *d, struct ticket *t)
{
  struct ticket **p = &d->queue;

  while (*p != t)
    p = &(*p)->next;
  *p = t->next;
  if (!t->next)
    d->queue_end = p;
  d->queued -= t->n;
}

void
tz_device_put (struct device *d, struct ticket *t)
{
  pthread_mutex_lock (&d->lock);
  if (t->state == TICKET_RUNNING)
    t->orphan = true;
  else {
    if (t->state == TICKET_QUEUED)
      unqueue (d, t);
    release (d, t);
  }
  pthread_mutex_unlock (&d->lock);
}

void
tz_device_count (struct device *d, unsigned good, unsigned bad)
{
  atomic_fetch_add (&d->good, good);
  atomic_fetch_add (&d->bad, bad);
}

void
tz_device_stats (struct device *d, struct tz_offload_stats *st)
{
  pthread_mutex_lock (&d->lock);
  st->engine = !d->lost;
  st->batches = d->batches;
  st->batch_pages = d->batch_pages;
  st->engine_errors = d->errors;
  st->engine_timeouts = d->timeouts;
  st->engine_lost = d->lost;
  pthread_mutex_unlock (&d->lock);
  st->engine_pages = atomic_load (&d->good);
  st->fallback_pages = atomic_load (&d->bad);
}

size_t
tz_device_bytes (const struct device *d)
{
  return sizeof *d + d->memory_len + d->shared_len;
}

bool
tz_device_pin (struct device *d, const struct region *r)
{
  return d->ops->pin (d->engine, r->base, r->len) == 0;
}

/* ---- Start and end ---- */

/* All that batches need, in one mapping, touched now. */
static int
map_memory (struct device *d)
{
  size_t job = sizeof (struct tz_job), n = d->with.batch, lane, i;
  uint8_t *p;

  lane = n * (job + sizeof (int32_t) + sizeof (uint32_t));
  d->memory_len = DIV_UP (d->n_tickets * sizeof (struct ticket)
                              + d->with.lanes * lane + 64,
                          TZ_PAGE)
                  * TZ_PAGE;
  d->memory = tz_map (d->memory_len);
  if (!d->memory)
    return -ENOMEM;
  memset (d->memory, 0, d->memory_len);
  p = d->memory;
  for (i = 0; i < d->with.lanes; i++) {
    d->lane[i].jobs = (struct tz_job *) p;
    p += n * job;
  }
  d->tickets = (struct ticket *) p;
  p += d->n_tickets * sizeof (struct ticket);
  for (i = 0; i < d->with.lanes; i++) {
    d->lane[i].result = (int32_t *) p;
    d->lane[i].origin = (uint32_t *) p + n;
    p += n * (sizeof (int32_t) + sizeof (uint32_t));
  }
  return 0;
}

static int
make_tickets (struct device *d)
{
  size_t pages = (size_t) d->n_tickets * d->ticket_pages;
  pthread_condattr_t attr;
  struct ticket *t;
  uint8_t *p;
  unsigned i, k;

  d->shared_len = pages * (TZ_PAGE + STAGE_STRIDE);
  p = d->ops->alloc (d->engine, d->shared_len);
  if (!p)
    return -ENOMEM;
  pthread_condattr_init (&attr);
  pthread_condattr_setclock (&attr, CLOCK_MONOTONIC);
  pthread_cond_init (&d->work, &attr);
  pthread_cond_init (&d->end, &attr);
  for (i = 0; i < d->n_tickets; i++) {
    t = &d->tickets[i];
    pthread_cond_init (&t->done, &attr);
    for (k = 0; k < d->ticket_pages; k++, p += TZ_PAGE)
      t->job[k].dst = p;
    t->stage = p;
    p += (size_t) d->ticket_pages * STAGE_STRIDE;
    release (d, t);
  }
  pthread_condattr_destroy (&attr);
  return 0;
}

static bool
params_sound (const struct tz_offload_params *p)
{
  return p->ops->abi == TZ_ENGINE_ABI && p->with.lanes >= 1
         && p->with.lanes <= TZ_ENGINE_LANES && p->with.batch >= 1
         && p->with.batch <= TZ_ENGINE_BATCH && p->wait_us <= 1000000
         && p->timeout_ms >= 1;
}

int
tz_device_start (struct device **device, const struct tz_offload_params *p,
                 bool checksum, bool follows)
{
  struct device *d;
  int err = params_sound (p) ? 0 : -EINVAL;

  d = err ? NULL : calloc (1, sizeof *d);
  if (!d) {
    p->ops->close (p->engine);
    return err ? err : -ENOMEM;
  }
  d->ops = p->ops;
  d->engine = p->engine;
  d->with = p->with;
  d->checksum = checksum;
  d->follows = follows;
  d->wait_ns = p->wait_us * UINT64_C (1000);
  d->timeout_ns = p->timeout_ms * UINT64_C (1000000);
  d->lost_fn = p->lost;
  d->lost_opaque = p->opaque;
  d->codecs[TZ_DECODE] = d->ops->codecs (d->engine, TZ_DECODE);
  d->codecs[TZ_ENCODE] = d->ops->codecs (d->engine, TZ_ENCODE);
  d->queue_end = &d->queue;
  d->ticket_pages
      = d->with.batch < TICKET_PAGES ? d->with.batch : TICKET_PAGES;
  d->n_tickets
      = DIV_UP (d->with.lanes * d->with.batch, d->ticket_pages) + SPARE;
  pthread_mutex_init (&d->lock, NULL);
  err = map_memory (d);
  if (err == 0)
    err = make_tickets (d);
  if (err == 0)
    err = -pthread_create (&d->thread, NULL, worker, d);
  d->running = err == 0;
  atomic_store (&d->ready, true);
  if (err)
    tz_device_stop (d);
  else
    *device = d;
  return err;
}

/* With the lock held: false if the worker is in a call that does not return. */
static bool
worker_ends (struct device *d)
{
  uint64_t now, next, lost_since = 0;
  struct timespec ts;

  while (!d->ended) {
    now = tz_now_ns ();
    check_worker (d);
    if (d->lost && lost_since == 0)
      lost_since = now;
    if (lost_since && d->call_since && now - lost_since > LEAVE_NS)
      return false;
    next = now + LEAVE_NS / 100;
    ts.tv_sec = next / 1000000000;
    ts.tv_nsec = next % 1000000000;
    pthread_cond_timedwait (&d->end, &d->lock, &ts);
  }
  return true;
}

/* With the lock held: leave the worker where it is.  When its call returns, if
 * it ever does, it finds that the engine is lost, and ends.  Until then it may
 * touch the device, and the engine all that it was given: nothing of this is
 * freed, nor the engine closed, as nobody may close it during a call.  A list
 * of them keeps leak checkers quiet.
 */
static void
leave_behind (struct device *d)
{
  static _Atomic (struct device *) all;

  d->lost_fn = NULL;
  pthread_detach (d->thread);
  d->left = atomic_exchange (&all, d);
}

bool
tz_device_stop (struct device *d)
{
  bool ends;

  if (!d)
    return true;
  if (d->running) {
    pthread_mutex_lock (&d->lock);
    d->stop = true;
    pthread_cond_signal (&d->work);
    ends = worker_ends (d);
    if (!ends)
      leave_behind (d);
    pthread_mutex_unlock (&d->lock);
    if (!ends)
      return false;
    pthread_join (d->thread, NULL);
  }
  d->ops->close (d->engine);
  tz_unmap (d->memory, d->memory_len);
  pthread_mutex_destroy (&d->lock);
  free (d);
  return true;
}

/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Large reads: by an engine, by several cores, or by one, whichever is fastest
 * for so many pages.
 *
 * For the engine, blobs are copied into memory of the tickets with their slots
 * locked, so that nothing depends on the pool afterwards.  An engine that reads
 * the pool itself needs the slots locked until it is done; then slots are only
 * tried, so that nobody waits for one while holding another.  Every page that
 * does not come back good and in time is read the ordinary way, which also
 * finds out what is wrong with it.
 */
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "bulk.h"
#include "codec/bytes.h"

#define MAX_HELPERS 15
#define SEND_NS     500 /* to send a page to a client takes longer */

/* ---- By several cores ---- */

struct shared_read {
  struct tz_store *s;
  uint8_t *buf;
  uint64_t page;
  atomic_int err;
};

static void
read_part (void *opaque, unsigned from, unsigned n)
{
  struct shared_read *r = opaque;
  int err = tz_read_range (r->s, r->buf + (size_t) from * TZ_PAGE,
                           (uint64_t) n * TZ_PAGE,
                           (r->page + from) * TZ_PAGE);

  if (unlikely (err))
    atomic_store (&r->err, err);
}

static int
read_by_cores (struct offload *o, uint8_t *buf, uint64_t page, unsigned n)
{
  struct shared_read r = { .s = o->store, .buf = buf, .page = page };
  uint64_t last = atomic_load_explicit (&o->last, memory_order_relaxed);
  /* So soon after another read, that is still being sent. */
  unsigned busy = tz_now_ns () < last + n * SEND_NS;

  if (tz_helpers_run (o->helpers, n, tz_part_pages (n, o->threads), busy,
                      read_part, &r))
    atomic_fetch_add_explicit (&o->shared, 1, memory_order_relaxed);
  atomic_store_explicit (&o->last, tz_now_ns (), memory_order_relaxed);
  return atomic_load (&r.err);
}

/* ---- By the engine ---- */

/* Pages of a request that are dealt with at once. */
#define SPAN (8 * TICKET_PAGES)

struct bulk_read {
  struct offload *o;
  uint8_t *buf;
  uint64_t page; /* the first */
  unsigned n;    /* at most SPAN */
  struct ticket *first, **last;
  uint64_t done[SPAN / 64]; /* a bit a page */
  int err;
};

static void
set_done (struct bulk_read *r, unsigned i)
{
  r->done[i / 64] |= UINT64_C (1) << i % 64;
}

static bool
is_done (const struct bulk_read *r, unsigned i)
{
  return r->done[i / 64] >> i % 64 & 1;
}

static uint8_t *
page_at (struct bulk_read *r, unsigned i)
{
  return r->buf + (size_t) i * TZ_PAGE;
}

static void
make_job (struct bulk_read *r, struct ticket *t, unsigned i, slot_t *slot,
          uint64_t w)
{
  struct tz_store *s = r->o->store;
  const uint8_t *blob = run_address (&s->region, word_run (w));
  struct tz_job *job = &t->job[t->n];

  job->src = blob;
  job->len = word_len (w);
  job->sum = s->params.checksum && !s->vram ? get32 (blob + job->len) : 0;
  job->page = r->page + i;
  t->index[t->n] = i;
  t->slot[t->n] = slot;
  t->word[t->n] = w;
  if (!r->o->in_place) {
    job->src = t->stage + (size_t) t->n * STAGE_STRIDE;
    memcpy ((uint8_t *) job->src, blob, job->len);
    tz_slot_unlock (slot, w);
  }
  t->n++;
}

/* Make a page of the request a job, or read it at once if that is simple, or
 * leave it for later.
 */
static void
look_at (struct bulk_read *r, struct ticket *t, unsigned i)
{
  struct tz_store *s = r->o->store;
  slot_t *slot = tz_slot (&s->table, r->page + i, false);
  uint64_t w = 0;
  int err;

  if (slot && !tz_slot_trylock (slot, &w))
    return;
  if (word_codec (w) == (unsigned) t->codec) {
    make_job (r, t, i, slot, w);
    return;
  }
  if (word_codec (w) <= TZ_RAW && !(s->vram && word_len (w))) {
    err = tz_load_page (s, NULL, r->page + i, w, page_at (r, i));
    if (unlikely (err))
      r->err = err;
    set_done (r, i);
  }
  if (slot)
    tz_slot_unlock (slot, w);
}

/* Hand the pages of a span to the engine, as far as there are tickets. */
static void
submit_span (struct bulk_read *r)
{
  struct device *d = r->o->device;
  unsigned max = tz_device_pages (d), i = 0;
  struct ticket *t;

  while (i < r->n && (t = tz_device_get (d))) {
    t->op = TZ_DECODE;
    t->codec = r->o->store->codec;
    for (t->n = 0; i < r->n && t->n < max; i++)
      look_at (r, t, i);
    if (t->n == 0) {
      tz_device_put (d, t);
      break;
    }
    t->own = NULL;
    *r->last = t;
    r->last = &t->own;
    tz_device_submit (d, t);
  }
}

/* Wait for a ticket, and take what came back of it. */
static void
collect (struct bulk_read *r, struct ticket *t)
{
  bool there = tz_device_wait (r->o->device, t);
  unsigned i, good = 0;

  for (i = 0; i < t->n; i++) {
    if (r->o->in_place)
      tz_slot_unlock (t->slot[i], t->word[i]);
    if (!there || t->result[i] != 0)
      continue;
    memcpy (page_at (r, t->index[i]), t->job[i].dst, TZ_PAGE);
    set_done (r, t->index[i]);
    good++;
  }
  tz_device_count (r->o->device, good, t->n - good);
}

static int
read_span (struct bulk_read *r)
{
  struct ticket *t, *next;
  unsigned i, end;
  int err;

  memset (r->done, 0, sizeof r->done);
  r->first = NULL;
  r->last = &r->first;
  r->err = 0;
  submit_span (r);
  for (t = r->first; t; t = next) {
    next = t->own;
    collect (r, t);
    tz_device_put (r->o->device, t);
  }
  /* No slot is locked any more. */
  for (i = 0; i < r->n && r->err == 0; i = end) {
    for (end = i; end < r->n && is_done (r, end) == is_done (r, i); end++)
      ;
    if (is_done (r, i))
      continue;
    err = tz_read_range (r->o->store, page_at (r, i),
                         (uint64_t) (end - i) * TZ_PAGE,
                         (r->page + i) * TZ_PAGE);
    if (unlikely (err))
      r->err = err;
  }
  return r->err;
}

static int
read_by_engine (struct offload *o, uint8_t *buf, uint64_t page, unsigned n)
{
  struct bulk_read r = { .o = o, .buf = buf, .page = page };
  int err = 0;

  for (; n > 0 && err == 0; n -= r.n, r.buf += (size_t) r.n * TZ_PAGE,
                            r.page += r.n) {
    r.n = n < SPAN ? n : SPAN;
    err = read_span (&r);
  }
  return err;
}

/* ---- Which of them ---- */

static int
read_pages (struct offload *o, uint8_t *buf, uint64_t page, unsigned n)
{
  if (n >= o->device_min && tz_device_usable (o->device))
    return read_by_engine (o, buf, page, n);
  if (n >= o->cores_min)
    return read_by_cores (o, buf, page, n);
  return tz_read_range (o->store, buf, (uint64_t) n * TZ_PAGE,
                        page * TZ_PAGE);
}

int
tz_bulk_read (struct offload *o, void *buf, uint64_t count, uint64_t offset)
{
  unsigned head = -offset % TZ_PAGE, tail;
  uint8_t *p = buf;
  uint64_t n;
  int err = 0;

  if (head > count)
    head = count;
  if (head)
    err = tz_read_range (o->store, p, head, offset);
  p += head;
  offset += head;
  tail = (count - head) % TZ_PAGE;
  for (count -= head + tail; err == 0 && count > 0; count -= n) {
    n = count < TZ_BLOCK_MAX ? count : TZ_BLOCK_MAX;
    err = read_pages (o, p, offset / TZ_PAGE, n / TZ_PAGE);
    p += n;
    offset += n;
  }
  if (err == 0 && tail)
    err = tz_read_range (o->store, p, tail, offset);
  return err;
}

/* ---- Start and end ---- */

static unsigned
cpus_allowed (void)
{
  cpu_set_t set;

  if (sched_getaffinity (0, sizeof set, &set) == -1)
    return tz_cpu_count ();
  return CPU_COUNT (&set);
}

static int
start (struct offload *o, const struct tz_offload_params *p)
{
  struct tz_store *s = o->store;
  unsigned cpus = cpus_allowed ();
  int err = 0;

  if (p->ops) {
    err = tz_device_start (&o->device, p, s->params.checksum,
                           s->vram != NULL);
    if (err)
      return err;
    /* Only a pool that keeps its memory can be read behind its back. */
    o->pinned = s->vram
                || (s->params.prefault && s->params.reserve == 0
                    && tz_device_pin (o->device, &s->region));
    o->in_place = o->pinned;
  }
  o->threads = !p->cores || cpus < 2 ? 0
               : cpus - 1 < MAX_HELPERS ? cpus - 1
                                        : MAX_HELPERS;
  if (o->threads) {
    err = tz_helpers_start (&o->helpers, o->threads);
    if (err)
      return err;
  }
  return tz_calibrate (o, p);
}

int
tz_offload_start (struct tz_store *s, const struct tz_offload_params *p)
{
  struct offload *o = calloc (1, sizeof *o);
  uint32_t least;
  int err;

  if (!o) {
    if (p->ops)
      p->ops->close (p->engine);
    return -ENOMEM;
  }
  o->store = s;
  o->cores_min = o->device_min = TZ_NEVER;
  o->crossover_one = o->crossover_all = o->compress_percent = TZ_NEVER;
  s->offload = o;
  err = start (o, p);
  if (err == 0 && p->later && s->vram)
    err = -EINVAL;
  if (err == 0 && p->later && s->codec != TZ_RAW)
    err = tz_later_start (s, o, p->with.batch, p->bulk);
  if (err) {
    tz_offload_stop (s);
    return err;
  }
  least = o->cores_min < o->device_min ? o->cores_min : o->device_min;
  s->bulk_min
      = least == TZ_NEVER ? UINT64_MAX : (uint64_t) least * TZ_PAGE;
  return 0;
}

void
tz_offload_stop (struct tz_store *s)
{
  struct offload *o = s->offload;

  s->bulk_min = UINT64_MAX;
  if (!o)
    return;
  tz_later_stop (s);
  tz_helpers_stop (o->helpers);
  if (!tz_device_stop (o->device) && o->pinned)
    s->region.keep = true;
  free (o);
  s->offload = NULL;
}

void
tz_offload_lose (struct offload *o, int err)
{
  if (o && o->device)
    tz_device_lose (o->device, err);
}

size_t
tz_offload_bytes (const struct tz_store *s)
{
  const struct offload *o = s->offload;

  if (!o)
    return 0;
  return sizeof *o + (o->device ? tz_device_bytes (o->device) : 0)
         + tz_later_bytes (s->later);
}

void
tz_offload_stats (struct tz_store *s, struct tz_offload_stats *st)
{
  struct offload *o = s->offload;

  memset (st, 0, sizeof *st);
  st->cores_min_pages = st->engine_min_pages = TZ_NEVER;
  st->crossover_one = st->crossover_all = st->compress_percent = TZ_NEVER;
  if (!o)
    return;
  st->cores_min_pages = o->cores_min;
  st->engine_min_pages = o->device_min;
  st->crossover_one = o->crossover_one;
  st->crossover_all = o->crossover_all;
  st->compress_percent = o->compress_percent;
  st->engine_compresses = o->device_compresses;
  st->helpers = o->threads;
  st->pinned = o->pinned;
  st->in_place = o->in_place;
  st->shared_requests = atomic_load (&o->shared);
  tz_later_stats (s->later, st);
  if (o->device)
    tz_device_stats (o->device, st);
}

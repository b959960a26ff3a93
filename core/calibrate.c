/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* From how many pages on does it pay to ask others?  Measured at start with
 * the codec of the store: by one core, by all that are idle, by the engine.
 * And where pages are compressed later, who does a full batch sooner?
 *
 * The pages are made up, but like those of processes: records of pointers and
 * small numbers.  They stay in the cache, which flatters one core: what is
 * found to pay here pays more with pages that come from memory.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bulk.h"
#include "codec/bytes.h"

#define SAMPLES 32 /* different pages */
#define ROUNDS  5
/* What is asked of others must take no more than this share of the time it
 * takes alone, in percent: others are not always idle.
 */
#define PAYS    80
#define LARGEST 4096 /* pages */
#define ENOUGH  20000000 /* ns to spend on one figure */

struct blob {
  unsigned len;
  uint32_t sum; /* as that of the page of its number */
  uint8_t bytes[TZ_DST_SIZE] __attribute__ ((aligned (64)));
};

struct sample {
  struct offload *o;
  enum tz_engine_op op; /* what is measured */
  struct blob blob[SAMPLES];
  uint8_t page[SAMPLES][TZ_PAGE] __attribute__ ((aligned (64)));
  uint64_t word[SAMPLES]; /* of a blob that the engine can read in place */
  uint8_t *out; /* LARGEST pages */
};

/* ---- The sample ---- */

static void
make_page (uint8_t *page, uint64_t seed)
{
  uint64_t x = seed * 0x9e3779b97f4a7c15 + 1, v;
  unsigned i;

  for (i = 0; i < TZ_PAGE; i += 8) {
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    v = i % 64 == 0    ? 0x00007f32a4000000 + (x >> 40) * 16
        : i % 64 == 24 ? i / 64
        : i % 64 == 48 ? (x >> 32) % 200
        : i % 512 == 8 ? x
                       : 0;
    memcpy (page + i, &v, sizeof v);
  }
}

/* Have a blob where the pages of the store have theirs. */
static bool
store_blob (struct sample *m, struct stream *st, unsigned i)
{
  struct tz_store *s = m->o->store;
  uint64_t w = tz_put_blob (s, st, i, s->codec, m->blob[i].bytes,
                            m->blob[i].len);

  m->word[i] = w;
  return w && (!s->vram || tz_vram_put (s, st) == 0);
}

/* False if the codec has no use for others. */
static bool
make_sample (struct sample *m)
{
  struct tz_store *s = m->o->store;
  struct stream *st;
  unsigned i;
  int r = 1;

  if (s->codec == TZ_RAW)
    return false;
  st = tz_stream_get (s);
  for (i = 0; i < SAMPLES && r > 0; i++) {
    make_page (m->page[i], i);
    r = tz_codecs[s->codec]->encode (st->scratch[s->codec], m->page[i],
                                     m->blob[i].bytes, s->params.level);
    m->blob[i].len = r;
    if (r > 0)
      m->blob[i].sum = tz_checksum (m->blob[i].bytes, r,
                                    (uint64_t) i << 4 | s->codec);
    if (!m->o->in_place || r <= 0 || store_blob (m, st, i))
      continue;
    if (s->vram)
      r = -EIO;
    else
      m->o->in_place = false; /* a file that is full: measure with copies */
  }
  tz_stream_put (st);
  return r > 0;
}

/* ---- What is measured: n pages decoded or encoded, in ns ---- */

/* From the device's memory, as for a request: as many as one group has. */
static void
fetch_blobs (struct sample *m, struct stream *st, unsigned from, unsigned n)
{
  uint64_t w[TZ_COPIES];
  unsigned i;

  n = tz_vram_pages ((uint64_t) n * TZ_PAGE);
  for (i = 0; i < n; i++)
    w[i] = m->word[(from + i) % SAMPLES];
  tz_vram_get (m->o->store, st, w, n);
}

static void
decode_part (void *opaque, unsigned from, unsigned n)
{
  struct sample *m = opaque;
  struct tz_store *s = m->o->store;
  struct stream *st = tz_stream_get (s);
  const struct tz_codec_ops *ops = tz_codecs[s->codec];
  void *scratch = st->scratch[s->codec];
  const uint8_t *bytes;
  const struct blob *b;
  uint8_t *page;
  unsigned i;

  for (i = 0; i < n; i++, from++) {
    b = &m->blob[from % SAMPLES];
    bytes = b->bytes;
    page = m->out + (size_t) from * TZ_PAGE;
    if (s->vram) {
      if (i % TZ_COPIES == 0)
        fetch_blobs (m, st, from, n - i);
      bytes = tz_vram_blob (st, i % TZ_COPIES);
    }
    if (s->params.checksum)
      tz_decode_checked (ops, scratch, bytes, b->len, page,
                         (uint64_t) (from % SAMPLES) << 4 | s->codec, b->sum);
    else
      ops->decode (scratch, bytes, b->len, page);
  }
  tz_stream_put (st);
}

/* As they are compressed later: a copy, and what came out stored. */
static void
encode_part (void *opaque, unsigned from, unsigned n)
{
  struct sample *m = opaque;
  struct stream *st = tz_stream_get (m->o->store);
  const uint8_t *blob;
  unsigned len;

  for (; n > 0; n--, from++) {
    memcpy (st->page, m->page[from % SAMPLES], TZ_PAGE);
    if (tz_encode_page (m->o->store, st, st->page, &blob, &len) > 0)
      memcpy (m->out + (size_t) from * TZ_PAGE, blob, len);
  }
  tz_stream_put (st);
}

static tz_part_fn *
part_fn (const struct sample *m)
{
  return m->op == TZ_ENCODE ? encode_part : decode_part;
}

static uint64_t
by_one (struct sample *m, unsigned n)
{
  uint64_t t = tz_now_ns ();

  part_fn (m) (m, 0, n);
  return tz_now_ns () - t;
}

static uint64_t
by_cores (struct sample *m, unsigned n)
{
  uint64_t t = tz_now_ns ();

  tz_helpers_run (m->o->helpers, n, tz_part_pages (n, m->o->threads), 0,
                  part_fn (m), m);
  return tz_now_ns () - t;
}

static void
fill_pages (struct sample *m, struct ticket *t)
{
  unsigned i;

  for (i = 0; i < t->n; i++) {
    t->job[i].len = TZ_PAGE;
    t->job[i].page = i % SAMPLES;
    t->job[i].src = t->stage + (size_t) i * STAGE_STRIDE;
    memcpy ((uint8_t *) t->job[i].src, m->page[i % SAMPLES], TZ_PAGE);
  }
}

static void
fill_blobs (struct sample *m, struct ticket *t)
{
  struct tz_store *s = m->o->store;
  const struct blob *b;
  unsigned i;

  for (i = 0; i < t->n; i++) {
    b = &m->blob[i % SAMPLES];
    t->job[i].len = b->len;
    t->job[i].page = i % SAMPLES;
    t->job[i].sum = s->vram ? 0 : b->sum;
    t->job[i].src = run_address (&s->region, word_run (m->word[i % SAMPLES]));
    if (m->o->in_place)
      continue;
    t->job[i].src = t->stage + (size_t) i * STAGE_STRIDE;
    memcpy ((uint8_t *) t->job[i].src, b->bytes, b->len);
  }
}

static void
fill (struct sample *m, struct ticket *t, unsigned n)
{
  t->op = m->op;
  t->codec = m->o->store->codec;
  t->n = n;
  if (m->op == TZ_ENCODE)
    fill_pages (m, t);
  else
    fill_blobs (m, t);
}

/* How much to copy of what came of a job; 0 if that is bad. */
static unsigned
result_len (const struct sample *m, int32_t result)
{
  if (m->op == TZ_DECODE)
    return result == 0 ? TZ_PAGE : 0;
  return result > 0 && result <= TZ_PAGE ? result : 0;
}

/* As a request does it, with the copies; 0 if the engine failed. */
static uint64_t
by_engine (struct sample *m, unsigned n)
{
  struct device *d = m->o->device;
  unsigned max = tz_device_pages (d), given = 0, tickets = 0, i, k, bad = 0;
  unsigned len;
  struct ticket *t[LARGEST / TICKET_PAGES];
  uint64_t since = tz_now_ns ();
  uint8_t *out = m->out;

  for (; given < n && tickets < LARGEST / TICKET_PAGES; given += max) {
    t[tickets] = tz_device_get (d);
    if (!t[tickets])
      break;
    fill (m, t[tickets], n - given < max ? n - given : max);
    tz_device_submit (d, t[tickets++]);
  }
  for (i = 0; i < tickets; i++, out += (size_t) max * TZ_PAGE) {
    if (!tz_device_wait (d, t[i]))
      bad++;
    for (k = 0; k < t[i]->n && bad == 0; k++) {
      len = result_len (m, t[i]->result[k]);
      bad += len == 0;
      memcpy (out + (size_t) k * TZ_PAGE, t[i]->job[k].dst, len);
    }
    tz_device_put (d, t[i]);
  }
  return bad || given < n ? 0 : tz_now_ns () - since;
}

typedef uint64_t measure_fn (struct sample *m, unsigned n);

/* The fastest of some rounds, or 0.  Helpers fall asleep between them, as they
 * do between requests.
 */
static uint64_t
best (struct sample *m, measure_fn *fn, unsigned n)
{
  const struct timespec pause = { 0, 200000 };
  uint64_t since = tz_now_ns (), least = UINT64_MAX, t;
  unsigned i;

  for (i = 0; i < ROUNDS && tz_now_ns () - since < ENOUGH; i++) {
    nanosleep (&pause, NULL);
    t = fn (m, n);
    if (t == 0)
      return 0;
    if (t < least)
      least = t;
  }
  return least;
}

/* The smallest number of pages from which on a pays more than b, up to max. */
static uint32_t
crossover (struct sample *m, measure_fn *a, measure_fn *b, unsigned max)
{
  /* One page in a device's memory may take as long as a batch. */
  unsigned min = m->o->store->vram ? 2 : BULK_MIN;
  uint32_t found = TZ_NEVER;
  uint64_t ta, tb;
  unsigned n;

  for (n = max; n >= min; n /= 2) {
    ta = best (m, a, n);
    tb = best (m, b, n);
    if (ta == 0 || ta * 100 > tb * PAYS)
      break;
    found = n;
  }
  return found;
}

/* ---- What follows from it ---- */

/* A pool that the engine can read need not be read so: its bytes come a few at
 * a time over the bus, those of copies lie side by side.
 */
static void
choose_source (struct sample *m, unsigned n)
{
  struct offload *o = m->o;
  uint64_t in_place, copied;

  if (!o->in_place || o->store->vram)
    return;
  in_place = best (m, by_engine, n);
  o->in_place = false;
  copied = best (m, by_engine, n);
  o->in_place = in_place > 0 && (copied == 0 || in_place <= copied);
}

static void
calibrate_engine (struct sample *m, const struct tz_offload_params *p)
{
  struct offload *o = m->o;
  unsigned max = p->with.batch < LARGEST ? p->with.batch : LARGEST;

  if (!tz_device_can (o->device, TZ_DECODE, o->store->codec))
    return;
  choose_source (m, max);
  o->crossover_one = crossover (m, by_engine, by_one, max);
  o->crossover_all = o->crossover_one;
  if (o->helpers && o->crossover_one != TZ_NEVER)
    o->crossover_all = crossover (m, by_engine, by_cores, max);
  o->device_min = p->always && o->crossover_all > BULK_MIN
                      ? BULK_MIN
                      : o->crossover_all;
}

/* The engine has what later does, and does it as the cores would. */
static bool
can_compress (struct offload *o)
{
  struct tz_store *s = o->store;

  return o->device && tz_device_can (o->device, TZ_ENCODE, s->codec)
         && s->params.level == tz_codecs[s->codec]->default_level;
}

/* Who compresses later: the engine, unless that would take longer than the
 * cores that it would relieve.
 */
static void
calibrate_later (struct sample *m, const struct tz_offload_params *p)
{
  struct offload *o = m->o;
  unsigned n = p->with.batch < LARGEST ? p->with.batch : LARGEST;
  uint64_t engine, cores;

  if (!p->later || !can_compress (o))
    return;
  m->op = TZ_ENCODE;
  engine = best (m, by_engine, n);
  cores = best (m, o->helpers ? by_cores : by_one, n);
  if (engine > 0 && cores > 0 && engine * 100 / cores < TZ_NEVER)
    o->compress_percent = engine * 100 / cores;
  o->device_compresses = p->always || o->compress_percent < 100;
}

int
tz_calibrate (struct offload *o, const struct tz_offload_params *p)
{
  struct sample *m;
  unsigned i;
  int err = 0;

  if (p->min_pages) {
    if (o->helpers)
      o->cores_min = p->min_pages;
    if (o->device && tz_device_can (o->device, TZ_DECODE, o->store->codec))
      o->device_min = p->min_pages;
    o->device_compresses = can_compress (o);
    return 0;
  }
  m = aligned_alloc (64, (sizeof *m + 63) / 64 * 64);
  if (!m)
    return -ENOMEM;
  memset (m, 0, sizeof *m);
  m->o = o;
  m->out = tz_map ((size_t) LARGEST * TZ_PAGE);
  if (!m->out)
    err = -ENOMEM;
  else if (make_sample (m)) {
    /* Touch it now: the first to run must not pay for it. */
    memset (m->out, 0, (size_t) LARGEST * TZ_PAGE);
    if (o->helpers)
      o->cores_min = crossover (m, by_cores, by_one, 512);
    if (o->device) {
      calibrate_engine (m, p);
      calibrate_later (m, p);
    }
  }
  for (i = 0; i < SAMPLES; i++)
    tz_free_blob (o->store, m->word[i]);
  tz_unmap (m->out, (size_t) LARGEST * TZ_PAGE);
  free (m);
  return err;
}

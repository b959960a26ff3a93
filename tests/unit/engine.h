/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* An engine for tests: it runs the codecs on the processor, in a thread of its
 * own so that it races like a device does, and goes wrong in every way there
 * is when it is told to.
 */
#ifndef TZ_TEST_ENGINE_H
#define TZ_TEST_ENGINE_H

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "internal.h"
#include "offload.h"
#include "codec/bytes.h"

enum engine_fault {
  ENGINE_SUBMIT = 1, /* submit fails */
  ENGINE_POLL = 2,   /* a batch fails, its results are rubbish */
  ENGINE_PAGE = 4,   /* pages are bad, and say so */
  ENGINE_LATE = 8,   /* a batch takes 3 timeouts */
  ENGINE_NEVER = 16, /* no batch ever ends */
  ENGINE_LOST = 32,  /* the device says it is lost */
  ENGINE_COPY = 64,  /* only some blobs of a group are copied */
  ENGINE_GONE = 128, /* … and the device's memory is lost */
  ENGINE_SLOW = 256, /* a batch of pages to compress takes a while */
  ENGINE_FAST = 512, /* … or no time: none of them would become shorter */
  ENGINE_STUCK_SUBMIT = 1024, /* it does not return as long as this is set */
  ENGINE_STUCK_POLL = 2048,
  ENGINE_FAR = 4096,  /* a batch of blobs in the pool takes a while */
  ENGINE_NEAR = 8192, /* … or one of copies does */
};

#define ENGINE_TIMEOUT_MS 30 /* where it matters */

struct tz_engine {
  pthread_t thread;
  pthread_mutex_t lock;
  pthread_cond_t work;
  const struct tz_batch *batch[TZ_ENGINE_LANES];
  int state[TZ_ENGINE_LANES]; /* of a batch: what poll will return */
  bool stop;
  void *scratch[TZ_CODECS];
  void *memory[4];
  size_t memory_len[4];
  uint8_t *vram; /* others see it ENGINE_DISTANCE further on */
  size_t vram_len;
  unsigned channels;
  atomic_bool copying[1024]; /* in a channel */
};

/* So far from any memory that the processor has there. */
#define ENGINE_DISTANCE (UINT64_C (1) << 50)

/* Each fault that is set happens to one batch (or page) in so many. */
static atomic_uint engine_faults;
static atomic_uint engine_odds = 8;
static atomic_uint engine_seen, engine_lost_said, engine_closed;
static atomic_uint engine_copies; /* blobs copied */
static atomic_uint engine_calls;  /* of submit and poll, under way */
static size_t engine_room_now = 64 << 20; /* bytes */
static const uint8_t *engine_pool; /* what is pinned */
static size_t engine_pool_len;
static atomic_uint engine_bad; /* blobs that were, without a fault */
static __thread uint64_t engine_rng = 99;

static inline bool
engine_strikes (enum engine_fault f)
{
  engine_rng = engine_rng * 6364136223846793005 + 1442695040888963407;
  return (atomic_load (&engine_faults) & f)
         && (engine_rng >> 33) % atomic_load (&engine_odds) == 0;
}

static inline void
engine_sticks (enum engine_fault f)
{
  while (atomic_load (&engine_faults) & f)
    usleep (1000);
}

static inline uint8_t *
faulty_vram (struct tz_engine *e, const void *device, size_t len)
{
  uintptr_t at = (uintptr_t) device - ENGINE_DISTANCE - (uintptr_t) e->vram;

  if (at > e->vram_len || len > e->vram_len - at)
    abort ();
  return e->vram + at;
}

static inline int
faulty_page (struct tz_engine *e, const struct tz_batch *b,
             const struct tz_job *j)
{
  const uint8_t *src = e->vram && b->op == TZ_DECODE
                           ? faulty_vram (e, j->src, j->len)
                           : j->src;
  const struct tz_codec_ops *ops = tz_codecs[b->codec];
  uint8_t dst[TZ_DST_SIZE] __attribute__ ((aligned (64)));
  int level = ops->default_level, r;

  if (engine_strikes (ENGINE_PAGE)) {
    memset (j->dst, 0x5a, TZ_PAGE);
    return -1;
  }
  if (b->op == TZ_ENCODE) {
    r = ops->encode (e->scratch[b->codec], src, dst, level);
    memcpy (j->dst, dst, r > 0 ? r : 0);
    return r == 0 ? TZ_PAGE : r;
  }
  if (b->checksum
      && tz_checksum (src, j->len, j->page << 4 | b->codec)
             != (b->follows ? get32 (src + j->len) : j->sum))
    r = -2;
  else
    r = ops->decode (e->scratch[b->codec], src, j->len, j->dst);
  if (r)
    atomic_fetch_add (&engine_bad, 1);
  return r;
}

static inline bool
in_pool (const void *blob)
{
  return (uintptr_t) blob - (uintptr_t) engine_pool < engine_pool_len;
}

static inline int
faulty_batch (struct tz_engine *e, const struct tz_batch *b)
{
  unsigned i;

  if (engine_strikes (ENGINE_LATE))
    usleep (3000 * ENGINE_TIMEOUT_MS);
  if (b->op == TZ_ENCODE && engine_strikes (ENGINE_SLOW))
    usleep (300000);
  if (b->op == TZ_DECODE
      && engine_strikes (in_pool (b->jobs[0].src) ? ENGINE_FAR : ENGINE_NEAR))
    usleep (20000);
  if (engine_strikes (ENGINE_POLL)) {
    memset (b->result, 0, b->n * sizeof *b->result);
    return -EIO;
  }
  for (i = 0; i < b->n; i++)
    b->result[i] = b->op == TZ_ENCODE && engine_strikes (ENGINE_FAST)
                       ? TZ_PAGE
                       : faulty_page (e, b, &b->jobs[i]);
  return 1;
}

static inline void *
faulty_thread (void *opaque)
{
  struct tz_engine *e = opaque;
  unsigned i;
  int r;

  pthread_mutex_lock (&e->lock);
  while (!e->stop) {
    for (i = 0; i < TZ_ENGINE_LANES; i++)
      if (e->batch[i] && e->state[i] == 0)
        break;
    if (i == TZ_ENGINE_LANES
        || (atomic_load (&engine_faults) & ENGINE_NEVER)) {
      pthread_cond_wait (&e->work, &e->lock);
      continue;
    }
    pthread_mutex_unlock (&e->lock);
    r = faulty_batch (e, e->batch[i]);
    pthread_mutex_lock (&e->lock);
    e->state[i] = r;
  }
  pthread_mutex_unlock (&e->lock);
  return NULL;
}

static inline int
faulty_open (const struct tz_engine_params *params, struct tz_engine **engine,
             char *why, size_t why_size)
{
  struct tz_engine *e = calloc (1, sizeof *e);
  const struct tz_codec_ops *ops;
  size_t n;
  unsigned c;

  (void) params;
  (void) why;
  (void) why_size;
  for (c = TZ_LD64; e && c < TZ_CODECS; c++) {
    ops = tz_codecs[c];
    n = ops->scratch_size ? ops->scratch_size (ops->default_level) : 0;
    n = (n + 127) / 64 * 64;
    e->scratch[c] = aligned_alloc (64, n);
    if (!e->scratch[c])
      return -ENOMEM;
    memset (e->scratch[c], 0, n);
    if (ops->init && ops->init (e->scratch[c], n, ops->default_level))
      return -ENOMEM;
  }
  if (!e)
    return -ENOMEM;
  pthread_mutex_init (&e->lock, NULL);
  pthread_cond_init (&e->work, NULL);
  pthread_create (&e->thread, NULL, faulty_thread, e);
  *engine = e;
  return 0;
}

static inline const char *
faulty_describe (struct tz_engine *e)
{
  (void) e;
  return "a test";
}

static inline unsigned
faulty_codecs (struct tz_engine *e, enum tz_engine_op op)
{
  (void) e;
  (void) op;
  return 1u << TZ_LD64 | 1u << TZ_LZ4;
}

static inline void *
faulty_alloc (struct tz_engine *e, size_t len)
{
  unsigned i;

  for (i = 0; e->memory[i]; i++)
    ;
  e->memory[i] = mmap (NULL, len, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  e->memory_len[i] = len;
  return e->memory[i];
}

static inline int
faulty_pin (struct tz_engine *e, const void *start, size_t len)
{
  (void) e;
  engine_pool = start;
  engine_pool_len = len;
  return 0;
}

static inline size_t
faulty_room (struct tz_engine *e)
{
  (void) e;
  return engine_room_now;
}

static inline void *
faulty_take (struct tz_engine *e, size_t len, unsigned channels)
{
  if (e->vram || channels > 1024 || len == 0 || len > engine_room_now)
    return NULL;
  e->vram = mmap (NULL, len, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  e->vram_len = len;
  e->channels = channels;
  return (void *) ((uintptr_t) e->vram + ENGINE_DISTANCE);
}

static inline int
faulty_copy (struct tz_engine *e, unsigned channel, const struct tz_copy *c,
             unsigned n, bool in)
{
  bool fail = engine_strikes (ENGINE_COPY);
  unsigned i;

  if (atomic_load (&engine_faults) & ENGINE_GONE)
    return -ENODEV;
  if (channel >= e->channels || n < 1 || n > TZ_COPIES
      || atomic_exchange (&e->copying[channel], true))
    abort ();
  for (i = 0; i < (fail ? n / 2 : n); i++) {
    if (in)
      memcpy (faulty_vram (e, c[i].device, c[i].len), c[i].host, c[i].len);
    else
      memcpy (c[i].host, faulty_vram (e, c[i].device, c[i].len), c[i].len);
    atomic_fetch_add (&engine_copies, 1);
  }
  atomic_store (&e->copying[channel], false);
  return fail ? -EIO : 0;
}

static inline int
faulty_get (struct tz_engine *e, unsigned channel, const struct tz_copy *c,
            unsigned n)
{
  return faulty_copy (e, channel, c, n, false);
}

static inline int
faulty_put (struct tz_engine *e, unsigned channel, const struct tz_copy *c,
            unsigned n)
{
  return faulty_copy (e, channel, c, n, true);
}

static inline int
faulty_submit (struct tz_engine *e, unsigned lane, const struct tz_batch *b)
{
  if (engine_strikes (ENGINE_SUBMIT))
    return -EIO;
  atomic_fetch_add (&engine_calls, 1);
  engine_sticks (ENGINE_STUCK_SUBMIT);
  atomic_fetch_add (&engine_seen, 1);
  pthread_mutex_lock (&e->lock);
  e->batch[lane] = b;
  e->state[lane] = 0;
  pthread_cond_signal (&e->work);
  pthread_mutex_unlock (&e->lock);
  atomic_fetch_sub (&engine_calls, 1);
  return 0;
}

static inline int
faulty_poll (struct tz_engine *e, unsigned lane)
{
  int r;

  if (atomic_load (&engine_faults) & (ENGINE_LOST | ENGINE_GONE))
    return -ENODEV;
  atomic_fetch_add (&engine_calls, 1);
  engine_sticks (ENGINE_STUCK_POLL);
  pthread_mutex_lock (&e->lock);
  r = e->state[lane];
  if (r)
    e->batch[lane] = NULL;
  pthread_mutex_unlock (&e->lock);
  atomic_fetch_sub (&engine_calls, 1);
  return r;
}

static inline void
faulty_close (struct tz_engine *e)
{
  unsigned i;

  pthread_mutex_lock (&e->lock);
  e->stop = true;
  pthread_cond_signal (&e->work);
  pthread_mutex_unlock (&e->lock);
  pthread_join (e->thread, NULL);
  for (i = 0; i < 4 && e->memory[i]; i++)
    munmap (e->memory[i], e->memory_len[i]);
  if (e->vram)
    munmap (e->vram, e->vram_len);
  for (i = 0; i < TZ_CODECS; i++)
    free (e->scratch[i]);
  free (e);
  atomic_fetch_add (&engine_closed, 1);
}

static inline void
engine_is_lost (void *opaque, int err)
{
  (void) opaque;
  (void) err;
  atomic_fetch_add (&engine_lost_said, 1);
}

static const struct tz_engine_ops engine_ops = {
  .abi = TZ_ENGINE_ABI,
  .open = faulty_open,
  .describe = faulty_describe,
  .codecs = faulty_codecs,
  .alloc = faulty_alloc,
  .pin = faulty_pin,
  .room = faulty_room,
  .take = faulty_take,
  .get = faulty_get,
  .put = faulty_put,
  .submit = faulty_submit,
  .poll = faulty_poll,
  .close = faulty_close,
};

/* Have an engine of which no batch ever ended end them. */
static inline void
engine_go_on (struct tz_engine *e)
{
  atomic_store (&engine_faults, 0);
  pthread_mutex_lock (&e->lock);
  pthread_cond_signal (&e->work);
  pthread_mutex_unlock (&e->lock);
}

/* What tz_offload_start takes to use it for all requests of min pages. */
static inline struct tz_offload_params
engine_params (unsigned min, unsigned batch)
{
  struct tz_offload_params p = {
    .ops = &engine_ops,
    .with = { .lanes = 2, .batch = batch },
    .timeout_ms = 10000,
    .min_pages = min,
    .lost = engine_is_lost,
  };

  if (faulty_open (&p.with, &p.engine, NULL, 0))
    abort ();
  return p;
}

#endif /* TZ_TEST_ENGINE_H */

/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What the parts that serve large requests know of each other. */
#ifndef TZ_BULK_H
#define TZ_BULK_H

#include <time.h>

#include "internal.h"
#include "offload.h"

/* No request of fewer pages is worth waking another thread for. */
#define BULK_MIN 32

static inline uint64_t
tz_now_ns (void)
{
  struct timespec ts;

  clock_gettime (CLOCK_MONOTONIC, &ts);
  return ts.tv_sec * UINT64_C (1000000000) + ts.tv_nsec;
}

/* ---- Helpers: threads for idle cores (helpers.c) ---- */
struct helpers;
/* Do the items from, …, from + n - 1. */
typedef void tz_part_fn (void *opaque, unsigned from, unsigned n);

int tz_helpers_start (struct helpers **h, unsigned threads);
void tz_helpers_stop (struct helpers *h);
/* Do n items, part at a time, in this thread and in those that are idle;
 * returns when all are done.  busy: so many cores have other work, beside those
 * that are here.  True if another thread was asked.
 */
bool tz_helpers_run (struct helpers *h, unsigned n, unsigned part,
                     unsigned busy, tz_part_fn *fn, void *opaque);

/* ---- Tickets: what a request asks of an engine (device.c) ---- */
#define TICKET_PAGES 256u
#define STAGE_STRIDE (TZ_PAGE + TZ_BLOB_SLACK) /* a blob and what follows it */

enum ticket_state { TICKET_OWN, TICKET_QUEUED, TICKET_RUNNING, TICKET_DONE };

/* Whoever got it fills in op, codec, n and the first n of job, which come with
 * dst set; src may point to the same place in stage.
 */
struct ticket {
  enum tz_engine_op op;
  enum tz_codec codec;
  unsigned n;
  struct tz_job job[TICKET_PAGES];
  int32_t result[TICKET_PAGES];
  uint8_t *stage; /* STAGE_STRIDE bytes a job */

  /* The owner's own: which page of its request, and what it holds. */
  struct ticket *own;
  uint32_t index[TICKET_PAGES];
  slot_t *slot[TICKET_PAGES];
  uint64_t word[TICKET_PAGES];

  /* The queue's. */
  struct ticket *next;
  enum ticket_state state;
  bool failed;
  bool orphan; /* the owner has gone, the engine may still use it */
  uint64_t since; /* queued, ns */
  pthread_cond_t done;
};

struct device;
/* The engine is the device's from now on, even if this fails.  Checksums are
 * verified, and follow the blobs.
 */
int tz_device_start (struct device **d, const struct tz_offload_params *p,
                     bool checksum, bool follows);
/* Let the engine read the pool, which must never move or go, in place. */
bool tz_device_pin (struct device *d, const struct region *r);
/* The engine is closed when this returns.  Or false: it never returns from a
 * call, and may use all that it was given for ever.
 */
bool tz_device_stop (struct device *d);
/* Bytes of memory it takes. */
size_t tz_device_bytes (const struct device *d);
/* True if there is an engine, and it has this codec. */
bool tz_device_can (struct device *d, enum tz_engine_op op, unsigned codec);
/* True if it is not late or lost, at a glance. */
bool tz_device_usable (struct device *d);
/* Give the engine up. */
void tz_device_lose (struct device *d, int err);
/* A ticket; NULL if all are in use or the engine is not to be used. */
struct ticket *tz_device_get (struct device *d);
void tz_device_submit (struct device *d, struct ticket *t);
/* True if the results are there; false if they will not be, or not in time. */
bool tz_device_wait (struct device *d, struct ticket *t);
/* Give a ticket back, in whatever state. */
void tz_device_put (struct device *d, struct ticket *t);
/* Jobs a ticket has room for. */
unsigned tz_device_pages (const struct device *d);
/* Count pages that an engine did, and those that were done again here. */
void tz_device_count (struct device *d, unsigned good, unsigned bad);
void tz_device_stats (struct device *d, struct tz_offload_stats *st);

/* ---- Large requests (bulk.c, calibrate.c) ---- */
struct offload {
  struct tz_store *store;
  struct helpers *helpers; /* NULL: none */
  struct device *device;   /* NULL: none */
  bool pinned;             /* the device can read the pool, or has it */
  bool in_place;           /* … and does: copies for it were not faster */
  unsigned threads;        /* of helpers */
  uint32_t cores_min, device_min; /* pages; TZ_NEVER */
  uint32_t crossover_one, crossover_all;
  uint32_t compress_percent; /* see struct tz_offload_stats */
  bool device_compresses;    /* what is compressed later */
  atomic_uint_fast64_t shared;
  atomic_uint_fast64_t last; /* when a large read ended, ns */
};

/* How many pages of n a thread takes at a time, with so many helpers. */
static inline unsigned
tz_part_pages (unsigned n, unsigned helpers)
{
  unsigned part = n / (4 * (helpers + 1));

  return part < 4 ? 4 : part > 64 ? 64 : part;
}

/* ---- Compressing later (later.c) ---- */
int tz_later_start (struct tz_store *s, struct offload *o, unsigned batch,
                    unsigned bulk);
void tz_later_stop (struct tz_store *s);
size_t tz_later_bytes (const struct later *l);
void tz_later_stats (struct later *l, struct tz_offload_stats *st);

/* Find out from how many pages on what pays, and who compresses later. */
int tz_calibrate (struct offload *o, const struct tz_offload_params *p);

#endif /* TZ_BULK_H */

/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Large requests: spread over the processor's cores, or handed in batches to
 * an engine, such as a GPU.
 *
 * An engine lives in a module that whoever uses the core loads; the core itself
 * loads nothing.  The module has one symbol, tz_engine_ops.  What follows is
 * the contract between it and the core; any change of it changes TZ_ENGINE_ABI.
 *
 * An engine may fail, be slow or vanish at any time: the core then does the
 * work itself, and no request ever fails because of it, but for blobs that are
 * kept in its memory and nowhere else.
 */
#ifndef TZ_OFFLOAD_H
#define TZ_OFFLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tzram.h"

/* ---- What an engine is ---- */

#define TZ_ENGINE_ABI    2
#define TZ_ENGINE_SYMBOL "tz_engine_ops"

enum tz_engine_op {
  TZ_DECODE = 0, /* blobs to pages */
  TZ_ENCODE = 1, /* pages to blobs */
  TZ_ENGINE_OPS,
};

/* One page.  src and dst lie in memory that alloc gave, or src in what was
 * pinned or taken.
 */
struct tz_job {
  const uint8_t *src; /* 16-byte aligned; TZ_DECODE: len bytes that
                       * TZ_BLOB_SLACK readable bytes follow; else a page */
  uint8_t *dst;       /* 64-byte aligned; TZ_PAGE bytes, all of them the
                       * engine's to write */
  uint32_t len;       /* TZ_DECODE: bytes of the blob, 1 … TZ_PAGE - 1 */
  uint32_t sum;       /* TZ_DECODE: its checksum, as docs/ld64.md has it,
                       * unless that follows the blob */
  uint64_t page;      /* TZ_DECODE: the page's number, part of the checksum */
};

/* Many.  All of it stays as it is until the batch is done; but the pinned blobs
 * of a batch that is later than the timeout may change while it is under way:
 * its results are not looked at, and it must not write anywhere but to dst.
 */
struct tz_batch {
  enum tz_engine_op op;
  enum tz_codec codec;
  bool checksum; /* TZ_DECODE: verify sum, … */
  bool follows;  /* … which is the four bytes after each blob */
  unsigned n;    /* 1 … the engine's batch */
  const struct tz_job *jobs;
  /* One a job.  TZ_DECODE: 0, or a negative number if the blob did not decode
   * or verify, dst is then undefined.  TZ_ENCODE: the length of the blob, 1 …
   * TZ_PAGE - 1; TZ_PAGE if it would not be shorter; or a negative number.
   */
  int32_t *result;
};

struct tz_engine; /* the module's own */

struct tz_engine_params {
  unsigned lanes; /* batches under way at once, 1 … TZ_ENGINE_LANES */
  unsigned batch; /* pages of the largest batch, 1 … TZ_ENGINE_BATCH */
  unsigned patience_ms; /* copies that take longer will never end */
};
#define TZ_ENGINE_LANES 4
#define TZ_ENGINE_BATCH 65536

/* A blob, in memory that alloc gave and in memory that was taken. */
struct tz_copy {
  uint8_t *host;
  uint8_t *device; /* 16-byte aligned */
  uint32_t len;    /* bytes, 1 … TZ_PAGE + 4 */
};
#define TZ_COPIES 32

/* All functions return 0 or a negative errno unless said otherwise.  open,
 * alloc, room, take, pin and close are called by one thread, submit and poll by
 * one other thread between them; none of these is called by two at once: if
 * submit or poll never returns, close is not called.
 */
struct tz_engine_ops {
  uint32_t abi; /* TZ_ENGINE_ABI, else nothing below is looked at */

  /* Whether what it needs is installed, without touching the device: this may
   * be called before a fork.  On failure why says what is missing and what to
   * do about it, without a newline.
   */
  int (*probe) (char *why, size_t why_size);

  /* Have the engine ready: whatever submit and poll need is allocated and
   * warm when this returns.  why as for probe.  -ENODEV: there is no such
   * device.
   */
  int (*open) (const struct tz_engine_params *params, struct tz_engine **e,
               char *why, size_t why_size);

  /* What runs, for people: the device and its driver.  Valid until close. */
  const char *(*describe) (struct tz_engine *e);

  /* A bit for each enum tz_codec that it has. */
  unsigned (*codecs) (struct tz_engine *e, enum tz_engine_op op);

  /* Memory that the engine reads and writes, page-aligned and zeroed, until
   * close; NULL if there is none.
   */
  void *(*alloc) (struct tz_engine *e, size_t len);

  /* Let the engine read this range, which stays mapped and in memory until
   * close, in place.
   */
  int (*pin) (struct tz_engine *e, const void *start, size_t len);

  /* How many bytes of its own memory the engine can give.  And take so many,
   * until close, with a number of channels to copy through: an address that
   * means nothing to the processor, 64-byte aligned; NULL if there is no such
   * memory.  It is taken once.
   */
  size_t (*room) (struct tz_engine *e);
  void *(*take) (struct tz_engine *e, size_t len, unsigned channels);

  /* Copy n blobs, 1 … TZ_COPIES, from that memory, or to it, and return when
   * they are there.  Any thread may do so, in each channel one at a time.
   * After an error some may have been copied, and nothing is copied any more,
   * but for -ENODEV: the device is lost, and that memory with it.
   */
  int (*get) (struct tz_engine *e, unsigned channel,
              const struct tz_copy *copies, unsigned n);
  int (*put) (struct tz_engine *e, unsigned channel,
              const struct tz_copy *copies, unsigned n);

  /* Start a batch in a lane, 0 … lanes - 1, that has none under way.  After
   * an error none is.  -ENODEV: the device is lost for good.
   */
  int (*submit) (struct tz_engine *e, unsigned lane, const struct tz_batch *b);

  /* Without waiting: 1 if the lane's batch is done, 0 if it is under way, or
   * what went wrong with it: it is then done, and its results are undefined.
   * -ENODEV: the device is lost for good, whatever it may still write.
   */
  int (*poll) (struct tz_engine *e, unsigned lane);

  /* Nothing is read or written any more when this returns. */
  void (*close) (struct tz_engine *e);
};

/* ---- How the core uses it ---- */

struct tz_offload_params {
  const struct tz_engine_ops *ops; /* NULL: no engine */
  struct tz_engine *engine; /* open; the store closes it, whatever happens,
                             * but if it never returns from submit or poll */
  struct tz_engine_params with; /* what it was opened with */
  bool always;          /* use it for all large requests, and to compress later,
                         * not only where it measures faster than the cores */
  unsigned wait_us;     /* how long a batch that is not full waits for more
                         * requests, 0 … 1000000 */
  unsigned timeout_ms;  /* how long a request waits for the engine, 1 … */
  bool cores;           /* spread large requests over idle cores */
  bool later;           /* store pages raw at first, and compress them in
                         * batches beside the requests; not with TZ_RAW */
  unsigned min_pages;   /* for tests: what calibration is to find; 0: measure */
  unsigned bulk;        /* for tests: from so many pages written in a short time
                         * later waits until less is written; 0: the usual */
  void (*lost) (void *opaque, int err); /* told when the engine is given up,
                         * and once more, with -ENODEV, if its memory is found
                         * to be lost later; in any thread, and with a lock of
                         * the core's held, so that it must call nothing here;
                         * may be NULL */
  void *opaque;
};

/* Start using helpers and the engine: after tz_start, before the first
 * request.  Takes some tens of milliseconds to measure what pays.
 * -EINVAL: a parameter out of range.  -ENOMEM: no memory, nothing is used.
 */
int tz_offload_start (struct tz_store *store,
                      const struct tz_offload_params *params);

#define TZ_NEVER UINT32_MAX

struct tz_offload_stats {
  /* From so many pages on a request is spread over cores, or handed to the
   * engine; TZ_NEVER: it did not measure faster, or there is none.
   */
  uint32_t cores_min_pages;
  uint32_t engine_min_pages;
  /* From so many pages on the engine is faster than one core, and than all
   * cores; TZ_NEVER: nowhere.
   */
  uint32_t crossover_one;
  uint32_t crossover_all;
  /* With later: what the engine took to compress a full batch, in percent of
   * what all cores took; TZ_NEVER: it was not measured, or failed.  And whether
   * it is who compresses later, as long as it is not lost.
   */
  uint32_t compress_percent;
  bool engine_compresses;
  uint32_t helpers;         /* threads beside those that serve */
  bool engine;              /* there is one, and it is not lost */
  bool pinned;              /* it can read blobs in place */
  bool in_place;            /* … and does: copies for it were not faster */
  uint64_t shared_requests; /* spread over cores */
  uint64_t batches;         /* handed to the engine */
  uint64_t batch_pages;     /* pages in these */
  uint64_t engine_pages;    /* pages that came back good in time */
  uint64_t fallback_pages;  /* pages given to the engine, then done here */
  uint64_t engine_errors;   /* batches that failed */
  uint64_t engine_timeouts; /* batches that were late */
  uint64_t engine_lost;     /* 1 if the engine was given up */
  uint64_t later_backlog;   /* raw pages that are to be compressed */
  uint64_t later_batches;   /* batches of these, ever */
  uint64_t later_pages;     /* pages that were compressed so, ever */
  uint64_t later_raw;       /* … or found not to become shorter */
};
void tz_offload_stats (struct tz_store *store, struct tz_offload_stats *stats);

#endif /* TZ_OFFLOAD_H */

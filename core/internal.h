/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What the parts of the core know of each other.
 *
 * Locks, outermost first; whoever holds one may take only those after it:
 *
 *   stream    a mutex: codec scratch, for the time of one request
 *   slot      a bit of the table word: one page
 *   shard     a mutex: the chunks of one part of the pool; a second one is
 *             only ever tried
 *
 * pool.lock (chunks in no shard) and upkeep.lock are taken with none of these
 * but a stream or a slot held, and nothing is taken under them.
 */
#ifndef TZ_INTERNAL_H
#define TZ_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "tzram.h"
#include "checksum.h"
#include "codec/codec.h"

#define likely(x)   __builtin_expect (!!(x), 1)
#define unlikely(x) __builtin_expect (!!(x), 0)
#define DIV_UP(a, b) (((a) + (b) - 1) / (b))

/* ---- A table word, one a page (table.c) ----
 *
 *   63       23 22     10 9    6 5     2     1      0
 *   |   run    |   len   |  age | codec | waiter | lock |
 *
 * run is counted in units from the start of the region; len is the blob's,
 * without its checksum.  A page of TZ_SAME whose two halves of the pattern are
 * equal has len 0 and that half in run, and takes no memory.  An absent page
 * is 0.
 */
#define WORD_LOCK       UINT64_C (1)
#define WORD_WAITER     UINT64_C (2)
#define WORD_CODEC_SHIFT 2
#define WORD_CODEC_MASK UINT64_C (15)
#define WORD_AGE_SHIFT  6
#define WORD_AGE_MASK   UINT64_C (15)
#define WORD_LEN_SHIFT  10
#define WORD_LEN_MASK   UINT64_C (8191)
#define WORD_RUN_SHIFT  23
#define WORD_RUN_BITS   41

static inline uint64_t
word_make (enum tz_codec codec, unsigned len, uint64_t run)
{
  return run << WORD_RUN_SHIFT | (uint64_t) len << WORD_LEN_SHIFT
         | (uint64_t) codec << WORD_CODEC_SHIFT;
}

static inline unsigned
word_codec (uint64_t w)
{
  return w >> WORD_CODEC_SHIFT & WORD_CODEC_MASK;
}

static inline unsigned
word_len (uint64_t w)
{
  return w >> WORD_LEN_SHIFT & WORD_LEN_MASK;
}

static inline uint64_t
word_run (uint64_t w)
{
  return w >> WORD_RUN_SHIFT;
}

/* ---- The region: where the bytes come from (region.c) ---- */
struct region {
  uint8_t *base;
  uintptr_t runs; /* where unit 0 would be: base, or in a device's memory */
  size_t len;     /* bytes mapped */
  int fd;         /* -1: anonymous */
  size_t granule; /* bytes that can be given back at once */
  bool keep;      /* mapped for ever: an engine may read it still */
};

/* Map len bytes, of the file if fd is not -1 (it is duplicated). */
int tz_region_open (struct region *r, int fd, size_t len);
void tz_region_close (struct region *r);
/* Have memory behind a range, so that touching it neither faults nor fails. */
int tz_region_populate (struct region *r, size_t offset, size_t len);
/* Give the memory of a range back; its content is lost.  False if the
 * system cannot.
 */
bool tz_region_release (struct region *r, size_t offset, size_t len);

/* Address space for bookkeeping, zeroed and taking memory as it is touched;
 * NULL if there is none.
 */
void *tz_map (size_t len);
void tz_unmap (void *p, size_t len);
/* Have memory of this process's own behind a range of whole pages, and keep
 * what it holds; 0 or a negative errno.
 */
int tz_populate (void *start, size_t len);

/* ---- The pool (pool.c) ---- */
#define UNIT         32 /* bytes; a run is a number of these */
#define CHUNK_UNITS  (TZ_CHUNK / UNIT)
/* Units at a chunk's end that hold nothing: TZ_BLOB_SLACK of the last run. */
#define CHUNK_TAIL   (TZ_BLOB_SLACK / UNIT)
#define CHECKSUM_LEN 4
#define MAX_RUN      DIV_UP (TZ_PAGE + CHECKSUM_LEN, UNIT)
#define MAX_SHARDS   16

struct chunk {
  uint64_t used[CHUNK_UNITS / 64]; /* a bit a unit */
  uint32_t next, prev;             /* chunks of the same list, 0: none */
  uint16_t free;                   /* units, the tail not among them */
  uint16_t largest;                /* free run, capped at MAX_RUN: its list */
  _Atomic uint8_t shard;           /* changes with both shards locked */
  uint8_t state;
};

struct shard {
  pthread_mutex_t lock;
  uint64_t chunks;             /* in this shard */
  uint64_t units;              /* in runs */
  uint64_t lists_used[DIV_UP (MAX_RUN + 1, 64)]; /* a bit a list */
  uint32_t list[MAX_RUN + 1];  /* chunks by largest free run */
} __attribute__ ((aligned (64)));

struct pool {
  struct region *region;
  struct chunk *chunks; /* by chunk number; those below first are not ours */
  uint32_t first, end;  /* chunk numbers */
  unsigned n_shards;
  struct shard shards[MAX_SHARDS + 1]; /* number n_shards: for passing runs */

  pthread_mutex_t lock; /* for what follows */
  uint32_t ready;       /* list of populated chunks that hold nothing */
  uint32_t cold;        /* list of chunks whose memory was given back */
  uint32_t top;         /* chunks from here on were never used */
  uint32_t populated;   /* how many chunks have memory, leaves included */
  uint32_t populated_max;
  uint32_t leaves;
  atomic_uint ready_count;  /* written under lock, read without */
  atomic_bool starved;      /* a request waited for a chunk in vain */
  atomic_uint_fast64_t misses; /* requests that had to wait for a chunk */
  unsigned reserve;         /* how long the ready list is kept */
  unsigned wake;            /* how short it gets until upkeep is woken */
  bool prefault;            /* requests never populate a chunk */
  /* The ready list is too short (more) or too long. */
  void (*want_upkeep) (void *, bool more);
  void *want_upkeep_arg;
};

int tz_pool_open (struct pool *p, struct region *r, uint32_t first,
                  uint32_t end, const struct tz_params *params);
void tz_pool_close (struct pool *p);
/* A run of that many units: its number, or -ENOSPC. */
int64_t tz_pool_alloc (struct pool *p, unsigned units);
/* The same of a run that will soon be freed, among others like it: they leave
 * whole chunks free.
 */
int64_t tz_pool_alloc_passing (struct pool *p, unsigned units);
void tz_pool_free (struct pool *p, uint64_t run, unsigned units);
/* A chunk of zeroes for the table: its number, or 0 if there is none. */
uint32_t tz_pool_take_leaf (struct pool *p);
void tz_pool_return_leaf (struct pool *p, uint32_t chunk);
/* Attach: this chunk is a leaf, this run is taken; -EUCLEAN if that cannot
 * be.  Then settle, before anything is allocated: -ENOMEM if there is less
 * memory than was in use.
 */
int tz_pool_mark_leaf (struct pool *p, uint32_t chunk);
int tz_pool_mark (struct pool *p, uint64_t run, unsigned units);
int tz_pool_settle (struct pool *p);
/* Bring the ready list to the length of the reserve; at most max chunks.
 * Returns how many were populated or given back, or a negative errno.
 */
int tz_pool_refill (struct pool *p, unsigned max);
int tz_pool_shrink (struct pool *p, unsigned max);

static inline uint8_t *
run_address (const struct region *r, uint64_t run)
{
  return (uint8_t *) (r->runs + run * UNIT);
}

/* ---- The table (table.c) ---- */
#define LEAF_WORDS (TZ_CHUNK / 8)

typedef _Atomic uint64_t slot_t;

struct table {
  struct region *region;
  struct pool *pool;
  _Atomic uint32_t *dir; /* chunk numbers of leaves, in the region */
  uint64_t pages;
};

/* The slot of a page; NULL if its leaf does not exist, and with create if
 * there is no memory for it.
 */
slot_t *tz_slot (struct table *t, uint64_t page, bool create);
/* Returns the word without lock and waiter bits. */
uint64_t tz_slot_lock (slot_t *slot);
bool tz_slot_trylock (slot_t *slot, uint64_t *word);
void tz_slot_unlock (slot_t *slot, uint64_t word);
/* Rebuild the pool's bitmaps from the table found in the region; fn is called
 * for each page's word.
 */
typedef void tz_word_fn (void *opaque, uint64_t word);
int tz_table_attach (struct table *t, bool checksum, tz_word_fn *fn,
                     void *opaque);

/* Units of the run that a word stands for: 0 if it has none. */
static inline unsigned
word_units (uint64_t w, bool checksum)
{
  unsigned len = word_len (w);

  return len ? DIV_UP (len + (checksum ? CHECKSUM_LEN : 0), UNIT) : 0;
}

/* ---- Counters (stats.c): one cell a CPU, summed when asked for ---- */
#define STAT_CELLS 16

struct stat_cell {
  atomic_int_fast64_t pages[TZ_CODECS];
  atomic_int_fast64_t compr_bytes;
  atomic_int_fast64_t huge_since;
  atomic_int_fast64_t failed_reads, failed_writes, bad_blobs, pool_full;
  atomic_int_fast64_t vram_errors;
} __attribute__ ((aligned (64)));

/* ---- Scratch for codecs (store.c) ---- */
struct stream {
  pthread_mutex_t lock;
  uint8_t *page; /* TZ_PAGE bytes */
  uint8_t *dst;  /* TZ_DST_SIZE bytes */
  void *scratch[TZ_CODECS];
  struct group *group; /* blobs on their way (vram.c); NULL: not needed */
} __attribute__ ((aligned (64)));

/* ---- Upkeep (upkeep.c) ---- */
struct upkeep {
  pthread_t thread;
  pthread_mutex_t lock;
  pthread_cond_t cond;
  bool running, stop;
  atomic_bool wanted;   /* woken, and has not looked yet */
  atomic_bool settling; /* about to give memory back */
};

struct offload;
struct later;
struct vram;

struct tz_store {
  struct tz_params params;
  enum tz_codec codec; /* what params.codec comes to */
  struct vram *vram;   /* where blobs are; NULL: in the region */
  struct region region;
  struct pool pool;
  struct table table;
  struct stream *streams;
  unsigned n_streams;
  void *scratch; /* of all streams */
  size_t scratch_len;
  struct stat_cell cells[STAT_CELLS];
  struct upkeep upkeep;
  uint64_t bulk_min;       /* bytes; requests from here on are large */
  struct offload *offload; /* who serves them; NULL: nobody else */
  struct later *later;     /* pages to compress later; NULL: none are */
};

int tz_upkeep_start (struct tz_store *s);
void tz_upkeep_stop (struct tz_store *s);
void tz_upkeep_want (void *store, bool more);

/* What other parts need of the store (store.c): scratch; tz_read inside the
 * disk and without statistics; and one page whose slot is locked, with a stream
 * if its codec decodes with scratch.
 */
struct stream *tz_stream_get (struct tz_store *s);
void tz_stream_put (struct stream *st);
int tz_read_range (struct tz_store *s, void *buf, uint64_t count,
                   uint64_t offset);
int tz_load_page (struct tz_store *s, struct stream *st, uint64_t page,
                  uint64_t w, uint8_t *buf);
int tz_load_blob (struct tz_store *s, struct stream *st, uint64_t page,
                  uint64_t w, const uint8_t *blob, uint8_t *buf);
/* Store a page anywhere but in the table: its word, or 0 and an error. */
uint64_t tz_store_page (struct tz_store *s, struct stream *st, uint64_t page,
                        const uint8_t *buf, int *err);
/* The slot of a page to be written, or NULL and an error. */
slot_t *tz_slot_to_write (struct tz_store *s, uint64_t page, int *err);

/* Choose what to store a page as: returns the codec, or -EIO, and where its
 * blob is.
 */
int tz_encode_page (struct tz_store *s, struct stream *st, const uint8_t *buf,
                    const uint8_t **blob, unsigned *len);
/* Put a blob, which TZ_BLOB_SLACK readable bytes follow unless it is a whole
 * page, into a run: the word for it, or 0 if there is no room.  In a device's
 * memory it is only when tz_vram_put has succeeded; else the stream is not
 * needed.
 */
uint64_t tz_put_blob (struct tz_store *s, struct stream *st, uint64_t page,
                      unsigned codec, const uint8_t *blob, unsigned len);
/* The same of a page as it is, for a short time. */
uint64_t tz_put_passing (struct tz_store *s, uint64_t page,
                         const uint8_t *buf);
/* Fill the run of a raw page, whose slot is locked. */
void tz_fill_raw (struct tz_store *s, uint64_t page, uint64_t run,
                  const uint8_t *buf);
/* Free the run of a word that is in no slot. */
void tz_free_blob (struct tz_store *s, uint64_t w);
/* Have a slot hold a word, account for it, and free what it held before. */
void tz_publish (struct tz_store *s, slot_t *slot, uint64_t new);
/* … without the first of these. */
void tz_retire (struct tz_store *s, uint64_t old, uint64_t new);

/* Blobs in a device's memory (vram.c).  A stream has a group of up to TZ_COPIES
 * of them on their way there or back, of which all functions use as many as
 * they are told, or as tz_vram_stage was asked for.
 */
int tz_vram_open (struct tz_store *s, size_t first, size_t len);
void tz_vram_close (struct tz_store *s);
/* Where to make a blob, with its checksum, that is to go into a run. */
uint8_t *tz_vram_stage (struct tz_store *s, struct stream *st, uint64_t run,
                        unsigned len);
/* Copy what was staged. */
int tz_vram_put (struct tz_store *s, struct stream *st);
/* Fetch the blobs of words, of which some may have none, and where the i-th
 * then is, with its checksum.
 */
int tz_vram_get (struct tz_store *s, struct stream *st, const uint64_t *words,
                 unsigned n);
const uint8_t *tz_vram_blob (const struct stream *st, unsigned i);
/* Whole pages, as many as a group has at most.  Reading returns how many. */
unsigned tz_vram_pages (uint64_t count);
int tz_vram_read (struct tz_store *s, struct stream *st, uint8_t *buf,
                  uint64_t page, unsigned n);
int tz_vram_load (struct tz_store *s, struct stream *st, uint64_t page,
                  uint64_t w, uint8_t *buf);
int tz_vram_write (struct tz_store *s, struct stream *st, const uint8_t *buf,
                   uint64_t page, unsigned n);
size_t tz_vram_shared (const struct tz_store *s);
void tz_vram_stats (struct tz_store *s, struct tz_stats *st);

/* Compressing later (later.c).  Store a page raw and list it as one to
 * compress, if there is room for both: true if that was done.  And work on that
 * list, when there is no memory: true if that freed some.
 */
bool tz_later_write (struct tz_store *s, slot_t *slot, uint64_t page,
                     const uint8_t *buf);
bool tz_later_help (struct tz_store *s, struct stream *st);

/* Large reads (bulk.c). */
int tz_bulk_read (struct offload *o, void *buf, uint64_t count,
                  uint64_t offset);
void tz_offload_stop (struct tz_store *s);
/* The engine has told someone else that it is lost. */
void tz_offload_lose (struct offload *o, int err);
size_t tz_offload_bytes (const struct tz_store *s);

struct stat_cell *tz_stat_cell (struct tz_store *s);
/* Pages stored raw, ever. */
uint64_t tz_raw_writes (struct tz_store *s);
static inline void
stat_add (atomic_int_fast64_t *p, int64_t n)
{
  atomic_fetch_add_explicit (p, n, memory_order_relaxed);
}

/* While spinning. */
static inline void
tz_pause_cpu (void)
{
#if defined(__x86_64__)
  __builtin_ia32_pause ();
#elif defined(__aarch64__)
  __asm__ volatile ("yield");
#endif
}

/* The CPU this thread runs on, as a hint. */
unsigned tz_this_cpu (void);
unsigned tz_cpu_count (void);

#endif /* TZ_INTERNAL_H */

/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* libtzram: a store of compressed 4 KiB pages.
 *
 * This is the only header a user of the core needs.  All functions return 0
 * or a negative errno; none prints, exits, forks or reads the environment.
 * Offsets and lengths are bytes; any offset and length inside the disk is
 * legal.  All functions but tz_cpu_hide, tz_open, tz_start, tz_attach and
 * tz_close may be called by any number of threads at once.
 */
#ifndef TZRAM_H
#define TZRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TZ_PAGE      4096  /* bytes compressed as one unit */
#define TZ_CHUNK     65536 /* bytes; the pool grows and shrinks by chunks */
#define TZ_MEMORY_MIN (2 * TZ_CHUNK) /* bytes; for blobs and for the table */
#define TZ_BLOCK_MAX (32u << 20) /* bytes; a good largest request */

/* What a page may be stored as.  The numbers are stored in table words:
 * they never change their meaning.
 */
enum tz_codec {
  TZ_ABSENT = 0, /* never written, zeroed or trimmed: reads as zeroes */
  TZ_SAME = 1,   /* one 8-byte pattern all over the page */
  TZ_RAW = 2,    /* the page itself */
  TZ_LD64 = 3,   /* line deltas, docs/ld64.md */
  TZ_LZ4 = 4,    /* a standard LZ4 block */
  TZ_ZSTD = 5,   /* a zstd frame without its magic number */
  TZ_CODECS,     /* how many there are */
  TZ_AUTO = 15,  /* tz_params only: let the store choose */
};

/* The range of levels of a codec and the one taken if none is asked for.
 * Returns -EINVAL if codec is not one that tz_params may name.
 */
int tz_codec_levels (enum tz_codec codec, int *min, int *max, int *dflt);

/* "ld64", "lz4", …; never NULL.  tz_codec_by_name returns -EINVAL for a
 * name that tz_params may not hold.
 */
const char *tz_codec_name (enum tz_codec codec);
int tz_codec_by_name (const char *name);

/* The body that runs a codec on this machine: "scalar", "avx2", … */
const char *tz_codec_isa (enum tz_codec codec);

/* CPU features found, best first, separated by blanks; "none" if none. */
const char *tz_cpu_features (void);

/* Use no more of the CPU than one without some features has, so that all bodies
 * can be tested on one machine: a list such as "avx512,avx2" of "avx512",
 * "avx2", "ssse3" and "neon".  Hiding one hides all that are built upon it.
 * -EINVAL: there is another name in it; nothing is hidden.  -EBUSY: the CPU was
 * looked at already; so this must come before all else.
 */
int tz_cpu_hide (const char *list);

/* The version of libzstd in use. */
const char *tz_zstd_version (void);

struct tz_engine;
struct tz_engine_ops;

struct tz_params {
  uint64_t size;       /* bytes of the disk, 1 … INT64_MAX */
  uint64_t memory;     /* bytes the pool and the table may take,
                        * TZ_MEMORY_MIN …; 0: no limit */
  enum tz_codec codec; /* TZ_RAW, TZ_LD64, TZ_LZ4, TZ_ZSTD or TZ_AUTO */
  int level;           /* within tz_codec_levels */
  bool checksum;       /* keep and verify four bytes a blob */
  bool prefault;       /* requests never wait for the system for memory: it
                        * is there at tz_start; memory is not 0 */
  uint64_t reserve;    /* with prefault: bytes to have at tz_start and to keep
                        * ready, so far as memory allows, TZ_CHUNK …, and no
                        * file; 0: have all of memory, and keep it */
  bool attach;         /* the file holds a store already: use its pages */
  bool standby;        /* … which another process still serves: only get ready,
                        * and use them when tz_attach says so; needs attach */
  int fd;              /* a file to keep everything in; -1: anonymous memory.
                        * Stays the caller's; may be closed after tz_open. */
  /* Keep blobs in the memory of an engine (offload.h), and no more than the
   * table here; NULL: do not.  It must then be the engine of tz_offload_start,
   * which is to follow tz_start.  memory is then the engine's, 0: what it can
   * give; with neither a file nor prefault.
   */
  const struct tz_engine_ops *vram;
  struct tz_engine *engine;
};

struct tz_store;

/* Make a store; with attach, find one in the file again.  All that a request
 * will ever need is allocated and touched here, bar the pool.
 * -EINVAL: a parameter out of range.  -ENOMEM: no address space or memory.
 * With attach also -EMEDIUMTYPE: the file holds no store or one of another
 * version; -ESTALE: one made with other parameters (size, memory, checksum);
 * -EUCLEAN: a store whose table does not hold together.
 */
int tz_open (const struct tz_params *params, struct tz_store **store);

/* Start the upkeep thread, which keeps a reserve of memory ready and gives
 * back what is free.  Call it in the process that serves, after fork.
 * Without it both are done within requests.
 * -ENOMEM (or what the system said): with prefault, there is not enough.
 */
int tz_start (struct tz_store *store);

/* For a store on standby, after tz_start, once nobody else uses the file: find
 * its pages.  With prefault, no memory is asked of the system.
 * -EUCLEAN: the table does not hold together.
 */
int tz_attach (struct tz_store *store);

/* What tells this store from any other: random when it was made, and the same
 * when it is found again in its file.
 */
#define TZ_ID_LEN 16
const uint8_t *tz_id (const struct tz_store *store);

/* Stop upkeep and free all memory (a file keeps its pages). */
void tz_close (struct tz_store *store);

/* -EINVAL: outside the disk.  -EIO: a page could not be decoded or failed
 * its checksum: the buffer's content is undefined there, nothing else is
 * harmed.  With vram also -EREMOTEIO: a copy from the engine's memory failed;
 * -ENODEV: that memory is lost.
 * A concurrent write to the same page is seen wholly or not at all.
 */
int tz_read (struct tz_store *store, void *buf, uint64_t count,
             uint64_t offset);

/* -ENOSPC: the pool is full, or (reserve) had nothing ready for a tenth of a
 * second: pages before the failing one are written, that one and those after it
 * keep what they held.  -EIO: as tz_read, from the rest of a page that is
 * written in part, or the codec failed.
 * -EREMOTEIO, -ENODEV: as tz_read; up to 31 pages before the failing one keep
 * what they held, too.
 */
int tz_write (struct tz_store *store, const void *buf, uint64_t count,
              uint64_t offset);

/* The range reads as zeroes after this and its memory, but for the table's, is
 * free again.
 * Only the partial pages at its ends can fail, as in tz_write.
 */
int tz_zero (struct tz_store *store, uint64_t count, uint64_t offset);

/* Call fn for each extent of the range, in order and contiguous; stop when it
 * returns non-zero and return that (a negative errno, by convention).
 */
enum tz_extent {
  TZ_EXTENT_DATA = 0,
  TZ_EXTENT_ZERO = 1, /* reads as zeroes, but written */
  TZ_EXTENT_HOLE = 2, /* reads as zeroes and holds no memory */
};
typedef int tz_extent_fn (void *opaque, uint64_t offset, uint64_t count,
                          enum tz_extent type);
int tz_extents (struct tz_store *store, uint64_t count, uint64_t offset,
                tz_extent_fn *fn, void *opaque);

/* The first nine have the names, order and meaning of the kernel's
 * /sys/block/zramN/mm_stat, but that mem_used_total counts everything the
 * store holds, not the pool alone.
 */
struct tz_stats {
  uint64_t orig_data_size;   /* bytes of pages stored, same-filled included */
  uint64_t compr_data_size;  /* bytes of blobs, checksums and rounding aside */
  uint64_t mem_used_total;   /* bytes of memory in use, see below */
  uint64_t mem_limit;        /* bytes; 0: none */
  uint64_t mem_used_max;     /* bytes; the highest mem_used_total */
  uint64_t same_pages;       /* pages stored as one pattern */
  uint64_t pages_compacted;  /* 0: pages are never moved */
  uint64_t huge_pages;       /* pages stored raw */
  uint64_t huge_pages_since; /* pages stored raw, ever */

  /* mem_used_total in parts, bytes.  pool_bytes is run_bytes, free room in
   * chunks in use, and the reserve.
   */
  uint64_t run_bytes;     /* runs that hold blobs */
  uint64_t pool_bytes;    /* chunks that hold runs, and the reserve */
  uint64_t reserve_bytes; /* populated chunks that hold nothing */
  uint64_t table_bytes;   /* table leaves */
  uint64_t fixed_bytes;   /* superblock, directory, bitmaps, scratch */

  uint64_t pages[TZ_CODECS]; /* pages stored, by codec; [TZ_ABSENT] is 0 */
  uint64_t failed_reads;     /* requests answered with an error */
  uint64_t failed_writes;    /* … zeroes included */
  uint64_t bad_blobs;        /* blobs that did not decode or verify */
  uint64_t pool_full;        /* pages refused for want of memory */
  uint64_t reserve_misses;   /* waits of requests for fresh memory */

  uint64_t vram_total;  /* bytes of the engine's memory taken for blobs */
  uint64_t vram_bytes;  /* of mem_used_total, what is in that: pool_bytes */
  uint64_t vram_errors; /* blobs that could not be copied there or back */
};
void tz_stats (struct tz_store *store, struct tz_stats *stats);

#endif /* TZRAM_H */

/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The store as an nbdkit plugin: thin callbacks, no state of its own. */
#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

#include "debug.h"
#include "engine.h"
#include "params.h"
#include "storefile.h"
#include "tzram.h"

#define THREAD_MODEL NBDKIT_THREAD_MODEL_PARALLEL

/* A client may ask about 4 GiB at once; half a megabyte of extents is answer
 * enough, and it asks again from there.
 */
#define MAX_EXTENTS 65536

#define LOG_EVERY 10 /* seconds between two lines about one kind of error */

DEBUG_FLAG (io);    /* a line a request */
DEBUG_FLAG (stats); /* the statistics when the server ends */

static struct tz_store *store;
static char description[128];

/* What was answered with an error, and how much of that was not logged. */
static struct trouble {
  int error;
  const char *meaning;
  _Atomic time_t quiet_until; /* 0: nothing was logged yet */
  atomic_ulong since;         /* errors since the last line */
} troubles[] = {
  { .error = -ENOSPC,
    .meaning = ": the compressed pages fill the memory that memory= allows" },
  { .error = -EIO, .meaning = ": a page did not decode or verify" },
  { .error = -EREMOTEIO,
    .meaning = ": the GPU did not copy a page from or to its memory" },
  { .error = -ENODEV,
    .meaning = ": the GPU is lost, and the pages in its memory with it" },
  { .meaning = "" }, /* any other */
};

/* True for the first error and then once in a while: a machine that swaps to a
 * full disk tries again thousands of times a second.  Whoever reads the log
 * may itself wait to be swapped in.
 */
static bool
worth_a_line (struct trouble *t, unsigned long *since)
{
  struct timespec now;
  time_t until = atomic_load (&t->quiet_until);

  clock_gettime (CLOCK_MONOTONIC_COARSE, &now);
  if ((until && now.tv_sec < until)
      || !atomic_compare_exchange_strong (&t->quiet_until, &until,
                                          now.tv_sec + LOG_EVERY)) {
    atomic_fetch_add (&t->since, 1);
    return false;
  }
  *since = atomic_exchange (&t->since, 0);
  return true;
}

/* The one place where an error of the core becomes a message and an errno
 * for the client.
 */
static int
answer (const char *what, uint32_t count, uint64_t offset, int r)
{
  struct trouble *t = troubles;
  unsigned long since;
  char more[64] = "";

  if (r == 0)
    return 0;
  while (t->error != 0 && t->error != r)
    t++;
  errno = -r;
  if (!worth_a_line (t, &since))
    nbdkit_debug ("%s of %" PRIu32 " bytes at %" PRIu64 ": %m", what, count,
                  offset);
  else {
    if (since > 0)
      snprintf (more, sizeof more, " (and %lu more since the last message)",
                since);
    nbdkit_error ("%s of %" PRIu32 " bytes at %" PRIu64 ": %m%s%s", what,
                  count, offset, t->meaning, more);
  }
  /* The protocol has no more words. */
  nbdkit_set_error (r == -EREMOTEIO || r == -ENODEV ? EIO : -r);
  return -1;
}

/* What came after the last line about it. */
static void
log_the_rest (void)
{
  struct trouble *t = troubles;

  for (;; t++) {
    if (atomic_load (&t->since) > 0)
      nbdkit_error ("%lu more errors since the last message%s",
                    atomic_load (&t->since), t->meaning);
    if (t->error == 0)
      break;
  }
}

/* Each request begins with this.  Without -v, which would log the same: -D is
 * there to see one thing only.
 */
static void
begin (const char *what, uint32_t count, uint64_t offset, uint32_t flags)
{
  swap_thread ();
  if (debug_io)
    fprintf (stderr,
             "trueno-zram: %s count=%" PRIu32 " offset=%" PRIu64 "%s%s%s%s\n",
             what, count, offset, flags & NBDKIT_FLAG_FUA ? " fua" : "",
             flags & NBDKIT_FLAG_MAY_TRIM ? " may_trim" : "",
             flags & NBDKIT_FLAG_FAST_ZERO ? " fast_zero" : "",
             flags & NBDKIT_FLAG_REQ_ONE ? " req_one" : "");
}

/* What a client sees of the store.  The id tells it whether a server that it
 * comes back to holds the pages it wrote.
 */
static void
describe (void)
{
  const uint8_t *id = tz_id (store);
  size_t n, i;

  n = snprintf (description, sizeof description,
                "trueno-zram: %s, %d-byte pages, id=",
                tz_codec_name (params.codec), TZ_PAGE);
  for (i = 0; i < TZ_ID_LEN; i++)
    n += snprintf (description + n, sizeof description - n, "%02x", id[i]);
}

static int
open_store (void)
{
  int r;

  if (store_path) {
    params.fd = storefile_open (store_path, &params.attach, &params.standby);
    if (params.fd == -1)
      return -1;
  }
  r = tz_open (&params, &store);
  if (store_path && !params.standby)
    close (params.fd); /* the store has its own */
  if (r == 0) {
    describe ();
    return 0;
  }
  errno = -r;
  if (store_path)
    nbdkit_error ("store=%s: %s", store_path, storefile_error (r));
  else
    nbdkit_error ("cannot set up a disk of %" PRIu64 " bytes: %m",
                  params.size);
  storefile_give_up ();
  return -1;
}

/* Before the fork: what is wrong is said to the user, not to the syslog. */
static int
tzp_get_ready (void)
{
  /* A GPU cannot be used before a fork, and so its memory cannot. */
  if (swap_check (swap, params.memory) == -1
      || (!store_vram && open_store () == -1))
    return -1;
  if ((!params.standby && swap_raise () == -1)
      || engine_prepare (store_vram) == -1) {
    storefile_give_up ();
    return -1;
  }
  nbdkit_debug ("trueno-zram: size=%" PRIu64 " codec=%s level=%d"
                " memory=%" PRIu64 "%s checksum=%s isa=%s cpu_features=%s",
                params.size, tz_codec_name (params.codec), params.level,
                params.memory, params.memory ? "" : " (no limit)",
                params.checksum ? "yes" : "no", tz_codec_isa (params.codec),
                tz_cpu_features ());
  return 0;
}

/* All is there; wait for the server that this one stands by for. */
static int
stand_by (void)
{
  int r;

  if (swap_raise () == -1 || storefile_wait (store_path, params.fd) == -1)
    return -1;
  r = tz_attach (store);
  if (r < 0)
    nbdkit_error ("store=%s: %s", store_path, storefile_error (r));
  return r < 0 ? -1 : 0;
}

static int
start_store (void *unused)
{
  return tz_start (store);
}

static int
start (void)
{
  struct tz_stats st;
  int r;

  if (swap_lock () == -1 || engine_open (&params) == -1
      || (store_vram && open_store () == -1))
    return -1;
  r = swap_at_ease (start_store, NULL);
  if (r < 0) {
    errno = -r;
    if (swap == SWAP_NO)
      nbdkit_error ("cannot start the upkeep thread: %m");
    else
      nbdkit_error ("swap: %s=%" PRIu64 " is taken at the start, and there "
                    "is not so much%s: %m",
                    params.reserve ? "reserve" : "memory",
                    params.reserve ? params.reserve : params.memory,
                    store_path ? " where store= is" : "");
    return -1;
  }
  if (engine_start (store, swap != SWAP_NO) == -1)
    return -1;
  tz_stats (store, &st);
  if (swap_finish (st.pool_bytes + st.table_bytes) == -1)
    return -1;
  return params.standby ? stand_by () : 0;
}

static int
tzp_after_fork (void)
{
  int r = start ();

  if (r == -1)
    storefile_give_up ();
  return r;
}

static void
print_stats (void)
{
  struct tz_stats s;

  tz_stats (store, &s);
#define PRINT(field) \
  fprintf (stderr, "trueno-zram: " #field "=%" PRIu64 "\n", s.field)
  PRINT (orig_data_size);
  PRINT (compr_data_size);
  PRINT (mem_used_total);
  PRINT (mem_limit);
  PRINT (mem_used_max);
  PRINT (same_pages);
  PRINT (pages_compacted);
  PRINT (huge_pages);
  PRINT (huge_pages_since);
  PRINT (run_bytes);
  PRINT (pool_bytes);
  PRINT (reserve_bytes);
  PRINT (table_bytes);
  PRINT (fixed_bytes);
  PRINT (failed_reads);
  PRINT (failed_writes);
  PRINT (bad_blobs);
  PRINT (pool_full);
  PRINT (reserve_misses);
  if (store_vram) {
    PRINT (vram_total);
    PRINT (vram_bytes);
    PRINT (vram_errors);
  }
#undef PRINT
  engine_stats (store);
  /* Of what a user would have needed without compression. */
  fprintf (stderr, "trueno-zram: ratio=%.2f\n",
           s.mem_used_total ? (double) s.orig_data_size / s.mem_used_total
                            : 0.0);
}

static void
tzp_cleanup (void)
{
  log_the_rest ();
  if (debug_stats)
    print_stats ();
}

/* For tests; before anything asks what the processor has. */
static void
tzp_load (void)
{
  const char *list = getenv ("TZRAM_DISABLE_CPU_FEATURES");

  if (list && tz_cpu_hide (list) != 0)
    nbdkit_error ("TZRAM_DISABLE_CPU_FEATURES=%s: nothing is hidden: the "
                  "features are avx512, avx2, ssse3 and neon", list);
}

static void
tzp_unload (void)
{
  if (store)
    tz_close (store);
  store = NULL;
  engine_close ();
}

static void *
tzp_open (int readonly)
{
  return NBDKIT_HANDLE_NOT_NEEDED;
}

static int64_t
tzp_get_size (void *handle)
{
  return params.size;
}

static const char *
tzp_export_description (void *handle)
{
  return description;
}

/* Anything goes, but a write of less than a page reads the page first. */
static int
tzp_block_size (void *handle, uint32_t *minimum, uint32_t *preferred,
                uint32_t *maximum)
{
  *minimum = 1;
  *preferred = TZ_PAGE;
  *maximum = TZ_BLOCK_MAX;
  return 0;
}

static int
always (void *handle)
{
  return 1;
}

static int
never (void *handle)
{
  return 0;
}

/* Memory has nothing to flush: a request is as durable as it gets when it is
 * answered.
 */
static int
tzp_can_fua (void *handle)
{
  return NBDKIT_FUA_NATIVE;
}

static int
tzp_can_cache (void *handle)
{
  return NBDKIT_CACHE_NATIVE;
}

static int
tzp_pread (void *handle, void *buf, uint32_t count, uint64_t offset,
           uint32_t flags)
{
  begin ("read", count, offset, flags);
  return answer ("read", count, offset, tz_read (store, buf, count, offset));
}

static int
tzp_pwrite (void *handle, const void *buf, uint32_t count, uint64_t offset,
            uint32_t flags)
{
  begin ("write", count, offset, flags);
  return answer ("write", count, offset, tz_write (store, buf, count, offset));
}

static int
tzp_flush (void *handle, uint32_t flags)
{
  begin ("flush", 0, 0, flags);
  return 0;
}

static int
tzp_trim (void *handle, uint32_t count, uint64_t offset, uint32_t flags)
{
  begin ("trim", count, offset, flags);
  return answer ("trim", count, offset, tz_zero (store, count, offset));
}

/* Always faster than writing zeroes.  It must never fail with EOPNOTSUPP:
 * nbdkit up to 1.44 would then write the zeroes itself, and only the first
 * 64 MiB of them.
 */
static int
tzp_zero (void *handle, uint32_t count, uint64_t offset, uint32_t flags)
{
  begin ("zero", count, offset, flags);
  return answer ("zero", count, offset, tz_zero (store, count, offset));
}

struct extents_state {
  struct nbdkit_extents *extents;
  bool one;            /* the client wants the first only */
  enum tz_extent type; /* of the one before */
  unsigned n;          /* nbdkit joins neighbours of one type */
};

/* Returns 1 when there is enough. */
static int
add_extent (void *opaque, uint64_t offset, uint64_t count, enum tz_extent type)
{
  static const uint32_t types[] = {
    [TZ_EXTENT_DATA] = 0,
    [TZ_EXTENT_ZERO] = NBDKIT_EXTENT_ZERO,
    [TZ_EXTENT_HOLE] = NBDKIT_EXTENT_ZERO | NBDKIT_EXTENT_HOLE,
  };
  struct extents_state *state = opaque;

  if (state->n == 0 || type != state->type) {
    if (state->n == (state->one ? 1 : MAX_EXTENTS))
      return 1;
    state->n++;
    state->type = type;
  }
  if (nbdkit_add_extent (state->extents, offset, count, types[type]) < 0)
    return -errno;
  return 0;
}

static int
tzp_extents (void *handle, uint32_t count, uint64_t offset, uint32_t flags,
             struct nbdkit_extents *extents)
{
  struct extents_state state = {
    .extents = extents,
    .one = flags & NBDKIT_FLAG_REQ_ONE,
  };
  int r;

  begin ("extents", count, offset, flags);
  r = tz_extents (store, count, offset, add_extent, &state);
  return answer ("extents", count, offset, r > 0 ? 0 : r);
}

static struct nbdkit_plugin plugin = {
  .name = "trueno-zram",
  .longname = "nbdkit trueno-zram plugin",
  .version = PACKAGE_VERSION,
  .description = "Compressed RAM disk",
  .load = tzp_load,
  .unload = tzp_unload,
  .config = params_set,
  .config_complete = params_complete,
  .config_help = params_help,
  .magic_config_key = "size",
  .dump_plugin = params_dump,
  .get_ready = tzp_get_ready,
  .after_fork = tzp_after_fork,
  .cleanup = tzp_cleanup,
  .open = tzp_open,
  .get_size = tzp_get_size,
  .export_description = tzp_export_description,
  .block_size = tzp_block_size,
  .can_write = always,
  .can_flush = always,
  .can_trim = always,
  .can_zero = always,
  .can_fast_zero = always,
  .can_extents = always,
  .can_multi_conn = always,
  .can_fua = tzp_can_fua,
  .can_cache = tzp_can_cache,
  .is_rotational = never,
  .pread = tzp_pread,
  .pwrite = tzp_pwrite,
  .flush = tzp_flush,
  .trim = tzp_trim,
  .zero = tzp_zero,
  .extents = tzp_extents,
};

/* nbdkit's macro declares it nowhere. */
struct nbdkit_plugin *plugin_init (void);

NBDKIT_REGISTER_PLUGIN (plugin)

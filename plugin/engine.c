/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Large requests: see engine.h. */
#include <config.h>

#include <dlfcn.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

#include "debug.h"
#include "engine.h"
#include "offload.h"

#define MODULE    "nbdkit-trueno-zram-cuda.so"
#define LANES     2
#define BATCH_MIN 32
/* A request that the GPU has not served by then is served without it. */
#define TIMEOUT_MS 200
/* Copies of pages in its memory wait that much longer: then it is lost. */
#define PATIENCE   20

DEBUG_FLAG (gpu_timeout); /* that time, if not 0 */

static enum { CUDA_AUTO, CUDA_ON, CUDA_OFF } cuda = CUDA_AUTO;
static unsigned batch = 4096, batch_wait;
static bool later;

static const struct tz_engine_ops *ops; /* NULL: no module */
static struct tz_engine *engine; /* NULL: not open, or the core's already */
static bool holds_pages;         /* in its memory */

/* ---- Parameters ---- */

static int
set_number (const char *key, const char *value, unsigned min, unsigned max,
            const char *unit, unsigned *number)
{
  unsigned n;

  if (nbdkit_parse_unsigned (key, value, &n) == -1 || n < min || n > max) {
    nbdkit_error ("%s=%s: %s must be from %u to %u %s", key, value, key, min,
                  max, unit);
    return -1;
  }
  *number = n;
  return 0;
}

static int
set_cuda (const char *value)
{
  int yes;

  if (strcmp (value, "auto") == 0) {
    cuda = CUDA_AUTO;
    return 0;
  }
  yes = nbdkit_parse_bool (value);
  if (yes < 0) {
    nbdkit_error ("cuda=%s: cuda must be auto, on or off", value);
    return -1;
  }
  cuda = yes ? CUDA_ON : CUDA_OFF;
  return 0;
}

static int
set_compress (const char *value)
{
  later = strcmp (value, "later") == 0;
  if (later || strcmp (value, "now") == 0)
    return 0;
  nbdkit_error ("compress=%s: compress must be now or later", value);
  return -1;
}

int
engine_set (const char *key, const char *value)
{
  if (strcmp (key, "compress") == 0)
    return set_compress (value);
  if (strcmp (key, "cuda") == 0)
    return set_cuda (value);
  if (strcmp (key, "batch") == 0)
    return set_number (key, value, BATCH_MIN, TZ_ENGINE_BATCH, "pages",
                       &batch);
  if (strcmp (key, "batch-wait") == 0)
    return set_number (key, value, 0, 1000000, "microseconds", &batch_wait);
  return 1;
}

/* ---- The module ---- */

/* It lies where the plugin does; false: there is none, why says so. */
static bool
load_module (char *why, size_t size)
{
  char path[PATH_MAX];
  const char *slash;
  Dl_info self;
  void *lib;

  if (dladdr (&ops, &self) == 0 || !(slash = strrchr (self.dli_fname, '/'))) {
    snprintf (why, size, "the plugin cannot tell where it lies");
    return false;
  }
  snprintf (path, sizeof path, "%.*s/" MODULE,
            (int) (slash - self.dli_fname), self.dli_fname);
  lib = dlopen (path, RTLD_NOW | RTLD_LOCAL);
  if (!lib) {
    snprintf (why, size,
              "%s: install it, or build trueno-zram where nvcc is",
              dlerror ());
    return false;
  }
  ops = dlsym (lib, TZ_ENGINE_SYMBOL);
  if (ops && ops->abi == TZ_ENGINE_ABI)
    return true;
  snprintf (why, size, MODULE " is of another version than the plugin");
  ops = NULL;
  return false;
}

int
engine_check_vram (void)
{
  if (cuda == CUDA_OFF)
    nbdkit_error ("store=vram needs the GPU: leave cuda=off out");
  else if (later)
    nbdkit_error ("store=vram with compress=later: what is in the GPU's memory "
                  "was compressed before: leave one of them out");
  else
    return 0;
  return -1;
}

/* 0, or -1 after a message if there must be one. */
static int
go_without (const char *why)
{
  ops = NULL;
  if (holds_pages || cuda == CUDA_ON) {
    nbdkit_error ("%s: %s", holds_pages ? "store=vram" : "cuda=on", why);
    return -1;
  }
  nbdkit_debug ("trueno-zram: no GPU is used: %s", why);
  return 0;
}

int
engine_prepare (bool vram)
{
  char why[512];

  holds_pages = vram;
  if (cuda == CUDA_OFF
      || (load_module (why, sizeof why) && ops->probe (why, sizeof why) == 0))
    return 0;
  return go_without (why);
}

static void
lost (void *opaque, int err)
{
  errno = -err;
  if (holds_pages && err == -ENODEV)
    nbdkit_error ("the GPU is lost (%m), and with it all pages in its memory: "
                  "they can be neither read nor written from now on");
  else
    nbdkit_error ("the GPU is given up (%m): all requests are served without "
                  "it from now on");
}

/* ---- Start ---- */

static unsigned
timeout_ms (void)
{
  return debug_gpu_timeout > 0 ? debug_gpu_timeout : TIMEOUT_MS;
}

static struct tz_engine_params
engine_params (void)
{
  const struct tz_engine_params params = {
    .lanes = LANES,
    .batch = batch,
    .patience_ms = timeout_ms () * PATIENCE,
  };

  return params;
}

/* See that the pages have room in the GPU's memory. */
static int
check_room (struct tz_params *params)
{
  size_t room = ops->room (engine);

  if (room < TZ_MEMORY_MIN)
    nbdkit_error ("store=vram: %s has no memory free",
                  ops->describe (engine));
  else if (params->memory > room)
    nbdkit_error ("memory=%" PRIu64 ": %s has %zu bytes free; leave memory= "
                  "out to take what is needed of these",
                  params->memory, ops->describe (engine), room);
  else {
    if (params->memory == 0 && room < params->size)
      nbdkit_error ("store=vram: warning: %s has %zu bytes free: the disk "
                    "holds what fits there, compressed",
                    ops->describe (engine), room);
    params->vram = ops;
    params->engine = engine;
    return 0;
  }
  return -1;
}

int
engine_open (struct tz_params *params)
{
  const struct tz_engine_params with = engine_params ();
  char why[512] = "";

  if (!ops)
    return 0;
  if (ops->open (&with, &engine, why, sizeof why) != 0)
    return go_without (why);
  return holds_pages ? check_room (params) : 0;
}

void
engine_close (void)
{
  if (engine)
    ops->close (engine);
  engine = NULL;
}

static void
log_crossover (const char *what, uint32_t pages)
{
  if (pages == TZ_NEVER)
    nbdkit_debug ("trueno-zram: %s: never", what);
  else
    nbdkit_debug ("trueno-zram: %s: from %" PRIu32 " pages on", what, pages);
}

static void
log_later (const struct tz_offload_stats *st)
{
  if (st->compress_percent != TZ_NEVER)
    nbdkit_debug ("trueno-zram: the GPU compresses in %" PRIu32 " percent of "
                  "the time of all cores",
                  st->compress_percent);
  nbdkit_debug ("trueno-zram: pages are compressed later by %s",
                st->engine_compresses ? "the GPU" : "idle cores");
}

int
engine_start (struct tz_store *store, bool swap)
{
  struct tz_offload_params p = {
    .ops = ops,
    .engine = engine,
    .with = engine_params (),
    .always = cuda == CUDA_ON,
    .wait_us = batch_wait,
    .timeout_ms = timeout_ms (),
    .cores = !swap,
    .later = later,
    .lost = lost,
  };
  struct tz_offload_stats st;
  int r;

  engine = NULL; /* the core's from now on */
  r = tz_offload_start (store, &p);
  if (r < 0) {
    errno = -r;
    nbdkit_error ("cannot prepare for large requests: %m");
    return -1;
  }
  tz_offload_stats (store, &st);
  log_crossover ("large reads spread over idle cores", st.cores_min_pages);
  if (p.ops) {
    nbdkit_debug ("trueno-zram: GPU: %s, pool %s",
                  p.ops->describe (p.engine),
                  st.in_place ? "read in place" : "copied from");
    log_crossover ("the GPU is faster than one core", st.crossover_one);
    log_crossover ("the GPU is faster than all cores", st.crossover_all);
    log_crossover ("large reads handed to the GPU", st.engine_min_pages);
    if (later)
      log_later (&st);
  }
  return 0;
}

/* ---- What is said of it ---- */

void
engine_stats (struct tz_store *store)
{
  struct tz_offload_stats st;

  tz_offload_stats (store, &st);
#define PRINT(field) \
  fprintf (stderr, "trueno-zram: " #field "=%" PRIu64 "\n", \
           (uint64_t) st.field)
#define PRINT_PAGES(field) \
  fprintf (stderr, "trueno-zram: " #field "=%" PRId64 "\n", \
           st.field == TZ_NEVER ? -1 : (int64_t) st.field)
  PRINT_PAGES (cores_min_pages);
  PRINT (shared_requests);
  if (later) {
    PRINT (later_backlog);
    PRINT (later_batches);
    PRINT (later_pages);
    PRINT (later_raw);
  }
  if (!ops)
    return;
  PRINT (engine);
  PRINT (pinned);
  PRINT (in_place);
  PRINT_PAGES (engine_min_pages);
  PRINT_PAGES (crossover_one);
  PRINT_PAGES (crossover_all);
  if (later) {
    PRINT_PAGES (compress_percent);
    PRINT (engine_compresses);
  }
  PRINT (batches);
  PRINT (batch_pages);
  PRINT (engine_pages);
  PRINT (fallback_pages);
  PRINT (engine_errors);
  PRINT (engine_timeouts);
  PRINT (engine_lost);
#undef PRINT
#undef PRINT_PAGES
}

void
engine_dump (void)
{
  char why[512];

  printf ("trueno_zram_cuda=%s\n",
          load_module (why, sizeof why) ? "yes" : "no");
}

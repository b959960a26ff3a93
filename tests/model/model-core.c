/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The model checker on the core itself.
 *
 *   model-core [-s SEED] [-n OPERATIONS] [-t THREADS] [CODEC[:LEVEL]] [full]
 *              [file] [cores] [engine] [later] [vram]
 *
 * full: with a pool too small for the disk.  file: with the region in a file
 * that is closed, found again and compared at the end.  cores: with all reads
 * spread over cores.  engine: with all reads handed to an engine that fails now
 * and then.  later: with pages compressed later.  vram: with pages in that
 * engine's memory; large reads are then its.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "model.h"
#include "tzram.h"
#include "../hide-cpu.h"
#include "../unit/engine.h"

#define SIZE ((72 << 20) + 1234) /* over two leaves, and an odd end */

static struct tz_store *store;

static void *
connect_core (void)
{
  return store;
}

static void
disconnect_core (void *conn)
{
  (void) conn;
}

static int
read_core (void *conn, void *buf, uint64_t count, uint64_t offset)
{
  return tz_read (conn, buf, count, offset);
}

static int
write_core (void *conn, const void *buf, uint64_t count, uint64_t offset)
{
  return tz_write (conn, buf, count, offset);
}

static int
zero_core (void *conn, uint64_t count, uint64_t offset, unsigned how)
{
  (void) how;
  return tz_zero (conn, count, offset);
}

static int
extent_core (void *opaque, uint64_t offset, uint64_t count,
             enum tz_extent type)
{
  return model_extent (opaque, offset, count, type != TZ_EXTENT_DATA);
}

static int
extents_core (void *conn, uint64_t count, uint64_t offset, void *opaque)
{
  return tz_extents (conn, count, offset, extent_core, opaque);
}

static int
add_extent (void *opaque, uint64_t offset, uint64_t count,
            enum tz_extent type)
{
  uint64_t end = offset + count;

  if (type != TZ_EXTENT_HOLE) /* whole pages, but for the disk's last */
    *(uint64_t *) opaque += (end + TZ_PAGE - 1) / TZ_PAGE * TZ_PAGE - offset;
  return 0;
}

/* The counters must agree with the table, and nothing may be left at last. */
static int
check_stats (void)
{
  uint64_t stored = 0;
  struct tz_stats st;

  tz_extents (store, SIZE, 0, add_extent, &stored);
  tz_stats (store, &st);
  if (st.orig_data_size != stored || st.bad_blobs || st.failed_reads) {
    fprintf (stderr, "model: %llu bytes stored, counted as %llu; %llu bad\n",
             (unsigned long long) stored,
             (unsigned long long) st.orig_data_size,
             (unsigned long long) st.bad_blobs);
    return -1;
  }
  if (st.run_bytes < st.compr_data_size)
    return -1;
  if (st.mem_limit && st.pool_bytes + st.table_bytes > st.mem_limit) {
    fprintf (stderr, "model: the limit was passed\n");
    return -1;
  }
  if (tz_zero (store, SIZE, 0))
    return -1;
  tz_stats (store, &st);
  if (st.orig_data_size || st.compr_data_size || st.run_bytes) {
    fprintf (stderr, "model: an empty disk has %llu bytes of blobs in %llu\n",
             (unsigned long long) st.compr_data_size,
             (unsigned long long) st.run_bytes);
    return -1;
  }
  return 0;
}

static uint64_t
digest (void)
{
  static uint8_t buf[1 << 20];
  uint64_t at, n, i, h = 1;

  for (at = 0; at < SIZE; at += n) {
    n = SIZE - at < sizeof buf ? SIZE - at : sizeof buf;
    if (tz_read (store, buf, n, at))
      return 0;
    for (i = 0; i < n; i++)
      h = (h ^ buf[i]) * 0x100000001b3;
  }
  return h;
}

/* Close the store and find it again in its file. */
static int
reopen (struct tz_params *params)
{
  uint64_t before = digest ();
  struct tz_stats was, is;
  int err;

  tz_stats (store, &was);
  tz_close (store);
  params->attach = true;
  err = tz_open (params, &store);
  if (err) {
    fprintf (stderr, "model: attach: %s\n", strerror (-err));
    return -1;
  }
  tz_stats (store, &is);
  if (digest () != before || was.run_bytes != is.run_bytes
      || was.orig_data_size != is.orig_data_size
      || was.compr_data_size != is.compr_data_size) {
    fprintf (stderr, "model: the store found again is another\n");
    return -1;
  }
  return 0;
}

/* Whom else to ask, whatever it costs. */
static int
ask_others (const struct tz_params *params, bool cores, bool engine,
            bool later)
{
  struct tz_offload_params p = { .min_pages = 1 };

  if (engine || params->vram) {
    p = engine_params (1, 64);
    if (params->vram) {
      p.ops->close (p.engine);
      p.engine = params->engine;
      p.min_pages = engine ? 1 : 8;
    }
  }
  if (engine) {
    atomic_store (&engine_faults, ENGINE_SUBMIT | ENGINE_POLL | ENGINE_PAGE);
    atomic_store (&engine_odds, 40);
  }
  p.cores = cores;
  p.later = later;
  p.bulk = TZ_NEVER; /* it would wait for all to end */
  return cores || p.engine || later ? tz_offload_start (store, &p) : 0;
}

static struct words {
  bool full, file, cores, engine, later, vram;
} words;

static bool
read_words (struct tz_params *params, char **argv)
{
  int min, max;
  char *colon;

  params->codec = TZ_LD64;
  for (; *argv; argv++) {
    if (strcmp (*argv, "full") == 0)
      words.full = true;
    else if (strcmp (*argv, "file") == 0)
      words.file = true;
    else if (strcmp (*argv, "cores") == 0)
      words.cores = true;
    else if (strcmp (*argv, "engine") == 0)
      words.engine = true;
    else if (strcmp (*argv, "later") == 0)
      words.later = true;
    else if (strcmp (*argv, "vram") == 0)
      words.vram = true;
    else {
      colon = strchr (*argv, ':');
      if (colon)
        *colon = 0;
      if (tz_codec_by_name (*argv) < 0)
        return false;
      params->codec = tz_codec_by_name (*argv);
      tz_codec_levels (params->codec, &min, &max, &params->level);
      if (colon)
        params->level = atoi (colon + 1);
    }
  }
  if (params->level == 0)
    tz_codec_levels (params->codec, &min, &max, &params->level);
  return true;
}

int
main (int argc, char **argv)
{
  struct tz_params params = { .size = SIZE, .checksum = true, .fd = -1 };
  struct model_disk disk = {
    .connect = connect_core,
    .disconnect = disconnect_core,
    .read = read_core,
    .write = write_core,
    .zero = zero_core,
    .extents = extents_core,
    .size = SIZE,
  };
  struct model_options o;
  bool ok;
  char replay[256];
  int i = model_options (&o, argc, argv), k, err;

  if (i < 0)
    return 2;
  snprintf (replay, sizeof replay, "%s", argv[0]);
  for (k = i; k < argc; k++) {
    strncat (replay, " ", sizeof replay - strlen (replay) - 1);
    strncat (replay, argv[k], sizeof replay - strlen (replay) - 1);
  }
  if (!read_words (&params, argv + i))
    return 2;
  disk.may_fill = words.full;
  params.memory = words.full ? 8 << 20 : 0;
  if (words.file)
    params.fd = memfd_create ("model", 0);
  if (words.vram) {
    params.vram = &engine_ops;
    if (faulty_open (NULL, &params.engine, NULL, 0))
      return 1;
  }
  err = tz_open (&params, &store);
  if (err == 0)
    err = tz_start (store);
  if (err == 0)
    err = ask_others (&params, words.cores, words.engine, words.later);
  if (err) {
    fprintf (stderr, "model: %s\n", strerror (-err));
    return 1;
  }
  ok = model_run (&disk, &o, replay);
  if (ok && words.file)
    ok = reopen (&params) == 0;
  ok = ok && check_stats () == 0;
  tz_close (store);
  return ok ? 0 : 1;
}

/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The parameters: what may be said, and what is said back. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

#include "engine.h"
#include "params.h"

struct tz_params params = {
  .codec = TZ_AUTO,
  .checksum = true,
  .fd = -1,
};

enum swap_mode swap = SWAP_NO;
char *store_path;
bool store_vram;

/* The level can be checked only when the codec is known. */
static const char *level_given;

const char params_help[] =
  "[size=]<SIZE>              (required) Size of the disk, such as 8G.\n"
  "codec=auto|ld64|lz4|zstd|raw\n"
  "                           How pages are compressed (default auto).\n"
  "level=<N>                  Level of the codec (default: its own).\n"
  "memory=<SIZE>              The most memory that the pages may take\n"
  "                           (default: no limit).\n"
  "checksum=yes|no            Verify every page that is read (default yes).\n"
  "swap=no|yes|try            Serve as swap for this very machine: have and\n"
  "                           lock memory at the start (default no).\n"
  "reserve=<SIZE>             With swap: what memory to keep ready (default:\n"
  "                           all of it).\n"
  "store=<FILE>               Keep the pages in a file on hugetlbfs or tmpfs,\n"
  "                           for the next server to find.\n"
  "store=vram                 Keep the pages in the memory of a GPU.\n"
  "standby=yes|no             If a server has that file, be the next: get\n"
  "                           ready, and wait for its end (default no).\n"
  ENGINE_HELP;

static int
refuse (const char *key, const char *value, const char *want)
{
  nbdkit_error ("%s=%s: %s", key, value, want);
  return -1;
}

static int
set_size (const char *value)
{
  int64_t size = nbdkit_parse_size (value);

  if (size < 1)
    return refuse ("size", value,
                   "the disk must have from 1 to 9223372036854775807 bytes, "
                   "such as size=8G");
  params.size = size;
  return 0;
}

static int
set_memory (const char *value)
{
  int64_t memory = nbdkit_parse_size (value);

  if (memory < TZ_MEMORY_MIN) {
    nbdkit_error ("memory=%s: the limit must be at least %dK, such as "
                  "memory=2G; leave it out for no limit",
                  value, TZ_MEMORY_MIN / 1024);
    return -1;
  }
  params.memory = memory;
  return 0;
}

static int
set_reserve (const char *value)
{
  int64_t reserve = nbdkit_parse_size (value);

  if (reserve < TZ_CHUNK) {
    nbdkit_error ("reserve=%s: at least %dK must be kept ready, such as "
                  "reserve=32M; leave it out to have all of memory at the "
                  "start",
                  value, TZ_CHUNK / 1024);
    return -1;
  }
  params.reserve = reserve;
  return 0;
}

static int
set_codec (const char *value)
{
  int codec = tz_codec_by_name (value);

  if (codec < 0)
    return refuse ("codec", value,
                   "the codec must be auto, ld64, lz4, zstd or raw");
  params.codec = codec;
  return 0;
}

static int
set_bool (const char *key, const char *value, bool *what)
{
  char want[32];
  int yes = nbdkit_parse_bool (value);

  snprintf (want, sizeof want, "%s must be yes or no", key);
  if (yes < 0)
    return refuse (key, value, want);
  *what = yes;
  return 0;
}

static int
set_swap (const char *value)
{
  int yes;

  if (strcmp (value, "try") == 0) {
    swap = SWAP_TRY;
    return 0;
  }
  yes = nbdkit_parse_bool (value);
  if (yes < 0)
    return refuse ("swap", value, "swap must be yes, no or try");
  swap = yes ? SWAP_YES : SWAP_NO;
  return 0;
}

/* As seen from wherever the server goes in the background. */
static int
set_store (const char *value)
{
  if (!*value)
    return refuse ("store", value,
                   "the name of a file on hugetlbfs or tmpfs is needed");
  free (store_path);
  store_vram = strcmp (value, "vram") == 0;
  store_path = store_vram ? NULL : nbdkit_absolute_path (value);
  return store_vram || store_path ? 0 : -1;
}

/* 1: there is no such parameter. */
static int
set (const char *key, const char *value)
{
  if (strcmp (key, "size") == 0)
    return set_size (value);
  if (strcmp (key, "memory") == 0)
    return set_memory (value);
  if (strcmp (key, "reserve") == 0)
    return set_reserve (value);
  if (strcmp (key, "codec") == 0)
    return set_codec (value);
  if (strcmp (key, "checksum") == 0)
    return set_bool (key, value, &params.checksum);
  if (strcmp (key, "swap") == 0)
    return set_swap (value);
  if (strcmp (key, "store") == 0)
    return set_store (value);
  if (strcmp (key, "standby") == 0)
    return set_bool (key, value, &params.standby);
  if (strcmp (key, "level") == 0) {
    level_given = value;
    return 0;
  }
  return engine_set (key, value);
}

int
params_set (const char *key, const char *value)
{
  int r = set (key, value);

  if (r <= 0)
    return r;
  nbdkit_error ("unknown parameter '%s': "
                "there are size, codec, level, memory, checksum, swap, "
                "reserve, store, standby, compress, cuda, batch and batch-wait",
                key);
  return -1;
}

static int
set_level (void)
{
  const char *codec = tz_codec_name (params.codec);
  int min, max, dflt;

  if (tz_codec_levels (params.codec, &min, &max, &dflt) < 0) {
    nbdkit_error ("codec=%s: not in this build", codec);
    return -1;
  }
  params.level = dflt;
  if (!level_given)
    return 0;

  if (min == max) {
    nbdkit_error ("level=%s: codec=%s has no levels, leave level out",
                  level_given, codec);
    return -1;
  }
  if (nbdkit_parse_int ("level", level_given, &params.level) < 0
      || params.level < min || params.level > max) {
    nbdkit_error ("level=%s: codec=%s has levels from %d to %d (default %d)",
                  level_given, codec, min, max, dflt);
    return -1;
  }
  return 0;
}

int
params_complete (void)
{
  if (params.size == 0) {
    nbdkit_error ("size is missing: give the size of the disk, "
                  "such as size=8G");
    return -1;
  }
  if (swap != SWAP_NO && params.memory == 0) {
    nbdkit_error ("swap=%s needs memory: give the memory that the pages may "
                  "take, such as memory=2G",
                  swap == SWAP_YES ? "yes" : "try");
    return -1;
  }
  if (params.standby && !store_path) {
    nbdkit_error ("standby=yes needs store: give the file of the server to "
                  "stand by for, such as store=/dev/hugepages/pages");
    return -1;
  }
  if (params.reserve && (swap == SWAP_NO || store_path)) {
    nbdkit_error ("reserve= is for swap=yes without store=: leave it out");
    return -1;
  }
  if (store_vram && swap != SWAP_NO) {
    nbdkit_error ("store=vram with swap=%s: a GPU must not be the only way to "
                  "serve swap of this machine: leave one of them out",
                  swap == SWAP_YES ? "yes" : "try");
    return -1;
  }
  if (store_vram && engine_check_vram () == -1)
    return -1;
  params.prefault = swap != SWAP_NO;
  return set_level ();
}

void
params_dump (void)
{
  static const enum tz_codec codecs[] = { TZ_LD64, TZ_LZ4, TZ_ZSTD };
  size_t i;

  printf ("trueno_zram_codecs=auto ld64 lz4 zstd raw\n");
  for (i = 0; i < sizeof codecs / sizeof codecs[0]; i++)
    printf ("trueno_zram_isa_%s=%s\n", tz_codec_name (codecs[i]),
            tz_codec_isa (codecs[i]));
  printf ("trueno_zram_isa_same=%s\n", tz_codec_isa (TZ_SAME));
  printf ("trueno_zram_cpu_features=%s\n", tz_cpu_features ());
  printf ("trueno_zram_zstd=%s\n", tz_zstd_version ());
  printf ("trueno_zram_page_size=%d\n", TZ_PAGE);
  printf ("trueno_zram_chunk_size=%d\n", TZ_CHUNK);
  engine_dump ();
}

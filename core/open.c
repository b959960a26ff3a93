/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Opening a store, and finding one again in a file.
 *
 * A region is laid out in chunks:
 *
 *   0           the superblock
 *   1 …         the directory: chunk numbers of the table's leaves, four
 *               bytes each, one for 32 MiB of disk
 *   then        the pool: runs of blobs and leaves of the table
 *
 * Nothing else is needed to find every page again.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "internal.h"
#include "offload.h"

#define MAGIC   "TZRAM\r\n\032"
#define VERSION 1

/* Written last, so that a store which was never finished is not taken for one.
 * Integers are little-endian.
 */
struct superblock {
  char magic[8];
  uint32_t version;
  uint32_t unit;        /* UNIT */
  uint64_t size;        /* bytes of the disk */
  uint32_t first, end;  /* chunk numbers of the pool */
  uint32_t checksum;    /* 1: blobs carry one */
  uint32_t sum;         /* of this structure, with sum 0 */
  uint8_t id[TZ_ID_LEN]; /* of this store, random */
};

/* Address space for a pool without a limit: never more than the disk's pages
 * can need, nor than a machine can hold.
 */
#define MAX_POOL (UINT64_C (1) << 40)
/* The run of a table word can be in none after these: 64 TiB. */
#define MAX_CHUNKS ((UINT64_C (1) << WORD_RUN_BITS) / CHUNK_UNITS)

static uint32_t
superblock_sum (const struct superblock *sb)
{
  struct {
    struct superblock sb;
    uint8_t slack[TZ_BLOB_SLACK];
  } copy __attribute__ ((aligned (64)));

  memset (&copy, 0, sizeof copy);
  copy.sb = *sb;
  copy.sb.sum = 0;
  return tz_checksum ((uint8_t *) &copy.sb, sizeof copy.sb, VERSION);
}

static uint64_t
pool_chunks (const struct tz_params *params)
{
  uint64_t pages = DIV_UP (params->size, TZ_PAGE), limit = params->memory;
  uint64_t runs = (CHUNK_UNITS - CHUNK_TAIL) / MAX_RUN;
  uint64_t most = DIV_UP (pages, runs) + DIV_UP (pages, LEAF_WORDS);

  if (limit == 0)
    limit = params->vram ? params->vram->room (params->engine) : MAX_POOL;
  limit /= TZ_CHUNK;
  /* Room for holes that overwriting leaves, and for an empty chunk a shard. */
  most += most / 8 + MAX_SHARDS + 1;
  return limit < most ? limit : most;
}

static bool
params_sound (const struct tz_params *p)
{
  int min, max, dflt;

  return p->size >= 1 && p->size <= INT64_MAX
         && (p->memory == 0 || p->memory >= TZ_MEMORY_MIN)
         && tz_codec_levels (p->codec, &min, &max, &dflt) == 0
         && p->level >= min && p->level <= max && (!p->attach || p->fd != -1)
         && (!p->standby || p->attach) && (!p->prefault || p->memory != 0)
         && (!p->vram || (p->fd == -1 && !p->prefault))
         && (p->reserve == 0
             || (p->prefault && p->fd == -1 && p->reserve >= TZ_CHUNK));
}

/* ---- Streams ---- */

#define ALIGN64(n) (((n) + 63) & ~(size_t) 63)

/* What a codec needs in each stream; 0: nothing. */
static size_t
codec_scratch (const struct tz_store *s, unsigned c)
{
  const struct tz_codec_ops *ops = tz_codecs[c];

  if (!ops || !ops->scratch_size)
    return 0;
  /* A store found again may hold what another codec wrote. */
  if (c != s->codec && !(s->params.attach && ops->decode_scratch))
    return 0;
  return ALIGN64 (ops->scratch_size (c == s->codec ? s->params.level
                                                   : ops->default_level));
}

static int
open_stream (struct tz_store *s, struct stream *st, uint8_t *p)
{
  const struct tz_codec_ops *ops;
  size_t n;
  unsigned c;
  int err;

  pthread_mutex_init (&st->lock, NULL);
  st->page = p;
  st->dst = p + TZ_PAGE;
  p += TZ_PAGE + TZ_DST_SIZE;
  for (c = 0; c < TZ_CODECS; c++) {
    n = codec_scratch (s, c);
    if (n == 0)
      continue;
    ops = tz_codecs[c];
    st->scratch[c] = p;
    if (ops->init) {
      err = ops->init (p, n,
                       c == s->codec ? s->params.level : ops->default_level);
      if (err)
        return err;
    }
    p += n;
  }
  return 0;
}

static int
open_streams (struct tz_store *s)
{
  size_t one = TZ_PAGE + TZ_DST_SIZE, lot;
  unsigned c, i;
  int err;

  for (c = 0; c < TZ_CODECS; c++)
    one += codec_scratch (s, c);
  /* Two over, so that a holder without a CPU does not stop the others. */
  s->n_streams = tz_cpu_count () + 2;
  lot = ALIGN64 (s->n_streams * sizeof *s->streams);
  s->scratch_len = DIV_UP (lot + s->n_streams * one, TZ_PAGE) * TZ_PAGE;
  s->scratch = tz_map (s->scratch_len);
  if (!s->scratch)
    return -ENOMEM;
  memset (s->scratch, 0, s->scratch_len); /* touch it now */
  s->streams = s->scratch;
  for (i = 0; i < s->n_streams; i++) {
    err = open_stream (s, &s->streams[i],
                       (uint8_t *) s->scratch + lot + i * one);
    if (err)
      return err;
  }
  return 0;
}

/* ---- Superblock ---- */

static struct superblock *
superblock (const struct tz_store *s)
{
  return (struct superblock *) s->region.base;
}

static int
create (struct tz_store *s, uint32_t first, uint32_t end)
{
  struct superblock sb = {
    .version = VERSION,
    .unit = UNIT,
    .size = s->params.size,
    .first = first,
    .end = end,
    .checksum = s->params.checksum,
  };

  if (getrandom (sb.id, sizeof sb.id, 0) != sizeof sb.id)
    return -EIO;
  memcpy (sb.magic, MAGIC, sizeof sb.magic);
  sb.sum = superblock_sum (&sb);
  *superblock (s) = sb;
  return 0;
}

static int
check_superblock (const struct superblock *sb, const struct tz_params *params,
                  uint32_t first, uint32_t end)
{
  if (memcmp (sb->magic, MAGIC, sizeof sb->magic) != 0
      || sb->version != VERSION || sb->unit != UNIT)
    return -EMEDIUMTYPE;
  if (sb->sum != superblock_sum (sb))
    return -EUCLEAN;
  if (sb->size != params->size || sb->checksum != params->checksum
      || sb->first != first || sb->end != end)
    return -ESTALE;
  return 0;
}

/* Before anything is mapped: where a file is too short, it would fault. */
static int
prepare_file (const struct tz_params *params, uint32_t first, uint32_t end)
{
  struct superblock sb;
  struct stat st;
  ssize_t n;
  int err;

  if (!params->attach)
    return ftruncate (params->fd, 0) == -1 ? -errno : 0;
  n = pread (params->fd, &sb, sizeof sb, 0);
  if (n == -1 || fstat (params->fd, &st) == -1)
    return -errno;
  if (n < (ssize_t) sizeof sb)
    return -EMEDIUMTYPE;
  err = check_superblock (&sb, params, first, end);
  if (err == 0 && (uint64_t) st.st_size < (uint64_t) end * TZ_CHUNK)
    err = -EUCLEAN;
  return err;
}

/* ---- Finding the pages again ---- */

static void
count_page (void *opaque, uint64_t w)
{
  struct stat_cell *cell = tz_stat_cell (opaque);

  stat_add (&cell->pages[word_codec (w)], 1);
  stat_add (&cell->compr_bytes, word_len (w));
}

static int
find_pages (struct tz_store *s)
{
  int err = tz_table_attach (&s->table, s->params.checksum, count_page, s);

  return err ? err : tz_pool_settle (&s->pool);
}

static int
open_region (struct tz_store *s)
{
  const struct tz_params *params = &s->params;
  uint64_t leaves = DIV_UP (DIV_UP (params->size, TZ_PAGE), LEAF_WORDS);
  uint32_t first = 1 + DIV_UP (leaves * sizeof (uint32_t), TZ_CHUNK);
  uint64_t end = first + pool_chunks (params), len = end * TZ_CHUNK;
  int err;

  if (end > MAX_CHUNKS)
    return -ENOMEM;
  if (params->fd != -1) {
    err = prepare_file (params, first, end);
    if (err)
      return err;
  }
  err = tz_region_open (&s->region, params->fd, len);
  /* To touch a hole of a file that cannot grow would be fatal. */
  if (err == 0 && params->fd != -1)
    err = tz_region_populate (&s->region, 0, (size_t) first * TZ_CHUNK);
  if (err == 0)
    err = tz_pool_open (&s->pool, &s->region, first, end, params);
  if (err)
    return err;
  s->table.region = &s->region;
  s->table.pool = &s->pool;
  s->table.pages = DIV_UP (params->size, TZ_PAGE);
  s->table.dir = (_Atomic uint32_t *) (s->region.base + TZ_CHUNK);
  if (!params->attach)
    return create (s, first, end);
  return params->standby ? 0 : find_pages (s);
}

int
tz_open (const struct tz_params *params, struct tz_store **store)
{
  struct tz_store *s;
  int err;

  if (!params_sound (params))
    return -EINVAL;
  s = aligned_alloc (64, sizeof *s);
  if (!s)
    return -ENOMEM;
  memset (s, 0, sizeof *s);
  s->region.fd = -1;
  s->bulk_min = UINT64_MAX;
  s->params = *params;
  s->codec = params->codec == TZ_AUTO ? TZ_LD64 : params->codec;
  err = open_region (s);
  if (err == 0)
    err = open_streams (s);
  if (err == 0 && params->vram)
    err = tz_vram_open (s, (size_t) s->pool.first * TZ_CHUNK,
                        (size_t) (s->pool.end - s->pool.first) * TZ_CHUNK);
  if (err) {
    tz_close (s);
    return err;
  }
  *store = s;
  return 0;
}

const uint8_t *
tz_id (const struct tz_store *s)
{
  return superblock (s)->id;
}

/* Have memory behind all that requests may touch, and see it in this process:
 * to find what a file has already takes memory, too.
 */
static int
prefault (struct tz_store *s)
{
  struct pool *p = &s->pool;
  uint32_t end = s->params.reserve ? p->first : p->end;
  size_t bookkeeping = DIV_UP (end * sizeof *p->chunks, TZ_PAGE) * TZ_PAGE;
  int r = tz_region_populate (&s->region, 0, (size_t) end * TZ_CHUNK);

  if (r == 0)
    r = tz_populate (p->chunks, bookkeeping);
  if (r == 0 && !s->params.standby)
    r = tz_pool_refill (p, UINT32_MAX);
  return r < 0 ? r : 0;
}

static int
start_upkeep (struct tz_store *s)
{
  tz_pool_refill (&s->pool, UINT32_MAX);
  return tz_upkeep_start (s);
}

int
tz_start (struct tz_store *s)
{
  int err;

  /* After a fork the scratch is shared until it is written. */
  err = tz_populate (s->scratch, s->scratch_len);
  if (err == 0 && s->params.prefault)
    err = prefault (s);
  return err || s->params.standby ? err : start_upkeep (s);
}

int
tz_attach (struct tz_store *s)
{
  int err = find_pages (s);

  return err ? err : start_upkeep (s);
}

void
tz_close (struct tz_store *s)
{
  unsigned i;

  tz_offload_stop (s); /* it may wake upkeep until it has stopped */
  tz_upkeep_stop (s);
  for (i = 0; s->streams && i < s->n_streams; i++)
    pthread_mutex_destroy (&s->streams[i].lock);
  tz_unmap (s->scratch, s->scratch_len);
  tz_vram_close (s);
  tz_pool_close (&s->pool);
  tz_region_close (&s->region);
  free (s);
}

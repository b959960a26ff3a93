/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Statistics: counters are kept a cell a CPU and summed here. */
#include <sched.h>
#include <string.h>
#include <unistd.h>

#include "internal.h"

unsigned
tz_this_cpu (void)
{
  int cpu = sched_getcpu ();

  return cpu < 0 ? 0 : cpu;
}

unsigned
tz_cpu_count (void)
{
  long n = sysconf (_SC_NPROCESSORS_ONLN);

  return n < 1 ? 1 : n;
}

struct stat_cell *
tz_stat_cell (struct tz_store *s)
{
  return &s->cells[tz_this_cpu () % STAT_CELLS];
}

static uint64_t
sum (struct tz_store *s, size_t field)
{
  int64_t n = 0;
  unsigned i;

  for (i = 0; i < STAT_CELLS; i++)
    n += atomic_load_explicit (
        (atomic_int_fast64_t *) ((char *) &s->cells[i] + field),
        memory_order_relaxed);
  return n < 0 ? 0 : n; /* cells are read one after another */
}

#define SUM(field) sum (s, offsetof (struct stat_cell, field))

uint64_t
tz_raw_writes (struct tz_store *s)
{
  return SUM (huge_since);
}

/* Bytes of superblock and directory that have memory: all where they were
 * populated, else what leaves were entered in.
 */
static uint64_t
head_bytes (const struct tz_store *s)
{
  uint64_t entries = DIV_UP (s->table.pages, LEAF_WORDS);
  uint64_t pages = DIV_UP (entries * sizeof *s->table.dir, TZ_PAGE);

  if (s->region.fd != -1 || s->params.prefault)
    return (uint64_t) s->pool.first * TZ_CHUNK;
  if (pages > s->pool.leaves)
    pages = s->pool.leaves;
  return (1 + pages) * TZ_PAGE;
}

static void
pool_stats (struct tz_store *s, struct tz_stats *st)
{
  struct pool *p = &s->pool;
  uint64_t units = 0, most;
  unsigned i;

  for (i = 0; i <= p->n_shards; i++) {
    pthread_mutex_lock (&p->shards[i].lock);
    units += p->shards[i].units;
    pthread_mutex_unlock (&p->shards[i].lock);
  }
  pthread_mutex_lock (&p->lock);
  st->pool_bytes = (uint64_t) (p->populated - p->leaves) * TZ_CHUNK;
  st->table_bytes = (uint64_t) p->leaves * TZ_CHUNK;
  st->fixed_bytes += head_bytes (s)
                     + (uint64_t) p->populated_max * sizeof (struct chunk);
  most = (uint64_t) p->populated_max * TZ_CHUNK;
  pthread_mutex_unlock (&p->lock);
  st->run_bytes = units * UNIT;
  st->reserve_bytes = (uint64_t) atomic_load (&p->ready_count) * TZ_CHUNK;
  st->reserve_misses = atomic_load (&p->misses);
  st->mem_used_total = st->pool_bytes + st->table_bytes + st->fixed_bytes;
  st->mem_used_max = most + st->fixed_bytes;
}

void
tz_stats (struct tz_store *s, struct tz_stats *st)
{
  uint64_t pages = 0;
  unsigned c;

  memset (st, 0, sizeof *st);
  st->fixed_bytes = sizeof *s + s->scratch_len + tz_offload_bytes (s)
                    + tz_vram_shared (s);
  pool_stats (s, st);
  for (c = TZ_SAME; c < TZ_CODECS; c++) {
    st->pages[c] = SUM (pages[c]);
    pages += st->pages[c];
  }
  st->orig_data_size = pages * TZ_PAGE;
  st->compr_data_size = SUM (compr_bytes);
  st->mem_limit = s->params.memory;
  st->same_pages = st->pages[TZ_SAME];
  st->huge_pages = st->pages[TZ_RAW];
  st->huge_pages_since = tz_raw_writes (s);
  st->failed_reads = SUM (failed_reads);
  st->failed_writes = SUM (failed_writes);
  st->bad_blobs = SUM (bad_blobs);
  st->pool_full = SUM (pool_full);
  st->vram_errors = SUM (vram_errors);
  tz_vram_stats (s, st);
}

/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Blobs in a device's memory, such as a GPU's.
 *
 * All that says where blobs are stays here: the table, and the chunks of the
 * pool, whose runs are then the device's.  A leaf of the table is memory of
 * this process, which it takes as it is touched; what the device has of that
 * chunk is not used.
 *
 * To copy one blob takes as long as to copy many.  So pages are read and
 * written in groups: blobs are made in, and decoded from, memory of the
 * stream's that the device reads and writes.  Only when all blobs of a group
 * are in place do slots get their words: a copy that fails leaves every page
 * as it was.
 *
 * When the device is lost so are the blobs: whoever needs one, or wants to
 * store one, is told -ENODEV.  What has no blob stays as it is, and pages can
 * be dropped and become such that have none.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bulk.h"

struct group {
  uint8_t *stage; /* TZ_COPIES times STAGE_STRIDE bytes */
  unsigned n;     /* copies to be made */
  struct tz_copy copy[TZ_COPIES];
};

struct vram {
  size_t len;
  size_t shared; /* bytes of this process's memory that the device uses */
  atomic_bool lost;
  struct group group[]; /* one a stream */
};

int
tz_vram_open (struct tz_store *s, size_t first, size_t len)
{
  const struct tz_engine_ops *ops = s->params.vram;
  size_t one = TZ_COPIES * STAGE_STRIDE;
  uint8_t *runs, *stage;
  struct vram *v;
  unsigned i;

  v = calloc (1, sizeof *v + s->n_streams * sizeof v->group[0]);
  if (!v)
    return -ENOMEM;
  s->vram = v;
  v->len = len;
  v->shared = s->n_streams * one;
  stage = ops->alloc (s->params.engine, v->shared);
  runs = ops->take (s->params.engine, len, s->n_streams);
  if (!stage || !runs)
    return -ENOMEM;
  s->region.runs = (uintptr_t) runs - first;
  for (i = 0; i < s->n_streams; i++) {
    v->group[i].stage = stage + i * one;
    s->streams[i].group = &v->group[i];
  }
  return 0;
}

void
tz_vram_close (struct tz_store *s)
{
  free (s->vram);
  s->vram = NULL;
}

/* ---- Copies ---- */

static uint8_t *
stage (struct group *g, unsigned i)
{
  return g->stage + (size_t) i * STAGE_STRIDE;
}

/* What a copy that failed means to a request. */
static int
failed (struct tz_store *s, int err)
{
  if (err != -ENODEV)
    return -EREMOTEIO;
  if (!atomic_exchange (&s->vram->lost, true))
    tz_offload_lose (s->offload, err);
  return err;
}

typedef int copy_fn (struct tz_engine *e, unsigned channel,
                     const struct tz_copy *copies, unsigned n);

static int
make_copies (struct tz_store *s, struct stream *st, copy_fn *fn)
{
  struct group *g = st->group;
  unsigned n = g->n;
  int err;

  g->n = 0;
  if (n == 0)
    return 0;
  err = atomic_load_explicit (&s->vram->lost, memory_order_relaxed)
            ? -ENODEV
            : fn (s->params.engine, st - s->streams, g->copy, n);
  if (likely (err == 0))
    return 0;
  stat_add (&tz_stat_cell (s)->vram_errors, n);
  return failed (s, err);
}

static void
add_copy (struct tz_store *s, struct group *g, unsigned i, uint64_t run,
          unsigned len)
{
  g->copy[g->n++] = (struct tz_copy) {
    .host = stage (g, i),
    .device = run_address (&s->region, run),
    .len = len + (s->params.checksum ? CHECKSUM_LEN : 0),
  };
}

uint8_t *
tz_vram_stage (struct tz_store *s, struct stream *st, uint64_t run,
               unsigned len)
{
  struct group *g = st->group;
  unsigned i = g->n;

  add_copy (s, g, i, run, len);
  return stage (g, i);
}

int
tz_vram_put (struct tz_store *s, struct stream *st)
{
  return make_copies (s, st, s->params.vram->put);
}

int
tz_vram_get (struct tz_store *s, struct stream *st, const uint64_t *words,
             unsigned n)
{
  unsigned i;

  for (i = 0; i < n; i++)
    if (word_len (words[i]))
      add_copy (s, st->group, i, word_run (words[i]), word_len (words[i]));
  return make_copies (s, st, s->params.vram->get);
}

const uint8_t *
tz_vram_blob (const struct stream *st, unsigned i)
{
  return stage (st->group, i);
}

int
tz_vram_load (struct tz_store *s, struct stream *st, uint64_t page, uint64_t w,
              uint8_t *buf)
{
  int err;

  if (word_len (w) == 0)
    return tz_load_blob (s, st, page, w, NULL, buf);
  err = tz_vram_get (s, st, &w, 1);
  return err ? err
             : tz_load_blob (s, st, page, w, tz_vram_blob (st, 0), buf);
}

/* ---- Groups of pages ---- */

unsigned
tz_vram_pages (uint64_t count)
{
  return count < TZ_COPIES * TZ_PAGE ? count / TZ_PAGE : TZ_COPIES;
}

/* Lock pages' slots, and read their words, which are 0 at first: as many as
 * nobody else has locked, for nobody waits for one while holding another; but
 * at least one.
 */
static unsigned
lock_slots (struct tz_store *s, uint64_t page, unsigned n, slot_t **slot,
            uint64_t *w)
{
  unsigned i;

  for (i = 0; i < n; i++) {
    slot[i] = tz_slot (&s->table, page + i, false);
    if (!slot[i])
      continue;
    if (i == 0)
      w[i] = tz_slot_lock (slot[i]);
    else if (!tz_slot_trylock (slot[i], &w[i]))
      break;
  }
  return i;
}

int
tz_vram_read (struct tz_store *s, struct stream *st, uint8_t *buf,
              uint64_t page, unsigned n)
{
  slot_t *slot[TZ_COPIES];
  uint64_t w[TZ_COPIES] = { 0 };
  unsigned i;
  int err;

  n = lock_slots (s, page, n, slot, w);
  err = tz_vram_get (s, st, w, n);
  for (i = 0; i < n; i++) {
    if (likely (err == 0))
      err = tz_load_blob (s, st, page + i, w[i], tz_vram_blob (st, i),
                          buf + (size_t) i * TZ_PAGE);
    if (slot[i])
      tz_slot_unlock (slot[i], w[i]);
  }
  return err ? err : (int) n;
}

int
tz_vram_write (struct tz_store *s, struct stream *st, const uint8_t *buf,
               uint64_t page, unsigned n)
{
  slot_t *slot[TZ_COPIES];
  uint64_t w[TZ_COPIES];
  unsigned i, k;
  int err = 0, copied;

  for (i = 0; i < n; i++) {
    slot[i] = tz_slot_to_write (s, page + i, &err);
    if (slot[i])
      w[i] = tz_store_page (s, st, page + i, buf + (size_t) i * TZ_PAGE, &err);
    if (err)
      break;
  }
  copied = tz_vram_put (s, st);
  for (k = 0; k < i; k++)
    if (copied == 0)
      tz_publish (s, slot[k], w[k]);
    else
      tz_free_blob (s, w[k]);
  return copied ? copied : err;
}

size_t
tz_vram_shared (const struct tz_store *s)
{
  return s->vram ? s->vram->shared : 0;
}

void
tz_vram_stats (struct tz_store *s, struct tz_stats *st)
{
  if (!s->vram)
    return;
  st->vram_total = s->vram->len;
  st->vram_bytes = st->pool_bytes;
}

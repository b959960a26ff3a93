/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The store: pages in, pages out.
 *
 * A page is written by making its blob first, in a stream's scratch and in a
 * run of its own; then the table word is swapped under the slot's lock, and the
 * old run freed.  Whatever fails before the swap leaves the old page as it was.
 * Only a page that waits to be compressed is written in place (later.c).
 * A page is read with its slot locked, so its run cannot be freed meanwhile.
 */
#include <errno.h>
#include <string.h>

#include "internal.h"
#include "codec/bytes.h"

/* ---- Streams ---- */

struct stream *
tz_stream_get (struct tz_store *s)
{
  unsigned i, first = tz_this_cpu () % s->n_streams;
  struct stream *st;

  for (i = 0; i < s->n_streams; i++) {
    st = &s->streams[(first + i) % s->n_streams];
    if (pthread_mutex_trylock (&st->lock) == 0)
      return st;
  }
  st = &s->streams[first];
  pthread_mutex_lock (&st->lock);
  return st;
}

void
tz_stream_put (struct stream *st)
{
  if (st)
    pthread_mutex_unlock (&st->lock);
}

/* ---- Checksums ---- */

/* What a blob is said to be is part of its checksum, so that a word which
 * points at another page's blob does not pass.
 */
static inline uint64_t
blob_seed (uint64_t page, unsigned codec)
{
  return page << 4 | codec;
}

/* ---- One page out ---- */

static int
bad_blob (struct tz_store *s)
{
  stat_add (&tz_stat_cell (s)->bad_blobs, 1);
  return -EIO;
}

static int
decode_blob (struct tz_store *s, struct stream *st, uint64_t page,
             unsigned codec, const uint8_t *blob, unsigned len, uint8_t *buf)
{
  const struct tz_codec_ops *ops = tz_codecs[codec];
  void *scratch = st ? st->scratch[codec] : NULL;

  if (!s->params.checksum)
    return ops->decode (scratch, blob, len, buf);
  return tz_decode_checked (ops, scratch, blob, len, buf,
                            blob_seed (page, codec), get32 (blob + len));
}

/* Load the page a word stands for, whose blob, if it has one, is here.  The
 * stream is only needed for codecs that decode with scratch.
 */
static inline int
load_blob (struct tz_store *s, struct stream *st, uint64_t page, uint64_t w,
           const uint8_t *blob, uint8_t *buf)
{
  unsigned codec = word_codec (w), len = word_len (w);

  if (codec < TZ_LD64 && len && s->params.checksum
      && unlikely (tz_checksum (blob, len, blob_seed (page, codec))
                   != get32 (blob + len)))
    return bad_blob (s);

  switch (codec) {
  case TZ_ABSENT:
    memset (buf, 0, TZ_PAGE);
    return 0;
  case TZ_SAME:
    tz_same_fill (buf, TZ_PAGE,
                  len ? get64 (blob) : word_run (w) * UINT64_C (0x100000001));
    return 0;
  case TZ_RAW:
    memcpy (buf, blob, TZ_PAGE);
    return 0;
  default:
    if (decode_blob (s, st, page, codec, blob, len, buf))
      return bad_blob (s);
    return 0;
  }
}

int
tz_load_blob (struct tz_store *s, struct stream *st, uint64_t page,
              uint64_t w, const uint8_t *blob, uint8_t *buf)
{
  return load_blob (s, st, page, w, blob, buf);
}

/* The same wherever the blob is; the slot is locked. */
int
tz_load_page (struct tz_store *s, struct stream *st, uint64_t page, uint64_t w,
              uint8_t *buf)
{
  if (unlikely (s->vram != NULL))
    return tz_vram_load (s, st, page, w, buf);
  return load_blob (s, st, page, w, run_address (&s->region, word_run (w)),
                    buf);
}

static bool
needs_stream (uint64_t w)
{
  unsigned codec = word_codec (w);

  return codec >= TZ_LD64 && tz_codecs[codec]->decode_scratch;
}

/* ---- One page in ---- */

/* The word of a page of one pattern that needs no run; 0 if it does. */
static uint64_t
same_word (uint64_t pattern)
{
  if (pattern >> 32 != (uint32_t) pattern)
    return 0;
  return word_make (TZ_SAME, 0, (uint32_t) pattern);
}

int
tz_encode_page (struct tz_store *s, struct stream *st, const uint8_t *buf,
                const uint8_t **blob, unsigned *len)
{
  int r = 0;

  if (s->codec != TZ_RAW) {
    r = tz_codecs[s->codec]->encode (st->scratch[s->codec], buf, st->dst,
                                     s->params.level);
    if (unlikely (r < 0))
      return -EIO;
  }
  /* Not worth decoding if it takes as many units as the page would. */
  if (r > 0 && DIV_UP (r + CHECKSUM_LEN, UNIT) < MAX_RUN) {
    *blob = st->dst;
    *len = r;
    return s->codec;
  }
  *blob = buf;
  *len = TZ_PAGE;
  return TZ_RAW;
}

static void
fill_run (struct tz_store *s, uint64_t page, unsigned codec, uint8_t *p,
          const uint8_t *blob, unsigned len)
{
  memcpy (p, blob, len);
  /* Of the original, which is in the cache. */
  if (s->params.checksum)
    put32 (p + len, tz_checksum (blob, len, blob_seed (page, codec)));
}

void
tz_fill_raw (struct tz_store *s, uint64_t page, uint64_t run,
             const uint8_t *buf)
{
  fill_run (s, page, TZ_RAW, run_address (&s->region, run), buf, TZ_PAGE);
}

/* Fill a run with a blob: the word for it, or 0 if there is no run. */
static uint64_t
put_blob (struct tz_store *s, struct stream *st, uint64_t page, uint64_t w,
          int64_t run, const uint8_t *blob)
{
  unsigned codec = word_codec (w), len = word_len (w);

  if (unlikely (run < 0))
    return 0;
  fill_run (s, page, codec,
            likely (!s->vram) ? run_address (&s->region, run)
                              : tz_vram_stage (s, st, run, len),
            blob, len);
  return w | (uint64_t) run << WORD_RUN_SHIFT;
}

uint64_t
tz_put_blob (struct tz_store *s, struct stream *st, uint64_t page,
             unsigned codec, const uint8_t *blob, unsigned len)
{
  uint64_t w = word_make (codec, len, 0);
  unsigned units = word_units (w, s->params.checksum);

  return put_blob (s, st, page, w, tz_pool_alloc (&s->pool, units), blob);
}

uint64_t
tz_put_passing (struct tz_store *s, uint64_t page, const uint8_t *buf)
{
  uint64_t w = word_make (TZ_RAW, TZ_PAGE, 0);
  unsigned units = word_units (w, s->params.checksum);

  return put_blob (s, NULL, page, w, tz_pool_alloc_passing (&s->pool, units),
                   buf);
}

/* The same, with an error. */
static uint64_t
place_blob (struct tz_store *s, struct stream *st, uint64_t page,
            unsigned codec, const uint8_t *blob, unsigned len, int *err)
{
  uint64_t w = tz_put_blob (s, st, page, codec, blob, len);

  if (unlikely (w == 0)) {
    stat_add (&tz_stat_cell (s)->pool_full, 1);
    *err = -ENOSPC;
  }
  return w;
}

uint64_t
tz_store_page (struct tz_store *s, struct stream *st, uint64_t page,
               const uint8_t *buf, int *err)
{
  const uint8_t *blob;
  uint64_t pattern, w;
  unsigned len;
  int codec;

  if (tz_same_filled (buf, &pattern)) {
    w = same_word (pattern);
    if (w)
      return w;
    put64 (st->dst, pattern);
    return place_blob (s, st, page, TZ_SAME, st->dst, sizeof pattern, err);
  }
  codec = tz_encode_page (s, st, buf, &blob, &len);
  if (codec < 0) {
    *err = codec;
    return 0;
  }
  return place_blob (s, st, page, codec, blob, len, err);
}

void
tz_free_blob (struct tz_store *s, uint64_t w)
{
  if (word_len (w))
    tz_pool_free (&s->pool, word_run (w), word_units (w, s->params.checksum));
}

void
tz_retire (struct tz_store *s, uint64_t old, uint64_t new)
{
  struct stat_cell *cell = tz_stat_cell (s);
  unsigned was = word_codec (old), is = word_codec (new);

  if (was != is) {
    if (was)
      stat_add (&cell->pages[was], -1);
    if (is)
      stat_add (&cell->pages[is], 1);
  }
  if (is == TZ_RAW)
    stat_add (&cell->huge_since, 1);
  if (word_len (old) != word_len (new))
    stat_add (&cell->compr_bytes,
              (int64_t) word_len (new) - (int64_t) word_len (old));
  tz_free_blob (s, old);
}

void
tz_publish (struct tz_store *s, slot_t *slot, uint64_t new)
{
  uint64_t old = tz_slot_lock (slot);

  tz_slot_unlock (slot, new);
  tz_retire (s, old, new);
}

slot_t *
tz_slot_to_write (struct tz_store *s, uint64_t page, int *err)
{
  slot_t *slot = tz_slot (&s->table, page, true);

  if (unlikely (!slot)) {
    stat_add (&tz_stat_cell (s)->pool_full, 1);
    *err = -ENOSPC;
  }
  return slot;
}

static int
write_page (struct tz_store *s, struct stream *st, uint64_t page,
            const uint8_t *buf)
{
  int err = 0;
  slot_t *slot = tz_slot_to_write (s, page, &err);
  uint64_t new;

  if (unlikely (!slot))
    return err;
  if (unlikely (s->later != NULL) && tz_later_write (s, slot, page, buf))
    return 0;
  new = tz_store_page (s, st, page, buf, &err);
  if (likely (err == 0))
    tz_publish (s, slot, new);
  return err;
}

/* Overwrite a part of a page, with zeroes if src is NULL. */
static int
write_part (struct tz_store *s, struct stream *st, uint64_t page,
            const void *src, unsigned at, unsigned count)
{
  int err = 0;
  slot_t *slot = src ? tz_slot_to_write (s, page, &err)
                     : tz_slot (&s->table, page, false);
  uint64_t old, new;

  if (!slot)
    return err;
  old = tz_slot_lock (slot);
  if (old == 0 && !src) {
    tz_slot_unlock (slot, 0);
    return 0;
  }
  new = old;
  err = tz_load_page (s, st, page, old, st->page);
  if (err == 0) {
    if (src)
      memcpy (st->page + at, src, count);
    else
      memset (st->page + at, 0, count);
    new = tz_store_page (s, st, page, st->page, &err);
    if (unlikely (s->vram != NULL) && err == 0) {
      err = tz_vram_put (s, st);
      if (err)
        tz_free_blob (s, new);
    }
  }
  tz_slot_unlock (slot, err ? old : new);
  if (err == 0)
    tz_retire (s, old, new);
  return err;
}

/* ---- Requests ---- */

static bool
outside (const struct tz_store *s, uint64_t count, uint64_t offset)
{
  return offset > s->params.size || count > s->params.size - offset;
}

/* How many bytes of a request lie in its first page. */
static inline unsigned
first_part (uint64_t count, uint64_t offset)
{
  unsigned room = TZ_PAGE - offset % TZ_PAGE;

  return count < room ? count : room;
}

/* Read a part of a page, or all of it. */
static int
read_page (struct tz_store *s, struct stream **st, uint64_t page, uint8_t *buf,
           unsigned at, unsigned count)
{
  slot_t *slot = tz_slot (&s->table, page, false);
  uint64_t w = slot ? atomic_load_explicit (slot, memory_order_acquire) : 0;
  int err;

  if (w == 0) {
    memset (buf, 0, count);
    return 0;
  }
  for (;;) {
    /* The stream comes first in the lock order. */
    if (!*st && (count < TZ_PAGE || needs_stream (w)))
      *st = tz_stream_get (s);
    w = tz_slot_lock (slot);
    if (likely (*st || !needs_stream (w)))
      break;
    tz_slot_unlock (slot, w);
  }
  if (count == TZ_PAGE)
    err = tz_load_page (s, *st, page, w, buf);
  else {
    err = tz_load_page (s, *st, page, w, (*st)->page);
    if (err == 0)
      memcpy (buf, (*st)->page + at, count);
  }
  tz_slot_unlock (slot, w);
  return err;
}

/* Have a page's blob on its way into the cache.  Whatever its word becomes
 * meanwhile, this reads nothing.
 */
static void
fetch_page (struct tz_store *s, uint64_t page)
{
  slot_t *slot = s->vram ? NULL : tz_slot (&s->table, page, false);
  uint64_t w = slot ? atomic_load_explicit (slot, memory_order_relaxed) : 0;
  unsigned i, len = word_len (w);
  const uint8_t *p;

  if (len == 0)
    return;
  p = run_address (&s->region, word_run (w));
  for (i = 0; i < len; i += 64)
    __builtin_prefetch (p + i);
}

/* Some whole pages from a device's memory, n bytes. */
static int
read_group (struct tz_store *s, struct stream **st, uint8_t *buf,
            uint64_t count, uint64_t offset, unsigned *n)
{
  int r;

  if (!*st)
    *st = tz_stream_get (s);
  r = tz_vram_read (s, *st, buf, offset / TZ_PAGE, tz_vram_pages (count));
  if (r < 0)
    return r;
  *n = r * TZ_PAGE;
  return 0;
}

int
tz_read_range (struct tz_store *s, void *buf, uint64_t count, uint64_t offset)
{
  struct stream *st = NULL;
  uint8_t *p = buf;
  unsigned n;
  int err = 0;

  for (; count > 0 && err == 0; count -= n, offset += n, p += n) {
    n = first_part (count, offset);
    if (n < count)
      fetch_page (s, offset / TZ_PAGE + 1);
    if (unlikely (s->vram != NULL) && n == TZ_PAGE)
      err = read_group (s, &st, p, count, offset, &n);
    else
      err = read_page (s, &st, offset / TZ_PAGE, p, offset % TZ_PAGE, n);
  }
  tz_stream_put (st);
  return err;
}

int
tz_read (struct tz_store *s, void *buf, uint64_t count, uint64_t offset)
{
  int err;

  if (outside (s, count, offset))
    return -EINVAL;
  if (likely (count < s->bulk_min))
    err = tz_read_range (s, buf, count, offset);
  else
    err = tz_bulk_read (s->offload, buf, count, offset);
  if (unlikely (err))
    stat_add (&tz_stat_cell (s)->failed_reads, 1);
  return err;
}

int
tz_write (struct tz_store *s, const void *buf, uint64_t count, uint64_t offset)
{
  const uint8_t *p = buf;
  struct stream *st;
  unsigned n;
  int err = 0;

  if (outside (s, count, offset))
    return -EINVAL;
  st = tz_stream_get (s);
  for (; count > 0 && err == 0; count -= n, offset += n, p += n) {
    n = first_part (count, offset);
    if (unlikely (s->vram != NULL) && n == TZ_PAGE) {
      n = tz_vram_pages (count) * TZ_PAGE;
      err = tz_vram_write (s, st, p, offset / TZ_PAGE, n / TZ_PAGE);
      continue;
    }
    do
      if (n == TZ_PAGE)
        err = write_page (s, st, offset / TZ_PAGE, p);
      else
        err = write_part (s, st, offset / TZ_PAGE, p, offset % TZ_PAGE, n);
    while (unlikely (err == -ENOSPC) && tz_later_help (s, st));
  }
  tz_stream_put (st);
  if (unlikely (err))
    stat_add (&tz_stat_cell (s)->failed_writes, 1);
  return err;
}

/* Drop whole pages of one leaf, from page up to end. */
static void
drop_pages (struct tz_store *s, uint64_t page, uint64_t end)
{
  slot_t *slot = tz_slot (&s->table, page, false);
  uint64_t old;

  for (; slot && page < end; page++, slot++) {
    if (atomic_load_explicit (slot, memory_order_relaxed) == 0)
      continue;
    old = tz_slot_lock (slot);
    tz_slot_unlock (slot, 0);
    tz_retire (s, old, 0);
  }
}

static int
zero_part (struct tz_store *s, uint64_t count, uint64_t offset)
{
  struct stream *st = tz_stream_get (s);
  int err;

  do
    err = write_part (s, st, offset / TZ_PAGE, NULL, offset % TZ_PAGE, count);
  while (unlikely (err == -ENOSPC) && tz_later_help (s, st));
  tz_stream_put (st);
  return err;
}

int
tz_zero (struct tz_store *s, uint64_t count, uint64_t offset)
{
  uint64_t end = offset + count, page, stop;
  unsigned n;
  int err = 0;

  if (outside (s, count, offset))
    return -EINVAL;
  /* The last page of a disk may be short, and is dropped whole. */
  if (end == s->params.size)
    end = DIV_UP (end, TZ_PAGE) * TZ_PAGE;
  if (offset % TZ_PAGE) {
    n = first_part (end - offset, offset);
    err = zero_part (s, n, offset);
    offset += n;
  }
  for (page = offset / TZ_PAGE; page < end / TZ_PAGE; page = stop) {
    stop = (page / LEAF_WORDS + 1) * LEAF_WORDS;
    if (stop > end / TZ_PAGE)
      stop = end / TZ_PAGE;
    drop_pages (s, page, stop);
  }
  if (err == 0 && end > offset && end % TZ_PAGE)
    err = zero_part (s, end % TZ_PAGE, end - end % TZ_PAGE);
  if (unlikely (err))
    stat_add (&tz_stat_cell (s)->failed_writes, 1);
  return err;
}

/* ---- Extents ---- */

static enum tz_extent
page_extent (const slot_t *slot)
{
  uint64_t w = atomic_load_explicit (slot, memory_order_relaxed);

  w &= ~(WORD_LOCK | WORD_WAITER);
  if (w == 0)
    return TZ_EXTENT_HOLE;
  return w == same_word (0) ? TZ_EXTENT_ZERO : TZ_EXTENT_DATA;
}

/* The extent that starts at this page: its type, and where it ends, at most at
 * the page end or at the end of the leaf.
 */
static enum tz_extent
extent_at (struct tz_store *s, uint64_t page, uint64_t end, uint64_t *stop)
{
  uint64_t leaf_end = (page / LEAF_WORDS + 1) * LEAF_WORDS;
  slot_t *slot = tz_slot (&s->table, page, false);
  enum tz_extent type = TZ_EXTENT_HOLE;

  if (leaf_end < end)
    end = leaf_end;
  if (!slot)
    page = end;
  else {
    type = page_extent (slot);
    do {
      page++;
      slot++;
    } while (page < end && page_extent (slot) == type);
  }
  *stop = page;
  return type;
}

int
tz_extents (struct tz_store *s, uint64_t count, uint64_t offset,
            tz_extent_fn *fn, void *opaque)
{
  uint64_t end = offset + count, from = offset, to, page, last;
  enum tz_extent type, next;
  int r;

  if (outside (s, count, offset))
    return -EINVAL;
  if (count == 0)
    return 0;
  page = offset / TZ_PAGE;
  last = DIV_UP (end, TZ_PAGE);
  type = extent_at (s, page, last, &page);
  while (page < last) {
    to = page * TZ_PAGE;
    next = extent_at (s, page, last, &page);
    if (next == type)
      continue;
    r = fn (opaque, from, to - from, type);
    if (r)
      return r;
    from = to;
    type = next;
  }
  return fn (opaque, from, end - from, type);
}

/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The pool: room for blobs.
 *
 * Memory comes in chunks of 64 KiB, and a chunk is 2048 units of 32 bytes with
 * a bit each.  A blob takes a run of units inside one chunk.  Runs have no
 * header: the table knows where each blob is and how long, and the bitmaps
 * can be rebuilt from it.
 *
 *   chunk   |run  |run|....|run      |......|run |..........|tail|
 *   bitmap   11111 111 0000 111111111 000000 1111 0000000000 1111
 *
 * Units of 32 bytes waste 16 on a blob of 1200 on average; 64 would waste
 * twice that, and 16 would double the bitmaps for half a percent.
 *
 * Each chunk knows its largest free run, and a shard has a list of chunks for
 * each length of it.  To allocate n units take a chunk of the first list that
 * is not empty from the n-th on, so that the tightest chunk is filled first,
 * and there the smallest free run that will do.  One scan of 32 words finds
 * that run and the chunk's next largest.  Under random overwriting this keeps
 * the pool within some percent of the blobs without moving any of them.
 *
 * A thread uses the shard of the CPU it runs on.  A shard without a fitting run
 * takes over a chunk of one that has room to spare, before it takes a new one.
 * One more shard is for runs that will soon be freed: if others were put in
 * between, few of its chunks would ever be empty again.
 *
 * A chunk is in one of these states:
 *
 *   cold    no memory behind it: never used, or given back
 *   ready   populated, holds nothing: the reserve that requests draw on
 *   shard   holds runs
 *   leaf    holds a part of the table
 *
 * Requests move chunks from ready to a shard and back.  Upkeep moves them
 * between cold and ready, so that requests neither wait for the system nor
 * touch memory first.  How often one must all the same, or has to wait for
 * upkeep, is counted.
 */
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <time.h>

#include "internal.h"

enum chunk_state { COLD, READY, SHARD, LEAF };

/* Chunks kept ready: what upkeep must be able to refill while requests
 * consume it.
 */
#define RESERVE_CHUNKS 32
/* Pools smaller than this many chunks a shard waste room on sharding. */
#define MIN_SHARD_CHUNKS 64
/* How many milliseconds a request waits for upkeep where it may not populate a
 * chunk itself: upkeep may wait for memory that only this request can free.
 */
#define PATIENCE 100

/* ---- Lists of chunks, linked by number ---- */

static void
push (struct pool *p, uint32_t *head, uint32_t c)
{
  p->chunks[c].prev = 0;
  p->chunks[c].next = *head;
  if (*head)
    p->chunks[*head].prev = c;
  *head = c;
}

static void
unlink_chunk (struct pool *p, uint32_t *head, uint32_t c)
{
  struct chunk *ch = &p->chunks[c];

  if (ch->prev)
    p->chunks[ch->prev].next = ch->next;
  else
    *head = ch->next;
  if (ch->next)
    p->chunks[ch->next].prev = ch->prev;
}

static uint32_t
pop (struct pool *p, uint32_t *head)
{
  uint32_t c = *head;

  if (c)
    unlink_chunk (p, head, c);
  return c;
}

/* ---- Bits ---- */

/* The first free (or used) unit from i on, at most CHUNK_UNITS. */
static inline unsigned
next_unit (const struct chunk *ch, unsigned i, uint64_t flip)
{
  unsigned w = i / 64;
  uint64_t v;

  if (i >= CHUNK_UNITS)
    return CHUNK_UNITS;
  v = (ch->used[w] ^ flip) >> i % 64 << i % 64;
  while (v == 0) {
    if (++w == CHUNK_UNITS / 64)
      return CHUNK_UNITS;
    v = ch->used[w] ^ flip;
  }
  return w * 64 + __builtin_ctzll (v);
}

static inline unsigned
next_free (const struct chunk *ch, unsigned i)
{
  return next_unit (ch, i, ~UINT64_C (0));
}

static inline unsigned
next_used (const struct chunk *ch, unsigned i)
{
  return next_unit (ch, i, 0);
}

/* The first unit of the free run that ends before unit i. */
static inline unsigned
free_before (const struct chunk *ch, unsigned i)
{
  int w = (int) (i / 64) - 1;
  uint64_t v = i % 64 ? ch->used[i / 64] << (64 - i % 64) : 0;

  if (v)
    return i - __builtin_clzll (v);
  while (w >= 0 && ch->used[w] == 0)
    w--;
  return w < 0 ? 0 : w * 64 + 64 - __builtin_clzll (ch->used[w]);
}

/* Set or clear n bits from i on; true if they all were the other way. */
static bool
flip_units (struct chunk *ch, unsigned i, unsigned n, bool set)
{
  bool ok = true;
  unsigned k;
  uint64_t m;

  for (; n > 0; i += k, n -= k) {
    k = 64 - i % 64 < n ? 64 - i % 64 : n;
    m = (k == 64 ? ~UINT64_C (0) : (UINT64_C (1) << k) - 1) << i % 64;
    ok &= (ch->used[i / 64] & m) == (set ? 0 : m);
    ch->used[i / 64] ^= m;
  }
  return ok;
}

static inline unsigned
capped (unsigned n)
{
  return n < MAX_RUN ? n : MAX_RUN;
}

static void
chunk_clear (struct chunk *ch)
{
  memset (ch->used, 0, sizeof ch->used);
  flip_units (ch, CHUNK_UNITS - CHUNK_TAIL, CHUNK_TAIL, true);
  ch->free = CHUNK_UNITS - CHUNK_TAIL;
  ch->largest = MAX_RUN;
}

static unsigned
largest_run (const struct chunk *ch)
{
  unsigned b, e = 0, most = 0;

  while ((b = next_free (ch, e)) < CHUNK_UNITS) {
    e = next_used (ch, b);
    if (e - b > most)
      most = e - b;
  }
  return capped (most);
}

/* Take n units of a chunk that has such a run: the smallest that will do.
 * Returns the first unit and updates the largest run.
 */
static unsigned
carve (struct chunk *ch, unsigned n)
{
  unsigned b, e = 0, len, best = CHUNK_UNITS + 1, at = 0, rest = 0;

  while ((b = next_free (ch, e)) < CHUNK_UNITS) {
    e = next_used (ch, b);
    len = e - b;
    if (len >= n && len < best) {
      if (best <= CHUNK_UNITS && best > rest)
        rest = best;
      best = len;
      at = b;
    }
    else if (len > rest)
      rest = len;
  }
  flip_units (ch, at, n, true);
  ch->free -= n;
  ch->largest = capped (best - n > rest ? best - n : rest);
  return at;
}

/* ---- Shards ---- */

static void
shard_link (struct pool *p, struct shard *sh, uint32_t c)
{
  unsigned l = p->chunks[c].largest;

  push (p, &sh->list[l], c);
  sh->lists_used[l / 64] |= UINT64_C (1) << l % 64;
}

static void
shard_unlink (struct pool *p, struct shard *sh, uint32_t c, unsigned l)
{
  unlink_chunk (p, &sh->list[l], c);
  if (sh->list[l] == 0)
    sh->lists_used[l / 64] &= ~(UINT64_C (1) << l % 64);
}

static void
shard_adopt (struct pool *p, struct shard *sh, uint32_t c)
{
  p->chunks[c].shard = sh - p->shards;
  p->chunks[c].state = SHARD;
  sh->chunks++;
  shard_link (p, sh, c);
}

/* The chunk with the shortest largest run of n units or more; 0: none. */
static uint32_t
shard_find (const struct shard *sh, unsigned n)
{
  unsigned w = n / 64;
  uint64_t v = sh->lists_used[w] >> n % 64 << n % 64;

  while (v == 0) {
    if (++w == DIV_UP (MAX_RUN + 1, 64))
      return 0;
    v = sh->lists_used[w];
  }
  return sh->list[w * 64 + __builtin_ctzll (v)];
}

/* A run from the chunks this shard has: its number, or -ENOSPC. */
static int64_t
shard_alloc (struct pool *p, struct shard *sh, unsigned n)
{
  uint32_t c = shard_find (sh, n);
  unsigned was, at;

  if (c == 0)
    return -ENOSPC;
  was = p->chunks[c].largest;
  at = carve (&p->chunks[c], n);
  if (p->chunks[c].largest != was) {
    shard_unlink (p, sh, c, was);
    shard_link (p, sh, c);
  }
  sh->units += n;
  return (int64_t) c * CHUNK_UNITS + at;
}

/* True if the shard has so much room in its chunks that a neighbour should
 * use it up before a new chunk is taken: more than its own use explains.
 */
static bool
shard_has_surplus (const struct shard *sh)
{
  uint64_t room = sh->chunks * (CHUNK_UNITS - CHUNK_TAIL) - sh->units;

  return room > sh->units / 128 + CHUNK_UNITS;
}

/* With the lock of one shard held, have it a chunk of another that has a run
 * of n units and room to spare.  A thread that moved to another CPU would else
 * leave its holes behind.
 */
static bool
shard_inherit (struct pool *p, struct shard *sh, unsigned n)
{
  unsigned own = sh - p->shards, i;
  struct shard *from;
  uint32_t c = 0;

  for (i = 1; i < p->n_shards && c == 0; i++) {
    from = &p->shards[(own + i) % p->n_shards];
    /* Trying cannot deadlock with another that tries the other way. */
    if (pthread_mutex_trylock (&from->lock) != 0)
      continue;
    c = shard_has_surplus (from) ? shard_find (from, n) : 0;
    if (c) {
      shard_unlink (p, from, c, p->chunks[c].largest);
      from->chunks--;
      from->units -= CHUNK_UNITS - CHUNK_TAIL - p->chunks[c].free;
      sh->units += CHUNK_UNITS - CHUNK_TAIL - p->chunks[c].free;
      shard_adopt (p, sh, c);
    }
    pthread_mutex_unlock (&from->lock);
  }
  return c != 0;
}

/* Not by plain index: gcc 12 forgets in there that the field is atomic. */
static struct shard *
shard_of (struct pool *p, const struct chunk *ch)
{
  return &p->shards[atomic_load_explicit (&ch->shard, memory_order_relaxed)];
}

/* Lock the shard that a chunk belongs to; it holds a run of the caller's, so it
 * has one, but may change it.
 */
static struct shard *
shard_lock_of (struct pool *p, const struct chunk *ch)
{
  struct shard *sh;

  for (;;) {
    sh = shard_of (p, ch);
    pthread_mutex_lock (&sh->lock);
    if (likely (sh == shard_of (p, ch)))
      return sh;
    pthread_mutex_unlock (&sh->lock);
  }
}

/* ---- Chunks in no shard ---- */

/* With the lock held: count one more chunk with memory. */
static void
count_populated (struct pool *p)
{
  if (++p->populated > p->populated_max)
    p->populated_max = p->populated;
}

static uint32_t
take_cold (struct pool *p)
{
  uint32_t c = pop (p, &p->cold);

  if (c == 0 && p->top < p->end)
    c = p->top++;
  return c;
}

static void
put_ready (struct pool *p, uint32_t c)
{
  chunk_clear (&p->chunks[c]);
  p->chunks[c].state = READY;
  pthread_mutex_lock (&p->lock);
  push (p, &p->ready, c);
  atomic_fetch_add (&p->ready_count, 1);
  atomic_store (&p->starved, false);
  pthread_mutex_unlock (&p->lock);
}

/* Move a cold chunk to the ready list: 1, 0 if there is none, or -errno. */
static int
populate_one (struct pool *p)
{
  uint32_t c;
  int err;

  pthread_mutex_lock (&p->lock);
  c = take_cold (p);
  if (c)
    count_populated (p);
  pthread_mutex_unlock (&p->lock);
  if (c == 0)
    return 0;
  /* The first touch of this, too, which must not happen under the lock. */
  chunk_clear (&p->chunks[c]);
  err = tz_region_populate (p->region, (size_t) c * TZ_CHUNK, TZ_CHUNK);
  if (err == 0) {
    put_ready (p, c);
    return 1;
  }
  pthread_mutex_lock (&p->lock);
  p->populated--;
  push (p, &p->cold, c);
  pthread_mutex_unlock (&p->lock);
  return err;
}

/* A chunk of the ready list, or 0: then, whether there could be more. */
static uint32_t
pop_ready (struct pool *p, bool *more)
{
  uint32_t c;

  pthread_mutex_lock (&p->lock);
  c = pop (p, &p->ready);
  if (c)
    atomic_fetch_sub (&p->ready_count, 1);
  *more = p->cold || p->top < p->end;
  pthread_mutex_unlock (&p->lock);
  return c;
}

/* Give upkeep a millisecond; false after too many.  Then other requests do not
 * wait either until there is a chunk: theirs are not to add up to what a client
 * takes for an outage.
 */
static bool
await_upkeep (struct pool *p, unsigned *waited)
{
  const struct timespec pause = { .tv_nsec = 1000000 };

  if (*waited == PATIENCE)
    atomic_store (&p->starved, true);
  if (atomic_load (&p->starved))
    return false;
  p->want_upkeep (p->want_upkeep_arg, true);
  nanosleep (&pause, NULL);
  ++*waited;
  return true;
}

/* A populated, clear chunk of nobody's; 0: there is no more memory. */
static uint32_t
take_ready (struct pool *p)
{
  unsigned waited = 0;
  uint32_t c;
  bool more;

  while ((c = pop_ready (p, &more)) == 0 && more)
    if (!(p->prefault ? await_upkeep (p, &waited) : populate_one (p) > 0))
      break;
    else if (waited <= 1)
      atomic_fetch_add (&p->misses, 1);
  if (atomic_load (&p->ready_count) < p->wake)
    p->want_upkeep (p->want_upkeep_arg, true);
  return c;
}

static void
give_ready (struct pool *p, uint32_t c)
{
  put_ready (p, c);
  if (atomic_load (&p->ready_count) > p->reserve)
    p->want_upkeep (p->want_upkeep_arg, false);
}

int
tz_pool_refill (struct pool *p, unsigned max)
{
  unsigned n;
  int r;

  for (n = 0; n < max && atomic_load (&p->ready_count) < p->reserve; n++) {
    r = populate_one (p);
    if (r <= 0)
      return r < 0 ? r : (int) n;
  }
  return n;
}

int
tz_pool_shrink (struct pool *p, unsigned max)
{
  uint32_t c;
  unsigned n;

  for (n = 0; n < max; n++) {
    pthread_mutex_lock (&p->lock);
    c = atomic_load (&p->ready_count) > p->reserve ? pop (p, &p->ready) : 0;
    if (c)
      atomic_fetch_sub (&p->ready_count, 1);
    pthread_mutex_unlock (&p->lock);
    if (c == 0)
      break;
    if (!tz_region_release (p->region, (size_t) c * TZ_CHUNK, TZ_CHUNK)) {
      put_ready (p, c);
      break;
    }
    p->chunks[c].state = COLD;
    pthread_mutex_lock (&p->lock);
    p->populated--;
    push (p, &p->cold, c);
    pthread_mutex_unlock (&p->lock);
  }
  return n;
}

/* ---- What the store calls ---- */

/* From a new chunk. */
static int64_t
alloc_anew (struct pool *p, struct shard *sh, unsigned units)
{
  uint32_t c = take_ready (p);
  int64_t run;

  if (c == 0)
    return -ENOSPC;
  pthread_mutex_lock (&sh->lock);
  shard_adopt (p, sh, c);
  run = shard_alloc (p, sh, units);
  pthread_mutex_unlock (&sh->lock);
  return run;
}

int64_t
tz_pool_alloc (struct pool *p, unsigned units)
{
  unsigned own = tz_this_cpu () % p->n_shards, i;
  struct shard *sh = &p->shards[own];
  int64_t run;

  pthread_mutex_lock (&sh->lock);
  run = shard_alloc (p, sh, units);
  if (unlikely (run < 0) && shard_inherit (p, sh, units))
    run = shard_alloc (p, sh, units);
  pthread_mutex_unlock (&sh->lock);
  if (unlikely (run < 0))
    run = alloc_anew (p, sh, units);

  /* Nothing left: the other shards may have a hole. */
  for (i = 0; i <= p->n_shards && run < 0; i++) {
    sh = &p->shards[(own + i) % (p->n_shards + 1)];
    pthread_mutex_lock (&sh->lock);
    run = shard_alloc (p, sh, units);
    pthread_mutex_unlock (&sh->lock);
  }
  return run;
}

int64_t
tz_pool_alloc_passing (struct pool *p, unsigned units)
{
  struct shard *sh = &p->shards[p->n_shards];
  int64_t run;

  pthread_mutex_lock (&sh->lock);
  run = shard_alloc (p, sh, units);
  pthread_mutex_unlock (&sh->lock);
  return run < 0 ? alloc_anew (p, sh, units) : run;
}

void
tz_pool_free (struct pool *p, uint64_t run, unsigned units)
{
  uint32_t c = run / CHUNK_UNITS;
  unsigned at = run % CHUNK_UNITS, b, e, l;
  struct chunk *ch = &p->chunks[c];
  struct shard *sh = shard_lock_of (p, ch);
  bool empty;

  flip_units (ch, at, units, false);
  ch->free += units;
  sh->units -= units;
  empty = ch->free == CHUNK_UNITS - CHUNK_TAIL;
  b = free_before (ch, at);
  e = next_used (ch, at + units);
  l = capped (e - b);
  if (empty) {
    shard_unlink (p, sh, c, ch->largest);
    sh->chunks--;
  }
  else if (l > ch->largest) {
    shard_unlink (p, sh, c, ch->largest);
    ch->largest = l;
    shard_link (p, sh, c);
  }
  pthread_mutex_unlock (&sh->lock);
  if (empty)
    give_ready (p, c);
}

uint32_t
tz_pool_take_leaf (struct pool *p)
{
  uint32_t c = take_ready (p);

  if (c == 0)
    return 0;
  memset (p->region->base + (size_t) c * TZ_CHUNK, 0, TZ_CHUNK);
  p->chunks[c].state = LEAF;
  pthread_mutex_lock (&p->lock);
  p->leaves++;
  pthread_mutex_unlock (&p->lock);
  return c;
}

void
tz_pool_return_leaf (struct pool *p, uint32_t c)
{
  pthread_mutex_lock (&p->lock);
  p->leaves--;
  pthread_mutex_unlock (&p->lock);
  give_ready (p, c);
}

/* ---- Opening ---- */

/* Until upkeep runs, requests give back what is free themselves. */
static void
shrink_now (void *pool, bool more)
{
  if (!more)
    tz_pool_shrink (pool, UINT_MAX);
}

int
tz_pool_open (struct pool *p, struct region *r, uint32_t first, uint32_t end,
              const struct tz_params *params)
{
  unsigned i, n = (end - first) / MIN_SHARD_CHUNKS, cpus = tz_cpu_count ();

  memset (p, 0, sizeof *p);
  p->region = r;
  p->first = p->top = first;
  p->end = end;
  p->n_shards = n < 1 ? 1 : n < cpus ? n : cpus;
  if (p->n_shards > MAX_SHARDS)
    p->n_shards = MAX_SHARDS;
  /* A small pool is not spent on its reserve. */
  p->reserve = (end - first) / 16;
  if (p->reserve > RESERVE_CHUNKS)
    p->reserve = RESERVE_CHUNKS;
  p->wake = p->reserve / 2;
  p->prefault = params->prefault;
  if (p->prefault) {
    p->reserve = end - first;
    p->wake = 0;
    if (params->reserve && params->reserve / TZ_CHUNK < p->reserve) {
      p->reserve = params->reserve / TZ_CHUNK;
      p->wake = p->reserve - p->reserve / 4;
    }
  }
  p->want_upkeep = shrink_now;
  p->want_upkeep_arg = p;
  p->chunks = tz_map ((size_t) end * sizeof *p->chunks);
  if (!p->chunks)
    return -ENOMEM;
  pthread_mutex_init (&p->lock, NULL);
  for (i = 0; i <= p->n_shards; i++)
    pthread_mutex_init (&p->shards[i].lock, NULL);
  return 0;
}

void
tz_pool_close (struct pool *p)
{
  unsigned i;

  if (!p->chunks)
    return;
  tz_unmap (p->chunks, (size_t) p->end * sizeof *p->chunks);
  p->chunks = NULL;
  pthread_mutex_destroy (&p->lock);
  for (i = 0; i <= p->n_shards; i++)
    pthread_mutex_destroy (&p->shards[i].lock);
}

/* ---- Attaching: marks are set in any order, then settled once ---- */

static void
raise_top (struct pool *p, uint32_t c)
{
  if (c >= p->top)
    p->top = c + 1;
}

int
tz_pool_mark_leaf (struct pool *p, uint32_t c)
{
  if (c < p->first || c >= p->end || p->chunks[c].state != COLD)
    return -EUCLEAN;
  p->chunks[c].state = LEAF;
  p->leaves++;
  raise_top (p, c);
  return 0;
}

int
tz_pool_mark (struct pool *p, uint64_t run, unsigned units)
{
  uint64_t c = run / CHUNK_UNITS;
  unsigned at = run % CHUNK_UNITS;
  struct chunk *ch;

  if (c < p->first || c >= p->end || units == 0
      || at + units > CHUNK_UNITS - CHUNK_TAIL)
    return -EUCLEAN;
  ch = &p->chunks[c];
  if (ch->state == COLD) {
    chunk_clear (ch);
    ch->state = SHARD;
    ch->shard = c % p->n_shards;
    raise_top (p, c);
  }
  if (ch->state != SHARD || !flip_units (ch, at, units, true))
    return -EUCLEAN;
  ch->free -= units;
  shard_of (p, ch)->units += units;
  return 0;
}

/* A chunk that nobody owned: it may have memory, or be a hole of the file. */
static void
settle_free (struct pool *p, uint32_t c)
{
  const size_t at = (size_t) c * TZ_CHUNK;

  if (p->prefault
      || (!tz_region_release (p->region, at, TZ_CHUNK)
          && tz_region_populate (p->region, at, TZ_CHUNK) == 0)) {
    count_populated (p);
    put_ready (p, c);
  }
  else
    push (p, &p->cold, c);
}

int
tz_pool_settle (struct pool *p)
{
  struct chunk *ch;
  uint32_t c;
  int err = 0;

  for (c = p->first; c < p->top && err == 0; c++) {
    ch = &p->chunks[c];
    if (ch->state == COLD) {
      settle_free (p, c);
      continue;
    }
    count_populated (p);
    err = tz_region_populate (p->region, (size_t) c * TZ_CHUNK, TZ_CHUNK);
    if (ch->state == SHARD) {
      ch->largest = largest_run (ch);
      shard_adopt (p, shard_of (p, ch), c);
    }
  }
  return err;
}

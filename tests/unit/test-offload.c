/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Large reads by several cores and by an engine that goes wrong in all ways:
 * every byte must be right all the same, and what went wrong be counted.
 */
#include <time.h>

#include "bulk.h"
#include "image.h"

/* ---- Help ---- */

static struct tz_store *
store_with (enum tz_codec codec, bool checksum, bool prefault)
{
  struct tz_params p = {
    .size = SIZE, .codec = codec, .checksum = checksum, .fd = -1,
    .prefault = prefault, .memory = prefault ? 32 * MiB : 0,
  };
  struct tz_store *s;
  int min, max;

  CHECK (tz_codec_levels (codec, &min, &max, &p.level) == 0);
  CHECK (tz_open (&p, &s) == 0);
  CHECK (tz_start (s) == 0);
  return s;
}

/* With a hole. */
static void
write_image (struct tz_store *s)
{
  make_image ();
  CHECK (tz_write (s, image, SIZE, 0) == 0);
  memset (image + 700 * TZ_PAGE, 0, 30 * TZ_PAGE);
  CHECK (tz_zero (s, 30 * TZ_PAGE, 700 * TZ_PAGE) == 0);
}

static struct tz_offload_stats
stats (struct tz_store *s)
{
  struct tz_offload_stats st;

  tz_offload_stats (s, &st);
  return st;
}

/* All of it, and parts of all sizes at odd places. */
static void
read_all_over (struct tz_store *s, unsigned times)
{
  uint64_t rng = times, count, offset;

  CHECK (reads_well (s, SIZE, 0));
  for (times = DIV_UP (times, SLOW); times > 0; times--) {
    offset = rnd (&rng) % SIZE;
    count = rnd (&rng) % (times % 2 ? SIZE : 600 * TZ_PAGE);
    if (count > SIZE - offset)
      count = SIZE - offset;
    CHECK (reads_well (s, count, offset));
  }
}

/* ---- Cores ---- */

static void
test_cores (enum tz_codec codec)
{
  struct tz_offload_params p = { .cores = true, .min_pages = 2 };
  struct tz_store *s = store_with (codec, true, false);
  unsigned i;

  write_image (s);
  CHECK (tz_offload_start (s, &p) == 0);
  read_all_over (s, 20);
  /* On a busy machine no helper may have been idle yet. */
  for (i = 0; i < 5000 && stats (s).shared_requests == 0; i++) {
    usleep (1000);
    CHECK (reads_well (s, SIZE, 0));
  }
  if (stats (s).helpers > 0)
    CHECK (stats (s).shared_requests > 0);
  tz_close (s);
}

/* ---- An engine ---- */

static void
test_engine (enum tz_codec codec, unsigned batch, bool checksum, bool pinned)
{
  struct tz_store *s = store_with (codec, checksum, pinned);
  struct tz_offload_params p = engine_params (1, batch);
  struct tz_offload_stats st;
  struct tz_stats all;

  faults (0, 1);
  write_image (s);
  CHECK (tz_offload_start (s, &p) == 0);
  CHECK (stats (s).pinned == pinned);
  read_all_over (s, 20);
  st = stats (s);
  CHECK (st.engine && st.batches > 0 && st.batch_pages >= st.engine_pages);
  CHECK (st.engine_pages > 0 && st.fallback_pages == 0);
  CHECK (st.engine_errors == 0 && st.engine_timeouts == 0);
  tz_stats (s, &all);
  CHECK (all.failed_reads == 0 && all.bad_blobs == 0);
  tz_close (s);
}

/* A pinned pool is read in place unless copies are faster, or it is too full to
 * find out; the engine is used all the same.
 */
static void
test_source (unsigned f, bool full, bool in_place)
{
  struct tz_store *s = store_with (TZ_LD64, true, true);
  struct tz_offload_params p = engine_params (0, 64);

  p.always = true;
  write_image (s);
  while (full && tz_pool_alloc (&s->pool, MAX_RUN) >= 0)
    ;
  while (full && tz_pool_alloc (&s->pool, 1) >= 0)
    ;
  faults (f, 1);
  CHECK (tz_offload_start (s, &p) == 0);
  faults (0, 1);
  CHECK (stats (s).pinned && stats (s).in_place == in_place);
  read_all_over (s, 5);
  CHECK (stats (s).engine_pages > 0 && stats (s).fallback_pages == 0);
  tz_close (s);
}

/* One kind of fault: nothing shows but in the counters. */
static void
test_fault (enum engine_fault f, bool pinned)
{
  struct tz_store *s = store_with (TZ_LD64, true, pinned);
  struct tz_offload_params p = engine_params (1, 64);
  struct tz_offload_stats st;

  if (f == ENGINE_LATE)
    p.timeout_ms = ENGINE_TIMEOUT_MS;
  write_image (s);
  CHECK (tz_offload_start (s, &p) == 0);
  faults (f, 6);
  read_all_over (s, f == ENGINE_LATE ? 5 * SLOW : 20 * SLOW);
  faults (0, 1);
  st = stats (s);
  CHECK (st.fallback_pages > 0 && st.engine && st.engine_lost == 0);
  CHECK ((st.engine_errors > 0)
         == ((f & (ENGINE_SUBMIT | ENGINE_POLL)) != 0));
  CHECK ((st.engine_timeouts > 0) == (f == ENGINE_LATE));
  /* And it is used again afterwards. */
  if (f == ENGINE_LATE)
    usleep (5000 * ENGINE_TIMEOUT_MS);
  faults (0, 1);
  read_all_over (s, 5);
  CHECK (stats (s).engine_pages > st.engine_pages);
  tz_close (s);
}

/* A device that hangs or says that it is lost is given up, and said so once;
 * no request waits for longer than the timeout.
 */
static void
test_loss (enum engine_fault f)
{
  struct tz_store *s = store_with (TZ_LD64, true, true);
  struct tz_offload_params p = engine_params (1, 256);
  unsigned said = atomic_load (&engine_lost_said), i, seen;
  uint64_t t;

  p.timeout_ms = ENGINE_TIMEOUT_MS;
  write_image (s);
  CHECK (tz_offload_start (s, &p) == 0);
  CHECK (reads_well (s, SIZE, 0));
  faults (f, 1);
  t = tz_now_ns ();
  CHECK (reads_well (s, SIZE, 0));
  t = tz_now_ns () - t;
  CHECK (t < UINT64_C (5000000000));
  for (i = 0; i < 1000 && !stats (s).engine_lost; i++) {
    CHECK (reads_well (s, 100 * TZ_PAGE, 0));
    usleep (1000);
  }
  CHECK (stats (s).engine_lost == 1 && !stats (s).engine);
  CHECK (atomic_load (&engine_lost_said) == said + 1);
  seen = atomic_load (&engine_seen);
  faults (0, 1);
  read_all_over (s, 5);
  CHECK (atomic_load (&engine_seen) == seen);
  tz_close (s);
}

/* An engine that never returns from a call is given up, too, by those who wait
 * or by who closes the store; that then takes no longer than for the engine to
 * be lost, and a second.  With ENGINE_NEVER a batch is late before, so that
 * nobody waits for the engine any more.  Nothing that the call may touch when
 * it returns after all has gone.
 */
static void
test_stuck (enum engine_fault f, bool wait)
{
  struct tz_store *s = store_with (TZ_LD64, true, true);
  struct tz_offload_params p = engine_params (1, 256);
  unsigned said = atomic_load (&engine_lost_said), i;
  unsigned closed = atomic_load (&engine_closed);
  uint64_t t;

  p.timeout_ms = ENGINE_TIMEOUT_MS;
  write_image (s);
  CHECK (tz_offload_start (s, &p) == 0);
  CHECK (reads_well (s, SIZE, 0));
  if (f & ENGINE_NEVER) {
    faults (ENGINE_NEVER, 1);
    for (i = 0; i < 2000 && stats (s).engine_timeouts == 0; i++)
      CHECK (reads_well (s, 100 * TZ_PAGE, 0));
  }
  faults (f, 1);
  t = tz_now_ns ();
  for (i = 0; i < 2000 && !stats (s).engine_lost; i++) {
    if (!wait && atomic_load (&engine_calls) > 0)
      break;
    CHECK (reads_well (s, 100 * TZ_PAGE, 0));
    usleep (1000);
  }
  t = tz_now_ns () - t;
  if (wait) {
    CHECK (stats (s).engine_lost == 1 && !stats (s).engine);
    CHECK (stats (s).engine_timeouts > 0);
    CHECK (t > 20 * ENGINE_TIMEOUT_MS * UINT64_C (1000000));
    CHECK (atomic_load (&engine_lost_said) == said + 1);
    read_all_over (s, 5);
  }
  CHECK (atomic_load (&engine_calls) == 1);
  t = tz_now_ns ();
  tz_close (s);
  CHECK (tz_now_ns () - t < UINT64_C (5000000000));
  CHECK (atomic_load (&engine_lost_said) == said + 1);
  CHECK (atomic_load (&engine_closed) == closed);
  faults (0, 1);
  for (i = 0; i < 5000 && atomic_load (&engine_calls) > 0; i++)
    usleep (1000);
  CHECK (atomic_load (&engine_calls) == 0);
  p.ops->close (p.engine);
}

static void
damage (struct tz_store *s, enum tz_codec codec)
{
  struct tz_stats before, after;
  uint64_t page = 40, w;

  tz_stats (s, &before);
  do
    w = atomic_load (tz_slot (&s->table, ++page, false));
  while (word_codec (w) != (unsigned) codec);
  run_address (&s->region, word_run (w))[3] ^= 4;
  CHECK (tz_read (s, got, 200 * TZ_PAGE, 0) == -EIO);
  tz_stats (s, &after);
  CHECK (after.failed_reads == before.failed_reads + 1);
  CHECK (after.bad_blobs == before.bad_blobs + 1);
  CHECK (reads_well (s, page * TZ_PAGE, 0));
  CHECK (reads_well (s, 200 * TZ_PAGE, (page + 1) * TZ_PAGE));
  run_address (&s->region, word_run (w))[3] ^= 4;
  CHECK (reads_well (s, 200 * TZ_PAGE, 0));
}

/* A damaged blob or page is an error with an engine or several cores as
 * without, and only there.
 */
static void
test_damage (bool pinned, bool cores)
{
  struct tz_store *s = store_with (TZ_LZ4, true, pinned);
  struct tz_offload_params p = { .cores = true, .min_pages = 1 };

  faults (0, 1);
  if (!cores)
    p = engine_params (1, 256);
  write_image (s);
  CHECK (tz_offload_start (s, &p) == 0);
  damage (s, TZ_LZ4);
  damage (s, TZ_RAW);
  tz_close (s);
}

/* ---- Tickets ---- */

static struct device *
device_with (unsigned wait_ms, unsigned timeout_ms, struct tz_engine **e)
{
  struct tz_offload_params p = engine_params (1, 4);
  struct device *d;

  p.wait_us = wait_ms * 1000;
  p.timeout_ms = timeout_ms;
  *e = p.engine;
  CHECK (tz_device_start (&d, &p, false, false) == 0);
  return d;
}

/* Pages of zeroes to compress; NULL if there is no ticket. */
static struct ticket *
hand_in (struct device *d, unsigned n)
{
  struct ticket *t = tz_device_get (d);
  unsigned i;

  if (!t)
    return NULL;
  t->op = TZ_ENCODE;
  t->codec = TZ_LZ4;
  t->n = n;
  for (i = 0; i < n; i++)
    t->job[i].src = t->stage + (size_t) i * STAGE_STRIDE;
  tz_device_submit (d, t);
  return t;
}

static bool
works (struct device *d, unsigned n)
{
  struct ticket *t = hand_in (d, n);
  bool done = t && tz_device_wait (d, t);

  if (t)
    tz_device_put (d, t);
  else
    usleep (1000);
  return done;
}

static unsigned
free_tickets (struct device *d)
{
  struct ticket *t[16];
  unsigned n = 0, i;

  while (n < 16 && (t[n] = tz_device_get (d)))
    n++;
  for (i = 0; i < n; i++)
    tz_device_put (d, t[i]);
  return n;
}

/* Of a ticket that nobody waits for any more, the memory is not used again
 * while the engine may do so, but is afterwards.
 */
static void
test_orphan (void)
{
  struct tz_engine *e;
  struct device *d = device_with (300, 400, &e);
  unsigned all = free_tickets (d), i;
  struct ticket *t;

  CHECK (all > 0 && all < 16);
  faults (ENGINE_NEVER, 1);
  /* The engine has it after 300 ms, and is late after 700. */
  t = hand_in (d, 1);
  CHECK (!tz_device_wait (d, t));
  tz_device_put (d, t);
  CHECK (free_tickets (d) < all);
  engine_go_on (e);
  for (i = 0; i < 5000 && free_tickets (d) < all; i++)
    usleep (1000);
  CHECK (free_tickets (d) == all);
  tz_device_stop (d);
}

/* A ticket that is taken back out of the queue leaves that in order. */
static void
test_unqueue (void)
{
  struct tz_engine *e;
  struct device *d = device_with (1000, 300, &e);
  unsigned i;

  faults (0, 1);
  CHECK (!works (d, 1)); /* it waits for more */
  for (i = 0; i < 50 && !works (d, 4); i++)
    ;
  CHECK (i < 50);
  tz_device_stop (d);
}

/* What is queued behind a batch that is late does not wait for it. */
static void
test_behind_late (void)
{
  struct tz_engine *e;
  struct device *d = device_with (0, 1000, &e);
  struct ticket *t[3];
  unsigned i;

  faults (ENGINE_NEVER, 1);
  t[0] = hand_in (d, 4);
  t[1] = hand_in (d, 4);
  usleep (500000);
  t[2] = hand_in (d, 1);
  CHECK (!tz_device_wait (d, t[2]));
  CHECK (t[2]->state == TICKET_DONE);
  for (i = 0; i < 3; i++)
    tz_device_put (d, t[i]);
  engine_go_on (e);
  tz_device_stop (d);
}

/* A call that returns late, but before the engine is given up, is the end of
 * it: the engine is used again.
 */
static void
test_stuck_briefly (enum engine_fault f)
{
  struct tz_engine *e;
  struct device *d = device_with (0, 500, &e);
  struct tz_offload_stats st;
  unsigned i;

  faults (f, 1);
  CHECK (!works (d, 4));
  tz_device_stats (d, &st);
  CHECK (st.engine_timeouts == 1 && st.engine && !tz_device_usable (d));
  CHECK (hand_in (d, 4) == NULL);
  faults (0, 1);
  for (i = 0; i < 5000 && !works (d, 4); i++)
    ;
  CHECK (i < 5000 && tz_device_usable (d));
  tz_device_stats (d, &st);
  CHECK (st.engine && tz_device_stop (d));
}

/* ---- Many at once, while pages are rewritten ---- */

static void
test_threads (bool pinned, bool cores, bool later, unsigned f)
{
  struct tz_store *s = store_with (TZ_LD64, true, pinned);
  struct tz_offload_params p = engine_params (1, 128);

  p.wait_us = 50;
  p.later = later;
  p.timeout_ms = f & ENGINE_LATE ? ENGINE_TIMEOUT_MS : 10000;
  faults (f, 30);
  if (cores) {
    p.ops->close (p.engine);
    p.ops = NULL;
    p.cores = true;
    p.bulk = TZ_NEVER;
  }
  crowd_fill (s);
  CHECK (tz_offload_start (s, &p) == 0);
  crowd (s);
  if (later)
    CHECK (stats (s).later_pages > 0);
  tz_close (s);
}

/* ---- Compressing later ---- */

/* Written raw, the pages are in the end what they would have been at once. */
static void
test_later (enum tz_codec codec, bool engine, bool cores, unsigned f)
{
  struct tz_store *s = store_with (codec, true, false);
  struct tz_store *at_once = store_with (codec, true, false);
  struct tz_offload_params p = { .cores = cores, .min_pages = 1 };
  struct tz_stats a, b;
  unsigned i;

  faults (f, 10);
  if (engine)
    p = engine_params (1, 256);
  p.later = true;
  p.timeout_ms = f & ENGINE_LATE ? ENGINE_TIMEOUT_MS : 10000;
  CHECK (tz_offload_start (s, &p) == 0);
  write_image (s);
  write_image (at_once);
  tz_stats (s, &a);
  tz_stats (at_once, &b);
  CHECK (a.huge_pages_since > b.huge_pages_since);
  read_all_over (s, 3);
  for (i = 0; i < 20000 && stats (s).later_backlog > 0; i++)
    usleep (1000);
  faults (0, 1);
  tz_stats (s, &a);
  tz_stats (at_once, &b);
  CHECK (stats (s).later_backlog == 0 && stats (s).later_pages > 0);
  CHECK (memcmp (a.pages, b.pages, sizeof a.pages) == 0);
  CHECK (a.compr_data_size == b.compr_data_size);
  CHECK (a.run_bytes == b.run_bytes && a.bad_blobs == 0);
  /* What lay there meanwhile left whole chunks free. */
  CHECK (a.pool_bytes - a.reserve_bytes
         <= b.pool_bytes - b.reserve_bytes + 2 * TZ_CHUNK);
  read_all_over (s, 3);
  if (engine && f == 0)
    CHECK (stats (s).engine_pages >= stats (s).later_pages);
  /* What does not become shorter is not tried again. */
  i = stats (s).later_raw;
  usleep (300000);
  CHECK (stats (s).later_raw == i);
  tz_close (s);
  tz_close (at_once);
}

/* An engine that measures slower than the cores does not compress, unless it
 * always shall; one that measures faster does.
 */
static void
test_later_measured (unsigned f, bool always, bool used)
{
  struct tz_store *s = store_with (TZ_LZ4, true, false);
  struct tz_offload_params p
      = engine_params (0, f == ENGINE_SLOW ? 64 : 4096);
  struct tz_offload_stats st;
  uint64_t batches;
  unsigned i;

  p.later = true;
  p.always = always;
  faults (f, 1);
  CHECK (tz_offload_start (s, &p) == 0);
  faults (0, 1);
  st = stats (s);
  CHECK (st.engine_compresses == used && st.engine_timeouts == 0);
  CHECK (st.compress_percent != TZ_NEVER);
  CHECK ((st.compress_percent >= 100) == (f == ENGINE_SLOW));
  batches = st.batches;
  write_image (s);
  for (i = 0; i < 20000 && stats (s).later_backlog > 0; i++)
    usleep (1000);
  st = stats (s);
  CHECK (st.later_backlog == 0 && st.later_pages > 0);
  CHECK ((st.batches > batches) == used);
  CHECK ((st.engine_pages >= st.later_pages) == used);
  tz_close (s);
}

/* While pages are written in bulk none is compressed; then all are.  If this
 * process had no processor for a while, that was no bulk: try again.
 */
static void
test_later_bulk (void)
{
  struct tz_store *s = store_with (TZ_LD64, true, false);
  struct tz_offload_params p = { .later = true, .min_pages = 1 };
  uint64_t before = UINT64_MAX, end;
  struct tz_stats all;
  unsigned i;
  int try;

  make_image ();
  CHECK (tz_offload_start (s, &p) == 0);
  for (try = 0; try < 10 && stats (s).later_pages != before; try++) {
    before = stats (s).later_pages;
    end = tz_now_ns () + 500000000;
    while (tz_now_ns () < end)
      CHECK (tz_write (s, image, SIZE, 0) == 0);
  }
  CHECK (stats (s).later_pages == before && stats (s).later_backlog > 0);
  tz_stats (s, &all);
  CHECK (all.run_bytes >= all.compr_data_size); /* raw ones count, too */
  for (i = 0; i < 20000 && stats (s).later_backlog > 0; i++)
    usleep (1000);
  CHECK (stats (s).later_backlog == 0 && stats (s).later_pages > before);
  tz_close (s);
}

/* Pages that no longer wait do not take the places of others in the list, and
 * those that do keep theirs.
 */
static void
test_later_stale (void)
{
  struct tz_params sp = { .size = 64 * MiB, .memory = 64 * MiB, .level = 1,
                          .codec = TZ_LD64, .checksum = true, .fd = -1 };
  struct tz_offload_params p = { .later = true, .min_pages = 1, .bulk = 1 };
  const unsigned places = 64 * MiB / 8 / TZ_PAGE, turns = 400, pages = 64;
  struct tz_store *s;
  struct tz_stats all;
  uint8_t page[TZ_PAGE];
  unsigned i;

  make_image ();
  CHECK (tz_open (&sp, &s) == 0 && tz_start (s) == 0);
  CHECK (tz_offload_start (s, &p) == 0);
  for (i = 0; i < turns; i++) {
    CHECK (tz_write (s, image, pages * TZ_PAGE, 0) == 0);
    CHECK (tz_zero (s, pages * TZ_PAGE, 0) == 0);
    CHECK (stats (s).later_backlog <= places);
  }
  tz_stats (s, &all);
  CHECK (all.huge_pages_since > 4 * places);
  for (i = 0; i < 2 * places; i++) {
    make_page (5, i, page);
    CHECK (tz_write (s, page, TZ_PAGE, (uint64_t) i * TZ_PAGE) == 0);
  }
  for (i = 0; i < 20000 && stats (s).later_backlog > 0; i++)
    usleep (1000);
  tz_stats (s, &all);
  CHECK (all.huge_pages == 0 && stats (s).later_backlog == 0);
  tz_close (s);
}

/* In a memory that is full a page that waits can be written again, with what
 * does not become smaller.  It is written where it is, which in a file it must
 * not be.  If this process had no processor for a while, the page no longer
 * waits: try again.
 */
static void
test_later_overwritten (bool file)
{
  struct tz_params sp = { .size = MiB, .memory = MiB, .level = 1,
                          .codec = TZ_LD64, .checksum = true, .fd = -1 };
  struct tz_offload_params p = { .later = true, .min_pages = 1, .bulk = 1 };
  const unsigned room = 15 * 15; /* a chunk is the table's */
  struct tz_store *s;
  uint8_t page[TZ_PAGE];
  unsigned n;
  int try, err = -ENOSPC;

  if (file)
    sp.fd = memfd_create ("store", MFD_CLOEXEC);
  for (try = 0; try < 10 && err == -ENOSPC; try++) {
    CHECK (tz_open (&sp, &s) == 0 && tz_start (s) == 0);
    CHECK (tz_offload_start (s, &p) == 0);
    for (n = 0; n < room; n++) {
      make_page (3, n, page);
      CHECK (tz_write (s, page, TZ_PAGE, (uint64_t) n * TZ_PAGE) == 0);
    }
    make_page (3, room, page);
    err = tz_write (s, page, TZ_PAGE, 0);
    CHECK (err == 0 || err == -ENOSPC);
    if (err)
      make_page (3, 0, page);
    CHECK (tz_read (s, got, TZ_PAGE, 0) == 0);
    CHECK (memcmp (got, page, TZ_PAGE) == 0);
    tz_close (s);
  }
  CHECK ((err == 0) != file);
  if (file)
    close (sp.fd);
}

static void *
write_third (void *opaque)
{
  uint8_t page[TZ_PAGE];

  make_page (3, 3, page);
  CHECK (tz_write (opaque, page, TZ_PAGE, 0) == 0);
  return NULL;
}

/* Nor is it written where it is if it stopped waiting while the writer waited
 * for its lock.
 */
static void
test_later_taken (void)
{
  struct tz_params sp = { .size = MiB, .memory = MiB, .level = 1,
                          .codec = TZ_LD64, .checksum = true, .fd = -1 };
  struct tz_offload_params p = { .later = true, .min_pages = 1 };
  struct tz_store *s;
  uint8_t page[TZ_PAGE];
  pthread_t writer;
  slot_t *slot;
  uint64_t w;
  unsigned i;

  CHECK (tz_open (&sp, &s) == 0 && tz_start (s) == 0);
  CHECK (tz_offload_start (s, &p) == 0);
  make_page (3, 1, page);
  CHECK (tz_write (s, page, TZ_PAGE, 0) == 0);
  slot = tz_slot (&s->table, 0, false);
  w = tz_slot_lock (slot);
  CHECK (word_codec (w) == TZ_RAW);
  CHECK (pthread_create (&writer, NULL, write_third, s) == 0);
  for (i = 0; i < 5000 && !(atomic_load (slot) & WORD_WAITER); i++)
    usleep (1000);
  tz_slot_unlock (slot, w | WORD_AGE_MASK << WORD_AGE_SHIFT);
  pthread_join (writer, NULL);
  CHECK (word_run (atomic_load (slot)) != word_run (w));
  make_page (3, 3, page);
  CHECK (tz_read (s, got, TZ_PAGE, 0) == 0);
  CHECK (memcmp (got, page, TZ_PAGE) == 0);
  tz_close (s);
}

/* What was written while a page was being compressed is not replaced. */
static void
test_later_rewritten (void)
{
  struct tz_store *s = store_with (TZ_LD64, true, false);
  struct tz_offload_params p = engine_params (1, 64);
  unsigned seen = atomic_load (&engine_seen), gen, n, i;
  uint8_t page[TZ_PAGE];

  p.later = true;
  faults (ENGINE_NEVER, 1);
  CHECK (tz_offload_start (s, &p) == 0);
  for (gen = 1; gen <= 2; gen++) {
    for (n = 0; n < 64; n++) {
      generation (page, n, gen);
      CHECK (tz_write (s, page, TZ_PAGE, n * TZ_PAGE) == 0);
    }
    for (i = 0; i < 5000 && atomic_load (&engine_seen) == seen; i++)
      usleep (1000);
    CHECK (atomic_load (&engine_seen) > seen);
  }
  engine_go_on (p.engine);
  for (i = 0; i < 20000 && stats (s).later_backlog > 0; i++)
    usleep (1000);
  CHECK (stats (s).later_pages > 0);
  for (n = 0; n < 64; n++) {
    generation (page, n, 2);
    CHECK (tz_read (s, got, TZ_PAGE, n * TZ_PAGE) == 0);
    CHECK (memcmp (got, page, TZ_PAGE) == 0);
  }
  tz_close (s);
}

/* In a pool that is full with pages that could be compressed, who writes does
 * that.
 */
static void
test_later_full (void)
{
  struct tz_params sp = { .size = 64 * MiB, .memory = 4 * MiB, .level = 1,
                          .codec = TZ_LD64, .checksum = true, .fd = -1 };
  struct tz_offload_params p = { .later = true, .min_pages = 1 };
  struct tz_store *s;
  uint8_t page[TZ_PAGE];
  unsigned n, at_once = 0;
  int turn;

  for (turn = 0; turn < 2; turn++) {
    CHECK (tz_open (&sp, &s) == 0 && tz_start (s) == 0);
    if (turn)
      CHECK (tz_offload_start (s, &p) == 0);
    for (n = 0; n < 16384; n++) {
      generation (page, 3, n);
      if (tz_write (s, page, TZ_PAGE, (uint64_t) n * TZ_PAGE))
        break;
    }
    if (turn == 0)
      at_once = n;
    tz_close (s);
  }
  /* At most what is being compressed at the moment is missing. */
  CHECK (at_once > 300 && at_once < 16384);
  CHECK (n >= at_once - at_once / 8);
}

/* So does who zeroes a part of a page. */
static void
test_later_full_zero (void)
{
  struct tz_params sp = { .size = MiB, .memory = MiB, .level = 1,
                          .codec = TZ_LD64, .checksum = true, .fd = -1 };
  struct tz_offload_params p = { .later = true, .min_pages = 1 };
  const unsigned room = 15 * 15; /* a chunk is the table's */
  struct tz_store *s;
  uint8_t page[TZ_PAGE];
  unsigned n, i;

  CHECK (tz_open (&sp, &s) == 0 && tz_start (s) == 0);
  CHECK (tz_offload_start (s, &p) == 0);
  for (n = 0; n < room; n++) {
    if (n == room - 1) /* of the others none becomes smaller */
      for (i = 0; i < 20000 && stats (s).later_backlog > 0; i++)
        usleep (1000);
    make_page (n == room - 1 ? 5 : 3, n, page);
    CHECK (tz_write (s, page, TZ_PAGE, (uint64_t) n * TZ_PAGE) == 0);
  }
  CHECK (tz_zero (s, 10, 100) == 0);
  make_page (3, 0, page);
  memset (page + 100, 0, 10);
  CHECK (tz_read (s, got, TZ_PAGE, 0) == 0);
  CHECK (memcmp (got, page, TZ_PAGE) == 0);
  tz_close (s);
}

/* ---- Start ---- */

static void
test_start (void)
{
  struct tz_store *s = store_with (TZ_LD64, true, false);
  struct tz_offload_params p = { .cores = true };
  struct tz_offload_stats st;
  struct tz_engine_ops other = engine_ops;
  unsigned closed = atomic_load (&engine_closed);

  faults (0, 1);
  st = stats (s);
  CHECK (st.cores_min_pages == TZ_NEVER && st.engine_min_pages == TZ_NEVER);
  /* Measured, whatever comes out. */
  CHECK (tz_offload_start (s, &p) == 0);
  st = stats (s);
  CHECK (st.cores_min_pages == TZ_NEVER
         || (st.cores_min_pages >= BULK_MIN && st.helpers > 0));
  tz_close (s);

  s = store_with (TZ_LD64, true, false);
  p = engine_params (0, 4096);
  CHECK (tz_offload_start (s, &p) == 0);
  st = stats (s);
  CHECK (st.engine_min_pages == st.crossover_all);
  tz_close (s);

  s = store_with (TZ_LD64, true, false);
  p = engine_params (0, 4096);
  p.always = true;
  CHECK (tz_offload_start (s, &p) == 0);
  st = stats (s);
  CHECK (st.engine_min_pages == BULK_MIN);
  /* What it was measured with is sound. */
  CHECK (st.batches > 0 && st.engine_errors == 0 && st.engine_timeouts == 0);
  CHECK (atomic_load (&engine_bad) == 0);
  tz_close (s);

  /* Not this contract, and parameters that cannot be: refused, and closed. */
  s = store_with (TZ_LD64, true, false);
  p = engine_params (1, 64);
  other.abi++;
  p.ops = &other;
  CHECK (tz_offload_start (s, &p) == -EINVAL);
  p = engine_params (1, 64);
  p.with.batch = 0;
  CHECK (tz_offload_start (s, &p) == -EINVAL);
  p = engine_params (1, 64);
  p.with.lanes = TZ_ENGINE_LANES + 1;
  CHECK (tz_offload_start (s, &p) == -EINVAL);
  CHECK (atomic_load (&engine_closed) == closed + 5);
  write_image (s);
  read_all_over (s, 3);
  tz_close (s);
}

int
main (void)
{
  static const enum engine_fault each[]
      = { ENGINE_SUBMIT, ENGINE_POLL, ENGINE_PAGE, ENGINE_LATE };
  unsigned i;

  test_start ();
  test_cores (TZ_LD64);
  test_cores (TZ_ZSTD);
  test_engine (TZ_LD64, 4096, true, false);
  test_engine (TZ_LD64, 4096, false, true);
  test_engine (TZ_LZ4, 100, true, true);
  test_engine (TZ_LZ4, 1, true, false);
  test_source (ENGINE_FAR, false, false);
  test_source (ENGINE_NEAR, false, true);
  test_source (ENGINE_NEAR, true, false);
  for (i = 0; i < sizeof each / sizeof each[0]; i++) {
    test_fault (each[i], false);
    test_fault (each[i], true);
  }
  test_loss (ENGINE_NEVER);
  test_loss (ENGINE_LOST);
  test_stuck (ENGINE_STUCK_SUBMIT, true);
  test_stuck (ENGINE_STUCK_SUBMIT, false);
  test_stuck (ENGINE_STUCK_POLL, true);
  test_stuck (ENGINE_STUCK_POLL, false);
  test_stuck (ENGINE_STUCK_POLL | ENGINE_NEVER, true);
  test_damage (false, false);
  test_damage (true, false);
  test_damage (false, true);
  test_orphan ();
  test_unqueue ();
  test_behind_late ();
  test_stuck_briefly (ENGINE_STUCK_SUBMIT);
  test_stuck_briefly (ENGINE_STUCK_POLL);
  test_later (TZ_LD64, false, false, 0);
  test_later (TZ_LZ4, false, true, 0);
  test_later (TZ_LD64, true, false, 0);
  test_later (TZ_LD64, true, false,
              ENGINE_SUBMIT | ENGINE_POLL | ENGINE_PAGE | ENGINE_LATE);
  test_later_measured (ENGINE_SLOW, false, false);
  test_later_measured (ENGINE_SLOW, true, true);
  test_later_measured (ENGINE_FAST, false, true);
  test_later_bulk ();
  test_later_stale ();
  test_later_overwritten (false);
  test_later_overwritten (true);
  test_later_taken ();
  test_later_rewritten ();
  test_later_full ();
  test_later_full_zero ();
  test_threads (false, true, false, 0);
  test_threads (false, true, true, 0);
  test_threads (false, false, false, 0);
  test_threads (true, false, true, 0);
  test_threads (false, false, true,
                ENGINE_SUBMIT | ENGINE_POLL | ENGINE_PAGE | ENGINE_LATE);
  /* Not late: blobs may then change while the engine reads them. */
  test_threads (true, false, false,
                ENGINE_SUBMIT | ENGINE_POLL | ENGINE_PAGE);
  free (image);
  free (got);
  return 0;
}

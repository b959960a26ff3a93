/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Blobs in the memory of an engine: every byte must be right, whoever decodes
 * it; what fails leaves pages as they were; and when that memory is lost, so is
 * what was in it and nothing else.
 */
#include "bulk.h"
#include "image.h"

/* ---- Help ---- */

static struct tz_params
vram_params (enum tz_codec codec)
{
  struct tz_params p = {
    .size = SIZE, .codec = codec, .checksum = true, .fd = -1,
    .vram = &engine_ops,
  };
  int min, max;

  CHECK (tz_codec_levels (codec, &min, &max, &p.level) == 0);
  CHECK (faulty_open (NULL, &p.engine, NULL, 0) == 0);
  return p;
}

static struct tz_offload_params
offload_params (const struct tz_params *p, unsigned min)
{
  struct tz_offload_params o = {
    .ops = &engine_ops,
    .engine = p->engine,
    .with = { .lanes = 2, .batch = 128 },
    .timeout_ms = 10000,
    .min_pages = min,
    .lost = engine_is_lost,
  };

  return o;
}

/* Reads of min pages and more are decoded by the engine. */
static struct tz_store *
store_with (struct tz_params p, unsigned min)
{
  struct tz_offload_params o = offload_params (&p, min);
  struct tz_store *s;

  CHECK (tz_open (&p, &s) == 0);
  CHECK (tz_start (s) == 0);
  CHECK (tz_offload_start (s, &o) == 0);
  return s;
}

static struct tz_stats
stats (struct tz_store *s)
{
  struct tz_stats st;

  tz_stats (s, &st);
  return st;
}

static void
choose (uint64_t *rng, uint64_t *count, uint64_t *offset)
{
  *offset = rnd (rng) % SIZE;
  *count = rnd (rng) % (rnd (rng) % 2 ? 100 * TZ_PAGE : 3 * TZ_PAGE);
  if (*count > SIZE - *offset)
    *count = SIZE - *offset;
}

/* Write and read parts of all sizes at odd places, and all of it at last. */
static void
use (struct tz_store *s, unsigned times)
{
  uint64_t rng = times, count, offset;

  for (times = DIV_UP (times, SLOW); times > 0; times--) {
    choose (&rng, &count, &offset);
    if (times % 4 == 0) {
      memset (image + offset, 0, count);
      CHECK (tz_zero (s, count, offset) == 0);
    }
    else if (times % 4 == 1) {
      memmove (image + offset, image + (SIZE - count) / 2, count);
      CHECK (tz_write (s, image + offset, count, offset) == 0);
    }
    else
      CHECK (reads_well (s, count, offset));
  }
  CHECK (reads_well (s, SIZE, 0));
}

/* Whether what would be a blob's place here takes memory of this process. */
static bool
takes_memory (struct tz_store *s, uint64_t page)
{
  uint64_t w = atomic_load (tz_slot (&s->table, page, false));
  unsigned char there;

  CHECK (word_len (w) > 0);
  CHECK (mincore (s->region.base + word_run (w) / CHUNK_UNITS * TZ_CHUNK,
                  TZ_PAGE, &there) == 0);
  return there & 1;
}

/* ---- What is right ---- */

static void
test_codec (enum tz_codec codec, bool checksum, unsigned min, unsigned f)
{
  struct tz_params p = vram_params (codec);
  struct tz_offload_stats o;
  struct tz_stats st;
  struct tz_store *s;

  p.checksum = checksum;
  faults (f, 20);
  s = store_with (p, min);
  make_image ();
  CHECK (tz_write (s, image, SIZE, 0) == 0);
  CHECK (reads_well (s, SIZE, 0) && !takes_memory (s, 4));
  use (s, 300);
  st = stats (s);
  tz_offload_stats (s, &o);
  CHECK (o.pinned);
  CHECK ((o.engine_pages > 0)
         == (min != TZ_NEVER && codec != TZ_ZSTD && codec != TZ_RAW));
  CHECK ((o.fallback_pages > 0) == (f != 0));
  CHECK (st.vram_total >= st.vram_bytes && st.vram_bytes == st.pool_bytes);
  CHECK (st.run_bytes > 0 && st.vram_errors == 0 && st.failed_reads == 0);
  CHECK (tz_zero (s, SIZE, 0) == 0);
  CHECK (stats (s).run_bytes == 0);
  tz_close (s);
  faults (0, 1);
}

/* Pages of one pattern do not need the engine. */
static void
test_same (void)
{
  struct tz_store *s = store_with (vram_params (TZ_LD64), 8);
  unsigned copies = atomic_load (&engine_copies), i;

  for (i = 0; i < 100; i++)
    memset (image + i * TZ_PAGE, (int) i, TZ_PAGE);
  CHECK (tz_write (s, image, 100 * TZ_PAGE, 0) == 0);
  CHECK (tz_write (s, image, 5, TZ_PAGE) == 0);
  CHECK (tz_write (s, image + TZ_PAGE, 5, TZ_PAGE) == 0);
  /* The second of these made a page of two patterns the one it was. */
  CHECK (atomic_load (&engine_copies) == copies + 2);
  CHECK (reads_well (s, 100 * TZ_PAGE, 0) && reads_well (s, 5, TZ_PAGE));
  CHECK (atomic_load (&engine_copies) == copies + 2);
  CHECK (stats (s).run_bytes == 0);
  tz_close (s);
}

/* A bit that changes there is found by whoever decodes. */
static void
test_damage (unsigned min)
{
  struct tz_params p = vram_params (TZ_LD64);
  struct tz_store *s = store_with (p, min);
  uint64_t page = 40, w;
  uint8_t *blob;

  make_image ();
  CHECK (tz_write (s, image, SIZE, 0) == 0);
  do
    w = atomic_load (tz_slot (&s->table, ++page, false));
  while (word_codec (w) != TZ_LD64);
  blob = faulty_vram (p.engine, run_address (&s->region, word_run (w)), 8);
  blob[3] ^= 4;
  CHECK (tz_read (s, got, 200 * TZ_PAGE, 0) == -EIO);
  CHECK (tz_write (s, image, 9, page * TZ_PAGE) == -EIO);
  CHECK (stats (s).bad_blobs == 2 && stats (s).vram_errors == 0);
  CHECK (reads_well (s, page * TZ_PAGE, 0));
  CHECK (reads_well (s, 200 * TZ_PAGE, (page + 1) * TZ_PAGE));
  blob[3] ^= 4;
  CHECK (reads_well (s, 200 * TZ_PAGE, 0));
  tz_close (s);
}

/* ---- What goes wrong ---- */

/* A write that fails leaves its pages as they were, or those of its last group;
 * and it leaves nothing behind.
 */
static void
test_copies_fail (void)
{
  struct tz_store *s = store_with (vram_params (TZ_LZ4), TZ_NEVER);
  uint64_t run_bytes, at, n;
  struct tz_stats st;

  make_image ();
  CHECK (tz_write (s, image, SIZE, 0) == 0);
  run_bytes = stats (s).run_bytes;
  memset (got, 0x5c, 100 * TZ_PAGE);
  for (at = 0; at < 100; at++)
    got[at * TZ_PAGE] = 1; /* not of one pattern */
  faults (ENGINE_COPY, 1);
  CHECK (tz_write (s, got, 100 * TZ_PAGE, 0) == -EREMOTEIO);
  CHECK (tz_write (s, got, TZ_PAGE, 0) == -EREMOTEIO);
  CHECK (tz_write (s, got, 10, 4 * TZ_PAGE) == -EREMOTEIO);
  CHECK (tz_read (s, got, 10, 4 * TZ_PAGE) == -EREMOTEIO);
  CHECK (tz_read (s, got, 100 * TZ_PAGE, 0) == -EREMOTEIO);
  CHECK (tz_zero (s, 10, 4 * TZ_PAGE) == -EREMOTEIO);
  /* Of a page that is there, only the way back fails. */
  CHECK (tz_write (s, "abc", 3, 16 * TZ_PAGE + 9) == -EREMOTEIO);
  st = stats (s);
  CHECK (st.vram_errors >= 7 && st.vram_errors < 7 * TZ_COPIES);
  CHECK (st.failed_reads == 2 && st.failed_writes == 5);
  faults (0, 1);
  CHECK (stats (s).run_bytes == run_bytes);
  CHECK (reads_well (s, SIZE, 0));

  /* Some groups are there, all of them or nothing. */
  faults (ENGINE_COPY, 4);
  memset (got, 0x5c, 512 * TZ_PAGE);
  for (at = 0; at < 512; at++)
    got[at * TZ_PAGE] = 1;
  CHECK (tz_write (s, got, 512 * TZ_PAGE, 0) == -EREMOTEIO);
  faults (0, 1);
  CHECK (tz_read (s, got, 512 * TZ_PAGE, 0) == 0);
  for (n = 0; n < 512 && got[n * TZ_PAGE + 1] == 0x5c; n++)
    ;
  CHECK (n % TZ_COPIES == 0);
  CHECK (memcmp (got + n * TZ_PAGE, image + n * TZ_PAGE, (512 - n) * TZ_PAGE)
         == 0);
  tz_close (s);
}

static void
test_full (void)
{
  struct tz_params p = vram_params (TZ_LD64);
  uint64_t n = 0;
  struct tz_store *s;
  struct tz_stats st;

  p.memory = 2 * MiB;
  s = store_with (p, 32);
  make_image ();
  while (tz_write (s, image + n * TZ_PAGE, 50 * TZ_PAGE, n * TZ_PAGE) == 0)
    n += 50;
  st = stats (s);
  CHECK (n > 200 && st.pool_full == 1 && st.vram_total <= 2 * MiB);
  CHECK (st.pool_bytes + st.table_bytes <= 2 * MiB && st.vram_errors == 0);
  CHECK (reads_well (s, n * TZ_PAGE, 0));
  CHECK (tz_zero (s, 100 * TZ_PAGE, 0) == 0);
  CHECK (tz_write (s, image, 100 * TZ_PAGE, 0) == 0);
  CHECK (reads_well (s, n * TZ_PAGE, 0));
  tz_close (s);
}

/* The engine's memory is gone: so are the blobs there, and nothing else. */
static void
test_loss (unsigned min)
{
  struct tz_store *s = store_with (vram_params (TZ_LD64), min);
  unsigned said = atomic_load (&engine_lost_said);
  uint64_t data = 4, zero = 16, ones = 1, none = 1400;
  struct tz_offload_stats o;

  make_image ();
  CHECK (tz_write (s, image, none * TZ_PAGE, 0) == 0);
  memset (image + none * TZ_PAGE, 0, SIZE - none * TZ_PAGE);
  faults (ENGINE_GONE, 1);
  CHECK (tz_read (s, got, TZ_PAGE, data * TZ_PAGE) == -ENODEV);
  CHECK (tz_read (s, got, 64 * TZ_PAGE, 0) == -ENODEV);
  CHECK (atomic_load (&engine_lost_said) == said + 1);
  tz_offload_stats (s, &o);
  CHECK (o.engine_lost == 1 && !o.engine);
  /* It stays lost. */
  faults (0, 1);
  CHECK (tz_read (s, got, 7, data * TZ_PAGE) == -ENODEV);
  CHECK (reads_well (s, TZ_PAGE, zero * TZ_PAGE));
  CHECK (reads_well (s, TZ_PAGE, ones * TZ_PAGE));
  CHECK (reads_well (s, SIZE - none * TZ_PAGE, none * TZ_PAGE));

  CHECK (tz_write (s, image + 4 * TZ_PAGE, TZ_PAGE, none * TZ_PAGE)
         == -ENODEV);
  CHECK (tz_write (s, image, 3, data * TZ_PAGE) == -ENODEV);
  CHECK (tz_read (s, got, TZ_PAGE, data * TZ_PAGE) == -ENODEV);
  CHECK (reads_well (s, TZ_PAGE, none * TZ_PAGE));
  CHECK (tz_write (s, image + TZ_PAGE, TZ_PAGE, 5 * TZ_PAGE) == 0);
  memcpy (image + 5 * TZ_PAGE, image + TZ_PAGE, TZ_PAGE);
  CHECK (reads_well (s, TZ_PAGE, 5 * TZ_PAGE));
  CHECK (tz_zero (s, TZ_PAGE, data * TZ_PAGE) == 0);
  memset (image + data * TZ_PAGE, 0, TZ_PAGE);
  CHECK (reads_well (s, TZ_PAGE, data * TZ_PAGE));
  CHECK (atomic_load (&engine_lost_said) == said + 1);
  CHECK (stats (s).vram_errors > 4);
  CHECK (tz_zero (s, SIZE, 0) == 0 && stats (s).run_bytes == 0);
  tz_close (s);
}

/* ---- Many at once, while pages are rewritten ---- */

static void
test_threads (unsigned f, bool cores)
{
  struct tz_params p = vram_params (TZ_LD64);
  struct tz_offload_params o = offload_params (&p, 40);
  struct tz_store *s;

  faults (f, 30);
  o.cores = cores;
  CHECK (tz_open (&p, &s) == 0 && tz_start (s) == 0);
  CHECK (tz_offload_start (s, &o) == 0);
  crowd_fill (s);
  crowd (s);
  CHECK (tz_zero (s, SIZE, 0) == 0);
  CHECK (stats (s).run_bytes == 0 && stats (s).vram_errors == 0);
  tz_close (s);
  faults (0, 1);
}

/* ---- Start ---- */

static int
open_fails (struct tz_params p)
{
  struct tz_store *s;
  int err = tz_open (&p, &s);

  CHECK (err < 0);
  faulty_close (p.engine);
  return err;
}

static void
test_start (void)
{
  struct tz_params p = vram_params (TZ_LD64);
  struct tz_offload_params o;
  struct tz_store *s;

  p.prefault = true;
  p.memory = MiB;
  CHECK (open_fails (p) == -EINVAL);
  p = vram_params (TZ_LD64);
  p.fd = 0;
  CHECK (open_fails (p) == -EINVAL);
  p = vram_params (TZ_LD64);
  p.size = UINT64_C (1) << 40;
  p.memory = UINT64_C (1) << 36;
  CHECK (open_fails (p) == -ENOMEM);
  engine_room_now = 0;
  CHECK (open_fails (vram_params (TZ_LD64)) == -ENOMEM);
  engine_room_now = 64 * MiB;

  p = vram_params (TZ_LD64);
  o = offload_params (&p, 1);
  o.later = true;
  CHECK (tz_open (&p, &s) == 0 && tz_start (s) == 0);
  CHECK (tz_offload_start (s, &o) == -EINVAL);
  tz_close (s);

  /* What it takes: no more than it needs, nor than there is. */
  s = store_with (vram_params (TZ_LD64), 1);
  CHECK (stats (s).vram_total > SIZE && stats (s).vram_total < 2 * SIZE);
  tz_close (s);
  p = vram_params (TZ_LD64);
  p.size = UINT64_C (1) << 50;
  s = store_with (p, 1);
  CHECK (stats (s).vram_total == 64 * MiB);
  tz_close (s);

  /* Measured, whatever comes out, and nothing of that is left. */
  s = store_with (vram_params (TZ_LZ4), 0);
  CHECK (stats (s).run_bytes == 0 && stats (s).vram_errors == 0);
  make_image ();
  CHECK (tz_write (s, image, SIZE, 0) == 0 && reads_well (s, SIZE, 0));
  tz_close (s);
}

int
main (void)
{
  test_start ();
  test_codec (TZ_LD64, true, 1, 0);
  test_codec (TZ_LD64, false, 8, 0);
  test_codec (TZ_LZ4, true, 50, ENGINE_SUBMIT | ENGINE_POLL | ENGINE_PAGE);
  test_codec (TZ_LZ4, true, TZ_NEVER, 0);
  test_codec (TZ_ZSTD, true, 1, 0);
  test_codec (TZ_RAW, true, 1, 0);
  test_same ();
  test_damage (1);
  test_damage (TZ_NEVER);
  test_copies_fail ();
  test_full ();
  test_loss (1);
  test_loss (TZ_NEVER);
  test_threads (0, false);
  test_threads (ENGINE_SUBMIT | ENGINE_POLL | ENGINE_PAGE, true);
  free (image);
  free (got);
  return 0;
}

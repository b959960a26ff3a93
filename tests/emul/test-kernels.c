/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The kernels, emulated, against the codecs of the CPU: every blob of theirs
 * and mutants of it, and every blob of the kernels' own.
 *   test-kernels [FILE.pages...]
 *   test-kernels --count FILE.pages...   what a page costs each kernel
 */
#include "config.h"

#include <stdlib.h>
#ifdef HAVE_LIBLZ4
#include <lz4.h>
#include <lz4hc.h>
#endif

#include "checksum.h"
#include "codec/codec.h"
#include "emul.h"
#include "../unit/pages.h"

#define BATCH 7 /* pages a launch: not all groups have one */

static uint64_t rng = 1;
static uint8_t *scratch[TZ_CODECS];

/* What one launch works on.  Blobs end just before a page that faults, as
 * nothing may be read past their last 16 bytes.
 */
static struct {
  unsigned n;
  bool follows; /* the checksum is behind the blob, not in the job */
  uint8_t *blob[BATCH], *page[BATCH], *out[BATCH];
  struct tz_gpu_job job[BATCH];
  int expect[BATCH];
  int32_t result[BATCH + 1];
  uint64_t extra[BATCH + 1];
} batch;

static void
poison (void *p, size_t n)
{
  memset (p, 0xa5, n);
}

static bool
poisoned (const uint8_t *p, size_t n)
{
  while (n > 0)
    if (p[--n] != 0xa5)
      return false;
  return true;
}

static uint64_t
address (const void *p)
{
  return (uint64_t) (uintptr_t) p;
}

static void
launch (enum tz_gpu_kernel kernel, uint32_t flags, bool extra)
{
  poison (batch.result, sizeof batch.result);
  poison (batch.extra, sizeof batch.extra);
  emul_launch (kernel, batch.job, batch.result, batch.n, flags,
               extra ? batch.extra : NULL);
  CHECK (batch.result[batch.n] == (int32_t) 0xa5a5a5a5);
  CHECK (batch.extra[batch.n] == 0xa5a5a5a5a5a5a5a5);
}

/* ---- Decompression ---- */

static enum tz_codec codec;
static unsigned long n_blobs, n_good;

/* Where a job's checksum is. */
static uint8_t *
stored_sum (unsigned i)
{
  struct tz_gpu_job *job = &batch.job[i];

  return batch.follows ? (uint8_t *) (uintptr_t) (job->src + job->len)
                       : (uint8_t *) &job->sum;
}

static void
decompress_batch (void)
{
  enum tz_gpu_kernel kernel = codec == TZ_LD64 ? TZ_GPU_LD64_DECOMPRESS
                                               : TZ_GPU_LZ4_DECOMPRESS;
  bool check = rnd (&rng) % 2;
  unsigned i, wrong = (unsigned) rnd (&rng) % BATCH;
  int expect;

  if (batch.n == 0)
    return;
  for (i = 0; i < batch.n; i++) {
    poison (batch.out[i], TZ_PAGE);
    batch.job[i].dst = address (batch.out[i]);
    *stored_sum (i) ^= check && i == wrong;
  }
  launch (kernel, (check ? TZ_GPU_CHECK : 0)
                      | (batch.follows ? TZ_GPU_FOLLOWS : 0), false);
  for (i = 0; i < batch.n; i++) {
    expect = batch.expect[i] != 0     ? TZ_GPU_EBLOB
             : check && i == wrong ? TZ_GPU_ESUM
                                      : 0;
    if (batch.result[i] != expect)
      fprintf (stderr, "%s: page %u: %d, not %d\n", tz_codecs[codec]->name, i,
               batch.result[i], expect);
    CHECK (batch.result[i] == expect);
    if (expect == 0)
      CHECK (memcmp (batch.out[i], batch.page[i], TZ_PAGE) == 0);
    else
      CHECK (poisoned (batch.out[i], TZ_PAGE));
    n_good += expect == 0;
  }
  n_blobs += batch.n;
  batch.n = 0;
}

/* Have a blob decompressed, with what the CPU makes of it for an answer. */
static void
try_blob (const uint8_t *blob, size_t len)
{
  static uint8_t copy[TZ_DST_SIZE + TZ_BLOB_SLACK]
      __attribute__ ((aligned (64)));
  unsigned i = batch.n++;
  struct tz_gpu_job *job = &batch.job[i];
  uint32_t sum = 0;
  uint8_t *at;

  if (i == 0)
    batch.follows = rnd (&rng) % 2;
  at = batch.blob[i] + 2 * TZ_PAGE
       - (len + (batch.follows ? sizeof sum : 0) + 15) / 16 * 16;
  memcpy (copy, blob, len);
  memcpy (at, blob, len);
  batch.expect[i] = len < 1 || len >= TZ_PAGE
                        ? -1
                        : tz_codecs[codec]->decode (scratch[codec], copy, len,
                                                    batch.page[i]);
  *job = (struct tz_gpu_job) { .src = address (at), .len = (uint32_t) len,
                               .page = rnd (&rng) >> 4 };
  if (len > 0 && len <= TZ_PAGE)
    sum = tz_checksum (copy, len, job->page << 4 | codec);
  memcpy (stored_sum (i), &sum, sizeof sum);
  if (batch.n == BATCH)
    decompress_batch ();
}

/* Change a few bits or bytes, or the length. */
static void
try_mutant (const uint8_t *blob, size_t len)
{
  static uint8_t m[2 * TZ_PAGE];
  unsigned n = 1 + (unsigned) rnd (&rng) % 4, i;
  size_t at;

  memcpy (m, blob, len);
  for (i = 0; i < n; i++) {
    /* The beginning holds what the rest depends on. */
    at = rnd (&rng) % len;
    if (rnd (&rng) % 2)
      at %= 64;
    switch (rnd (&rng) % 8) {
    case 0: case 1: case 2:
      m[at] ^= (uint8_t) (1 << rnd (&rng) % 8);
      break;
    case 3: case 4:
      m[at] = (uint8_t) rnd (&rng);
      break;
    case 5:
      m[at] = rnd (&rng) % 2 ? 255 : 0;
      break;
    case 6:
      len = 1 + rnd (&rng) % len;
      break;
    default:
      memset (m + len, (int) rnd (&rng), 40);
      len += rnd (&rng) % 40;
    }
  }
  try_blob (m, len);
}

static void
try_lz4_blocks (const uint8_t *page)
{
#ifdef HAVE_LIBLZ4
  static char dst[LZ4_COMPRESSBOUND (TZ_PAGE)];
  int n;

  n = LZ4_compress_default ((const char *) page, dst, TZ_PAGE, sizeof dst);
  try_blob ((uint8_t *) dst, (size_t) n);
  n = LZ4_compress_HC ((const char *) page, dst, TZ_PAGE, sizeof dst, 9);
  try_blob ((uint8_t *) dst, (size_t) n);
  try_mutant ((uint8_t *) dst, (size_t) n);
#else
  (void) page;
#endif
}

static void
decompress_page (const uint8_t *page)
{
  static uint8_t dst[TZ_DST_SIZE] __attribute__ ((aligned (64)));
  int level, n, i;

  for (level = 1; level <= tz_codecs[codec]->max_level; level++) {
    n = tz_codecs[codec]->encode (scratch[codec], page, dst, level);
    if (n <= 0)
      continue;
    try_blob (dst, (size_t) n);
    for (i = 0; i < 2; i++)
      try_mutant (dst, (size_t) n);
  }
  if (codec == TZ_LZ4)
    try_lz4_blocks (page);
}

static void
test_decompress (enum tz_codec c, char **files, unsigned every)
{
  static uint8_t any[2 * TZ_PAGE];
  size_t len, i;

  codec = c;
  n_blobs = n_good = 0;
  all_pages (files, every, decompress_page);
  for (len = 0; len < 5000; len += 1 + len / 20) {
    for (i = 0; i < len; i++)
      any[i] = (uint8_t) rnd (&rng);
    try_blob (any, len);
    memset (any, 0, sizeof any);
    try_blob (any, len);
  }
  decompress_batch ();
  printf ("%s: decompressed %lu blobs, %lu of them good\n",
          tz_codecs[codec]->name, n_blobs, n_good);
}

/* ---- Compression ---- */

static unsigned long n_pages, n_blob_bytes;

/* A kernel writes what the CPU does at this level. */
#define GPU_LEVEL 1

static void
compress_batch (void)
{
  static uint8_t dst[TZ_DST_SIZE] __attribute__ ((aligned (64)));
  enum tz_gpu_kernel kernel = codec == TZ_LD64 ? TZ_GPU_LD64_COMPRESS
                                               : TZ_GPU_LZ4_COMPRESS;
  bool check = rnd (&rng) % 2;
  unsigned i, len, stored;
  uint64_t seed;
  int n;

  if (batch.n == 0)
    return;
  for (i = 0; i < batch.n; i++) {
    poison (batch.out[i], TZ_PAGE);
    batch.job[i]
        = (struct tz_gpu_job) { .src = address (batch.page[i]),
                                .dst = address (batch.out[i]),
                                .page = rnd (&rng) >> 4 };
  }
  launch (kernel, check ? TZ_GPU_CHECK : 0, check);
  for (i = 0; i < batch.n; i++) {
    n = tz_codecs[codec]->encode (scratch[codec], batch.page[i], dst,
                                  GPU_LEVEL);
    len = n > 0 ? (unsigned) n : TZ_PAGE;
    CHECK (batch.result[i] == (int) len);
    stored = len < TZ_PAGE ? (len + 15) / 16 * 16 : 0;
    CHECK (n <= 0 || memcmp (batch.out[i], dst, len) == 0);
    CHECK (poisoned (batch.out[i] + stored, TZ_PAGE - stored));
    if (check) {
      seed = batch.job[i].page << 4 | (n > 0 ? codec : TZ_RAW);
      CHECK (batch.extra[i]
             == tz_checksum (n > 0 ? dst : batch.page[i], len, seed));
    }
    n_blob_bytes += len;
  }
  n_pages += batch.n;
  batch.n = 0;
}

static void
compress_page (const uint8_t *page)
{
  memcpy (batch.page[batch.n++], page, TZ_PAGE);
  if (batch.n == BATCH)
    compress_batch ();
}

static void
test_compress (enum tz_codec c, char **files, unsigned every)
{
  codec = c;
  n_pages = n_blob_bytes = 0;
  all_pages (files, every, compress_page);
  compress_batch ();
  printf ("%s: compressed %lu pages, %.3f times\n", tz_codecs[codec]->name,
          n_pages, (double) n_pages * TZ_PAGE / n_blob_bytes);
}

/* ---- Same-filled pages, checksums ---- */

static unsigned long n_same;

static void
scan_batch (void)
{
  uint64_t pattern;
  unsigned i, len;
  bool same;

  for (i = 0; i < batch.n; i++)
    batch.job[i] = (struct tz_gpu_job) { .src = address (batch.page[i]) };
  launch (TZ_GPU_SAME_SCAN, 0, true);
  for (i = 0; i < batch.n; i++) {
    same = tz_same_filled (batch.page[i], &pattern);
    CHECK (batch.result[i] == same);
    CHECK (batch.extra[i] == (same ? pattern : 0xa5a5a5a5a5a5a5a5));
    n_same += same;
    len = i == 0 ? TZ_PAGE : 1 + (unsigned) rnd (&rng) % TZ_PAGE;
    batch.job[i].src += (TZ_PAGE - len) / 16 * 16;
    batch.job[i].len = rnd (&rng) % 16 ? len : len % 2 ? 0 : TZ_PAGE + 1;
    batch.job[i].page = rnd (&rng);
  }
  launch (TZ_GPU_CHECKSUM, 0, true);
  for (i = 0; i < batch.n; i++) {
    len = batch.job[i].len;
    if (len == 0 || len > TZ_PAGE) {
      CHECK (batch.result[i] == TZ_GPU_EBLOB);
      CHECK (batch.extra[i] == 0xa5a5a5a5a5a5a5a5);
      continue;
    }
    CHECK (batch.result[i] == 0);
    memset (batch.blob[0], 0, 2 * TZ_PAGE);
    memcpy (batch.blob[0], (const void *) (uintptr_t) batch.job[i].src, len);
    CHECK (batch.extra[i]
           == tz_checksum (batch.blob[0], len, batch.job[i].page));
  }
  batch.n = 0;
}

static void
scan_page (const uint8_t *page)
{
  memcpy (batch.page[batch.n++], page, TZ_PAGE);
  if (batch.n == BATCH)
    scan_batch ();
}

static void
test_scan (char **files, unsigned every)
{
  uint8_t page[TZ_PAGE];
  unsigned at;

  for (at = 0; at < TZ_PAGE; at += 37) { /* a byte that differs, anywhere */
    memset (page, (int) at, TZ_PAGE);
    page[at] ^= 1;
    scan_page (page);
  }
  all_pages (files, every, scan_page);
  scan_batch ();
  printf ("%lu same-filled pages\n", n_same);
  CHECK (n_same > 0);
}

/* ---- What it costs ---- */

static struct emul_counts counts;

static void
report (const char *kernel)
{
  printf ("%-16s %7.1f accesses, %7.1f turns of the banks, %6.1f meetings"
          " a page\n", kernel, (double) counts.accesses / n_pages,
          (double) counts.wavefronts / n_pages,
          (double) counts.meetings / n_pages);
  counts = (struct emul_counts) { 0 };
}

/* Pages go in fours, in the files' order. */
static void
count_page (const uint8_t *page)
{
  static uint8_t dst[TZ_DST_SIZE] __attribute__ ((aligned (64)));
  enum tz_gpu_kernel decompress = codec == TZ_LD64 ? TZ_GPU_LD64_DECOMPRESS
                                                   : TZ_GPU_LZ4_DECOMPRESS;
  uint64_t pattern;
  int n;

  n = tz_codecs[codec]->encode (scratch[codec], page, dst, 1);
  if (n <= 0 || tz_same_filled (page, &pattern))
    return;
  memcpy (batch.page[batch.n], page, TZ_PAGE);
  memcpy (batch.blob[batch.n], dst, (size_t) n);
  batch.job[batch.n]
      = (struct tz_gpu_job) { .src = address (batch.blob[batch.n]),
                              .dst = address (batch.out[batch.n]),
                              .len = (uint32_t) n };
  if (++batch.n < 4)
    return;
  if (n_blobs == 0) { /* this pass is for decompression */
    launch (decompress, 0, false);
  }
  else {
    for (n = 0; n < 4; n++)
      batch.job[n].src = address (batch.page[n]);
    launch (decompress + 1, 0, false);
  }
  n_pages += 4;
  batch.n = 0;
}

static int
count (char **files)
{
  static const enum tz_codec used[] = { TZ_LD64, TZ_LZ4 };
  char name[32];
  unsigned i;

  emul_count (&counts);
  for (; *files; files++) {
    printf ("%s\n", *files);
    for (i = 0; i < 4; i++) {
      codec = used[i / 2];
      n_blobs = i % 2;
      n_pages = batch.n = 0;
      file_pages (*files, 32, count_page);
      snprintf (name, sizeof name, "%s %s", tz_codecs[codec]->name,
                i % 2 ? "compress" : "decompress");
      report (name);
    }
  }
  return 0;
}

int
main (int argc, char **argv)
{
  unsigned every = argc > 1 ? 16 : 1, i;
  static const enum tz_codec used[] = { TZ_LD64, TZ_LZ4 };

  for (i = 0; i < BATCH; i++) {
    batch.blob[i] = guarded (2 * TZ_PAGE);
    batch.page[i] = guarded (TZ_PAGE);
    batch.out[i] = guarded (TZ_PAGE);
  }
  for (i = 0; i < 2; i++) {
    const struct tz_codec_ops *ops = tz_codecs[used[i]];
    size_t size = ops->scratch_size (ops->max_level);

    scratch[used[i]] = aligned_alloc (64, (size + 63) / 64 * 64);
    CHECK (scratch[used[i]] != NULL);
    memset (scratch[used[i]], 0, size);
    if (ops->init)
      CHECK (ops->init (scratch[used[i]], size, ops->max_level) == 0);
  }
  if (argc > 1 && strcmp (argv[1], "--count") == 0)
    return count (argv + 2);
  test_decompress (TZ_LD64, argv + 1, every);
  test_compress (TZ_LD64, argv + 1, every);
  test_decompress (TZ_LZ4, argv + 1, every);
  test_compress (TZ_LZ4, argv + 1, every);
  test_scan (argv + 1, every);
  return 0;
}

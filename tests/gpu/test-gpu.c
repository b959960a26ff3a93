/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The kernels on a real device against the CPU: every blob of the CPU's, and a
 * mutant of each, decompressed; every page compressed, scanned and summed.
 * Whether it is accepted and what comes out must be the same, byte for byte,
 * and nothing else may be written.
 *
 *   test-gpu [--pages N] [FILE.pages...]
 *
 * With N pages, no two alike, half of them made up and half from the files (the
 * samples in tests/data if none are named).
 */
#include <config.h>

#include <errno.h>
#include <glob.h>

#include "checksum.h"
#include "gpu.h"
#include "../unit/pages.h"

#define BATCH  8191        /* pages a launch: not all groups have one */
#define GAP    64          /* bytes after each page, which stay as they are */
#define STRIDE (TZ_PAGE + GAP)
#define SLOT   TZ_DST_SIZE /* of a blob, or what a mutation makes of one */
#define POISON 0xa5
#define LEVEL  1           /* of the CPU, whose blobs the kernels make */

/* A launch: what goes in, what is to come out, and what does. */
static struct batch {
  unsigned n, turn;
  struct memory in, out, jobs, result, extra, device_in, device_out;
  uint8_t *page;    /* what is to come out */
  int32_t *expect;
  uint8_t *touched; /* whether any of it is to be written */
} b;

static enum tz_codec codec;
static bool mutate;
static const uint8_t *pages;
static unsigned long failures;

static void
start (void)
{
  b.in = gpu_host ((size_t) BATCH * SLOT);
  b.out = gpu_host ((size_t) BATCH * STRIDE);
  b.jobs = gpu_host (BATCH * sizeof (struct tz_gpu_job));
  b.result = gpu_host ((BATCH + 1) * sizeof (int32_t));
  b.extra = gpu_host ((BATCH + 1) * sizeof (uint64_t));
  b.device_in = gpu_memory (b.in.len);
  b.device_out = gpu_memory (b.out.len);
  b.page = allocate ((size_t) BATCH * TZ_PAGE);
  b.expect = allocate (BATCH * sizeof *b.expect);
  b.touched = allocate (BATCH);
}

static struct tz_gpu_job *
job (unsigned i)
{
  return (struct tz_gpu_job *) b.jobs.host + i;
}

static void
failed (unsigned i, const char *what, long is, long expected)
{
  if (failures++ < 20)
    fprintf (stderr, "%s%s: page %u of %u: %s %ld, not %ld\n",
             tz_codec_name (codec), mutate ? ", mutated" : "", i, b.n, what,
             is, expected);
}

/* Every other batch is in the device's own memory, the rest in the host's. */
static void
run (enum tz_gpu_kernel kernel, uint32_t flags, bool extra)
{
  bool copy = b.turn++ % 2 == 0;
  const struct memory *in = copy ? &b.device_in : &b.in;
  const struct memory *out = copy ? &b.device_out : &b.out;
  unsigned i;

  memset (b.out.host, POISON, (size_t) b.n * STRIDE);
  memset (b.result.host, POISON, b.result.len);
  memset (b.extra.host, POISON, b.extra.len);
  for (i = 0; i < b.n; i++) {
    job (i)->src = in->device + (size_t) i * SLOT;
    job (i)->dst = out->device + (size_t) i * STRIDE;
  }
  if (copy) {
    GPU (MemcpyHtoDAsync, in->device, b.in.host, (size_t) b.n * SLOT, NULL);
    GPU (MemcpyHtoDAsync, out->device, b.out.host, (size_t) b.n * STRIDE,
         NULL);
  }
  gpu_launch (kernel, b.jobs.device, b.result.device, b.n, flags,
              extra ? b.extra.device : 0, NULL);
  if (copy)
    GPU (MemcpyDtoHAsync, b.out.host, out->device, (size_t) b.n * STRIDE,
         NULL);
  GPU (CtxSynchronize);
}

/* What was to be written was, and nothing else: bytes of page i of the output
 * from first on are poison still.
 */
static void
check_rest (unsigned i, size_t first)
{
  const uint8_t *out = b.out.host + (size_t) i * STRIDE;

  for (; first < STRIDE; first++)
    if (out[first] != POISON) {
      failed (i, "written: byte", (long) first, -1);
      return;
    }
}

static void
check_ends (bool extra)
{
  int32_t r = ((int32_t *) b.result.host)[b.n];
  uint64_t e = ((uint64_t *) b.extra.host)[extra ? b.n : 0];

  if (r != (int32_t) 0xa5a5a5a5 || e != 0xa5a5a5a5a5a5a5a5)
    failed (b.n, "a result too many", r, 0);
}

/* ---- Decompression ---- */

static size_t
mutated (uint8_t *m, size_t len, uint64_t *rng)
{
  unsigned n = 1 + (unsigned) rnd (rng) % 4, i;
  size_t at;

  for (i = 0; i < n; i++) {
    /* The beginning holds what the rest depends on. */
    at = rnd (rng) % (rnd (rng) % 2 || len < 64 ? len : 64);
    switch (rnd (rng) % 8) {
    case 0: case 1: case 2:
      m[at] ^= (uint8_t) (1 << rnd (rng) % 8);
      break;
    case 3: case 4:
      m[at] = (uint8_t) rnd (rng);
      break;
    case 5:
      m[at] = rnd (rng) % 2 ? 255 : 0;
      break;
    case 6:
      len = 1 + rnd (rng) % len;
      break;
    default:
      memset (m + len, (int) rnd (rng), 40);
      len += rnd (rng) % 40;
    }
  }
  return len;
}

/* Have a blob of each page, and the CPU's answer to it. */
static void
prepare_blobs (void *opaque, unsigned from, unsigned n)
{
  const struct tz_codec_ops *ops = tz_codecs[codec];
  unsigned i, levels = (unsigned) (ops->max_level - ops->min_level + 1);
  uint8_t *blob;
  uint64_t rng;
  size_t len;

  (void) opaque;
  for (i = from; i < from + n; i++) {
    blob = b.in.host + (size_t) i * SLOT;
    rng = b.turn * UINT64_C (1000003) + i;
    len = cpu_encode (codec, ops->min_level + (int) (i % levels),
                      pages + (size_t) i * TZ_PAGE, blob);
    if (mutate && len < TZ_PAGE)
      len = mutated (blob, len, &rng);
    *job (i) = (struct tz_gpu_job) { .len = (uint32_t) len,
                                     .page = rnd (&rng) >> 4 };
    b.expect[i] = TZ_GPU_EBLOB;
    if (len >= TZ_PAGE)
      continue;
    job (i)->sum = tz_checksum (blob, len, job (i)->page << 4 | codec);
    if (cpu_decode (codec, blob, len, b.page + (size_t) i * TZ_PAGE))
      b.expect[i] = 0;
  }
}

static void
decompress_batch (enum tz_gpu_kernel kernel)
{
  const int32_t *result = (int32_t *) b.result.host;
  bool check = b.turn / 2 % 2;
  unsigned i, wrong = b.n / 2;

  on_all_cores (b.n, prepare_blobs, NULL);
  if (check && b.expect[wrong] == 0) {
    job (wrong)->sum ^= 1;
    b.expect[wrong] = TZ_GPU_ESUM;
  }
  run (kernel, check ? TZ_GPU_CHECK : 0, false);
  for (i = 0; i < b.n; i++) {
    if (result[i] != b.expect[i])
      failed (i, "result", result[i], b.expect[i]);
    if (b.expect[i] == 0
        && memcmp (b.out.host + (size_t) i * STRIDE,
                   b.page + (size_t) i * TZ_PAGE, TZ_PAGE) != 0)
      failed (i, "another page than the CPU's,", 1, 0);
    check_rest (i, b.expect[i] == 0 ? TZ_PAGE : 0);
  }
  check_ends (false);
}

/* ---- Compression ---- */

static void
prepare_pages (void *opaque, unsigned from, unsigned n)
{
  unsigned i;

  (void) opaque;
  for (i = from; i < from + n; i++) {
    memcpy (b.in.host + (size_t) i * SLOT, pages + (size_t) i * TZ_PAGE,
            TZ_PAGE);
    *job (i) = (struct tz_gpu_job) { .page = i * UINT64_C (7919),
                                     .len = 1 + i * 61 % TZ_PAGE };
  }
}

static void
check_blobs (void *opaque, unsigned from, unsigned n)
{
  static _Thread_local uint8_t dst[TZ_DST_SIZE] __attribute__ ((aligned (64)));
  const int32_t *result = (int32_t *) b.result.host;
  const uint64_t *extra = (uint64_t *) b.extra.host;
  const uint8_t *page;
  unsigned i, len;
  uint32_t sum;

  (void) opaque;
  for (i = from; i < from + n; i++) {
    page = pages + (size_t) i * TZ_PAGE;
    len = cpu_encode (codec, LEVEL, page, dst);
    sum = tz_checksum (len < TZ_PAGE ? dst : page, len,
                       job (i)->page << 4
                           | (len < TZ_PAGE ? codec : TZ_RAW));
    b.touched[i] = result[i] == (int32_t) len
                   && (len == TZ_PAGE
                       || memcmp (b.out.host + (size_t) i * STRIDE, dst, len)
                              == 0)
                   && extra[i] == sum;
    b.expect[i] = (int32_t) len;
  }
}

static void
compress_batch (enum tz_gpu_kernel kernel)
{
  const int32_t *result = (int32_t *) b.result.host;
  unsigned i;

  on_all_cores (b.n, prepare_pages, NULL);
  run (kernel, TZ_GPU_CHECK, true);
  on_all_cores (b.n, check_blobs, NULL);
  for (i = 0; i < b.n; i++) {
    if (!b.touched[i])
      failed (i, "another blob or checksum than the CPU's: length", result[i],
              b.expect[i]);
    check_rest (i, b.expect[i] == TZ_PAGE
                       ? 0
                       : (size_t) (b.expect[i] + 15) / 16 * 16);
  }
  check_ends (true);
}

/* ---- The others ---- */

static void
scan_batch (enum tz_gpu_kernel kernel)
{
  const int32_t *result = (int32_t *) b.result.host;
  const uint64_t *extra = (uint64_t *) b.extra.host;
  uint64_t pattern = 0, sum;
  unsigned i;
  bool same;

  on_all_cores (b.n, prepare_pages, NULL);
  run (kernel, 0, true);
  for (i = 0; i < b.n; i++) {
    if (kernel == TZ_GPU_SAME_SCAN) {
      same = tz_same_filled (pages + (size_t) i * TZ_PAGE, &pattern);
      if (result[i] != same || (same && extra[i] != pattern))
        failed (i, "same-filled", result[i], same);
    }
    else {
      sum = tz_checksum (b.in.host + (size_t) i * SLOT, job (i)->len,
                         job (i)->page);
      if (result[i] != 0 || extra[i] != sum)
        failed (i, "checksum", (long) extra[i], (long) sum);
    }
    check_rest (i, 0);
  }
  check_ends (true);
}

/* ---- All of them on all pages ---- */

static const struct step {
  const char *name;
  enum tz_codec codec;
  enum tz_gpu_kernel kernel;
  void (*batch) (enum tz_gpu_kernel kernel);
  bool mutate;
} steps[] = {
  { "ld64 decompress", TZ_LD64, TZ_GPU_LD64_DECOMPRESS, decompress_batch, 0 },
  { "ld64 mutants", TZ_LD64, TZ_GPU_LD64_DECOMPRESS, decompress_batch, 1 },
  { "lz4 decompress", TZ_LZ4, TZ_GPU_LZ4_DECOMPRESS, decompress_batch, 0 },
  { "lz4 mutants", TZ_LZ4, TZ_GPU_LZ4_DECOMPRESS, decompress_batch, 1 },
  { "ld64 compress", TZ_LD64, TZ_GPU_LD64_COMPRESS, compress_batch, 0 },
  { "lz4 compress", TZ_LZ4, TZ_GPU_LZ4_COMPRESS, compress_batch, 0 },
  { "same-filled scan", TZ_RAW, TZ_GPU_SAME_SCAN, scan_batch, 0 },
  { "checksum", TZ_RAW, TZ_GPU_CHECKSUM, scan_batch, 0 },
};

static void
run_step (const struct step *s, const uint8_t *all, size_t n)
{
  unsigned long before = failures;
  size_t at;

  codec = s->codec;
  mutate = s->mutate;
  for (at = 0; at < n; at += b.n) {
    b.n = n - at < BATCH ? (unsigned) (n - at) : BATCH;
    pages = all + at * TZ_PAGE;
    s->batch (s->kernel);
  }
  printf ("%-17s %zu pages, %lu failures\n", s->name, n, failures - before);
  fflush (stdout);
}

/* ---- The pages ---- */

struct digest {
  uint64_t sum;
  size_t page;
};

static int
compare (const void *one, const void *other)
{
  const struct digest *x = one, *y = other;

  if (x->sum != y->sum)
    return x->sum < y->sum ? -1 : 1;
  return x->page < y->page ? -1 : x->page > y->page;
}

/* Sort the pages' digests: those that are alike lie beside each other. */
static void
digest_all (struct digest *d, const uint8_t *all, size_t n)
{
  size_t i, k;
  uint64_t v;

  for (i = 0; i < n; i++) {
    d[i] = (struct digest) { .page = i };
    for (k = 0; k < TZ_PAGE; k += sizeof v) {
      memcpy (&v, all + i * TZ_PAGE + k, sizeof v);
      d[i].sum = (d[i].sum ^ v) * 0x9e3779b97f4a7c15;
      d[i].sum ^= d[i].sum >> 29;
    }
  }
  qsort (d, n, sizeof *d, compare);
}

/* Pages of one pattern stay such, for the scan; of others few bytes change. */
static void
stamp (uint8_t *page, size_t i)
{
  uint32_t number = (uint32_t) (i + 1) * 2654435761u;
  size_t k;

  if (same_filled (page))
    for (k = 0; k < TZ_PAGE; k += 8)
      memcpy (page + k, &number, sizeof number);
  else
    memcpy (page + i % (TZ_PAGE / 4) * 4, &number, sizeof number);
}

/* Some kinds of made-up pages, and files, have the same page again and again:
 * all but the first of them get a stamp.  What comes out is looked at anew, so
 * that the number of different pages is known, not hoped for.
 */
static void
make_distinct (uint8_t *all, size_t n)
{
  struct digest *d = allocate (n * sizeof *d);
  size_t i, distinct = 1;

  digest_all (d, all, n);
  for (i = 1; i < n; i++)
    if (d[i].sum == d[i - 1].sum)
      stamp (all + d[i].page * TZ_PAGE, d[i].page);
  digest_all (d, all, n);
  for (i = 1; i < n; i++)
    distinct += d[i].sum != d[i - 1].sum;
  free (d);
  printf ("%zu pages, %zu of them different\n", n, distinct);
  if (distinct < n)
    give_up (EXIT_FAILURE, "pages that are alike test nothing twice");
}

/* Half of n pages are made up, the rest the files'; samples are repeated with
 * stamps until there are enough.
 */
static uint8_t *
get_pages (char **files, int n_files, size_t n)
{
  uint8_t *all = allocate (n * TZ_PAGE);
  size_t i, part, at = n / 2;
  struct set s;
  int f;

  for (i = 0; i < at; i++)
    make_page ((unsigned) (i % PAGE_KINDS), i / PAGE_KINDS * 101,
               all + i * TZ_PAGE);
  for (f = 0; f < n_files; f++, at += part) {
    part = f + 1 < n_files ? (n - n / 2) / (size_t) n_files : n - at;
    s = set_load (files[f], part);
    memcpy (all + at * TZ_PAGE, s.page, part * TZ_PAGE);
    printf ("%s: %zu pages, %zu of them the file's own, the others with a "
            "stamp\n", s.name, s.n, s.own);
    free (s.page);
  }
  make_distinct (all, n);
  return all;
}

int
main (int argc, char **argv)
{
  const char *dir = getenv ("top_srcdir");
  size_t n = 65536 + 1000;
  char samples[4096];
  uint8_t *all;
  unsigned i;
  glob_t g;

  if (argc > 2 && strcmp (argv[1], "--pages") == 0) {
    n = strtoul (argv[2], NULL, 10);
    argc -= 2;
    argv += 2;
  }
  snprintf (samples, sizeof samples, "%s/tests/data/*.pages", dir ? dir : ".");
  if (argc == 1 && glob (samples, 0, NULL, &g) == 0) {
    argc = 1 + (int) g.gl_pathc;
    argv = g.gl_pathv - 1;
  }
  if (n < 64 || n > 1 << 24)
    give_up (2, "usage: test-gpu [--pages 64 ... 16777216] FILE.pages...");
  gpu_open ();
  if (argc < 2)
    give_up (2, "name a file of pages: there is no %s", samples);
  printf ("%s\n", gpu.name);
  start ();
  all = get_pages (argv + 1, argc - 1, n);
  for (i = 0; i < sizeof steps / sizeof steps[0]; i++)
    run_step (&steps[i], all, n);
  return failures ? EXIT_FAILURE : EXIT_SUCCESS;
}

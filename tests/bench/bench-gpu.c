/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The GPU's kernels, alone and from end to end, beside what limits them: the
 * bus, the device's memory, the CPU's cores; and beside nvCOMP.
 *
 *   bench-gpu [--json] [--pages N] [--rounds N] [--module FILE.so]
 *             FILE.pages...
 *
 * With the plugin's module also requests to a store in the GPU's memory.
 * Of each file N pages are used, 65536 if nothing is said, which is more than
 * the caches hold; a smaller file is repeated, each copy with a stamp of four
 * bytes, and a row tells how many pages are its own.  A page that a codec does
 * not shorten is left out of that codec's decompression.  Every page that comes
 * out is compared.  GB/s are those of pages, never of blobs, and medians.
 *
 * Of a row that names a peer "pcie" or "memory" the ratio is the fraction of
 * what this run has found the hardware to do.
 */
#include <config.h>

#include <dlfcn.h>
#include <errno.h>
#include <getopt.h>

#include "bench.h"
#include "../gpu/gpu.h"

#define LEVEL  1
#define LANES  4    /* batches under way */
#define BATCH  2048 /* pages a batch, of those that are to fill the bus */
#define LATEST 8192 /* pages of the largest batch whose latency is taken */
#define ROUNDS 32   /* at most */
#define WARM   30000000 /* ns until a device's clock is up */

static unsigned rounds = 9;

/* What this machine can do, in GB/s. */
static struct {
  double to_device, to_host, both, memory;
} ceiling;

/* ---- Rows ---- */

static struct set set;
static enum tz_codec codec;

static void
row (const char *setting, const char *metric, const char *unit, double ours,
     const char *peer, double theirs)
{
  const struct bench_row r = {
    .bench = "gpu",
    .file = set.name,
    .setting = setting,
    .codec = codec ? tz_codec_name (codec) : NULL,
    .level = codec ? LEVEL : 0,
    .peer = peer,
    .metric = metric,
    .unit = unit,
    .ours = ours,
    .theirs = theirs,
  };

  bench_row (&r);
}

static double
gbps (double pages, double ns)
{
  return pages * TZ_PAGE / ns;
}

/* ---- Times of the device, in ns ---- */

struct timer {
  cuda_event start, end;
};

static struct timer
timer_make (void)
{
  struct timer t;

  GPU (EventCreate, &t.start, 0);
  GPU (EventCreate, &t.end, 0);
  return t;
}

static double
timer_ns (const struct timer *t)
{
  float ms;

  GPU (EventSynchronize, t->end);
  GPU (EventElapsedTime, &ms, t->start, t->end);
  return ms > 0 ? (double) ms * 1e6 : 1;
}

/* Do work in a stream until the device is warm, then time it. */
static double
time_work (void (*work_fn) (void *opaque, cuda_stream s), void *opaque)
{
  struct timer t = timer_make ();
  uint64_t since = now_ns ();
  double ns[ROUNDS];
  cuda_stream s;
  unsigned i;

  GPU (StreamCreate, &s, CUDA_STREAM_NON_BLOCKING);
  do {
    work_fn (opaque, s);
    GPU (StreamSynchronize, s);
  } while (rounds > 1 && now_ns () - since < WARM);
  for (i = 0; i < rounds; i++) {
    GPU (EventRecord, t.start, s);
    work_fn (opaque, s);
    GPU (EventRecord, t.end, s);
    ns[i] = timer_ns (&t);
  }
  GPU (StreamDestroy, s);
  GPU (EventDestroy, t.start);
  GPU (EventDestroy, t.end);
  return median (ns, rounds);
}

/* ---- Ceilings ---- */

struct copying {
  enum way { TO_DEVICE, TO_HOST, BOTH, INSIDE } way;
  struct memory *host, *device; /* two of each */
  cuda_stream other;
};

static void
copy_once (void *opaque, cuda_stream s)
{
  const struct copying *c = opaque;
  size_t len = c->host[0].len;

  if (c->way == INSIDE) {
    GPU (MemcpyDtoDAsync, c->device[1].device, c->device[0].device, len, s);
    return;
  }
  if (c->way != TO_HOST)
    GPU (MemcpyHtoDAsync, c->device[0].device, c->host[0].host, len,
         c->way == BOTH ? c->other : s);
  if (c->way != TO_DEVICE)
    GPU (MemcpyDtoHAsync, c->host[1].host, c->device[1].device, len, s);
  if (c->way == BOTH)
    GPU (StreamSynchronize, c->other);
}

/* Bytes of both directions; of a copy inside, those read and those written. */
static double
copy_rate (enum way way, struct memory *host, struct memory *device)
{
  struct copying c = { .way = way, .host = host, .device = device };
  double ns;

  GPU (StreamCreate, &c.other, CUDA_STREAM_NON_BLOCKING);
  ns = time_work (copy_once, &c);
  GPU (StreamDestroy, c.other);
  return (way >= BOTH ? 2 : 1) * (double) host[0].len / ns;
}

static void
ceilings (size_t pages)
{
  struct memory host[2], device[2];
  unsigned i;

  for (i = 0; i < 2; i++) {
    host[i] = gpu_host (pages * TZ_PAGE);
    device[i] = gpu_memory (pages * TZ_PAGE);
    memset (host[i].host, 0x5c + (int) i, host[i].len);
  }
  ceiling.to_device = copy_rate (TO_DEVICE, host, device);
  ceiling.to_host = copy_rate (TO_HOST, host, device);
  ceiling.both = copy_rate (BOTH, host, device);
  ceiling.memory = copy_rate (INSIDE, host, device);
  row ("copy", "to-device", "GB/s", ceiling.to_device, NULL, 0);
  row ("copy", "to-host", "GB/s", ceiling.to_host, NULL, 0);
  row ("copy", "both-ways", "GB/s", ceiling.both, NULL, 0);
  row ("copy", "memory", "GB/s", ceiling.memory, NULL, 0);
  for (i = 0; i < 2; i++) {
    gpu_free (&host[i]);
    gpu_free (&device[i]);
  }
}

/* ---- What is worked on ---- */

/* The set at hand, and its blobs as the CPU makes them, as close to each other
 * as in a pool.
 */
static struct {
  struct memory page, blob;   /* the host's */
  struct memory copy, blobs;  /* the device's: of these; and room for pages */
  struct memory out, jobs, result;
  uint32_t *len;              /* of each page's blob; TZ_PAGE: none */
  uint32_t *index;            /* the pages that have one */
  size_t *at;
  size_t n, bytes;            /* blobs, and what they take */
  double stored;              /* bytes of all pages, raw ones included */
} work;

static uint8_t *room; /* for a blob a page, before they are packed */

static void
encode_part (void *opaque, unsigned from, unsigned n)
{
  static _Thread_local uint8_t dst[TZ_DST_SIZE] __attribute__ ((aligned (64)));
  unsigned i;

  (void) opaque;
  for (i = from; i < from + n; i++) {
    work.len[i] = cpu_encode (codec, LEVEL,
                              work.page.host + (size_t) i * TZ_PAGE, dst);
    if (work.len[i] < TZ_PAGE)
      memcpy (room + (size_t) i * TZ_PAGE, dst, work.len[i]);
  }
}

static void
decode_part (void *opaque, unsigned from, unsigned n)
{
  uint8_t *out = opaque;
  size_t i;

  for (; n > 0; n--, from++) {
    i = work.index[from];
    cpu_decode (codec, work.blob.host + work.at[i], work.len[i],
                out + (size_t) from % LATEST * TZ_PAGE);
  }
}

static void
work_open (size_t pages)
{
  room = allocate (pages * TZ_PAGE);
  work.page = gpu_host (pages * TZ_PAGE);
  work.blob = gpu_host (pages * TZ_PAGE);
  work.copy = gpu_memory (pages * TZ_PAGE);
  work.blobs = gpu_memory (pages * TZ_PAGE);
  work.out = gpu_memory (pages * TZ_PAGE);
  work.jobs = gpu_host (pages * sizeof (struct tz_gpu_job));
  work.result = gpu_host (pages * sizeof (int32_t));
  work.len = allocate (pages * sizeof *work.len);
  work.index = allocate (pages * sizeof *work.index);
  work.at = allocate (pages * sizeof *work.at);
}

static void
work_on_set (void)
{
  memcpy (work.page.host, set.page, set.n * TZ_PAGE);
  GPU (MemcpyHtoDAsync, work.copy.device, work.page.host, set.n * TZ_PAGE,
       NULL);
  GPU (CtxSynchronize);
}

/* The CPU's blobs, and how long all its cores take for them. */
static void
make_blobs (void)
{
  uint64_t since = now_ns ();
  size_t i;

  on_all_cores ((unsigned) set.n, encode_part, NULL);
  row ("cpu-all", "compress", "GB/s", gbps (set.n, now_ns () - since), NULL,
       0);
  work.n = work.bytes = 0;
  work.stored = 0;
  for (i = 0; i < set.n; i++) {
    work.stored += work.len[i];
    if (work.len[i] == TZ_PAGE)
      continue;
    work.index[work.n++] = (uint32_t) i;
    work.at[i] = work.bytes;
    memcpy (work.blob.host + work.bytes, room + i * TZ_PAGE, work.len[i]);
    work.bytes += (work.len[i] + 15) / 16 * 16;
  }
  if (work.n == 0)
    give_up (EXIT_FAILURE, "%s: no page of it can be compressed", set.name);
  GPU (MemcpyHtoDAsync, work.blobs.device, work.blob.host, work.bytes, NULL);
  GPU (CtxSynchronize);
}

/* ---- Kernels alone ---- */

static struct tz_gpu_job *
job (size_t i)
{
  return (struct tz_gpu_job *) work.jobs.host + i;
}

static int
by_length (const void *a, const void *b)
{
  const struct tz_gpu_job *x = a, *y = b;

  return x->len < y->len ? -1 : x->len > y->len;
}

struct launch {
  enum tz_gpu_kernel kernel;
  struct memory jobs, result;
  size_t n;
};

static void
launch_once (void *opaque, cuda_stream s)
{
  const struct launch *l = opaque;

  gpu_launch (l->kernel, l->jobs.device, l->result.device, (uint32_t) l->n, 0,
              0, s);
}

/* The time of a kernel for n jobs, all in the device's memory. */
static double
kernel_ns (enum tz_gpu_kernel kernel, size_t n)
{
  struct launch l = { .kernel = kernel,
                      .jobs = gpu_memory (n * sizeof (struct tz_gpu_job)),
                      .result = gpu_memory (n * sizeof (int32_t)),
                      .n = n };
  double ns;

  GPU (MemcpyHtoDAsync, l.jobs.device, work.jobs.host, l.jobs.len, NULL);
  GPU (CtxSynchronize);
  ns = time_work (launch_once, &l);
  GPU (MemcpyDtoHAsync, work.result.host, l.result.device, l.result.len, NULL);
  GPU (CtxSynchronize);
  gpu_free (&l.jobs);
  gpu_free (&l.result);
  return ns;
}

static void
check_pages (const uint8_t *out, const char *what)
{
  size_t i;

  for (i = 0; i < work.n; i++)
    if (memcmp (out + i * TZ_PAGE,
                work.page.host + (size_t) work.index[i] * TZ_PAGE, TZ_PAGE))
      give_up (EXIT_FAILURE, "%s, %s: page %u comes out wrong", set.name, what,
               work.index[i]);
}

/* Whatever the memory of the device has, it is not what is expected. */
static void
poison (const struct memory *m)
{
  GPU (MemsetD8Async, m->device, 0xa5, m->len, NULL);
  GPU (CtxSynchronize);
}

static double
decompress_kernel (enum tz_gpu_kernel kernel)
{
  double ns, sorted;
  size_t i, k;

  for (k = 0; k < work.n; k++) {
    i = work.index[k];
    *job (k) = (struct tz_gpu_job) { .src = work.blobs.device + work.at[i],
                                     .dst = work.out.device + k * TZ_PAGE,
                                     .len = work.len[i] };
  }
  poison (&work.out);
  ns = kernel_ns (kernel, work.n);
  GPU (MemcpyDtoHAsync, room, work.out.device, work.n * TZ_PAGE, NULL);
  GPU (CtxSynchronize);
  check_pages (room, "decompress");
  row ("kernel", "decompress", "GB/s", gbps (work.n, ns), NULL, 0);
  row ("kernel", "decompress-moved", "GB/s",
       ((double) work.bytes + work.n * TZ_PAGE) / ns, "memory",
       ceiling.memory);
  qsort (job (0), work.n, sizeof *job (0), by_length);
  sorted = kernel_ns (kernel, work.n);
  row ("kernel-sorted", "decompress", "GB/s", gbps (work.n, sorted), NULL, 0);
  return gbps (work.n, sorted < ns ? sorted : ns);
}

/* The blob of page i, in room, holds it.  Returns the blob's length. */
static int32_t
check_blob (size_t i)
{
  static uint8_t page[TZ_PAGE] __attribute__ ((aligned (64)));
  static uint8_t blob[TZ_DST_SIZE] __attribute__ ((aligned (64)));
  int32_t len = ((int32_t *) work.result.host)[i];

  if (len == TZ_PAGE)
    return len;
  if (len < 1 || len > TZ_PAGE)
    give_up (EXIT_FAILURE, "%s, compress: page %zu: %d", set.name, i, len);
  memcpy (blob, room + i * TZ_PAGE, (size_t) len);
  if (!cpu_decode (codec, blob, (size_t) len, page)
      || memcmp (page, work.page.host + i * TZ_PAGE, TZ_PAGE) != 0)
    give_up (EXIT_FAILURE, "%s, compress: page %zu is not in its blob",
             set.name, i);
  return len;
}

static double
compress_kernel (enum tz_gpu_kernel kernel, double *ratio)
{
  double ns, stored = 0;
  size_t i;

  for (i = 0; i < set.n; i++)
    *job (i) = (struct tz_gpu_job) { .src = work.copy.device + i * TZ_PAGE,
                                     .dst = work.out.device + i * TZ_PAGE };
  poison (&work.out);
  ns = kernel_ns (kernel, set.n);
  GPU (MemcpyDtoHAsync, room, work.out.device, set.n * TZ_PAGE, NULL);
  GPU (CtxSynchronize);
  for (i = 0; i < set.n; i++)
    stored += check_blob (i);
  *ratio = (double) (set.n * TZ_PAGE) / stored;
  row ("kernel", "compress", "GB/s", gbps (set.n, ns), NULL, 0);
  row ("kernel", "ratio", "x", *ratio, "cpu",
       (double) (set.n * TZ_PAGE) / work.stored);
  return gbps (set.n, ns);
}

/* ---- End to end: batches, several under way ---- */

enum mode {
  IN_PLACE, /* the kernel reads and writes the host's memory */
  STAGED,   /* what goes in is gathered and copied, so are pages coming out */
  TO_GPU,   /* blobs read in place, pages stay in the device's memory */
  TO_GPU_STAGED,
};

static const char *const mode_names[]
    = { "in-place", "staged", "in-place", "staged" };

static struct lane {
  cuda_stream stream;
  cuda_event done;
  struct memory jobs, result;
  struct memory gather, reply; /* the host's */
  struct memory in, out;       /* the device's */
  size_t first;
  unsigned n;                  /* pages under way */
} lanes[LANES];

static void
lanes_open (unsigned pages)
{
  struct lane *l;

  for (l = lanes; l < lanes + LANES; l++) {
    GPU (StreamCreate, &l->stream, CUDA_STREAM_NON_BLOCKING);
    GPU (EventCreate, &l->done, CUDA_EVENT_NO_TIMING);
    l->jobs = gpu_host (pages * sizeof (struct tz_gpu_job));
    l->result = gpu_host (pages * sizeof (int32_t));
    l->gather = gpu_host ((size_t) pages * TZ_PAGE);
    l->reply = gpu_host ((size_t) pages * TZ_PAGE);
    l->in = gpu_memory ((size_t) pages * TZ_PAGE);
    l->out = gpu_memory ((size_t) pages * TZ_PAGE);
  }
}

/* Gather the blobs of a batch.  Returns how many bytes they take. */
static size_t
gather (struct lane *l, struct tz_gpu_job *jobs)
{
  size_t at = 0, i;
  unsigned k;

  for (k = 0; k < l->n; k++) {
    i = work.index[l->first + k];
    memcpy (l->gather.host + at, work.blob.host + work.at[i], work.len[i]);
    jobs[k].src = l->in.device + at;
    at += (work.len[i] + 15) / 16 * 16;
  }
  return at;
}

static void
start_decompress (struct lane *l, enum mode mode)
{
  struct tz_gpu_job *jobs = (struct tz_gpu_job *) l->jobs.host;
  bool staged = mode == STAGED || mode == TO_GPU_STAGED;
  cuda_address out = mode == IN_PLACE ? l->reply.device
                     : mode == STAGED ? l->out.device
                                      : work.out.device + l->first * TZ_PAGE;
  size_t i;
  unsigned k;

  for (k = 0; k < l->n; k++) {
    i = work.index[l->first + k];
    jobs[k] = (struct tz_gpu_job) { .src = work.blob.device + work.at[i],
                                    .dst = out + (size_t) k * TZ_PAGE,
                                    .len = work.len[i] };
  }
  if (staged) {
    i = gather (l, jobs);
    GPU (MemcpyHtoDAsync, l->in.device, l->gather.host, i, l->stream);
  }
  gpu_launch (codec == TZ_LD64 ? TZ_GPU_LD64_DECOMPRESS
                               : TZ_GPU_LZ4_DECOMPRESS,
              l->jobs.device, l->result.device, l->n, 0, 0, l->stream);
  if (mode == STAGED)
    GPU (MemcpyDtoHAsync, l->reply.host, l->out.device,
         (size_t) l->n * TZ_PAGE, l->stream);
  GPU (EventRecord, l->done, l->stream);
}

/* Blobs always go straight to the host: they are short and lie apart. */
static void
start_compress (struct lane *l, enum mode mode)
{
  struct tz_gpu_job *jobs = (struct tz_gpu_job *) l->jobs.host;
  cuda_address in = mode == STAGED ? l->in.device
                                   : work.page.device + l->first * TZ_PAGE;
  unsigned k;

  if (mode == STAGED)
    GPU (MemcpyHtoDAsync, l->in.device, work.page.host + l->first * TZ_PAGE,
         (size_t) l->n * TZ_PAGE, l->stream);
  for (k = 0; k < l->n; k++)
    jobs[k]
        = (struct tz_gpu_job) { .src = in + (size_t) k * TZ_PAGE,
                                .dst = l->reply.device + (size_t) k * TZ_PAGE };
  gpu_launch (codec == TZ_LD64 ? TZ_GPU_LD64_COMPRESS : TZ_GPU_LZ4_COMPRESS,
              l->jobs.device, l->result.device, l->n, 0, 0, l->stream);
  GPU (EventRecord, l->done, l->stream);
}

static void
finish (struct lane *l, bool check, bool compress, bool to_gpu)
{
  const int32_t *result = (int32_t *) l->result.host;
  const uint8_t *page;
  unsigned k;
  int r;

  while ((r = gpu.cu.EventQuery (l->done)) == CUDA_NOT_READY)
    ;
  gpu_check (r, "EventQuery", __LINE__);
  for (k = 0; k < l->n; k++)
    if (compress ? result[k] < 1 || result[k] > TZ_PAGE : result[k] != 0)
      give_up (EXIT_FAILURE, "%s: page %zu: result %d", set.name,
               l->first + k, result[k]);
  for (k = 0; check && !compress && !to_gpu && k < l->n; k++) {
    page = work.page.host + (size_t) work.index[l->first + k] * TZ_PAGE;
    if (memcmp (l->reply.host + (size_t) k * TZ_PAGE, page, TZ_PAGE) != 0)
      give_up (EXIT_FAILURE, "%s: page %zu comes out wrong", set.name,
               l->first + k);
  }
  for (k = 0; check && compress && k < l->n; k++)
    if (result[k] != (int32_t) work.len[l->first + k])
      give_up (EXIT_FAILURE, "%s: page %zu: a blob of %d bytes, not %u",
               set.name, l->first + k, result[k], work.len[l->first + k]);
  l->n = 0;
}

/* All pages, once: ns. */
static double
end_to_end (bool compress, enum mode mode, bool check)
{
  size_t all = compress ? set.n : work.n, first;
  bool to_gpu = mode == TO_GPU || mode == TO_GPU_STAGED;
  uint64_t since = now_ns ();
  struct lane *l = lanes;
  unsigned i;

  for (first = 0; first < all; first += BATCH) {
    if (l->n > 0)
      finish (l, check, compress, to_gpu);
    if (check)
      memset (l->reply.host, 0xa5, l->reply.len);
    l->first = first;
    l->n = all - first < BATCH ? (unsigned) (all - first) : BATCH;
    if (compress)
      start_compress (l, mode);
    else
      start_decompress (l, mode);
    l = l + 1 < lanes + LANES ? l + 1 : lanes;
  }
  for (i = 0; i < LANES; i++, l = l + 1 < lanes + LANES ? l + 1 : lanes)
    if (l->n > 0)
      finish (l, check, compress, to_gpu);
  return (double) (now_ns () - since);
}

static void
measure_end_to_end (bool compress, enum mode mode)
{
  bool to_gpu = mode == TO_GPU || mode == TO_GPU_STAGED;
  size_t n = compress ? set.n : work.n;
  double ns[ROUNDS];
  unsigned i;

  if (to_gpu)
    poison (&work.out);
  end_to_end (compress, mode, true);
  if (to_gpu) {
    GPU (MemcpyDtoHAsync, room, work.out.device, n * TZ_PAGE, NULL);
    GPU (CtxSynchronize);
    check_pages (room, "to the GPU");
  }
  for (i = 0; i < rounds; i++)
    ns[i] = end_to_end (compress, mode, false);
  row (mode_names[mode],
       compress ? "compress-end"
       : to_gpu ? "deliver-to-gpu"
                : "decompress-end",
       "GB/s", gbps (n, median (ns, rounds)), "pcie",
       compress || to_gpu ? ceiling.to_device : ceiling.to_host);
}

/* ---- Latency, and where it crosses the CPU's ---- */

#define SAMPLES 1000
#define ENOUGH  100000000 /* ns a size, a way of doing it */

enum doer { GPU_IN_PLACE, GPU_STAGED, ONE_CORE, ALL_CORES, DOERS };

static const char *const doers[DOERS]
    = { "in-place", "staged", "cpu-1", "cpu-all" };

/* A batch of n from first on, by whom: ns. */
static double
batch_ns (enum doer doer, size_t first, unsigned n)
{
  uint64_t since = now_ns ();
  struct lane *l = lanes;

  switch (doer) {
  case GPU_IN_PLACE:
  case GPU_STAGED:
    l->first = first;
    l->n = n;
    start_decompress (l, doer == GPU_STAGED ? STAGED : IN_PLACE);
    finish (l, false, false, false);
    break;
  case ONE_CORE:
    decode_part (l->reply.host, (unsigned) first, n);
    break;
  default:
    work.index += first;
    on_all_cores (n, decode_part, l->reply.host);
    work.index -= first;
  }
  return (double) (now_ns () - since);
}

/* The median; a row for it, and one for the slowest in a hundred. */
static double
latency (enum doer doer, unsigned n)
{
  static double ns[SAMPLES];
  uint64_t since = now_ns ();
  char metric[32];
  size_t first = 0;
  unsigned i;
  double m;

  batch_ns (doer, 0, n);
  for (i = 0; i < rounds
              || (i < SAMPLES && rounds > 1 && now_ns () - since < ENOUGH);
       i++) {
    /* Another place each time: in use, a blob is seldom in a cache. */
    first = (first + 7919 * (size_t) n) % (work.n - n + 1);
    ns[i] = batch_ns (doer, first, n);
  }
  m = median (ns, i);
  snprintf (metric, sizeof metric, "latency-%u", n);
  row (doers[doer], metric, "us", m / 1e3, NULL, 0);
  if (i >= 100) {
    snprintf (metric, sizeof metric, "p99-%u", n);
    row (doers[doer], metric, "us", ns[i * 99 / 100] / 1e3, NULL, 0);
  }
  return m;
}

/* The least number of pages from which on the GPU was faster; 0: never. */
static void
measure_latency (void)
{
  static const unsigned sizes[]
      = { 1, 8, 32, 64, 128, 256, 512, 1024, 2048, 4096, LATEST };
  unsigned i, from[2] = { 0, 0 }, k;
  double ns[DOERS], best;

  for (i = 0; i < sizeof sizes / sizeof sizes[0] && sizes[i] <= work.n; i++) {
    for (k = 0; k < DOERS; k++)
      ns[k] = latency (k, sizes[i]);
    best = ns[GPU_IN_PLACE] < ns[GPU_STAGED] ? ns[GPU_IN_PLACE]
                                             : ns[GPU_STAGED];
    for (k = 0; k < 2; k++)
      if (best > ns[ONE_CORE + k])
        from[k] = 0;
      else if (from[k] == 0)
        from[k] = sizes[i];
  }
  row ("cpu-1", "crossover", "pages", from[0], NULL, 0);
  row ("cpu-all", "crossover", "pages", from[1], NULL, 0);
  i = work.n < LATEST ? (unsigned) work.n : LATEST;
  row ("cpu-1", "decompress", "GB/s",
       gbps (i, batch_ns (ONE_CORE, 0, i)), NULL, 0);
  row ("cpu-all", "decompress", "GB/s",
       gbps (i, batch_ns (ALL_CORES, 0, i)), NULL, 0);
}

/* ---- All of it ---- */

#include "nvcomp.h"
#include "vram.h"

static void
measure_codec (bool beside_nvcomp)
{
  bool ld64 = codec == TZ_LD64;
  double compress, decompress, ratio;

  make_blobs ();
  decompress = decompress_kernel (ld64 ? TZ_GPU_LD64_DECOMPRESS
                                       : TZ_GPU_LZ4_DECOMPRESS);
  compress = compress_kernel (ld64 ? TZ_GPU_LD64_COMPRESS
                                   : TZ_GPU_LZ4_COMPRESS, &ratio);
  measure_end_to_end (false, IN_PLACE);
  measure_end_to_end (false, STAGED);
  measure_end_to_end (false, TO_GPU);
  measure_end_to_end (false, TO_GPU_STAGED);
  measure_end_to_end (true, IN_PLACE);
  measure_end_to_end (true, STAGED);
  measure_latency ();
  vram_measure ();
  if (beside_nvcomp) {
    nvcomp_measure (TZ_PAGE, compress, decompress, ratio);
    nvcomp_measure (16 * TZ_PAGE, compress, decompress, ratio);
  }
}

static void __attribute__ ((noreturn))
usage (void)
{
  give_up (2, "usage: bench-gpu [--json] [--pages 64 ... 1048576] "
              "[--rounds 1 ... %d] [--module FILE.so] FILE.pages...", ROUNDS);
}

static size_t
options (int argc, char **argv)
{
  static const struct option names[] = { { "json", no_argument, NULL, 'j' },
                                         { "pages", 1, NULL, 'p' },
                                         { "rounds", 1, NULL, 'r' },
                                         { "module", 1, NULL, 'm' },
                                         { NULL, 0, NULL, 0 } };
  size_t pages = 65536;
  int c;

  while ((c = getopt_long (argc, argv, "", names, NULL)) != -1)
    switch (c) {
    case 'j':
      bench_json = true;
      break;
    case 'p':
      pages = strtoul (optarg, NULL, 10);
      break;
    case 'r':
      rounds = (unsigned) strtoul (optarg, NULL, 10);
      break;
    case 'm':
      vram_load (optarg);
      break;
    default:
      usage ();
    }
  if (optind == argc || pages < 64 || pages > 1 << 20 || rounds < 1
      || rounds > ROUNDS)
    usage ();
  return pages;
}

int
main (int argc, char **argv)
{
  size_t pages = options (argc, argv);
  bool beside_nvcomp;

  gpu_open ();
  fprintf (stderr, "bench-gpu: %s, %u cores\n", gpu.name, cores ());
  beside_nvcomp = nvcomp_load ();
  ceilings (pages);
  work_open (pages);
  lanes_open (LATEST);
  for (; optind < argc; optind++) {
    set = set_load (argv[optind], pages);
    codec = 0;
    row (NULL, "pages", "pages", (double) set.n, "the file's own",
         (double) set.own);
    work_on_set ();
    for (codec = TZ_LD64; codec <= TZ_LZ4; codec++)
      measure_codec (beside_nvcomp);
    free (set.page);
  }
  return EXIT_SUCCESS;
}

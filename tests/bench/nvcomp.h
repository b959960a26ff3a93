/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* nvCOMP's LZ4 on the pages at hand, where its library is: for bench-gpu.c,
 * which includes this.  The library is not linked, and its interface is spelt
 * out here, so that nothing of it is needed to build.
 */
#ifndef TZ_BENCH_NVCOMP_H
#define TZ_BENCH_NVCOMP_H

#define NVCOMP_LIBRARY "libnvcomp.so.6"

/* Options are passed by value; all zero: bytes, no shuffling, and whatever way
 * of decompressing the library thinks best.
 */
struct nvcomp_options {
  int option[4];
  char reserved[48];
};

static struct nvcomp {
  int (*compress_room) (size_t chunks, size_t chunk,
                        struct nvcomp_options options, size_t *room,
                        size_t all, cuda_stream stream);
  int (*longest) (size_t chunk, struct nvcomp_options options, size_t *longest);
  int (*compress) (const cuda_address *in, const size_t *in_len, size_t chunk,
                   size_t chunks, void *room, size_t room_len,
                   const cuda_address *out, size_t *out_len,
                   struct nvcomp_options options, int *status,
                   cuda_stream stream);
  int (*decompress_room) (size_t chunks, size_t chunk,
                          struct nvcomp_options options, size_t *room,
                          size_t all, cuda_stream stream);
  int (*decompress) (const cuda_address *in, const size_t *in_len,
                     const size_t *out_room, size_t *out_len, size_t chunks,
                     void *room, size_t room_len, const cuda_address *out,
                     struct nvcomp_options options, int *status,
                     cuda_stream stream);
} nvcomp;

/* False, and says why, if it is not there. */
static bool
nvcomp_load (void)
{
  static const struct {
    void *function;
    const char *symbol;
  } table[] = {
    { &nvcomp.compress_room, "nvcompBatchedLZ4CompressGetTempSize" },
    { &nvcomp.longest, "nvcompBatchedLZ4CompressGetMaxOutputChunkSize" },
    { &nvcomp.compress, "nvcompBatchedLZ4CompressAsync" },
    { &nvcomp.decompress_room, "nvcompBatchedLZ4DecompressGetTempSize" },
    { &nvcomp.decompress, "nvcompBatchedLZ4DecompressAsync" },
  };
  void *library = dlopen (NVCOMP_LIBRARY, RTLD_NOW | RTLD_LOCAL), *symbol;
  unsigned i;

  for (i = 0; library && i < sizeof table / sizeof table[0]; i++) {
    symbol = dlsym (library, table[i].symbol);
    memcpy (table[i].function, &symbol, sizeof symbol);
    if (!symbol)
      library = NULL;
  }
  if (!library)
    fprintf (stderr, "bench-gpu: no nvCOMP beside: %s\n", dlerror ());
  return library != NULL;
}

/* Everything a run of it takes, in the device's memory. */
struct nvcomp_run {
  size_t chunk, chunks, longest;
  struct memory room, blobs, addresses, lens, status;
  cuda_address page, blob, out; /* arrays of addresses */
  cuda_address page_len, blob_len, out_len; /* arrays of lengths */
  bool failed; /* its figures are worth nothing */
};

/* Whatever goes wrong with a peer is no reason to lose our own figures. */
static void
nvcomp_check (struct nvcomp_run *r, int error, const char *what)
{
  if (error && !r->failed)
    fprintf (stderr, "bench-gpu: %s: nvCOMP, %s: error %d\n", set.name, what,
             error);
  r->failed = r->failed || error;
}

/* Fill one of the arrays of a run: start, start + step, … */
static cuda_address
nvcomp_array (struct nvcomp_run *r, struct memory *m, unsigned which,
              uint64_t start, uint64_t step)
{
  uint64_t *v = allocate (r->chunks * sizeof *v);
  cuda_address at = m->device + which * r->chunks * sizeof *v;
  size_t i;

  for (i = 0; i < r->chunks; i++)
    v[i] = start + i * step;
  GPU (MemcpyHtoDAsync, at, v, r->chunks * sizeof *v, NULL);
  GPU (CtxSynchronize);
  free (v);
  return at;
}

static void
nvcomp_prepare (struct nvcomp_run *r, size_t chunk)
{
  const struct nvcomp_options none = { { 0 }, { 0 } };
  size_t all, a = 0, b = 0;

  r->chunk = chunk;
  r->chunks = set.n * TZ_PAGE / chunk;
  all = r->chunks * chunk;
  nvcomp_check (r, nvcomp.longest (chunk, none, &r->longest),
                "the longest blob");
  r->longest = (r->longest + 15) / 16 * 16;
  nvcomp_check (r,
                nvcomp.compress_room (r->chunks, chunk, none, &a, all, NULL),
                "room to compress");
  nvcomp_check (r,
                nvcomp.decompress_room (r->chunks, chunk, none, &b, all, NULL),
                "room to decompress");
  r->room = gpu_memory (a > b ? a : b);
  r->blobs = gpu_memory (r->chunks * r->longest);
  r->addresses = gpu_memory (3 * r->chunks * sizeof (cuda_address));
  r->lens = gpu_memory (3 * r->chunks * sizeof (size_t));
  r->status = gpu_memory (r->chunks * sizeof (int));
  r->page = nvcomp_array (r, &r->addresses, 0, work.copy.device, chunk);
  r->blob = nvcomp_array (r, &r->addresses, 1, r->blobs.device, r->longest);
  r->out = nvcomp_array (r, &r->addresses, 2, work.out.device, chunk);
  r->page_len = nvcomp_array (r, &r->lens, 0, chunk, 0);
  r->blob_len = nvcomp_array (r, &r->lens, 1, 0, 0);
  r->out_len = nvcomp_array (r, &r->lens, 2, 0, 0);
}

#define AT(type, address) ((type *) (uintptr_t) (address))

static void
nvcomp_compress (void *opaque, cuda_stream s)
{
  const struct nvcomp_options none = { { 0 }, { 0 } };
  struct nvcomp_run *r = opaque;

  nvcomp_check (r,
                nvcomp.compress (AT (cuda_address, r->page),
                                 AT (size_t, r->page_len), r->chunk, r->chunks,
                                 AT (void, r->room.device), r->room.len,
                                 AT (cuda_address, r->blob),
                                 AT (size_t, r->blob_len), none,
                                 AT (int, r->status.device), s),
                "compress");
}

static void
nvcomp_decompress (void *opaque, cuda_stream s)
{
  const struct nvcomp_options none = { { 0 }, { 0 } };
  struct nvcomp_run *r = opaque;

  nvcomp_check (r,
                nvcomp.decompress (AT (cuda_address, r->blob),
                                   AT (size_t, r->blob_len),
                                   AT (size_t, r->page_len),
                                   AT (size_t, r->out_len), r->chunks,
                                   AT (void, r->room.device), r->room.len,
                                   AT (cuda_address, r->out), none,
                                   AT (int, r->status.device), s),
                "decompress");
}

#undef AT

/* What its blobs take, of what the pages do. */
static double
nvcomp_ratio (struct nvcomp_run *r)
{
  size_t *len = allocate (r->chunks * sizeof *len), i, bytes = 0;
  int *status = allocate (r->chunks * sizeof *status);

  GPU (MemcpyDtoHAsync, len, r->blob_len, r->chunks * sizeof *len, NULL);
  GPU (MemcpyDtoHAsync, status, r->status.device, r->chunks * sizeof *status,
       NULL);
  GPU (CtxSynchronize);
  for (i = 0; i < r->chunks; i++) {
    nvcomp_check (r, status[i], "a chunk");
    bytes += len[i] < r->chunk ? len[i] : r->chunk;
  }
  free (len);
  free (status);
  return (double) (r->chunks * r->chunk) / (double) bytes;
}

/* What it does is compared with the pages, and counts if that is right. */
static void
nvcomp_run (struct nvcomp_run *r, double ours_compress, double ours_decompress,
            double ours_ratio)
{
  const char *peer = r->chunk == TZ_PAGE ? "nvcomp-4k" : "nvcomp-64k";
  size_t len = r->chunks * r->chunk;
  double compress, decompress, ratio;

  compress = time_work (nvcomp_compress, r);
  ratio = nvcomp_ratio (r);
  if (r->failed)
    return;
  poison (&work.out);
  decompress = time_work (nvcomp_decompress, r);
  GPU (MemcpyDtoHAsync, room, work.out.device, len, NULL);
  GPU (CtxSynchronize);
  nvcomp_check (r, memcmp (room, work.page.host, len) != 0,
                "pages come out wrong");
  if (r->failed)
    return;
  row ("kernel", "compress", "GB/s", ours_compress, peer,
       (double) len / compress);
  row ("kernel", "ratio", "x", ours_ratio, peer, ratio);
  row ("kernel", "decompress", "GB/s", ours_decompress, peer,
       (double) len / decompress);
}

/* Beside what our kernels did, in GB/s, and their ratio. */
static void
nvcomp_measure (size_t chunk, double ours_compress, double ours_decompress,
                double ours_ratio)
{
  struct nvcomp_run r = { .failed = false };

  if (set.n * TZ_PAGE < chunk)
    return;
  nvcomp_prepare (&r, chunk);
  if (!r.failed)
    nvcomp_run (&r, ours_compress, ours_decompress, ours_ratio);
  gpu_free (&r.room);
  gpu_free (&r.blobs);
  gpu_free (&r.addresses);
  gpu_free (&r.lens);
  gpu_free (&r.status);
}

#endif /* TZ_BENCH_NVCOMP_H */

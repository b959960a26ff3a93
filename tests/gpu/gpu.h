/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What the test and the benchmark of the GPU's kernels share: the device, sets
 * of pages, and the CPU's codecs on all cores.
 */
#ifndef TZ_GPU_H
#define TZ_GPU_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../cuda/driver.h"
#include "../../cuda/job.h"
#include "bulk.h"

static inline void __attribute__ ((noreturn, format (printf, 2, 3)))
give_up (int status, const char *fmt, ...)
{
  va_list args;

  fflush (stdout);
  fprintf (stderr, "%s: %s", program_invocation_short_name,
           status == 77 ? "skipped: " : "");
  va_start (args, fmt);
  vfprintf (stderr, fmt, args);
  va_end (args);
  fputc ('\n', stderr);
  exit (status);
}

/* ---- The device ---- */

static const struct tz_gpu_shape shapes[TZ_GPU_KERNELS] = TZ_GPU_SHAPES;

static struct gpu {
  struct cuda cu;
  cuda_function kernel[TZ_GPU_KERNELS];
  char name[256];
} gpu;

/* GPU (MemAlloc, &p, n): call the driver, which must succeed. */
#define GPU(function, ...)                                                    \
  gpu_check (gpu.cu.function (__VA_ARGS__), #function, __LINE__)

static inline void
gpu_check (int error, const char *what, int line)
{
  if (error)
    give_up (EXIT_FAILURE, "line %d: cu%s: %s", line, what,
             cuda_error (&gpu.cu, error));
}

/* 0 if the driver does not tell. */
static inline int
gpu_attribute (int attribute, int device)
{
  int value;

  return gpu.cu.DeviceGetAttribute (&value, attribute, device) ? 0 : value;
}

static inline void
gpu_name (int device)
{
  char name[64];
  int version;

  GPU (DeviceGetName, name, sizeof name, device);
  GPU (DriverGetVersion, &version);
  snprintf (gpu.name, sizeof gpu.name,
            "%s, %d multiprocessors, %d MHz, %d MiB of L2, CUDA %d.%d", name,
            gpu_attribute (CUDA_MULTIPROCESSORS, device),
            gpu_attribute (CUDA_CLOCK_KHZ, device) / 1000,
            gpu_attribute (CUDA_L2_BYTES, device) >> 20, version / 1000,
            version % 1000 / 10);
}

/* Open the first device; without one, the program ends with status 77. */
static inline void
gpu_open (void)
{
  cuda_context context;
  cuda_module module;
  char why[256];
  int device, r;
  unsigned i;

  if (cuda_load (&gpu.cu, why, sizeof why) != 0)
    give_up (77, "%s", why);
  GPU (DeviceGet, &device, 0);
  GPU (DevicePrimaryCtxRetain, &context, device);
  GPU (CtxSetCurrent, context);
  r = gpu.cu.ModuleLoadData (&module, tz_gpu_fatbin);
  if (r != 0 && tz_gpu_fatbin[0] == 0)
    give_up (77, "this was built without nvcc: there are no kernels in it");
  gpu_check (r, "ModuleLoadData", __LINE__);
  for (i = 0; i < TZ_GPU_KERNELS; i++) {
    GPU (ModuleGetFunction, &gpu.kernel[i], module, shapes[i].name);
    GPU (FuncSetAttribute, gpu.kernel[i], CUDA_CARVEOUT, 100);
  }
  gpu_name (device);
}

/* Memory of the host that the device sees, or of the device alone. */
struct memory {
  uint8_t *host; /* NULL: the device's */
  cuda_address device;
  size_t len;
};

static inline struct memory
gpu_host (size_t len)
{
  struct memory m = { .len = len };
  void *p;

  GPU (MemHostAlloc, &p, len + TZ_BLOB_SLACK, CUDA_HOST_MAPPED);
  GPU (MemHostGetDevicePointer, &m.device, p, 0);
  m.host = p;
  return m;
}

static inline struct memory
gpu_memory (size_t len)
{
  struct memory m = { .len = len };

  GPU (MemAlloc, &m.device, len + TZ_BLOB_SLACK);
  return m;
}

static inline void
gpu_free (struct memory *m)
{
  if (m->host)
    GPU (MemFreeHost, m->host);
  else if (m->device)
    GPU (MemFree, m->device);
  *m = (struct memory) { .host = NULL };
}

static inline void
gpu_launch (enum tz_gpu_kernel kernel, cuda_address jobs, cuda_address result,
            uint32_t n, uint32_t flags, cuda_address extra, cuda_stream stream)
{
  const struct tz_gpu_shape *s = &shapes[kernel];
  void *params[] = { &jobs, &result, &n, &flags, &extra };

  GPU (LaunchKernel, gpu.kernel[kernel], DIV_UP (n, s->pages), 1, 1,
       s->threads, 1, 1, s->smem, stream, params, NULL);
}

/* ---- The CPU's side, by all cores ---- */

static struct helpers *helpers;

static inline unsigned
cores (void)
{
  long n = sysconf (_SC_NPROCESSORS_ONLN);

  return n > 1 ? (unsigned) n : 1;
}

static inline void
on_all_cores (unsigned n, tz_part_fn *fn, void *opaque)
{
  if (!helpers && tz_helpers_start (&helpers, cores () - 1) != 0)
    give_up (EXIT_FAILURE, "cannot start %u threads", cores () - 1);
  tz_helpers_run (helpers, n, tz_part_pages (n, cores () - 1), 0, fn,
                  opaque);
}

static inline void *
allocate (size_t len)
{
  void *p = aligned_alloc (64, (len + 63) / 64 * 64);

  if (!p)
    give_up (EXIT_FAILURE, "no memory");
  return p;
}

/* This thread's scratch for a codec, any level of it. */
static inline void *
scratch_for (enum tz_codec codec)
{
  static _Thread_local void *scratch[TZ_CODECS];
  const struct tz_codec_ops *ops = tz_codecs[codec];
  size_t size;

  if (scratch[codec])
    return scratch[codec];
  size = ops->scratch_size (ops->max_level);
  scratch[codec] = memset (allocate (size), 0, size);
  if (ops->init && ops->init (scratch[codec], size, ops->max_level) != 0)
    give_up (EXIT_FAILURE, "%s does not start", ops->name);
  return scratch[codec];
}

/* Returns TZ_PAGE if the blob would not be shorter. */
static inline uint32_t
cpu_encode (enum tz_codec codec, int level, const uint8_t *page, uint8_t *dst)
{
  int n = tz_codecs[codec]->encode (scratch_for (codec), page, dst, level);

  if (n < 0)
    give_up (EXIT_FAILURE, "%s: encoder returns %d", tz_codecs[codec]->name,
             n);
  return n ? (uint32_t) n : TZ_PAGE;
}

static inline bool
cpu_decode (enum tz_codec codec, const uint8_t *blob, size_t len,
            uint8_t *page)
{
  return tz_codecs[codec]->decode (scratch_for (codec), blob, len, page) == 0;
}

/* ---- Sets of pages ---- */

struct set {
  const char *name; /* the file's, without directory and suffix */
  uint8_t *page;    /* n of them */
  size_t n;
  size_t own; /* so many first ones are the file's own */
};

static inline bool
same_filled (const uint8_t *page)
{
  return memcmp (page, page + 8, TZ_PAGE - 8) == 0;
}

/* The file's pages are repeated, each copy with a stamp of four bytes: no two
 * copies are equal, and few bytes are changed.
 */
static inline void
set_repeat (struct set *s)
{
  uint32_t stamp;
  size_t i;

  for (i = s->own; i < s->n; i++) {
    memcpy (s->page + i * TZ_PAGE, s->page + i % s->own * TZ_PAGE, TZ_PAGE);
    stamp = (uint32_t) (i / s->own) * 2654435761u;
    memcpy (s->page + i * TZ_PAGE + i % (TZ_PAGE / 4) * 4, &stamp, 4);
  }
}

/* Have n pages of a file.  Those that are one pattern are left out, as no codec
 * ever sees them.
 */
static inline struct set
set_load (const char *path, size_t n)
{
  const char *base = strrchr (path, '/');
  struct set s = { .name = strdup (base ? base + 1 : path), .n = n };
  FILE *f = fopen (path, "rb");

  if (!f)
    give_up (EXIT_FAILURE, "cannot read %s", path);
  s.page = allocate (n * TZ_PAGE);
  while (s.own < n && fread (s.page + s.own * TZ_PAGE, TZ_PAGE, 1, f) == 1)
    if (!same_filled (s.page + s.own * TZ_PAGE))
      s.own++;
  fclose (f);
  if (s.own == 0)
    give_up (EXIT_FAILURE, "%s: no pages of 4096 bytes to compress", path);
  if (s.name && strchr (s.name, '.'))
    *strchr (s.name, '.') = 0;
  set_repeat (&s);
  return s;
}

#endif /* TZ_GPU_H */

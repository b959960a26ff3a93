/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* nbdkit-trueno-zram-cuda.so: the engine of core/offload.h on a CUDA device.
 *
 * A lane is a stream.  Jobs lie in host memory that the device reads; so do
 * blobs, and pages to compress.  What comes out is either written to host
 * memory by the kernel itself, or to memory of the device's and copied from
 * there: whichever is faster for decoding is found out at the start.
 *
 * Blobs may also be kept in the device's memory.  A channel is one more stream,
 * for the copies of one thread at a time.
 *
 * Everything is allocated, loaded and run once in open, so that no batch waits
 * for it; and what the device then computes must be right.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "driver.h"
#include "job.h"
#include "offload.h"

#define EXPORT __attribute__ ((visibility ("default")))

#define RANGES  5
#define TRIAL   256 /* pages that the device is tried with */
#define ROUNDS  5
#define RUN     64  /* pages side by side from which on copies pay */
#define ENOUGH  UINT64_C (50000000)    /* ns of rounds */
#define PATIENT UINT64_C (20000000000) /* ns; a kernel may be compiled first */
#define DYING   UINT64_C (2000000000)  /* ns; for the last batches to end */
#define SPIN    UINT64_C (50000) /* ns to ask for copies without a pause */
#define KEEP    ((size_t) 64 << 20) /* bytes of the device's not to take */

struct range {
  const uint8_t *host;
  size_t len;
  cuda_address device;
  enum { ALLOCATED, REGISTERED, TAKEN } kind;
};

struct lane {
  cuda_stream stream;
  cuda_event done;
  struct tz_gpu_job *jobs; /* host memory, and where the device sees it */
  int32_t *result;
  cuda_address jobs_device, result_device;
  cuda_address out; /* memory of the device's for all that comes out */
  const struct tz_batch *batch; /* NULL: none under way */
};

struct channel {
  cuda_stream stream;
  cuda_event done;
};

struct tz_engine {
  struct cuda cu;
  int device;
  cuda_context context;
  cuda_module module;
  cuda_function kernel[TZ_GPU_KERNELS];
  unsigned lanes, batch;
  struct lane lane[TZ_ENGINE_LANES];
  struct range range[RANGES];
  unsigned ranges;
  unsigned codecs;
  struct channel *channel;
  unsigned channels;
  uint64_t patience; /* ns */
  bool copy_out;
  atomic_bool lost;
  char description[160];
};

static const struct tz_gpu_shape shapes[TZ_GPU_KERNELS] = TZ_GPU_SHAPES;

static uint64_t
now_ns (void)
{
  struct timespec ts;

  clock_gettime (CLOCK_MONOTONIC, &ts);
  return ts.tv_sec * UINT64_C (1000000000) + ts.tv_nsec;
}

/* ---- What goes wrong, in words ---- */

struct why {
  char *text;
  size_t size;
};

static int __attribute__ ((format (printf, 3, 4)))
refuse (struct why *why, int err, const char *fmt, ...)
{
  va_list args;

  va_start (args, fmt);
  vsnprintf (why->text, why->size, fmt, args);
  va_end (args);
  return err;
}

/* After these the device goes on; all others are for good. */
static int
error_of (struct tz_engine *e, int r)
{
  if (r == CUDA_INVALID_VALUE || r == CUDA_OUT_OF_MEMORY
      || r == CUDA_OUT_OF_RESOURCES)
    return -EIO;
  e->lost = true;
  return -ENODEV;
}

/* ---- The device ---- */

static int
open_device (struct tz_engine *e, struct why *why)
{
  char name[96] = "";
  int version = 0, r;

  if (cuda_load (&e->cu, why->text, why->size))
    return -ENODEV;
  r = e->cu.DeviceGet (&e->device, 0);
  if (r == 0)
    r = e->cu.DeviceGetName (name, sizeof name, e->device);
  if (r == 0)
    r = e->cu.DriverGetVersion (&version);
  if (r == 0)
    r = e->cu.DevicePrimaryCtxRetain (&e->context, e->device);
  if (r == 0)
    r = e->cu.CtxSetCurrent (e->context);
  if (r)
    return refuse (why, -ENODEV,
                   "the GPU cannot be used (%s); see what nvidia-smi says",
                   cuda_error (&e->cu, r));
  snprintf (e->description, sizeof e->description, "%s, CUDA %d.%d", name,
            version / 1000, version % 1000 / 10);
  return 0;
}

static int
load_kernels (struct tz_engine *e, struct why *why)
{
  int r = e->cu.ModuleLoadData (&e->module, tz_gpu_fatbin);
  unsigned i;

  if (r == CUDA_NO_BINARY)
    return refuse (why, -ENODEV,
                   "%s is too old: compute capability 8.0 or later is needed",
                   e->description);
  for (i = 0; r == 0 && i <= TZ_GPU_LZ4_COMPRESS; i++) {
    r = e->cu.ModuleGetFunction (&e->kernel[i], e->module, shapes[i].name);
    if (r == 0)
      r = e->cu.FuncSetAttribute (e->kernel[i], CUDA_CARVEOUT, 100);
  }
  if (r != 0)
    return refuse (why, -ENODEV,
                   "%s: the kernels do not load (%s): update NVIDIA's driver, "
                   "or build with the CUDA it is for",
                   e->description, cuda_error (&e->cu, r));
  return 0;
}

/* ---- Memory ---- */

static bool
add_range (struct tz_engine *e, const void *host, size_t len, int kind)
{
  struct range *g = &e->range[e->ranges];

  if (e->cu.MemHostGetDevicePointer (&g->device, (void *) host, 0) != 0)
    return false;
  g->host = host;
  g->len = len;
  g->kind = kind;
  e->ranges++;
  return true;
}

/* 0: it lies nowhere that the device sees. */
static cuda_address
device_address (const struct tz_engine *e, const uint8_t *p)
{
  const struct range *g;

  for (g = e->range; g < e->range + e->ranges; g++)
    if (p >= g->host && p < g->host + g->len)
      return g->device + (p - g->host);
  return 0;
}

static void *
engine_alloc (struct tz_engine *e, size_t len)
{
  void *p;

  if (e->ranges == RANGES || e->cu.CtxSetCurrent (e->context) != 0
      || e->cu.MemHostAlloc (&p, len, CUDA_HOST_MAPPED) != 0)
    return NULL;
  if (!add_range (e, p, len, ALLOCATED)) {
    e->cu.MemFreeHost (p);
    return NULL;
  }
  memset (p, 0, len);
  return p;
}

static int
engine_pin (struct tz_engine *e, const void *start, size_t len)
{
  if (e->ranges == RANGES || e->cu.CtxSetCurrent (e->context) != 0
      || e->cu.MemHostRegister ((void *) start, len, CUDA_HOST_MAPPED) != 0)
    return -ENOMEM;
  if (add_range (e, start, len, REGISTERED))
    return 0;
  e->cu.MemHostUnregister ((void *) start);
  return -ENOMEM;
}

static int
open_lanes (struct tz_engine *e, struct why *why)
{
  size_t jobs = e->batch * sizeof (struct tz_gpu_job);
  size_t results = (e->batch * sizeof (int32_t) + 63) / 64 * 64;
  uint8_t *p = engine_alloc (e, e->lanes * (jobs + results));
  struct lane *l;
  int r = p ? 0 : CUDA_OUT_OF_MEMORY;

  for (l = e->lane; l < e->lane + e->lanes && r == 0; l++) {
    l->jobs = (struct tz_gpu_job *) p;
    l->result = (int32_t *) (p + jobs);
    l->jobs_device = device_address (e, p);
    l->result_device = device_address (e, p + jobs);
    p += jobs + results;
    r = e->cu.StreamCreate (&l->stream, CUDA_STREAM_NON_BLOCKING);
    if (r == 0)
      r = e->cu.EventCreate (&l->done, CUDA_EVENT_NO_TIMING);
    if (r == 0)
      r = e->cu.MemAlloc (&l->out, (size_t) e->batch * TZ_PAGE);
  }
  if (r != 0)
    return refuse (why, -ENOMEM,
                   "no memory for batches of %u pages (%s): a smaller batch= "
                   "may help",
                   e->batch, cuda_error (&e->cu, r));
  return 0;
}

/* ---- Batches ---- */

static enum tz_gpu_kernel
kernel_for (const struct tz_batch *b)
{
  if (b->op == TZ_DECODE)
    return b->codec == TZ_LD64 ? TZ_GPU_LD64_DECOMPRESS
                               : TZ_GPU_LZ4_DECOMPRESS;
  return b->codec == TZ_LD64 ? TZ_GPU_LD64_COMPRESS : TZ_GPU_LZ4_COMPRESS;
}

static bool
side_by_side (const struct tz_job *a, const struct tz_job *b)
{
  return b->dst == a->dst + TZ_PAGE;
}

/* Whether what comes out is to be copied.  Blobs are short and lie far apart;
 * so do the pages of a batch that was sorted, and a copy costs the processor
 * far more than a page is worth.
 */
static bool
copies (const struct tz_engine *e, const struct tz_batch *b)
{
  unsigned i, runs = 1;

  if (!e->copy_out || b->op != TZ_DECODE)
    return false;
  for (i = 1; i < b->n; i++)
    runs += !side_by_side (&b->jobs[i - 1], &b->jobs[i]);
  return runs <= (b->n + RUN - 1) / RUN;
}

/* False: a job's memory is none that the device sees. */
static bool
translate (struct tz_engine *e, struct lane *l, const struct tz_batch *b,
           bool copy)
{
  struct tz_gpu_job *g = l->jobs;
  const struct tz_job *j;
  unsigned i;

  for (i = 0; i < b->n; i++, g++) {
    j = &b->jobs[i];
    g->src = device_address (e, j->src);
    g->dst = copy ? l->out + (size_t) i * TZ_PAGE
                  : device_address (e, j->dst);
    g->len = j->len;
    g->sum = j->sum;
    g->page = j->page;
    if (g->src == 0 || g->dst == 0)
      return false;
  }
  return true;
}

/* Copy what came out, as many pages at a time as lie side by side. */
static int
queue_copies (struct tz_engine *e, struct lane *l, const struct tz_batch *b)
{
  int r = 0;
  unsigned i, n;

  for (i = 0; i < b->n && r == 0; i += n) {
    for (n = 1; i + n < b->n; n++)
      if (!side_by_side (&b->jobs[i + n - 1], &b->jobs[i + n]))
        break;
    r = e->cu.MemcpyDtoHAsync (b->jobs[i].dst, l->out + (size_t) i * TZ_PAGE,
                               (size_t) n * TZ_PAGE, l->stream);
  }
  return r;
}

static int
engine_submit (struct tz_engine *e, unsigned lane, const struct tz_batch *b)
{
  enum tz_gpu_kernel k = kernel_for (b);
  const struct tz_gpu_shape *shape = &shapes[k];
  struct lane *l = &e->lane[lane];
  uint32_t n = b->n, flags = (b->checksum ? TZ_GPU_CHECK : 0)
                             | (b->follows ? TZ_GPU_FOLLOWS : 0);
  unsigned blocks = (n + shape->pages - 1) / shape->pages;
  bool copy = copies (e, b);
  cuda_address extra = 0;
  void *params[]
      = { &l->jobs_device, &l->result_device, &n, &flags, &extra };
  int r;

  if (!translate (e, l, b, copy))
    return -EFAULT;
  r = e->cu.CtxSetCurrent (e->context);
  if (r == 0)
    r = e->cu.LaunchKernel (e->kernel[k], blocks, 1, 1, shape->threads, 1, 1,
                            shape->smem, l->stream, params, NULL);
  if (r != 0)
    return error_of (e, r);
  l->batch = b;
  if (copy)
    r = queue_copies (e, l, b);
  if (r == 0)
    r = e->cu.EventRecord (l->done, l->stream);
  if (r == 0)
    return 0;
  /* It runs, and there is no telling until when. */
  e->lost = true;
  return -ENODEV;
}

static int
engine_poll (struct tz_engine *e, unsigned lane)
{
  struct lane *l = &e->lane[lane];
  int r = e->cu.CtxSetCurrent (e->context);

  if (r == 0)
    r = e->cu.EventQuery (l->done);
  if (r == CUDA_NOT_READY)
    return 0;
  if (r != 0) {
    e->lost = true;
    return -ENODEV;
  }
  memcpy (l->batch->result, l->result, l->batch->n * sizeof (int32_t));
  l->batch = NULL;
  return 1;
}

/* ---- Blobs in the device's memory ---- */

static size_t
engine_room (struct tz_engine *e)
{
  size_t available, total;

  if (e->cu.CtxSetCurrent (e->context) != 0
      || e->cu.MemGetInfo (&available, &total) != 0 || available < KEEP)
    return 0;
  return available - KEEP;
}

static int
open_channels (struct tz_engine *e, unsigned channels)
{
  struct channel *c;
  int r = 0;

  e->channel = calloc (channels, sizeof *c);
  if (!e->channel)
    return CUDA_OUT_OF_MEMORY;
  e->channels = channels;
  for (c = e->channel; c < e->channel + channels && r == 0; c++) {
    r = e->cu.StreamCreate (&c->stream, CUDA_STREAM_NON_BLOCKING);
    if (r == 0)
      r = e->cu.EventCreate (&c->done, CUDA_EVENT_NO_TIMING);
  }
  return r;
}

/* The address that others see is the device's own: none of this process is the
 * same.
 */
static void *
engine_take (struct tz_engine *e, size_t len, unsigned channels)
{
  struct range *g = &e->range[e->ranges];

  if (e->ranges == RANGES || e->cu.CtxSetCurrent (e->context) != 0
      || open_channels (e, channels) != 0
      || e->cu.MemAlloc (&g->device, len) != 0)
    return NULL;
  g->host = (const uint8_t *) (uintptr_t) g->device;
  g->len = len;
  g->kind = TAKEN;
  e->ranges++;
  return (void *) g->host;
}

/* Wait for what was queued in a channel.  What does not end in time never will:
 * then there is no telling what it may still do to the memory.
 */
static int
wait_for_copies (struct tz_engine *e, struct channel *c)
{
  const struct timespec nap = { 0, 10000 };
  uint64_t since = now_ns (), ns;
  int r;

  while ((r = e->cu.EventQuery (c->done)) == CUDA_NOT_READY) {
    ns = now_ns () - since;
    if (ns > e->patience)
      break;
    if (ns > SPIN)
      nanosleep (&nap, NULL);
  }
  if (r == 0)
    return 0;
  e->lost = true;
  return -ENODEV;
}

static int
copy_blobs (struct tz_engine *e, unsigned channel, const struct tz_copy *copies,
            unsigned n, bool in)
{
  struct channel *c = &e->channel[channel];
  const struct tz_copy *b;
  int r, err;

  if (e->lost)
    return -ENODEV;
  r = e->cu.CtxSetCurrent (e->context);
  for (b = copies; r == 0 && b < copies + n; b++)
    r = in ? e->cu.MemcpyHtoDAsync ((uintptr_t) b->device, b->host, b->len,
                                    c->stream)
           : e->cu.MemcpyDtoHAsync (b->host, (uintptr_t) b->device, b->len,
                                    c->stream);
  err = r ? error_of (e, r) : 0;
  if (err == -ENODEV)
    return err;
  /* Those before one that failed may be under way. */
  r = e->cu.EventRecord (c->done, c->stream);
  if (r) {
    e->lost = true;
    return -ENODEV;
  }
  r = wait_for_copies (e, c);
  return r ? r : err;
}

static int
engine_get (struct tz_engine *e, unsigned channel,
            const struct tz_copy *copies, unsigned n)
{
  return copy_blobs (e, channel, copies, n, false);
}

static int
engine_put (struct tz_engine *e, unsigned channel,
            const struct tz_copy *copies, unsigned n)
{
  return copy_blobs (e, channel, copies, n, true);
}

/* ---- Trying it ---- */

struct trial {
  uint8_t *page, *blob, *back; /* TRIAL pages each */
  struct tz_job jobs[TRIAL];
  int32_t result[TRIAL];
  unsigned n;
};

/* Records of pointers and counters, a little different each. */
static void
make_page (uint8_t *page, uint64_t seed)
{
  uint64_t x = seed + 1, v;
  unsigned i;

  for (i = 0; i < TZ_PAGE; i += sizeof v) {
    x = x * 6364136223846793005 + 1442695040888963407;
    v = i % 64 == 0 ? 0x00005555aa000000 + (x >> 44) * 16
        : i % 256 == 16 ? x
        : i % 64 == 32  ? i / 64
                        : 0;
    memcpy (page + i, &v, sizeof v);
  }
}

/* Run a batch to its end: ns, or 0 if that failed.  A device that does not come
 * to it is lost: the batch may go on after it was forgotten.
 */
static uint64_t
run (struct tz_engine *e, const struct tz_batch *b)
{
  uint64_t since = now_ns ();
  int r = engine_submit (e, 0, b);

  if (r)
    return 0;
  do
    r = engine_poll (e, 0);
  while (r == 0 && now_ns () - since < PATIENT);
  if (r == 0)
    e->lost = true;
  return r == 1 ? now_ns () - since : 0;
}

/* Compress pages and expand them again; true if they are what they were. */
static bool
try_codec (struct tz_engine *e, struct trial *t, enum tz_codec codec)
{
  struct tz_batch b = { .op = TZ_ENCODE, .codec = codec, .n = t->n,
                        .jobs = t->jobs, .result = t->result };
  unsigned i;

  for (i = 0; i < t->n; i++) {
    t->jobs[i].src = t->page + (size_t) i * TZ_PAGE;
    t->jobs[i].dst = t->blob + (size_t) i * TZ_PAGE;
  }
  if (run (e, &b) == 0)
    return false;
  for (i = 0; i < t->n; i++) {
    if (t->result[i] < 1 || t->result[i] >= TZ_PAGE)
      return false;
    t->jobs[i].src = t->jobs[i].dst;
    t->jobs[i].dst = t->back + (size_t) i * TZ_PAGE;
    t->jobs[i].len = t->result[i];
  }
  b.op = TZ_DECODE;
  memset (t->back, 0x5a, (size_t) t->n * TZ_PAGE);
  if (run (e, &b) == 0)
    return false;
  for (i = 0; i < t->n; i++)
    if (t->result[i] != 0)
      return false;
  return memcmp (t->page, t->back, (size_t) t->n * TZ_PAGE) == 0;
}

/* The jobs of the trial are what try_codec left: something to decode. */
static uint64_t
time_decode (struct tz_engine *e, struct trial *t, enum tz_codec codec,
             bool copy)
{
  struct tz_batch b = { .op = TZ_DECODE, .codec = codec, .n = t->n,
                        .jobs = t->jobs, .result = t->result };
  uint64_t since = now_ns (), least = UINT64_MAX, ns;
  unsigned i;

  e->copy_out = copy;
  for (i = 0; i < ROUNDS && least > 0; i++) {
    ns = run (e, &b);
    if (ns < least)
      least = ns;
    if (now_ns () - since > ENOUGH)
      break;
  }
  return least;
}

static void
choose_way_out (struct tz_engine *e, struct trial *t, enum tz_codec codec)
{
  uint64_t direct = time_decode (e, t, codec, false);
  uint64_t copied = time_decode (e, t, codec, true);

  e->copy_out = copied > 0 && (direct == 0 || copied < direct);
}

static int
try_device (struct tz_engine *e, struct why *why)
{
  static const enum tz_codec codecs[] = { TZ_LZ4, TZ_LD64 };
  struct trial *t = calloc (1, sizeof *t);
  size_t len = (size_t) TRIAL * TZ_PAGE;
  unsigned i;

  if (!t)
    return refuse (why, -ENOMEM, "there is no memory");
  t->page = engine_alloc (e, 3 * len);
  if (!t->page) {
    free (t);
    return refuse (why, -ENOMEM, "no host memory can be pinned");
  }
  t->blob = t->page + len;
  t->back = t->blob + len;
  t->n = e->batch < TRIAL ? e->batch : TRIAL;
  for (i = 0; i < t->n; i++)
    make_page (t->page + (size_t) i * TZ_PAGE, i);
  for (i = 0; i < 2 && !e->lost; i++)
    if (try_codec (e, t, codecs[i])) {
      e->codecs |= 1u << codecs[i];
      choose_way_out (e, t, codecs[i]);
    }
  free (t);
  if (!e->lost && e->codecs) {
    /* Not needed any more: the last range. */
    e->cu.MemFreeHost ((void *) e->range[--e->ranges].host);
    return 0;
  }
  return refuse (why, -ENODEV, "%s %s", e->description,
                 e->lost ? "failed when it was tried"
                         : "computed something else than the processor");
}

/* ---- The engine ---- */

static int
engine_probe (char *text, size_t size)
{
  struct why why = { text, size };

  if (dlopen ("libcuda.so.1", RTLD_NOW | RTLD_LOCAL))
    return 0;
  return refuse (&why, -ENODEV,
                 "no libcuda.so.1: install NVIDIA's driver (%s)",
                 dlerror ());
}

static bool
drained (struct tz_engine *e)
{
  uint64_t since = now_ns ();
  unsigned i;

  for (i = 0; i < e->lanes && !e->lost; i++)
    while (e->lane[i].batch && engine_poll (e, i) == 0)
      if (now_ns () - since > DYING)
        return false;
  return !e->lost;
}

static void
engine_close (struct tz_engine *e)
{
  struct channel *c;
  struct lane *l;
  struct range *g;

  if (!e->context) {
    free (e);
    return;
  }
  /* A device that hangs would have us wait for it for ever: what it holds is
   * then left to the end of the process.
   */
  if (!drained (e) || e->cu.CtxSetCurrent (e->context) != 0)
    return;
  for (l = e->lane; l < e->lane + e->lanes; l++) {
    if (l->done)
      e->cu.EventDestroy (l->done);
    if (l->stream)
      e->cu.StreamDestroy (l->stream);
    if (l->out)
      e->cu.MemFree (l->out);
  }
  for (c = e->channel; c < e->channel + e->channels; c++) {
    if (c->done)
      e->cu.EventDestroy (c->done);
    if (c->stream)
      e->cu.StreamDestroy (c->stream);
  }
  free (e->channel);
  for (g = e->range; g < e->range + e->ranges; g++)
    if (g->kind == REGISTERED)
      e->cu.MemHostUnregister ((void *) g->host);
    else if (g->kind == TAKEN)
      e->cu.MemFree (g->device);
    else
      e->cu.MemFreeHost ((void *) g->host);
  if (e->module)
    e->cu.ModuleUnload (e->module);
  e->cu.DevicePrimaryCtxRelease (e->device);
  free (e);
}

static int
engine_open (const struct tz_engine_params *params, struct tz_engine **engine,
             char *text, size_t size)
{
  struct tz_engine *e = calloc (1, sizeof *e);
  struct why why = { text, size };
  int err;

  if (!e)
    return refuse (&why, -ENOMEM, "there is no memory");
  e->lanes = params->lanes;
  e->batch = params->batch;
  e->patience = params->patience_ms * UINT64_C (1000000);
  err = open_device (e, &why);
  if (err == 0)
    err = load_kernels (e, &why);
  if (err == 0)
    err = open_lanes (e, &why);
  if (err == 0)
    err = try_device (e, &why);
  if (err)
    engine_close (e);
  else
    *engine = e;
  return err;
}

static const char *
engine_describe (struct tz_engine *e)
{
  return e->description;
}

static unsigned
engine_codecs (struct tz_engine *e, enum tz_engine_op op)
{
  (void) op;
  return e->codecs;
}

EXPORT const struct tz_engine_ops tz_engine_ops;
const struct tz_engine_ops tz_engine_ops = {
  .abi = TZ_ENGINE_ABI,
  .probe = engine_probe,
  .open = engine_open,
  .describe = engine_describe,
  .codecs = engine_codecs,
  .alloc = engine_alloc,
  .pin = engine_pin,
  .room = engine_room,
  .take = engine_take,
  .get = engine_get,
  .put = engine_put,
  .submit = engine_submit,
  .poll = engine_poll,
  .close = engine_close,
};

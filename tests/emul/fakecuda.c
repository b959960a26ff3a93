/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* A libcuda.so.1 for tests: one device, whose kernels the emulator runs in a
 * thread of its own, in the order they were queued in whatever stream.
 *
 * A device address is the host's plus DISTANCE, so that one taken for the other
 * faults; what kernels and copies are given must lie in memory that was
 * allocated or registered, and whoever calls have made the context this
 * thread's, in the process that called cuInit: or the program ends with a
 * message.
 *
 * The file that FAKE_CUDA names, where there is one, holds a fault in each
 * line, read anew at each call:
 *
 *   cuNAME CODE [PERCENT]   so many of the calls return CODE
 *   slow MS [PERCENT]       a kernel takes so much longer
 *   hang 0 [PERCENT]        nothing that is queued after it is ever done
 *   stuck 0                 cuEventQuery does not return
 *   bad PERMILLE            so many pages of a kernel are bad, and say so
 *   wrong PERMILLE          so many decompressed are, and do not
 *   room MIB                so much memory is free
 */
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "../../cuda/driver.h"
#include "emul.h"

#define DISTANCE (UINT64_C (1) << 46)
#define RANGES   64
#define OPS      4096
#define MEMORY   ((size_t) 1 << 30) /* the device's */
#define EXPORT   __attribute__ ((visibility ("default")))

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t work = PTHREAD_COND_INITIALIZER;
static pthread_cond_t idle = PTHREAD_COND_INITIALIZER;
static struct range {
  uint8_t *start;
  size_t len;
} range[RANGES];

static struct op {
  enum { KERNEL, COPY, FILL, EVENT } type;
  int kernel; /* enum tz_gpu_kernel */
  uint64_t jobs, result, extra;
  uint32_t n, flags;
  void *to;
  const void *from;
  size_t len;
  int value; /* to fill with */
  struct cuda_event *event;
  uint64_t ticket;
} op[OPS];
static unsigned first, last; /* of those queued, modulo OPS */
static bool hanging;
static pid_t started; /* the process that called cuInit */
static __thread const void *current; /* context */

struct cuda_event {
  uint64_t recorded, done;
  struct timespec at; /* when it was done */
};

static const struct tz_gpu_shape shapes[] = TZ_GPU_SHAPES;

static void __attribute__ ((noreturn))
die (const char *what)
{
  fprintf (stderr, "fake CUDA: %s\n", what);
  abort ();
}

/* ---- Faults ---- */

/* The number that goes with a fault, or -1. */
static int
fault (const char *name)
{
  static __thread uint64_t rng = 7;
  const char *path = getenv ("FAKE_CUDA");
  FILE *f = path ? fopen (path, "re") : NULL;
  int number, percent, found = -1, n;
  char line[128], word[64];

  while (f && fgets (line, sizeof line, f)) {
    percent = 100;
    n = sscanf (line, "%63s %d %d", word, &number, &percent);
    rng = rng * 6364136223846793005 + 1442695040888963407;
    if (n >= 2 && strcmp (word, name) == 0
        && (int) ((rng >> 33) % 100) < percent)
      found = number;
  }
  if (f)
    fclose (f);
  return found;
}

#define MAY_FAIL(name)                                                        \
  do {                                                                        \
    int code_ = fault (name);                                                 \
    if (code_ >= 0)                                                           \
      return code_;                                                           \
  } while (0)

/* What a call must find that works on the device. */
static void
check_context (void)
{
  if (started != getpid ())
    die ("a call before cuInit, or after a fork");
  if (current != &lock)
    die ("a call in a thread without a context");
}

/* ---- Memory ---- */

static void
add_range (void *start, size_t len)
{
  unsigned i;

  pthread_mutex_lock (&lock);
  for (i = 0; i < RANGES && range[i].start; i++)
    ;
  if (i == RANGES)
    die ("too much memory");
  range[i].start = start;
  range[i].len = len;
  pthread_mutex_unlock (&lock);
}

static bool
remove_range (void *start)
{
  bool found = false;
  unsigned i;

  pthread_mutex_lock (&lock);
  for (i = 0; i < RANGES; i++)
    if (start && range[i].start == start) {
      range[i].start = NULL;
      found = true;
    }
  pthread_mutex_unlock (&lock);
  return found;
}

/* Where a device address is in this process; all of it must be known. */
static void *
host (uint64_t device, size_t len)
{
  uint8_t *p = (uint8_t *) (uintptr_t) (device - DISTANCE);
  bool found = false;
  unsigned i;

  pthread_mutex_lock (&lock);
  for (i = 0; i < RANGES && !found; i++)
    found = range[i].start && p >= range[i].start
            && len <= range[i].len
            && p <= range[i].start + (range[i].len - len);
  pthread_mutex_unlock (&lock);
  if (!found)
    die ("an address that is none of the device's");
  return p;
}

/* ---- The device ---- */

static void
run_kernel (const struct op *o)
{
  const struct tz_gpu_job *jobs = host (o->jobs, o->n * sizeof *jobs);
  int32_t *result = host (o->result, o->n * sizeof *result);
  struct tz_gpu_job *mine = malloc (o->n * sizeof *mine);
  uint64_t *extra = o->extra ? host (o->extra, o->n * sizeof *extra) : NULL;
  bool blobs = o->kernel == TZ_GPU_LD64_DECOMPRESS
               || o->kernel == TZ_GPU_LZ4_DECOMPRESS
               || o->kernel == TZ_GPU_CHECKSUM;
  int ms = fault ("slow"), bad = fault ("bad"), wrong = fault ("wrong");
  uint32_t i, len;

  if (!mine)
    die ("no memory");
  for (i = 0; i < o->n; i++) {
    mine[i] = jobs[i];
    len = jobs[i].len + (o->flags & TZ_GPU_FOLLOWS ? 4 : 0);
    len = blobs ? (len + 15) / 16 * 16 : 4096;
    mine[i].src = (uintptr_t) host (jobs[i].src, len);
    mine[i].dst = (uintptr_t) host (jobs[i].dst, 4096);
  }
  emul_launch (o->kernel, mine, result, o->n, o->flags, extra);
  for (i = 0; i < o->n && bad > 0; i++)
    if (rand () % 1000 < bad)
      result[i] = TZ_GPU_EBLOB;
  for (i = 0; i < o->n && wrong > 0 && blobs; i++)
    if (rand () % 1000 < wrong)
      *(uint8_t *) (uintptr_t) mine[i].dst ^= 1;
  free (mine);
  if (ms > 0)
    usleep (ms * 1000);
}

static void *
device (void *opaque)
{
  struct op o;

  (void) opaque;
  pthread_mutex_lock (&lock);
  for (;;) {
    while (first == last || hanging)
      pthread_cond_wait (&work, &lock);
    o = op[first % OPS];
    pthread_mutex_unlock (&lock);
    if (o.type == KERNEL)
      run_kernel (&o);
    else if (o.type == COPY)
      memcpy (o.to, o.from, o.len);
    else if (o.type == FILL)
      memset (o.to, o.value, o.len);
    pthread_mutex_lock (&lock);
    if (o.type == EVENT) {
      o.event->done = o.ticket;
      clock_gettime (CLOCK_MONOTONIC, &o.event->at);
    }
    first++;
    pthread_cond_broadcast (&idle);
    if (o.type == KERNEL && fault ("hang") >= 0)
      hanging = true;
  }
  return NULL;
}

static void
start_device (void)
{
  pthread_t thread;

  if (pthread_create (&thread, NULL, device, NULL) != 0)
    die ("no thread");
  pthread_detach (thread);
}

static int
queue (const struct op *o)
{
  static pthread_once_t once = PTHREAD_ONCE_INIT;

  pthread_once (&once, start_device);
  pthread_mutex_lock (&lock);
  if (last - first == OPS)
    die ("too much queued");
  op[last++ % OPS] = *o;
  pthread_cond_signal (&work);
  pthread_mutex_unlock (&lock);
  return 0;
}

/* Wait until all that is queued is done. */
static int
drain (void)
{
  pthread_mutex_lock (&lock);
  while (first != last)
    pthread_cond_wait (&idle, &lock);
  pthread_mutex_unlock (&lock);
  return 0;
}

/* ---- The interface ---- */

#define CALL(name, ...)                                                       \
  EXPORT int name (__VA_ARGS__);                                              \
  int name (__VA_ARGS__)

/* A function that does nothing that matters here. */
#define NOTHING(name, ...)                                                    \
  CALL (name, __VA_ARGS__)                                                    \
  {                                                                           \
    check_context ();                                                         \
    MAY_FAIL (#name);                                                         \
    return 0;                                                                 \
  }
#define UNUSED __attribute__ ((unused))

NOTHING (cuModuleUnload, void *module UNUSED)
NOTHING (cuFuncSetAttribute, void *f UNUSED, int a UNUSED, int v UNUSED)
NOTHING (cuStreamDestroy_v2, void *stream UNUSED)

CALL (cuInit, unsigned flags UNUSED)
{
  MAY_FAIL ("cuInit");
  started = getpid ();
  return 0;
}

CALL (cuCtxSetCurrent, void *context)
{
  MAY_FAIL ("cuCtxSetCurrent");
  current = context;
  return 0;
}

CALL (cuDevicePrimaryCtxRelease_v2, int d UNUSED)
{
  MAY_FAIL ("cuDevicePrimaryCtxRelease");
  return 0;
}

CALL (cuDriverGetVersion, int *version)
{
  *version = 13000;
  return 0;
}

CALL (cuGetErrorName, int error, const char **name)
{
  static __thread char text[32];

  snprintf (text, sizeof text, "CUDA_ERROR_%d", error);
  *name = text;
  return 0;
}

CALL (cuDeviceGetCount, int *count)
{
  MAY_FAIL ("cuDeviceGetCount");
  *count = fault ("none") >= 0 ? 0 : 1;
  return 0;
}

CALL (cuDeviceGet, int *d, int ordinal)
{
  MAY_FAIL ("cuDeviceGet");
  *d = ordinal;
  return 0;
}

CALL (cuDeviceGetName, char *name, int size, int d UNUSED)
{
  snprintf (name, size, "Fake GPU");
  return 0;
}

CALL (cuDeviceGetAttribute, int *value, int attribute UNUSED, int d UNUSED)
{
  MAY_FAIL ("cuDeviceGetAttribute");
  *value = 0; /* a device that is none has nothing */
  return 0;
}

CALL (cuDevicePrimaryCtxRetain, void **context, int d UNUSED)
{
  MAY_FAIL ("cuDevicePrimaryCtxRetain");
  *context = &lock;
  return 0;
}

CALL (cuModuleLoadData, void **module, const void *image)
{
  check_context ();
  MAY_FAIL ("cuModuleLoadData");
  *module = (void *) image;
  return 0;
}

CALL (cuModuleGetFunction, void **f, void *module UNUSED, const char *name)
{
  int i;

  check_context ();
  MAY_FAIL ("cuModuleGetFunction");
  for (i = 0; i < TZ_GPU_KERNELS; i++)
    if (strcmp (shapes[i].name, name) == 0) {
      *f = (void *) &shapes[i];
      return 0;
    }
  return 500; /* not found */
}

CALL (cuMemHostAlloc, void **p, size_t len, unsigned flags UNUSED)
{
  check_context ();
  MAY_FAIL ("cuMemHostAlloc");
  *p = mmap (NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
             -1, 0);
  if (*p == MAP_FAILED)
    return CUDA_OUT_OF_MEMORY;
  memset (*p, 0xda, len); /* the driver need not clear it */
  add_range (*p, len);
  return 0;
}

CALL (cuMemFreeHost, void *p)
{
  check_context ();
  return remove_range (p) ? 0 : CUDA_INVALID_VALUE;
}

CALL (cuMemHostRegister_v2, void *p, size_t len, unsigned flags UNUSED)
{
  check_context ();
  MAY_FAIL ("cuMemHostRegister");
  add_range (p, len);
  return 0;
}

CALL (cuMemHostUnregister, void *p)
{
  check_context ();
  return remove_range (p) ? 0 : CUDA_INVALID_VALUE;
}

CALL (cuMemHostGetDevicePointer_v2, uint64_t *d, void *p, unsigned f UNUSED)
{
  check_context ();
  MAY_FAIL ("cuMemHostGetDevicePointer");
  *d = (uintptr_t) p + DISTANCE;
  host (*d, 1);
  return 0;
}

CALL (cuMemAlloc_v2, uint64_t *d, size_t len)
{
  void *p;

  check_context ();
  MAY_FAIL ("cuMemAlloc");
  if (len > MEMORY || cuMemHostAlloc (&p, len, 0))
    return CUDA_OUT_OF_MEMORY;
  *d = (uintptr_t) p + DISTANCE;
  return 0;
}

CALL (cuMemGetInfo_v2, size_t *available, size_t *total)
{
  int mib = fault ("room");

  check_context ();
  MAY_FAIL ("cuMemGetInfo");
  *total = MEMORY;
  *available = mib >= 0 ? (size_t) mib << 20 : MEMORY;
  return 0;
}

CALL (cuMemFree_v2, uint64_t d)
{
  check_context ();
  return remove_range (host (d, 1)) ? 0 : CUDA_INVALID_VALUE;
}

CALL (cuMemcpyDtoHAsync_v2, void *to, uint64_t from, size_t len,
      void *stream UNUSED)
{
  struct op o = { .type = COPY, .to = to, .from = host (from, len),
                  .len = len };

  check_context ();
  MAY_FAIL ("cuMemcpyDtoHAsync");
  return queue (&o);
}

CALL (cuMemcpyHtoDAsync_v2, uint64_t to, const void *from, size_t len,
      void *stream UNUSED)
{
  struct op o = { .type = COPY, .to = host (to, len), .from = from,
                  .len = len };

  check_context ();
  MAY_FAIL ("cuMemcpyHtoDAsync");
  return queue (&o);
}

CALL (cuMemcpyDtoDAsync_v2, uint64_t to, uint64_t from, size_t len,
      void *stream UNUSED)
{
  struct op o = { .type = COPY, .to = host (to, len),
                  .from = host (from, len), .len = len };

  check_context ();
  MAY_FAIL ("cuMemcpyDtoDAsync");
  return queue (&o);
}

CALL (cuMemsetD8Async, uint64_t to, unsigned char value, size_t len,
      void *stream UNUSED)
{
  struct op o = { .type = FILL, .to = host (to, len), .value = value,
                  .len = len };

  check_context ();
  MAY_FAIL ("cuMemsetD8Async");
  return queue (&o);
}

CALL (cuCtxSynchronize, void)
{
  check_context ();
  MAY_FAIL ("cuCtxSynchronize");
  return drain ();
}

CALL (cuStreamSynchronize, void *stream UNUSED)
{
  check_context ();
  MAY_FAIL ("cuStreamSynchronize");
  return drain ();
}

CALL (cuStreamCreate, void **stream, unsigned flags UNUSED)
{
  check_context ();
  MAY_FAIL ("cuStreamCreate");
  *stream = &work;
  return 0;
}

CALL (cuEventCreate, struct cuda_event **event, unsigned flags UNUSED)
{
  check_context ();
  MAY_FAIL ("cuEventCreate");
  *event = calloc (1, sizeof **event);
  return *event ? 0 : CUDA_OUT_OF_MEMORY;
}

CALL (cuEventDestroy_v2, struct cuda_event *event)
{
  check_context ();
  free (event);
  return 0;
}

CALL (cuEventRecord, struct cuda_event *event, void *stream UNUSED)
{
  struct op o = { .type = EVENT, .event = event };

  check_context ();
  MAY_FAIL ("cuEventRecord");
  pthread_mutex_lock (&lock);
  o.ticket = ++event->recorded;
  pthread_mutex_unlock (&lock);
  return queue (&o);
}

CALL (cuEventQuery, struct cuda_event *event)
{
  bool done;

  check_context ();
  while (fault ("stuck") >= 0)
    usleep (1000);
  MAY_FAIL ("cuEventQuery");
  pthread_mutex_lock (&lock);
  done = event->done == event->recorded;
  pthread_mutex_unlock (&lock);
  return done ? 0 : CUDA_NOT_READY;
}

CALL (cuEventSynchronize, struct cuda_event *event UNUSED)
{
  check_context ();
  MAY_FAIL ("cuEventSynchronize");
  return drain ();
}

CALL (cuEventElapsedTime, float *ms, struct cuda_event *start,
      struct cuda_event *end)
{
  check_context ();
  MAY_FAIL ("cuEventElapsedTime");
  *ms = (float) ((double) (end->at.tv_sec - start->at.tv_sec) * 1e3
                 + (double) (end->at.tv_nsec - start->at.tv_nsec) * 1e-6);
  return 0;
}

CALL (cuLaunchKernel, void *f, unsigned gx, unsigned gy, unsigned gz,
      unsigned bx, unsigned by, unsigned bz, unsigned smem,
      void *stream UNUSED, void **params, void **extra)
{
  const struct tz_gpu_shape *shape = f;
  struct op o = { .type = KERNEL, .kernel = shape - shapes };

  check_context ();
  MAY_FAIL ("cuLaunchKernel");
  memcpy (&o.jobs, params[0], sizeof o.jobs);
  memcpy (&o.result, params[1], sizeof o.result);
  memcpy (&o.n, params[2], sizeof o.n);
  memcpy (&o.flags, params[3], sizeof o.flags);
  memcpy (&o.extra, params[4], sizeof o.extra);
  if (extra || gy != 1 || gz != 1 || by != 1 || bz != 1
      || bx != shape->threads || smem != shape->smem
      || gx != (o.n + shape->pages - 1) / shape->pages)
    die ("a kernel is not launched as it wants to be");
  return queue (&o);
}

/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The CUDA driver's interface, taken from libcuda.so.1 when it is asked for:
 * nothing of CUDA is linked or needed to build this.  Symbols are looked up by
 * the names they have in the library, whose meaning never changes.
 *
 * All functions return 0 or an error, which is positive.
 */
#ifndef TZ_CUDA_DRIVER_H
#define TZ_CUDA_DRIVER_H

#include <stddef.h>
#include <stdint.h>

typedef uint64_t cuda_address; /* of device memory, or of host memory as the
                                * device sees it */
typedef struct cuda_context *cuda_context;
typedef struct cuda_module *cuda_module;
typedef struct cuda_function *cuda_function;
typedef struct cuda_stream *cuda_stream;
typedef struct cuda_event *cuda_event;

/* What is used of errors, flags and attributes. */
enum {
  CUDA_INVALID_VALUE = 1,
  CUDA_OUT_OF_MEMORY = 2,
  CUDA_NO_DEVICE = 100,
  CUDA_NO_BINARY = 209, /* no kernel for such a device */
  CUDA_NOT_READY = 600, /* a query: not done yet */
  CUDA_OUT_OF_RESOURCES = 701,

  CUDA_STREAM_NON_BLOCKING = 1,
  CUDA_EVENT_NO_TIMING = 2,
  CUDA_HOST_MAPPED = 2, /* MemHostAlloc and MemHostRegister: the device may
                         * use it in place */

  CUDA_CLOCK_KHZ = 13, /* DeviceGetAttribute */
  CUDA_MULTIPROCESSORS = 16,
  CUDA_L2_BYTES = 38,

  CUDA_CARVEOUT = 9, /* FuncSetAttribute: percent of the first-level cache to
                      * use as shared memory */
};

/* X (the field, its name in the library, its parameters) */
#define CUDA_DRIVER(X)                                                        \
  X (Init, "cuInit", (unsigned flags))                                        \
  X (DriverGetVersion, "cuDriverGetVersion", (int *version))                  \
  X (GetErrorName, "cuGetErrorName", (int error, const char **name))          \
  X (DeviceGetCount, "cuDeviceGetCount", (int *count))                        \
  X (DeviceGet, "cuDeviceGet", (int *device, int ordinal))                    \
  X (DeviceGetName, "cuDeviceGetName", (char *name, int size, int device))    \
  X (DeviceGetAttribute, "cuDeviceGetAttribute",                              \
     (int *value, int attribute, int device))                                 \
  X (DevicePrimaryCtxRetain, "cuDevicePrimaryCtxRetain",                      \
     (cuda_context *context, int device))                                     \
  X (DevicePrimaryCtxRelease, "cuDevicePrimaryCtxRelease_v2", (int device))   \
  X (CtxSetCurrent, "cuCtxSetCurrent", (cuda_context context))                \
  X (CtxSynchronize, "cuCtxSynchronize", (void))                              \
  X (ModuleLoadData, "cuModuleLoadData",                                      \
     (cuda_module *module, const void *image))                                \
  X (ModuleUnload, "cuModuleUnload", (cuda_module module))                    \
  X (ModuleGetFunction, "cuModuleGetFunction",                                \
     (cuda_function *function, cuda_module module, const char *name))         \
  X (FuncSetAttribute, "cuFuncSetAttribute",                                  \
     (cuda_function function, int attribute, int value))                      \
  X (LaunchKernel, "cuLaunchKernel",                                          \
     (cuda_function function, unsigned grid_x, unsigned grid_y,               \
      unsigned grid_z, unsigned block_x, unsigned block_y, unsigned block_z,  \
      unsigned smem, cuda_stream stream, void **parameters, void **extra))    \
  X (MemAlloc, "cuMemAlloc_v2", (cuda_address *p, size_t bytes))              \
  X (MemFree, "cuMemFree_v2", (cuda_address p))                               \
  X (MemGetInfo, "cuMemGetInfo_v2", (size_t *available, size_t *total))       \
  X (MemHostAlloc, "cuMemHostAlloc", (void **p, size_t bytes, unsigned flags))\
  X (MemFreeHost, "cuMemFreeHost", (void *p))                                 \
  X (MemHostRegister, "cuMemHostRegister_v2",                                 \
     (void *p, size_t bytes, unsigned flags))                                 \
  X (MemHostUnregister, "cuMemHostUnregister", (void *p))                     \
  X (MemHostGetDevicePointer, "cuMemHostGetDevicePointer_v2",                 \
     (cuda_address *p, void *host, unsigned flags))                           \
  X (MemcpyHtoDAsync, "cuMemcpyHtoDAsync_v2",                                 \
     (cuda_address to, const void *from, size_t bytes, cuda_stream stream))   \
  X (MemcpyDtoHAsync, "cuMemcpyDtoHAsync_v2",                                 \
     (void *to, cuda_address from, size_t bytes, cuda_stream stream))         \
  X (MemcpyDtoDAsync, "cuMemcpyDtoDAsync_v2",                                 \
     (cuda_address to, cuda_address from, size_t bytes, cuda_stream stream))  \
  X (MemsetD8Async, "cuMemsetD8Async",                                        \
     (cuda_address to, unsigned char value, size_t bytes, cuda_stream stream))\
  X (StreamCreate, "cuStreamCreate", (cuda_stream *stream, unsigned flags))   \
  X (StreamDestroy, "cuStreamDestroy_v2", (cuda_stream stream))               \
  X (StreamSynchronize, "cuStreamSynchronize", (cuda_stream stream))          \
  X (EventCreate, "cuEventCreate", (cuda_event *event, unsigned flags))       \
  X (EventDestroy, "cuEventDestroy_v2", (cuda_event event))                   \
  X (EventRecord, "cuEventRecord", (cuda_event event, cuda_stream stream))    \
  X (EventQuery, "cuEventQuery", (cuda_event event))                          \
  X (EventSynchronize, "cuEventSynchronize", (cuda_event event))              \
  X (EventElapsedTime, "cuEventElapsedTime",                                  \
     (float *ms, cuda_event start, cuda_event end))

struct cuda {
#define CUDA_FIELD(field, symbol, parameters) int (*field) parameters;
  CUDA_DRIVER (CUDA_FIELD)
#undef CUDA_FIELD
};

/* Load the driver, which stays loaded, and start it: never before a fork.
 * -ENODEV: there is none, or no device; why says what is missing and what to
 * do about it, without a newline.
 */
int cuda_load (struct cuda *cuda, char *why, size_t why_size);

/* "CUDA_ERROR_…"; never NULL. */
const char *cuda_error (const struct cuda *cuda, int error);

#endif /* TZ_CUDA_DRIVER_H */

/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The little of the CUDA driver's interface that is used, so that nothing of
 * CUDA is needed to build or to start: libcuda.so.1 is loaded at run time.
 */
#ifndef TZ_CUDA_DRIVER_H
#define TZ_CUDA_DRIVER_H

#include <stddef.h>
#include <stdint.h>

typedef int cu_result;
typedef int cu_device;
typedef uint64_t cu_pointer; /* an address as the device sees it */

enum {
  CU_OK = 0,
  CU_INVALID_VALUE = 1,
  CU_OUT_OF_MEMORY = 2,
  CU_NO_DEVICE = 100,
  CU_NO_BINARY = 209,
  CU_NOT_READY = 600,
  CU_OUT_OF_RESOURCES = 701,
};

enum {
  CU_HOST_MAPPED = 2,        /* cuMemHostAlloc, cuMemHostRegister */
  CU_STREAM_NON_BLOCKING = 1,
  CU_EVENT_NO_TIMING = 2,
  CU_FUNC_MAX_SMEM = 8,      /* dynamic shared memory, bytes */
  CU_FUNC_CARVEOUT = 9,      /* percent of the cache to be shared memory */
};

/* Result, name here, name of the symbol, parameters.  The symbols with _v2 are
 * what cuda.h of today makes of the names without.
 */
#define CU_FUNCTIONS(F)                                                       \
  F (init, "cuInit", (unsigned flags))                                        \
  F (version, "cuDriverGetVersion", (int *version))                           \
  F (device_count, "cuDeviceGetCount", (int *n))                              \
  F (device_get, "cuDeviceGet", (cu_device *d, int n))                        \
  F (device_name, "cuDeviceGetName", (char *name, int size, cu_device d))     \
  F (retain, "cuDevicePrimaryCtxRetain", (void **context, cu_device d))       \
  F (release, "cuDevicePrimaryCtxRelease_v2", (cu_device d))                  \
  F (set_current, "cuCtxSetCurrent", (void *context))                         \
  F (module_load, "cuModuleLoadData", (void **module, const void *image))     \
  F (module_unload, "cuModuleUnload", (void *module))                         \
  F (function, "cuModuleGetFunction",                                         \
     (void **function, void *module, const char *name))                       \
  F (function_set, "cuFuncSetAttribute",                                      \
     (void *function, int attribute, int value))                              \
  F (host_alloc, "cuMemHostAlloc", (void **p, size_t len, unsigned flags))    \
  F (host_free, "cuMemFreeHost", (void *p))                                   \
  F (host_register, "cuMemHostRegister_v2",                                   \
     (void *p, size_t len, unsigned flags))                                   \
  F (host_unregister, "cuMemHostUnregister", (void *p))                       \
  F (host_pointer, "cuMemHostGetDevicePointer_v2",                            \
     (cu_pointer * d, void *p, unsigned flags))                               \
  F (alloc, "cuMemAlloc_v2", (cu_pointer * d, size_t len))                    \
  F (free, "cuMemFree_v2", (cu_pointer d))                                    \
  F (copy_out, "cuMemcpyDtoHAsync_v2",                                        \
     (void *to, cu_pointer from, size_t len, void *stream))                   \
  F (stream_create, "cuStreamCreate", (void **stream, unsigned flags))        \
  F (stream_destroy, "cuStreamDestroy_v2", (void *stream))                    \
  F (event_create, "cuEventCreate", (void **event, unsigned flags))           \
  F (event_destroy, "cuEventDestroy_v2", (void *event))                       \
  F (event_record, "cuEventRecord", (void *event, void *stream))              \
  F (event_query, "cuEventQuery", (void *event))                              \
  F (launch, "cuLaunchKernel",                                                \
     (void *function, unsigned grid_x, unsigned grid_y, unsigned grid_z,      \
      unsigned block_x, unsigned block_y, unsigned block_z, unsigned smem,    \
      void *stream, void **params, void **extra))                             \
  F (error_name, "cuGetErrorName", (cu_result r, const char **name))

struct cu_driver {
#define CU_MEMBER(name, symbol, params) cu_result (*name) params;
  CU_FUNCTIONS (CU_MEMBER)
#undef CU_MEMBER
};

#endif /* TZ_CUDA_DRIVER_H */

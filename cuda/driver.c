/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include <config.h>

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>

#include "driver.h"

#define LIBRARY "libcuda.so.1"

static int
look_up (struct cuda *cuda, void *library, char *why, size_t why_size)
{
#define CUDA_LOOK_UP(field, symbol, parameters)                               \
  cuda->field = (int (*) parameters) dlsym (library, symbol);                 \
  if (!cuda->field) {                                                         \
    snprintf (why, why_size,                                                  \
              LIBRARY " has no %s: update NVIDIA's driver", symbol);          \
    return -ENODEV;                                                           \
  }
  CUDA_DRIVER (CUDA_LOOK_UP)
#undef CUDA_LOOK_UP
  return 0;
}

int
cuda_load (struct cuda *cuda, char *why, size_t why_size)
{
  void *library = dlopen (LIBRARY, RTLD_NOW | RTLD_LOCAL);
  int err, count = 0;

  if (!library) {
    snprintf (why, why_size,
              "no " LIBRARY ": install NVIDIA's driver (%s)", dlerror ());
    return -ENODEV;
  }
  err = look_up (cuda, library, why, why_size);
  if (err == 0) {
    err = cuda->Init (0);
    if (err == 0)
      err = cuda->DeviceGetCount (&count);
    if (err == 0 && count > 0)
      return 0;
    snprintf (why, why_size,
              "NVIDIA's driver finds no GPU (%s): does nvidia-smi list one?",
              cuda_error (cuda, err ? err : CUDA_NO_DEVICE));
  }
  return -ENODEV;
}

const char *
cuda_error (const struct cuda *cuda, int error)
{
  const char *name;

  return cuda->GetErrorName (error, &name) == 0 && name ? name
                                                        : "unknown error";
}

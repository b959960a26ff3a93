/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* In place of cuda/fatbin.c where the emulator runs the kernels. */
#include "../../cuda/job.h"

const unsigned char tz_gpu_fatbin[1];

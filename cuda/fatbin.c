/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The kernels as nvcc made them, in the build directory, which is where the
 * assembler runs.
 */
#include "job.h"

__asm__ (".pushsection .rodata\n"
         ".balign 16\n"
         ".globl tz_gpu_fatbin\n"
         ".hidden tz_gpu_fatbin\n"
         ".type tz_gpu_fatbin, %object\n"
         "tz_gpu_fatbin:\n"
         ".incbin \"cuda/kernels.fatbin\"\n"
         ".size tz_gpu_fatbin, . - tz_gpu_fatbin\n"
         ".popsection\n");

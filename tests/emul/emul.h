/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Run the kernels on a CPU, as strictly as a GPU may be strict: the lanes of a
 * warp are fibers, which run in an order that changes each time they meet.
 * Lanes that do not meet at the same place, one that touches another group's
 * shared memory or one whose access to shared memory is not ordered against
 * another's: each ends the program with a message.
 */
#ifndef TZ_EMUL_H
#define TZ_EMUL_H

#include "../../cuda/job.h"

/* Any number of threads may do so at once. */
void emul_launch (enum tz_gpu_kernel kernel, const struct tz_gpu_job *jobs,
                  int32_t *result, uint32_t n, uint32_t flags,
                  uint64_t *extra);

/* What this thread's launches have cost. */
struct emul_counts {
  uint64_t accesses;   /* of warps to shared memory */
  uint64_t wavefronts; /* turns the banks need for them */
  uint64_t meetings;   /* of the lanes */
};

/* Counting banks takes time, and starts with this. */
void emul_count (struct emul_counts *counts);

#endif /* TZ_EMUL_H */

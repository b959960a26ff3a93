/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What the kernels need of the machine.  They are C that is CUDA C++ too: here
 * are its few primitives for nvcc, in tests/emul/warp-emul.h those for a C
 * compiler, which tests them.
 *
 * A block is one warp.  Eight lanes, a group, work on a page: all pages of a
 * warp go through the same code at the same time.  Each group has a part of
 * shared memory of its own, its slot.
 * All lanes take part in all that is marked "together".
 */
#ifndef TZ_GPU_WARP_H
#define TZ_GPU_WARP_H

#include <stdbool.h>
#include <stdint.h>

#include "job.h"
#include "tzram.h"

#define LANES       32
#define GROUP       8 /* lanes a page */
#define GROUPS      (LANES / GROUP)
#define KERNEL_ARGS                                                           \
  (const struct tz_gpu_job *jobs, int32_t *result, uint32_t n,                \
   uint32_t flags, uint64_t *extra)

#ifndef __CUDACC__
#include "warp-emul.h"
#else

#define _Static_assert static_assert
#define DEVICE         static __device__ __forceinline__
#define RARE           static __device__ __noinline__
#define TABLE          static __device__ const
#define KERNEL(name)                                                          \
  extern "C" __global__ void __launch_bounds__ (LANES) name
#define UNROLL(count)  _Pragma (UNROLL_TEXT (unroll count))
#define UNROLL_TEXT(x) #x

struct __align__ (8) pair { uint32_t x, y; };
struct __align__ (16) quad { uint32_t x, y, z, w; };

extern __shared__ struct quad tz_smem[];

DEVICE unsigned lane_number (void) { return threadIdx.x; }
DEVICE unsigned block_number (void) { return blockIdx.x; }

#define SMEM(type, at) (*(type *) __cvta_shared_to_generic (at))

/* Where shared memory starts: its addresses have 16 bits. */
DEVICE uint32_t smem_start (void)
{
  return (uint32_t) __cvta_generic_to_shared (tz_smem);
}

/* Which slot is this group's, and where the part common to all starts: for the
 * emulator to check.
 */
DEVICE void own_smem (uint32_t slot, uint32_t size, uint32_t common)
{
  (void) slot, (void) size, (void) common;
}

/* Loads from and stores to shared memory, aligned to their size. */
DEVICE uint32_t lds8 (uint32_t at) { return SMEM (uint8_t, at); }
DEVICE uint32_t lds16 (uint32_t at) { return SMEM (uint16_t, at); }
DEVICE uint32_t lds32 (uint32_t at) { return SMEM (uint32_t, at); }
DEVICE struct pair lds64 (uint32_t at) { return SMEM (struct pair, at); }
DEVICE struct quad lds128 (uint32_t at) { return SMEM (struct quad, at); }
DEVICE void sts8 (uint32_t at, uint32_t v) { SMEM (uint8_t, at) = v; }
DEVICE void sts16 (uint32_t at, uint32_t v) { SMEM (uint16_t, at) = v; }
DEVICE void sts32 (uint32_t at, uint32_t v) { SMEM (uint32_t, at) = v; }
DEVICE void sts64 (uint32_t at, struct pair v) { SMEM (struct pair, at) = v; }
DEVICE void sts128 (uint32_t at, struct quad v) { SMEM (struct quad, at) = v; }

/* 16 bytes of global memory. */
DEVICE struct quad ldg128 (uint64_t at) { return *(const struct quad *) at; }
DEVICE struct pair ldg64 (uint64_t at) { return *(const struct pair *) at; }
DEVICE void stg128 (uint64_t at, struct quad v) { *(struct quad *) at = v; }

/* Start to copy count, 1 … 16, bytes of global to shared memory, and fill up
 * to 16 with zeroes.  They are there after copies_done and together ().
 */
DEVICE void
copy_async (uint32_t to, uint64_t from, uint32_t count)
{
  asm volatile ("cp.async.cg.shared.global [%0], [%1], 16, %2;"
                :: "r"(to), "l"(from), "r"(count) : "memory");
}

DEVICE void
copies_done (void)
{
  asm volatile ("cp.async.wait_all;" ::: "memory");
}

/* Together: what was stored before can be loaded by all lanes after. */
DEVICE void together (void) { __syncwarp (); }
DEVICE uint32_t lanes_with (bool v) { return __ballot_sync (~0u, v); }
DEVICE bool any_lane (bool v) { return __any_sync (~0u, v); }
/* Together: the value of a lane of the same group, of the lane that is d
 * before (its own if there is none), and of lane number xor m.
 */
DEVICE uint32_t
group_get (uint32_t v, unsigned lane)
{
  return __shfl_sync (~0u, v, lane, GROUP);
}
DEVICE uint32_t
group_before (uint32_t v, unsigned d)
{
  return __shfl_up_sync (~0u, v, d, GROUP);
}
DEVICE uint32_t
group_xor (uint32_t v, unsigned m)
{
  return __shfl_xor_sync (~0u, v, m, GROUP);
}
/* Together: the lanes of the warp that have the same value. */
DEVICE uint32_t lanes_equal (uint32_t v) { return __match_any_sync (~0u, v); }

/* Four of the eight bytes of a (0 … 3) and b (4 … 7), by half-bytes of order,
 * whose upper 16 bits do not matter.
 */
DEVICE uint32_t
pick_bytes (uint32_t a, uint32_t b, uint32_t order)
{
  uint32_t d;

  asm ("prmt.b32 %0, %1, %2, %3;" : "=r"(d) : "r"(a), "r"(b), "r"(order));
  return d;
}

/* The lower half of high:low >> shift % 32, and >> min (shift, 32). */
DEVICE uint32_t
funnel (uint32_t low, uint32_t high, uint32_t shift)
{
  return __funnelshift_r (low, high, shift);
}
DEVICE uint32_t
funnel_clamp (uint32_t low, uint32_t high, uint32_t shift)
{
  return __funnelshift_rc (low, high, shift);
}

DEVICE unsigned count_bits (uint32_t v) { return __popc (v); }
DEVICE uint32_t reverse_bits (uint32_t v) { return __brev (v); }
/* How many zeroes are above the highest one, and below the lowest; 32 and
 * anything for 0.
 */
DEVICE unsigned zeroes_above (uint32_t v) { return __clz (v); }
DEVICE unsigned zeroes_below (uint32_t v) { return __ffs (v) - 1; }

#endif /* __CUDACC__ */
#endif /* TZ_GPU_WARP_H */

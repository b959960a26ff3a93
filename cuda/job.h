/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What a kernel is told and what it answers: the one thing that device code,
 * the host that launches it and the emulator have in common.
 *
 * Every kernel is
 *   void tz_… (const struct tz_gpu_job *jobs, int32_t *result, uint32_t n,
 *              uint32_t flags, uint64_t *extra)
 * and is launched with DIV_UP (n, pages) blocks of threads threads, both from
 * TZ_GPU_SHAPES, and with smem bytes of dynamic shared memory.  They do best if
 * the driver is asked to make all of the first-level cache shared memory.  All
 * addresses are the device's.
 */
#ifndef TZ_GPU_JOB_H
#define TZ_GPU_JOB_H

#include <stdint.h>

/* One page of a batch. */
struct tz_gpu_job {
  uint64_t src;  /* 16-byte aligned; readable up to len rounded up to 16 */
  uint64_t dst;  /* 16-byte aligned, 4096 bytes */
  uint32_t len;  /* of src; those that read a page do not look */
  uint32_t sum;  /* the checksum the blob was stored with, unless it follows */
  uint64_t page; /* the page's number, for the checksum; of tz_checksum's jobs
                  * the seed itself */
};

/* The kernels, and what becomes of result[i] and extra[i], for i < n.  Where
 * nothing is said about extra it is not touched, and may be 0.
 *
 * tz_ld64_decompress, tz_lz4_decompress
 *   src is a blob, dst the page.  result: 0 or a TZ_GPU_E….  Unless it is 0,
 *   dst is as it was.  TZ_GPU_CHECK: the blob must have checksum sum, or with
 *   TZ_GPU_FOLLOWS that which is in the four bytes after it, which are readable
 *   up to a multiple of 16.
 * tz_ld64_compress, tz_lz4_compress
 *   src is a page, dst takes the blob.  result: the blob's length, or 4096 if
 *   it would not be shorter: the page is to be stored raw, and dst is as it
 *   was.  Up to 15 bytes after the blob are overwritten, none from 4096 on.
 *   TZ_GPU_CHECK: extra is the checksum to store with it (result 4096: with
 *   the page, as raw).
 * tz_same_scan
 *   src is a page; dst is not used.  result: 1 if it is one pattern of eight
 *   bytes, and extra that as memory holds it; else 0.
 * tz_checksum
 *   src is a blob or a page, 1 … 4096 bytes long; dst is not used.  result: 0
 *   and extra the checksum; TZ_GPU_EBLOB if len is another.
 */
enum tz_gpu_kernel {
  TZ_GPU_LD64_DECOMPRESS,
  TZ_GPU_LD64_COMPRESS,
  TZ_GPU_LZ4_DECOMPRESS,
  TZ_GPU_LZ4_COMPRESS,
  TZ_GPU_SAME_SCAN,
  TZ_GPU_CHECKSUM,
  TZ_GPU_KERNELS, /* how many there are */
};

#define TZ_GPU_CHECK   1u /* flags: verify or make checksums */
#define TZ_GPU_FOLLOWS 2u /* flags: each blob is followed by its own */

#define TZ_GPU_EBLOB (-1) /* no codec's encoder made this */
#define TZ_GPU_ESUM  (-2) /* the blob is not the one that was stored */

/* How to launch each. */
struct tz_gpu_shape {
  const char *name;
  unsigned threads; /* a block */
  unsigned pages;   /* a block */
  unsigned smem;    /* bytes a block, at most 48 KiB */
};

#define TZ_GPU_SMEM_LD64_DECOMPRESS 21904
#define TZ_GPU_SMEM_LD64_COMPRESS   35584
#define TZ_GPU_SMEM_LZ4_DECOMPRESS  16768
#define TZ_GPU_SMEM_LZ4_COMPRESS    41856

#define TZ_GPU_SHAPES                                                         \
  {                                                                           \
    { "tz_ld64_decompress", 32, 4, TZ_GPU_SMEM_LD64_DECOMPRESS },             \
    { "tz_ld64_compress", 32, 4, TZ_GPU_SMEM_LD64_COMPRESS },                 \
    { "tz_lz4_decompress", 32, 4, TZ_GPU_SMEM_LZ4_DECOMPRESS },               \
    { "tz_lz4_compress", 32, 4, TZ_GPU_SMEM_LZ4_COMPRESS },                   \
    { "tz_same_scan", 32, 4, 0 },                                             \
    { "tz_checksum", 32, 4, 0 },                                              \
  }

/* The kernels for all kinds of devices, for cuModuleLoadData (cuda/fatbin.c,
 * libtzkernels.la).
 */
extern const unsigned char tz_gpu_fatbin[];

#endif /* TZ_GPU_JOB_H */

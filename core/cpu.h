/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What the CPU can do, found once, but for what tz_cpu_hide hides. */
#ifndef TZ_CPU_H
#define TZ_CPU_H

enum tz_cpu_feature {
  TZ_CPU_SSSE3 = 1 << 0,  /* "ssse3" */
  TZ_CPU_AVX2 = 1 << 1,   /* "avx2": that and AVX2, BMI1, BMI2, LZCNT, POPCNT */
  TZ_CPU_AVX512 = 1 << 2, /* "avx512": these and AVX-512 F, BW, DQ, VL, VBMI,
                           * VBMI2, BITALG, VPOPCNTDQ */
  TZ_CPU_NEON = 1 << 8,   /* "neon" */
};

/* The features, as a bit mask; cheap after the first call. */
unsigned tz_cpu (void);

#endif /* TZ_CPU_H */

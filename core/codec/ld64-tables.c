/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Tables for LD64, see ld64.h: for each m, the mask of a part. */
#include "codec/ld64.h"

const uint8_t tz_ld64_zeroes[LD64_LINE] __attribute__ ((aligned (64))) = { 0 };

#define EACH(f)  M7 (f, 0) M7 (f, 128)
#define M7(f, m) M6 (f, m) M6 (f, m + 64)
#define M6(f, m) M5 (f, m) M5 (f, m + 32)
#define M5(f, m) M4 (f, m) M4 (f, m + 16)
#define M4(f, m) M3 (f, m) M3 (f, m + 8)
#define M3(f, m) M2 (f, m) M2 (f, m + 4)
#define M2(f, m) M1 (f, m) M1 (f, m + 2)
#define M1(f, m) f ((m)) f ((m + 1))

/* Eight bytes, from those for each bit. */
#define BYTES(f, m)                                                            \
  (f (m, 0) | f (m, 1) | f (m, 2) | f (m, 3) | f (m, 4) | f (m, 5) | f (m, 6)  \
   | f (m, 7))
#define HAS(m, i)    ((uint64_t) (m >> i & 1))
#define COUNT(m)     __builtin_popcount (m)
#define BEFORE(m, i) COUNT (m & ((1 << i) - 1))

/* Byte i: the place of the i-th bit set. */
#define COMPACT(m, i) HAS (m, i) * i << 8 * BEFORE (m, i)
#define ENTRY(m)      BYTES (COMPACT, m),
const uint64_t tz_ld64_compact[256] = { EACH (ENTRY) };
#undef ENTRY

/* Byte i: how many bits are set before bit i, or 128 if it is not set. */
#define EXPAND(m, i) (HAS (m, i) ? BEFORE (m, i) : 128ull) << 8 * i
#define ENTRY(m)     BYTES (EXPAND, m),
const uint64_t tz_ld64_expand[256] = { EACH (ENTRY) };
#undef ENTRY

#define ENTRY(m) COUNT (m),
const uint8_t tz_ld64_count[256] = { EACH (ENTRY) };
#undef ENTRY

/* A bit added to the lowest run's first moves above it.  A run moves by the
 * bits below it that are not set; one that is not there, by anything.
 */
#define LOWEST(m)    (m & -m)
#define RUN(m)       (m & ~(m + LOWEST (m)))
#define ABOVE(m)     (m & (m + LOWEST (m)))
#define GAPS(n, m)   COUNT ((LOWEST (n) - 1) & ~m & 127)
#define ALL(m, i)    HAS (m, i) * 255 << 8 * i
#define FIRST(m, i)  HAS (RUN (m), i) * 255 << 8 * i
#define SECOND(m, i) HAS (RUN (ABOVE (m)), i) * 255 << 8 * i
#define ENTRY(m)                                                               \
  { BYTES (ALL, m),                                                            \
    { BYTES (FIRST, m), BYTES (SECOND, m) },                                   \
    { 8 * GAPS (m, m), 8 * GAPS (ABOVE (m), m) },                              \
    ABOVE (ABOVE (m)),                                                         \
    8 * COUNT (m & ~ABOVE (ABOVE (m))) },
const struct ld64_runs tz_ld64_runs[256] = { EACH (ENTRY) };

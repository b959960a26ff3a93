/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Checksum of a blob, see checksum.h. */
#include <stdatomic.h>
#include <string.h>

#include "checksum.h"
#include "cpu.h"
#include "codec/bytes.h"

/* Digits of a pseudo-random sequence. */
const int16_t tz_checksum_key[128] __attribute__ ((aligned (64))) = {
  -10437, -4685, 6369, 14597, 23821, -15967, 3471, -7295,
  11759, 11525, 2099, -15641, 17675, 5857, -31591, 12303,
  7339, 17895, -21681, 4621, -23469, -16805, 30019, -9597,
  -20503, 16115, -31985, -25873, 12309, 4435, -7271, -18081,
  -25791, -22879, 3533, -18009, -20543, -12961, -16453, -16147,
  13025, -20209, -16929, 18623, -1457, -4201, 12391, -10889,
  -5399, 27669, 9015, 12231, 12347, 25829, 4569, -31993,
  12477, -6675, 19933, -14965, -6787, -29767, 21397, -27211,
  843, 18585, 8299, -13687, 15603, -32427, -4881, 5941,
  -29501, -29797, 24519, -8331, -18501, 32197, -19701, -10773,
  31935, 1071, -26787, -14081, 8107, -2297, -17241, 21463,
  -17937, 13639, 9795, 5587, -15963, -6849, -11055, 9905,
  -25347, -24637, -6723, -26509, -19533, -24855, -6289, -6159,
  -17777, -20929, -7701, -1439, 27903, 407, 17413, 32669,
  23453, -26981, 18733, -30813, 23427, -31469, -23005, -13651,
  -13721, 11219, -20539, 17833, -11401, 5387, -23933, -8433,
};
const uint32_t tz_checksum_fold[32] __attribute__ ((aligned (64))) = {
  0x785349df, 0x443f3646, 0xbb9c4c85, 0xd230d2c8,
  0xddc2e12a, 0x628b4bac, 0x8984c99f, 0x6e64f926,
  0x4d6cc573, 0x90070f45, 0xb1851855, 0x61d01e85,
  0xce1447f6, 0x7d5641db, 0xa99b0123, 0x30d0745d,
  0x9b5ee508, 0xfb79970a, 0x7d9a878a, 0x2ef12aba,
  0xd62ec62b, 0x8918c87e, 0xc1597fea, 0x6050a41c,
  0xfdb38d8d, 0x518b22c7, 0x312cfd02, 0xf09a3d14,
  0xaecc7f4d, 0xb9ac6505, 0x071b60cf, 0xe2bfa63f,
};
#define MUL0 0x2d05d71850db7f5b
#define MUL1 0x083381f01eb5d647
#define MUL2 0xc2e64a7ca35d7e85
#define MUL3 0x450a0ef4f553b421

#define EIGHT 255, 255, 255, 255, 255, 255, 255, 255
const uint8_t tz_checksum_mask[128]
    = { EIGHT, EIGHT, EIGHT, EIGHT, EIGHT, EIGHT, EIGHT, EIGHT };

static void
stripe (const uint8_t *p, unsigned s, uint32_t a[16])
{
  const int16_t *key = tz_checksum_key + 32 * s;
  int j;

  for (j = 0; j < 16; j++)
    a[j] += (uint32_t) ((int16_t) get16 (p + 4 * j) * key[2 * j])
            + (uint32_t) ((int16_t) get16 (p + 4 * j + 2) * key[2 * j + 1]);
}

uint64_t
tz_checksum_sum_scalar (const uint8_t *p, size_t len)
{
  uint32_t a[16] = { 0 }, b[16] = { 0 };
  uint8_t last[64] = { 0 };
  size_t n = (len + 63) / 64, s;
  uint64_t h = 0;
  int j;

  if (len % 64 != 0)
    memcpy (last, p + len / 64 * 64, len % 64);
  for (s = 0; s < n; s++) {
    stripe (s < len / 64 ? p + 64 * s : last, s % 4, a);
    if (s % 4 == 3 || s == n - 1)
      for (j = 0; j < 16; j++)
        b[j] += a[j];
  }
  for (j = 0; j < 16; j++)
    h += (uint64_t) (a[j] ^ tz_checksum_fold[j])
         * (b[j] ^ tz_checksum_fold[16 + j]);
  return h;
}

static tz_checksum_sum_fn *
best (const char **name)
{
  unsigned cpu = tz_cpu ();

#if defined(__x86_64__)
  *name = "avx512";
  if (cpu & TZ_CPU_AVX512)
    return tz_checksum_sum_avx512;
  *name = "avx2";
  if (cpu & TZ_CPU_AVX2)
    return tz_checksum_sum_avx2;
  *name = "ssse3";
  if (cpu & TZ_CPU_SSSE3)
    return tz_checksum_sum_ssse3;
#elif defined(__aarch64__)
  *name = "neon";
  if (cpu & TZ_CPU_NEON)
    return tz_checksum_sum_neon;
#endif
  (void) cpu;
  *name = "scalar";
  return tz_checksum_sum_scalar;
}

/* Any thread may be the first, and several at once. */
static uint64_t sum_first (const uint8_t *p, size_t len);
static _Atomic (tz_checksum_sum_fn *) sum = sum_first;

static uint64_t
sum_first (const uint8_t *p, size_t len)
{
  const char *name;
  tz_checksum_sum_fn *fn = best (&name);

  atomic_store_explicit (&sum, fn, memory_order_relaxed);
  return fn (p, len);
}

uint32_t
tz_checksum (const uint8_t *p, size_t len, uint64_t seed)
{
  uint64_t h = atomic_load_explicit (&sum, memory_order_relaxed) (p, len);

  h += seed * MUL0 + len * MUL1;
  h = (h ^ h >> 32) * MUL2;
  h = (h ^ h >> 29) * MUL3;
  return h >> 32;
}

const char *
tz_checksum_isa (void)
{
  const char *name;

  best (&name);
  return name;
}

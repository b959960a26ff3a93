/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Checksum of a blob, see checksum.h. */
#include <stdatomic.h>
#include <string.h>

#include "checksum.h"
#include "cpu.h"
#include "codec/bytes.h"

const int16_t tz_checksum_key[128] __attribute__ ((aligned (64)))
    = { TZ_CHECKSUM_KEY };
const uint32_t tz_checksum_fold[32] __attribute__ ((aligned (64)))
    = { TZ_CHECKSUM_FOLD };

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

uint64_t
tz_checksum_sum (const uint8_t *p, size_t len)
{
  return atomic_load_explicit (&sum, memory_order_relaxed) (p, len);
}

uint32_t
tz_checksum (const uint8_t *p, size_t len, uint64_t seed)
{
  return tz_checksum_end (tz_checksum_sum (p, len), len, seed);
}

const char *
tz_checksum_isa (void)
{
  const char *name;

  best (&name);
  return name;
}

/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Pages of one 8-byte pattern. */
#include <stdatomic.h>
#include <string.h>

#include "cpu.h"
#include "codec/codec.h"
#include "codec/same.h"

bool
tz_same_rest_scalar (const uint8_t *page, uint64_t pattern)
{
  uint64_t w[8], diff;
  size_t i, j;

  for (i = 0; i < TZ_PAGE; i += sizeof w) {
    memcpy (w, page + i, sizeof w);
    for (j = 0, diff = 0; j < 8; j++)
      diff |= w[j] ^ pattern;
    if (diff != 0)
      return false;
  }
  return true;
}

static tz_same_rest_fn *
best (const char **name)
{
  unsigned cpu = tz_cpu ();

#if defined(__x86_64__)
  *name = "avx512";
  if (cpu & TZ_CPU_AVX512)
    return tz_same_rest_avx512;
  *name = "avx2";
  if (cpu & TZ_CPU_AVX2)
    return tz_same_rest_avx2;
  *name = "ssse3";
  if (cpu & TZ_CPU_SSSE3)
    return tz_same_rest_ssse3;
#elif defined(__aarch64__)
  *name = "neon";
  if (cpu & TZ_CPU_NEON)
    return tz_same_rest_neon;
#endif
  (void) cpu;
  *name = "scalar";
  return tz_same_rest_scalar;
}

/* Any thread may be the first, and several at once. */
static bool rest_first (const uint8_t *page, uint64_t pattern);
static _Atomic (tz_same_rest_fn *) rest = rest_first;

static bool
rest_first (const uint8_t *page, uint64_t pattern)
{
  const char *name;
  tz_same_rest_fn *fn = best (&name);

  atomic_store_explicit (&rest, fn, memory_order_relaxed);
  return fn (page, pattern);
}

/* Few pages have three such words alike: this alone turns most of them away.
 * They lie close together, as pages from memory are fastest read in order.
 */
bool
tz_same_filled (const uint8_t *page, uint64_t *pattern)
{
  uint64_t first, second, third;

  memcpy (&first, page, sizeof first);
  memcpy (&second, page + 64, sizeof second);
  memcpy (&third, page + 152, sizeof third);
  if (first != second || first != third)
    return false;
  *pattern = first;
  return atomic_load_explicit (&rest, memory_order_relaxed) (page, first);
}

void
tz_same_fill (uint8_t *buf, size_t count, uint64_t pattern)
{
  uint64_t block[8];
  size_t i;

  if (pattern == (uint8_t) pattern * UINT64_C (0x0101010101010101)) {
    memset (buf, (uint8_t) pattern, count);
    return;
  }
  for (i = 0; i < 8; i++)
    block[i] = pattern;
  for (; count >= sizeof block; buf += sizeof block, count -= sizeof block)
    memcpy (buf, block, sizeof block);
  memcpy (buf, block, count);
}

const char *
tz_same_isa (void)
{
  const char *name;

  best (&name);
  return name;
}

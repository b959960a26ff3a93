/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* LD64: pages as lines of 64 bytes, each told by how it differs from an
 * earlier one.  docs/ld64.md is the specification.  Here is the portable body,
 * and the choice of one.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#include "checksum.h"
#include "cpu.h"
#include "codec/bytes.h"
#include "codec/codec.h"
#include "codec/ld64.h"

/* The portable body, in 64-bit words. */

#define TARGET
#define PRIMITIVE static inline

#define LOW7 0x7f7f7f7f7f7f7f7fu
#define ONES 0x0101010101010101u

PRIMITIVE unsigned
popcount (uint64_t x)
{
  x -= x >> 1 & 0x5555555555555555;
  x = (x & 0x3333333333333333) + (x >> 2 & 0x3333333333333333);
  x = (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0f;
  return (unsigned) (x * ONES >> 56);
}

/* Bit i: byte i of x is not zero. */
PRIMITIVE unsigned
nonzero_parts (uint64_t x)
{
  x = (((x & LOW7) + LOW7) | x) >> 7 & ONES;
  return (unsigned) (x * 0x0102040810204080 >> 56);
}

PRIMITIVE uint64_t
differing (const uint8_t *a, const uint8_t *b)
{
  uint64_t m = 0;
  int i;

#pragma GCC unroll 8
  for (i = 0; i < 8; i++)
    m |= (uint64_t) nonzero_parts (get64 (a + 8 * i) ^ get64 (b + 8 * i))
         << 8 * i;
  return m;
}

/* Compilers have registers for this nearly everywhere. */
typedef uint8_t vector __attribute__ ((vector_size (16)));

PRIMITIVE vector
load (const uint8_t *p)
{
  vector v;

  memcpy (&v, p, sizeof v);
  return v;
}

PRIMITIVE unsigned
count_equal (const uint8_t *a, const uint8_t *b)
{
  uint64_t n[2];
  vector v;

  v = (vector) (load (a) == load (b));
  v += (vector) (load (a + 16) == load (b + 16));
  v += (vector) (load (a + 32) == load (b + 32));
  v += (vector) (load (a + 48) == load (b + 48));
  v = -v;
  memcpy (n, &v, sizeof n);
  return (unsigned) ((n[0] + n[1]) * ONES >> 56);
}

PRIMITIVE uint16_t
hash (const uint8_t *p)
{
  uint64_t q = get64 (p);

  return (uint16_t) (((uint32_t) q * LD64_K1 + (uint32_t) (q >> 32) * LD64_K2)
                    >> (32 - LD64_BITS));
}

PRIMITIVE void
hash_part (const uint8_t *a, uint16_t h[8])
{
  int i;

  for (i = 0; i < 7; i++)
    h[i] = hash (a + 8 * i);
}

PRIMITIVE void
hash_line (const uint8_t *a, uint16_t h[8])
{
  hash_part (a, h);
  h[7] = hash (a + 56);
}

PRIMITIVE uint64_t
compact_runs (uint64_t x, const struct ld64_runs *r)
{
  return (x & r->run[0]) >> r->shift[0] | (x & r->run[1]) >> r->shift[1];
}

PRIMITIVE uint64_t
compact (const uint8_t *p, unsigned bits)
{
  const struct ld64_runs *r = &tz_ld64_runs[bits];
  uint64_t x = get64 (p), y = compact_runs (x, r);

  if (__builtin_expect (r->rest, 0))
    y |= compact_runs (x, &tz_ld64_runs[r->rest]) << r->skip;
  return y;
}

PRIMITIVE uint64_t
spread_runs (uint64_t x, const struct ld64_runs *r)
{
  return (x << r->shift[0] & r->run[0]) | (x << r->shift[1] & r->run[1]);
}

/* The bytes at p at the places whose bit is set, zeroes elsewhere. */
PRIMITIVE uint64_t
spread (const uint8_t *p, const struct ld64_runs *r)
{
  uint64_t x = get64 (p), y = spread_runs (x, r);

  if (__builtin_expect (r->rest, 0))
    y |= spread_runs (x >> r->skip, &tz_ld64_runs[r->rest]);
  return y;
}

#include "codec/ld64-choose.h"

/* The literals of a page at their places, and where that is. */
struct unpacked {
  uint64_t bytes[LD64_LINES * 8], where[LD64_LINES * 8];
};

INLINE const uint8_t *
unpack (const uint8_t *flags, const uint8_t *end, uint64_t lines,
        struct unpacked *u)
{
  const uint8_t *masks = flags + popcount (lines), *p;
  struct ld64_parts half[2];
  const struct ld64_runs *r;
  unsigned h, i, f;

  for (h = 0; h < 2; h++) {
    half[h].n = 0;
    for (i = 0; i < LD64_LINES / 2; i++, lines >>= 1) {
      f = *flags & -(unsigned) (lines & 1);
      list_parts (&half[h], i, f);
      flags += lines & 1;
    }
  }
  if (half[0].n + half[1].n > end - masks)
    return NULL;
  p = masks + half[0].n + half[1].n;
  memset (u->where, 0, sizeof u->where);
  for (h = 0; h < 2; h++)
    for (i = 0; i < half[h].n; i++) {
      if (p > end)
        return NULL;
      f = h * LD64_LINES / 2 * 8 + half[h].part[i];
      r = &tz_ld64_runs[*masks];
      u->bytes[f] = spread (p, r);
      u->where[f] = r->all;
      p += tz_ld64_count[*masks++];
    }
  return p == end ? p : NULL;
}

PRIMITIVE const uint8_t *
patch (uint8_t *line, const uint8_t *ref, const uint8_t *literals,
       const struct unpacked *u, unsigned k)
{
  const uint8_t *bytes = (const uint8_t *) &u->bytes[8 * k];
  const uint8_t *where = (const uint8_t *) &u->where[8 * k];
  vector v;
  int i;

#pragma GCC unroll 4
  for (i = 0; i < LD64_LINE; i += 16) {
    v = load (ref + i);
    v ^= (v ^ load (bytes + i)) & load (where + i);
    memcpy (line + i, &v, sizeof v);
  }
  return literals;
}

#include "codec/ld64-parts.h"

static const struct ld64_body scalar = {
  .isa = "scalar",
  .encode = { NULL, encode1, encode2 },
  .decode = decode,
};

const struct ld64_body *const tz_ld64_bodies[] = {
#if defined(__x86_64__)
  &tz_ld64_avx512, &tz_ld64_avx2, &tz_ld64_ssse3,
#elif defined(__AARCH64EL__) && defined(__ARM_NEON)
  &tz_ld64_neon,
#endif
  &scalar, NULL
};

static const struct ld64_body *
best (void)
{
  const struct ld64_body *const *b = tz_ld64_bodies;

  while (((*b)->needs & ~tz_cpu ()) != 0)
    b++;
  return *b;
}

/* Any thread may be the first, and several at once. */
static inline const struct ld64_body *
body (void)
{
  static _Atomic (const struct ld64_body *) chosen;
  const struct ld64_body *b
      = atomic_load_explicit (&chosen, memory_order_relaxed);

  if (__builtin_expect (!b, 0)) {
    b = best ();
    atomic_store_explicit (&chosen, b, memory_order_relaxed);
  }
  return b;
}

static size_t
ld64_scratch_size (int level)
{
  (void)level;
  return sizeof (struct ld64_scratch);
}

/* Every line is hashed before the search: if the page comes from memory, all of
 * it had better be on its way.
 */
static int
ld64_encode (void *scratch, const uint8_t *page, uint8_t *dst, int level)
{
  unsigned i;

  for (i = 0; i < TZ_PAGE; i += LD64_LINE)
    __builtin_prefetch (page + i);
  return body ()->encode[level](scratch, page, dst);
}

static int
ld64_decode (void *scratch, const uint8_t *blob, size_t len, uint8_t *page)
{
  (void)scratch;
  return body ()->decode (blob, len, page);
}

static int
ld64_decode_sum (const uint8_t *blob, size_t len, uint8_t *page, uint64_t *sum)
{
  const struct ld64_body *b = body ();

  if (b->decode_sum)
    return b->decode_sum (blob, len, page, sum);
  *sum = tz_checksum_sum (blob, len);
  return b->decode (blob, len, page);
}

static const char *
ld64_isa (void)
{
  return body ()->isa;
}

const struct tz_codec_ops tz_ld64_ops = {
  .name = "ld64",
  .min_level = 1,
  .max_level = LD64_LEVELS,
  .default_level = 1,
  .scratch_size = ld64_scratch_size,
  .encode = ld64_encode,
  .decode = ld64_decode,
  .decode_sum = ld64_decode_sum,
  .isa = ld64_isa,
};

/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* LD64: pages as lines of 64 bytes, each told by how it differs from an
 * earlier one.  docs/ld64.md is the specification.  Here is the portable body,
 * and the choice of one.
 */
#include <errno.h>
#include <stdbool.h>
#include <string.h>

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
compact (const uint8_t *p, unsigned bits)
{
  const struct ld64_moves *m = &tz_ld64_moves[bits];
  uint64_t x = get64 (p) & m->all, y;

  y = x & m->by1;
  x = (x ^ y) | y >> 8;
  y = x & m->by2;
  x = (x ^ y) | y >> 16;
  y = x & m->by4;
  return (x ^ y) | y >> 32;
}

/* The bytes at p at the places whose bit is set, anything elsewhere. */
PRIMITIVE uint64_t
spread (const uint8_t *p, const struct ld64_moves *m)
{
  uint64_t x = get64 (p);

  x ^= (x ^ x << 32) & m->by4;
  x ^= (x ^ x << 16) & m->by2;
  return x ^ ((x ^ x << 8) & m->by1);
}

PRIMITIVE uint64_t
expand (const uint8_t *p, unsigned bits)
{
  const struct ld64_moves *m = &tz_ld64_moves[bits];

  return spread (p, m) & m->all;
}

PRIMITIVE void
patch (uint8_t *line, const uint8_t *ref, const uint8_t *literals,
       const uint8_t masks[8], const uint8_t starts[8])
{
  const struct ld64_moves *m;
  uint64_t x;
  int i;

  if (get64 (masks) == 0) {
    memcpy (line, ref, LD64_LINE);
    return;
  }
#pragma GCC unroll 8
  for (i = 0; i < 8; i++) {
    m = &tz_ld64_moves[masks[i]];
    x = get64 (ref + 8 * i);
    x ^= (x ^ spread (literals + starts[i], m)) & m->all;
    put64 (line + 8 * i, x);
  }
}

#include "codec/ld64-choose.h"
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
body (void)
{
  const struct ld64_body *const *b = tz_ld64_bodies;

  while (((*b)->needs & ~tz_cpu ()) != 0)
    b++;
  return *b;
}

static size_t
ld64_scratch_size (int level)
{
  (void)level;
  return sizeof (struct ld64_scratch);
}

static int
ld64_encode (void *scratch, const uint8_t *page, uint8_t *dst, int level)
{
  return body ()->encode[level](scratch, page, dst);
}

static int
ld64_decode (void *scratch, const uint8_t *blob, size_t len, uint8_t *page)
{
  (void)scratch;
  return body ()->decode (blob, len, page);
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
  .isa = ld64_isa,
};

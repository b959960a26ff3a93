/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Checksum of a blob, see checksum.h. */
#include <string.h>

#include "checksum.h"
#include "codec/bytes.h"

/* Digits of a pseudo-random sequence; the multipliers and the step are odd. */
static const uint64_t key[8] = {
  0xd73a9a3d941e7ec7, 0xedb31c41e71b8924, 0x18e0edcfc8c74159,
  0x390500b0125519f4, 0x5d0cd7764beb4a30, 0xc1a05f2d975501d9,
  0x0d8ef1697451a718, 0xe381de067d2584d7,
};
#define STEP 0x2defd2e17cb276d1
#define MUL0 0x2d05d71850db7f5b
#define MUL1 0x083381f01eb5d647
#define MUL2 0xc2e64a7ca35d7e85
#define MUL3 0x450a0ef4f553b421

static void
stripe (const uint8_t *p, uint64_t s, uint64_t acc[8])
{
  uint64_t w, x;
  int i;

  for (i = 0; i < 8; i++) {
    w = get64 (p + 8 * i);
    x = w ^ (key[i] + s * STEP);
    acc[i] += (uint32_t) x * (x >> 32);
    acc[i ^ 1] += w;
  }
}

static void
sum_scalar (const uint8_t *p, size_t len, uint64_t acc[8])
{
  uint8_t last[64] = { 0 };
  uint64_t s;

  memset (acc, 0, 8 * sizeof acc[0]);
  for (s = 0; s < len / 64; s++)
    stripe (p + 64 * s, s, acc);
  if (len % 64 != 0) {
    memcpy (last, p + 64 * s, len % 64);
    stripe (last, s, acc);
  }
}

static uint64_t
rot (uint64_t v, int n)
{
  return v << n | v >> (64 - n);
}

static uint32_t
finish (const uint64_t acc[8], size_t len, uint64_t seed)
{
  uint64_t b[4], c0, c1, h;
  int i;

  for (i = 0; i < 4; i++)
    b[i] = acc[i] + rot (acc[i + 4], 23);
  c0 = b[0] + rot (b[2], 41);
  c1 = b[1] + rot (b[3], 41);
  h = (c0 + seed * MUL0) * MUL1 ^ rot ((c1 + len * MUL1) * MUL2, 32);
  h = (h ^ h >> 32) * MUL3;
  h = (h ^ h >> 29) * MUL0;
  return h >> 32;
}

uint32_t
tz_checksum (const uint8_t *p, size_t len, uint64_t seed)
{
  uint64_t acc[8];

  sum_scalar (p, len, acc);
  return finish (acc, len, seed);
}

const char *
tz_checksum_isa (void)
{
  return "scalar";
}

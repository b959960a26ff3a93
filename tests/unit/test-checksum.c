/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The checksum: its value, its bounds, and what it must tell apart. */
#include "checksum.h"
#include "cpu.h"
#include "codec/codec.h"
#include "pages.h"

static uint8_t buf[TZ_PAGE + TZ_BLOB_SLACK] __attribute__ ((aligned (64)));
static uint64_t rng;

static void
noise (void)
{
  size_t i;

  for (i = 0; i < sizeof buf; i++)
    buf[i] = rnd (&rng);
}

/* Worked out from the text in checksum.h alone, by another program. */
static const struct {
  unsigned len;
  uint64_t seed;
  uint32_t value;
} known[] = {
  { 1, 0x0, 0xf6f59759 },
  { 8, 0x1, 0x22479586 },
  { 16, 0x1, 0x84ce662b },
  { 17, 0x1, 0x6e216c82 },
  { 63, 0xffffffffffffffff, 0xb02bcea3 },
  { 64, 0x5, 0x44cd4c58 },
  { 65, 0x5, 0x51e9ef12 },
  { 128, 0x10000000000, 0x0b3d691a },
  { 1187, 0x75bcd15, 0x01eacf2d },
  { 1200, 0x0, 0xae2e2d2a },
  { 4032, 0x3, 0x5633bd27 },
  { 4095, 0x3, 0x3a72dbba },
  { 4096, 0x3, 0x740adc5b },
};

static void
known_answers (void)
{
  size_t i;

  for (i = 0; i < sizeof buf; i++)
    buf[i] = i * i + i / 64 + 1;
  for (i = 0; i < sizeof known / sizeof known[0]; i++)
    CHECK (tz_checksum (buf, known[i].len, known[i].seed) == known[i].value);
}

/* Every body adds up the same, whatever follows. */
static void
bodies (void)
{
  static const struct {
    unsigned cpu;
    tz_checksum_sum_fn *fn;
  } body[] = {
#if defined(__x86_64__)
    { TZ_CPU_SSSE3, tz_checksum_sum_ssse3 },
    { TZ_CPU_AVX2, tz_checksum_sum_avx2 },
    { TZ_CPU_AVX512, tz_checksum_sum_avx512 },
#elif defined(__aarch64__)
    { TZ_CPU_NEON, tz_checksum_sum_neon },
#endif
    { 0, tz_checksum_sum_scalar },
  };
  uint64_t sum;
  size_t len, i;

  for (len = 1; len <= TZ_PAGE; len++) {
    if (len % 64 == 1)
      noise ();
    sum = tz_checksum_sum_scalar (buf, len);
    for (i = 0; i < sizeof body / sizeof body[0]; i++) {
      buf[len + len % 64]++;
      if ((tz_cpu () & body[i].cpu) == body[i].cpu)
        CHECK (body[i].fn (buf, len) == sum);
    }
  }
}

/* Neither what follows matters nor what may not be read is touched. */
static void
bounds (void)
{
  uint8_t *g = guarded (2 * TZ_PAGE), *p;
  uint32_t sum;
  size_t len;

  noise ();
  for (len = 1; len <= TZ_PAGE; len++) {
    p = g + (2 * TZ_PAGE - TZ_BLOB_SLACK - len) / 16 * 16;
    memcpy (p, buf, len);
    memset (p + len, 0, g + 2 * TZ_PAGE - p - len);
    sum = tz_checksum (p, len, len);
    memset (p + len, 0xff, g + 2 * TZ_PAGE - p - len);
    CHECK (tz_checksum (p, len, len) == sum);
    memcpy (buf, p, len);
    CHECK (tz_checksum (buf, len, len) == sum);
  }
}

/* Count how often a change goes unseen; one in 2^32 would by chance. */
static unsigned tries, unseen;

static void
differs (uint32_t a, uint32_t b)
{
  tries++;
  unseen += a == b;
}

static void
changes (size_t len, bool zeroes)
{
  uint8_t save[128];
  uint32_t sum;
  size_t i, a, b;

  noise ();
  if (zeroes)
    memset (buf, 0, sizeof buf);
  sum = tz_checksum (buf, len, 7);
  for (i = 0; i < 8 * len; i++) { /* one bit, and a second one */
    buf[i / 8] ^= 1 << i % 8;
    differs (sum, tz_checksum (buf, len, 7));
    a = rnd (&rng) % (8 * len);
    if (a != i) {
      buf[a / 8] ^= 1 << a % 8;
      differs (sum, tz_checksum (buf, len, 7));
      buf[a / 8] ^= 1 << a % 8;
    }
    /* the same bit of the next word, of the next stripe */
    for (a = i + 64; a < 8 * len && a <= i + 512; a += 448) {
      buf[a / 8] ^= 1 << a % 8;
      differs (sum, tz_checksum (buf, len, 7));
      buf[a / 8] ^= 1 << a % 8;
    }
    buf[i / 8] ^= 1 << i % 8;
  }
  for (i = 1; i < len; i++) /* cut off; of another page */
    differs (sum, tz_checksum (buf, i, 7));
  for (i = 8; i < 5000; i++)
    differs (sum, tz_checksum (buf, len, i));
  for (i = 8; i < 64; i++)
    differs (sum, tz_checksum (buf, len, 7ull << i));
  for (i = 8; i <= 64; i *= 2) /* two pieces swapped */
    for (a = 0; a + 2 * i <= len; a += i)
      for (b = a + i; b + i <= len; b += i) {
        if (memcmp (buf + a, buf + b, i) == 0)
          continue;
        memcpy (save, buf + a, i);
        memcpy (buf + a, buf + b, i);
        memcpy (buf + b, save, i);
        differs (sum, tz_checksum (buf, len, 7));
        memcpy (buf + b, buf + a, i);
        memcpy (buf + a, save, i);
      }
  for (a = 0; a + 64 <= len; a += 8) /* a piece lost to zeroes or ones */
    for (b = 0; b < 2; b++) {
      memcpy (save, buf + a, 64);
      memset (buf + a, b ? 255 : 0, 64);
      if (memcmp (save, buf + a, 64) != 0)
        differs (sum, tz_checksum (buf, len, 7));
      memcpy (buf + a, save, 64);
    }
}

/* Each bit of the value follows each bit of the input in half of all cases. */
static void
avalanche (void)
{
  static unsigned flips[8 * 192 + 128][32];
  const size_t len = 192, inputs = 8 * len + 64;
  const unsigned rounds = 400;
  unsigned r, out, low = rounds, high = 0;
  uint32_t sum, d;
  uint64_t seed;
  size_t i;

  for (r = 0; r < rounds; r++) {
    noise ();
    seed = rnd (&rng);
    sum = tz_checksum (buf, len, seed);
    for (i = 0; i < inputs; i++) {
      if (i < 8 * len) {
        buf[i / 8] ^= 1 << i % 8;
        d = sum ^ tz_checksum (buf, len, seed);
        buf[i / 8] ^= 1 << i % 8;
      }
      else
        d = sum ^ tz_checksum (buf, len, seed ^ 1ull << (i - 8 * len));
      for (out = 0; out < 32; out++)
        flips[i][out] += d >> out & 1;
    }
  }
  for (i = 0; i < inputs; i++)
    for (out = 0; out < 32; out++) {
      low = flips[i][out] < low ? flips[i][out] : low;
      high = flips[i][out] > high ? flips[i][out] : high;
    }
  printf ("avalanche: %u … %u of %u\n", low, high, rounds);
  CHECK (low > rounds / 4 && high < rounds / 4 * 3);
}

static int
by_value (const void *a, const void *b)
{
  uint32_t x = *(const uint32_t *) a, y = *(const uint32_t *) b;

  return x < y ? -1 : x > y;
}

/* Two million inputs give 466 equal pairs of 2^32 values by chance, give or
 * take 22.  Those that differ in four aligned bytes only may give as many
 * again, for a sum of two products of 16 bits is not one to one.
 */
static void
collisions (bool sparse)
{
  const size_t n = 2000000;
  uint32_t *sums = malloc (n * sizeof *sums);
  unsigned equal = 0;
  uint64_t v;
  size_t i;

  CHECK (sums != NULL);
  memset (buf, 0, sizeof buf);
  for (i = 0; i < n; i++) {
    /* all sets of up to two bytes among a few, or a counter */
    v = sparse ? i << 20 : i;
    memcpy (buf + (sparse ? 64 * (i % 5) : 8), &v, sizeof v);
    sums[i] = tz_checksum (buf, 320, 0);
    if (sparse)
      memset (buf + 64 * (i % 5), 0, sizeof v);
  }
  qsort (sums, n, sizeof *sums, by_value);
  for (i = 1; i < n; i++)
    equal += sums[i] == sums[i - 1];
  printf ("collisions: %u\n", equal);
  CHECK (equal > 466 - 130 && equal < 2 * 466 + 130);
  free (sums);
}

int
main (void)
{
  static const size_t lens[] = { 1, 7, 8, 63, 64, 65, 200, 640, 1200, 4096 };
  size_t i;

  printf ("checksum: %s\n", tz_checksum_isa ());
  known_answers ();
  bodies ();
  bounds ();
  for (i = 0; i < sizeof lens / sizeof lens[0]; i++) {
    changes (lens[i], false);
    changes (lens[i], true);
  }
  printf ("%u changes, %u unseen\n", tries, unseen);
  CHECK (unseen <= 2);
  avalanche ();
  collisions (false);
  collisions (true);
  return EXIT_SUCCESS;
}

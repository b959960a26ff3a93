/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* CPU features, see cpu.h. */
#include <errno.h>
#include <pthread.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__)
#include <sys/auxv.h>
#endif

#include "cpu.h"
#include "tzram.h"

static const struct {
  const char *name;
  unsigned bit;
  unsigned hides; /* the feature and all that are built upon it */
} features[] = {
  { "avx512", TZ_CPU_AVX512, TZ_CPU_AVX512 },
  { "avx2", TZ_CPU_AVX2, TZ_CPU_AVX2 | TZ_CPU_AVX512 },
  { "ssse3", TZ_CPU_SSSE3, TZ_CPU_SSSE3 | TZ_CPU_AVX2 | TZ_CPU_AVX512 },
  { "neon", TZ_CPU_NEON, TZ_CPU_NEON },
};
#define N_FEATURES (sizeof features / sizeof features[0])

static unsigned hidden, found;
static bool looked;
static char names[64];
static pthread_once_t once = PTHREAD_ONCE_INIT;

#if defined(__x86_64__)

#define XCR0_AVX    0x06u /* registers that the system saves */
#define XCR0_AVX512 0xe6u

/* What each body's instructions need: bits of CPUID's leaf 1, 7 (EBX and ECX)
 * and 0x80000001, and of XCR0.
 */
static const struct {
  unsigned feature;
  unsigned ecx1, ebx7, ecx7, ecx81, xcr0;
} needs[] = {
  { TZ_CPU_SSSE3, bit_SSSE3, 0, 0, 0, 0 },
  { TZ_CPU_AVX2, bit_SSSE3 | bit_AVX | bit_POPCNT,
    bit_AVX2 | bit_BMI | bit_BMI2, 0, bit_LZCNT, XCR0_AVX },
  { TZ_CPU_AVX512, bit_SSSE3 | bit_AVX | bit_POPCNT,
    bit_AVX2 | bit_BMI | bit_BMI2 | bit_AVX512F | bit_AVX512BW | bit_AVX512DQ
        | bit_AVX512VL,
    bit_AVX512VBMI | bit_AVX512VBMI2 | bit_AVX512BITALG | bit_AVX512VPOPCNTDQ,
    bit_LZCNT, XCR0_AVX512 },
};

/* Which registers the system saves; to be asked only with OSXSAVE. */
static unsigned
get_xcr0 (void)
{
  unsigned a, d;

  __asm__ ("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
  return a;
}

static unsigned
detect (void)
{
  unsigned a, b, ecx1 = 0, ebx7 = 0, ecx7 = 0, ecx81 = 0, d, xcr0 = 0, f = 0;
  size_t i;

  __get_cpuid (1, &a, &b, &ecx1, &d);
  __get_cpuid_count (7, 0, &a, &ebx7, &ecx7, &d);
  __get_cpuid (0x80000001, &a, &b, &ecx81, &d);
  if (ecx1 & bit_OSXSAVE)
    xcr0 = get_xcr0 ();
  for (i = 0; i < sizeof needs / sizeof needs[0]; i++)
    if ((needs[i].ecx1 & ~ecx1) == 0 && (needs[i].ebx7 & ~ebx7) == 0
        && (needs[i].ecx7 & ~ecx7) == 0 && (needs[i].ecx81 & ~ecx81) == 0
        && (needs[i].xcr0 & ~xcr0) == 0)
      f |= needs[i].feature;
  return f;
}

#elif defined(__aarch64__)

static unsigned
detect (void)
{
  /* HWCAP_ASIMD */
  return getauxval (AT_HWCAP) & (1 << 1) ? TZ_CPU_NEON : 0;
}

#else

static unsigned
detect (void)
{
  return 0;
}

#endif

/* What hiding the feature hides whose name is the first n bytes; 0: none has
 * that name.
 */
static unsigned
hides (const char *name, size_t n)
{
  size_t i;

  for (i = 0; i < N_FEATURES; i++)
    if (strlen (features[i].name) == n
        && memcmp (features[i].name, name, n) == 0)
      return features[i].hides;
  return 0;
}

int
tz_cpu_hide (const char *list)
{
  unsigned all = 0, one;
  size_t n;

  if (looked)
    return -EBUSY;
  for (; *list; list += n + (list[n] == ',')) {
    n = strcspn (list, ",");
    one = hides (list, n);
    if (one == 0)
      return -EINVAL;
    all |= one;
  }
  hidden |= all;
  return 0;
}

static void
init (void)
{
  size_t i;

  looked = true;
  found = detect () & ~hidden;
  for (i = 0; i < N_FEATURES; i++)
    if (found & features[i].bit) {
      if (names[0])
        strcat (names, " ");
      strcat (names, features[i].name);
    }
  if (!names[0])
    strcpy (names, "none");
}

unsigned
tz_cpu (void)
{
  pthread_once (&once, init);
  return found;
}

const char *
tz_cpu_features (void)
{
  pthread_once (&once, init);
  return names;
}

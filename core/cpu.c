/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* CPU features, see cpu.h. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#if defined(__aarch64__)
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

static unsigned found;
static char names[64];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static unsigned
detect (void)
{
  unsigned f = 0;

#if defined(__x86_64__)
  /* __builtin_cpu_supports checks that the system saves the registers too. */
  __builtin_cpu_init ();
  if (__builtin_cpu_supports ("ssse3"))
    f |= TZ_CPU_SSSE3;
  if (__builtin_cpu_supports ("avx2") && __builtin_cpu_supports ("bmi")
      && __builtin_cpu_supports ("bmi2") && __builtin_cpu_supports ("popcnt"))
    f |= TZ_CPU_AVX2;
  if ((f & TZ_CPU_AVX2) && __builtin_cpu_supports ("avx512f")
      && __builtin_cpu_supports ("avx512bw")
      && __builtin_cpu_supports ("avx512dq")
      && __builtin_cpu_supports ("avx512vl")
      && __builtin_cpu_supports ("avx512vbmi")
      && __builtin_cpu_supports ("avx512vbmi2")
      && __builtin_cpu_supports ("avx512bitalg")
      && __builtin_cpu_supports ("avx512vpopcntdq"))
    f |= TZ_CPU_AVX512;
#elif defined(__aarch64__)
  if (getauxval (AT_HWCAP) & (1 << 1)) /* HWCAP_ASIMD */
    f |= TZ_CPU_NEON;
#endif
  return f;
}

/* True if the comma-separated list holds the name. */
static bool
listed (const char *list, const char *name)
{
  size_t n = strlen (name);

  while (list && *list) {
    if (strncmp (list, name, n) == 0 && (list[n] == ',' || list[n] == 0))
      return true;
    list = strchr (list, ',');
    if (list)
      list++;
  }
  return false;
}

static void
init (void)
{
  const char *hide = getenv ("TZRAM_DISABLE_CPU_FEATURES");
  size_t i;

  found = detect ();
  for (i = 0; i < N_FEATURES; i++)
    if (listed (hide, features[i].name))
      found &= ~features[i].hides;
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

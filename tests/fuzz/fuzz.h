/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Buffers between guard pages, and a driver for fuzz targets.
 *
 * A target defines LLVMFuzzerTestOneInput and fuzz_seed.  Built with
 * -fsanitize=fuzzer it is a libFuzzer program.  Built without, it is a test
 * that runs mutants of its seeds; mutant N is always the same, so that one
 * that fails can be run again:
 *
 *   fuzz-CODEC [RUNS [FIRST]]   run mutants FIRST … FIRST + RUNS - 1
 *   fuzz-CODEC --seeds DIR      write the seeds, as a corpus for libFuzzer
 *   fuzz-CODEC --files FILE...  run these inputs
 */
#ifndef TZ_FUZZ_H
#define TZ_FUZZ_H

#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../hide-cpu.h"

#define FUZZ_MAX  8192 /* bytes of the longest input the driver makes */
#define FUZZ_RUNS 100000

/* Memory whose neighbours on both sides fault when touched. */
struct guarded {
  uint8_t *start, *end; /* start is page-aligned, end is one past the last */
};

static inline struct guarded
guarded_alloc (size_t size)
{
  size_t page = (size_t) sysconf (_SC_PAGESIZE);
  struct guarded g;
  uint8_t *p;

  size = (size + page - 1) / page * page;
  p = mmap (NULL, size + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
            0);
  if (p == MAP_FAILED
      || mprotect (p + page, size, PROT_READ | PROT_WRITE) == -1) {
    perror ("guarded_alloc");
    exit (EXIT_FAILURE);
  }
  g.start = p + page;
  g.end = g.start + size;
  return g;
}

/* A small generator, the same on every machine. */
static inline uint64_t
fuzz_random (uint64_t *state)
{
  uint64_t z = *state += 0x9e3779b97f4a7c15;

  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

/* Check with a message that survives NDEBUG. */
#define FUZZ_CHECK(cond)                                                       \
  do {                                                                         \
    if (!(cond)) {                                                             \
      fprintf (stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__,        \
               #cond);                                                         \
      abort ();                                                                \
    }                                                                          \
  } while (0)

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

/* Write valid input number i into buf; its length, or 0 if there is none. */
size_t fuzz_seed (unsigned i, uint8_t buf[FUZZ_MAX]);

#ifndef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION

static volatile uint64_t fuzz_number;

static inline size_t
fuzz_mutate_once (uint8_t *buf, size_t len, uint64_t *rng)
{
  static const uint8_t edges[] = { 0, 1, 0x7f, 0x80, 0xc0, 0xf8, 0xff };
  uint64_t r = fuzz_random (rng);
  size_t at = len ? (size_t) (r >> 8) % len : 0;
  size_t from = len ? (size_t) (r >> 24) % len : 0;
  size_t n = (size_t) (r >> 40) % 32;

  /* Headers decide most: half of all changes are made to the first bytes. */
  if (r >> 63 && len > 32)
    at %= 32;
  switch (r % 8) {
  case 0:
    return at; /* truncated */
  case 1:      /* longer */
    if (len + n > FUZZ_MAX)
      return len;
    memset (buf + len, (int) (r >> 48), n);
    return len + n;
  case 2:
  case 3:
    if (len)
      buf[at] ^= (uint8_t) (1 << (r >> 56) % 8);
    return len;
  case 4:
    if (len)
      buf[at] = edges[(r >> 48) % sizeof edges];
    return len;
  case 5:
    if (len)
      buf[at] = (uint8_t) (r >> 48);
    return len;
  case 6: /* a piece of it elsewhere */
    if (n > len - at)
      n = len - at;
    if (n > len - from)
      n = len - from;
    memmove (buf + at, buf + from, n);
    return len;
  default: /* a hole closed */
    if (n > len - at)
      n = len - at;
    memmove (buf + at, buf + at + n, len - at - n);
    return len - n;
  }
}

static inline void
fuzz_died (int sig)
{
  char msg[64];
  int n = snprintf (msg, sizeof msg, "died at mutant %llu\n",
                    (unsigned long long)fuzz_number);

  if (write (STDERR_FILENO, msg, (size_t) n) < 0)
    _exit (EXIT_FAILURE);
  signal (sig, SIG_DFL);
  raise (sig);
}

static inline int
fuzz_write_seeds (const char *dir)
{
  static uint8_t buf[FUZZ_MAX];
  char name[4096];
  unsigned i;
  size_t len;
  FILE *f;

  for (i = 0; (len = fuzz_seed (i, buf)) > 0; i++) {
    snprintf (name, sizeof name, "%s/seed-%u", dir, i);
    f = fopen (name, "wb");
    if (!f || fwrite (buf, 1, len, f) != len || fclose (f) != 0) {
      perror (name);
      return EXIT_FAILURE;
    }
  }
  return EXIT_SUCCESS;
}

static inline int
fuzz_run_files (char **files)
{
  static uint8_t buf[1 << 20];
  size_t len;
  FILE *f;

  for (; *files; files++) {
    f = fopen (*files, "rb");
    if (!f) {
      perror (*files);
      return EXIT_FAILURE;
    }
    len = fread (buf, 1, sizeof buf, f);
    fclose (f);
    LLVMFuzzerTestOneInput (buf, len);
  }
  return EXIT_SUCCESS;
}

int
main (int argc, char **argv)
{
  static uint8_t buf[FUZZ_MAX];
  uint64_t runs = argc > 1 ? strtoull (argv[1], NULL, 0) : FUZZ_RUNS;
  uint64_t first = argc > 2 ? strtoull (argv[2], NULL, 0) : 0;
  uint64_t rng, changes;
  unsigned seeds = 0;
  size_t len;

  if (argc == 3 && strcmp (argv[1], "--seeds") == 0)
    return fuzz_write_seeds (argv[2]);
  if (argc > 1 && strcmp (argv[1], "--files") == 0)
    return fuzz_run_files (argv + 2);
#ifndef __SANITIZE_ADDRESS__
  signal (SIGSEGV, fuzz_died);
  signal (SIGBUS, fuzz_died);
#endif
  signal (SIGABRT, fuzz_died);
  while (fuzz_seed (seeds, buf) > 0)
    seeds++;
  FUZZ_CHECK (seeds > 0);
  for (fuzz_number = first; fuzz_number < first + runs; fuzz_number++) {
    rng = fuzz_number * 0xd1342543de82ef95;
    len = fuzz_seed ((unsigned) (fuzz_number % seeds), buf);
    for (changes = fuzz_random (&rng) % 5; changes > 0; changes--)
      len = fuzz_mutate_once (buf, len, &rng);
    LLVMFuzzerTestOneInput (buf, len);
  }
  printf ("%llu mutants of %u seeds\n", (unsigned long long)runs, seeds);
  return EXIT_SUCCESS;
}

#endif /* !FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION */
#endif /* TZ_FUZZ_H */

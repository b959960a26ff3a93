/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What the codecs' tests share: pages to try, and memory with guards. */
#ifndef TZ_PAGES_H
#define TZ_PAGES_H

#include <glob.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "tzram.h"
#include "../hide-cpu.h"

#define CHECK(cond)                                                           \
  do {                                                                        \
    if (!(cond)) {                                                            \
      fprintf (stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__,       \
               #cond);                                                        \
      abort ();                                                               \
    }                                                                         \
  } while (0)

/* size bytes, a multiple of TZ_PAGE, between two pages that fault. */
static inline uint8_t *
guarded (size_t size)
{
  uint8_t *p = mmap (NULL, size + 2 * TZ_PAGE, PROT_NONE,
                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

  CHECK (p != MAP_FAILED);
  CHECK (mprotect (p + TZ_PAGE, size, PROT_READ | PROT_WRITE) == 0);
  return p + TZ_PAGE;
}

/* A small generator, the same on every machine. */
static inline uint64_t
rnd (uint64_t *state)
{
  uint64_t z = *state += 0x9e3779b97f4a7c15;

  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

static inline void
text_page (uint8_t *page, uint64_t *rng)
{
  static const char *const words[] = {
    "page ", "of ", "memory", "the ", "\n", "swap ", "a ", "disk, ",
    "zero ", "= ", "0x", "42", "static ", "return ", "NULL;\n", "while (",
  };
  size_t i, n;
  const char *w;

  for (i = 0; i < TZ_PAGE; i += n) {
    w = words[rnd (rng) % 16];
    n = strlen (w);
    if (n > TZ_PAGE - i)
      n = TZ_PAGE - i;
    memcpy (page + i, w, n);
  }
}

/* Structures of equal size: pointers, counters, small numbers. */
static inline void
record_page (uint8_t *page, uint64_t *rng, size_t size)
{
  uint64_t v;
  size_t i;

  for (i = 0; i + 8 <= TZ_PAGE; i += 8) {
    switch (i % size / 8 % 4) {
    case 0:
      v = 0x00007f32a4000000 + rnd (rng) % 0x100000 * 16;
      break;
    case 1:
      v = i / size;
      break;
    case 2:
      v = rnd (rng) % 200;
      break;
    default:
      v = 0;
    }
    memcpy (page + i, &v, sizeof v);
  }
}

/* Copies of earlier bytes of all lengths and distances, and noise. */
static inline void
copies_page (uint8_t *page, uint64_t *rng, unsigned longest)
{
  size_t i, n, off;
  uint64_t any;

  for (i = 0; i < TZ_PAGE;) {
    n = 1 + rnd (rng) % longest;
    off = 0;
    if (i > 0) {
      any = rnd (rng);
      off = 1 + any % (rnd (rng) % 2 && i > 20 ? 20 : i);
    }
    for (; n > 0 && i < TZ_PAGE; n--, i++)
      page[i] = off ? page[i - off] : (uint8_t) rnd (rng);
    for (n = rnd (rng) % longest; n > 0 && i < TZ_PAGE; n--, i++)
      page[i] = (uint8_t) rnd (rng);
  }
}

#define PAGE_KINDS 16

static inline void
make_page (unsigned kind, uint64_t seed, uint8_t *page)
{
  uint64_t rng = seed;
  size_t i;

  memset (page, 0, TZ_PAGE);
  switch (kind) {
  case 0:
    break;
  case 1:
    memset (page, 0xff, TZ_PAGE);
    break;
  case 2:
    page[rnd (&rng) % TZ_PAGE] = 1;
    break;
  case 3:
    for (i = 0; i < TZ_PAGE; i++)
      page[i] = (uint8_t) rnd (&rng);
    break;
  case 4:
    text_page (page, &rng);
    break;
  case 5:
    record_page (page, &rng, 32);
    break;
  case 6:
    record_page (page, &rng, 56);
    break;
  case 7: /* all lines equal */
    for (i = 0; i < TZ_PAGE; i++)
      page[i] = (uint8_t) (i < 64 ? rnd (&rng) : page[i - 64]);
    break;
  case 8: /* every line another */
    for (i = 0; i < TZ_PAGE; i++)
      page[i] = (uint8_t) (i / 64 * 37 + i % 64 * (i / 64 | 1));
    break;
  case 9:
    copies_page (page, &rng, 8);
    break;
  case 10:
    copies_page (page, &rng, 40);
    break;
  case 11:
    copies_page (page, &rng, 900);
    break;
  case 12: /* noise, then zeroes: one long run at the end */
    for (i = 0; i < seed % TZ_PAGE; i++)
      page[i] = (uint8_t) rnd (&rng);
    break;
  case 13: /* few values */
    for (i = 0; i < TZ_PAGE; i++)
      page[i] = rnd (&rng) % 16 == 0 ? (uint8_t) rnd (&rng) % 4 : 0;
    break;
  case 14: /* a short pattern all over, of 1 … 24 bytes */
    for (i = 0; i < TZ_PAGE; i++)
      page[i] = (uint8_t) (i % (1 + seed % 24) * 7);
    break;
  default: /* the same, then a byte that differs */
    for (i = 0; i < TZ_PAGE; i++)
      page[i] = (uint8_t) (i % (1 + seed % 24) * 7);
    page[rnd (&rng) % TZ_PAGE] ^= (uint8_t) (1 << rnd (&rng) % 8);
  }
}

static inline unsigned
file_pages (const char *name, unsigned every, void (*fn) (const uint8_t *page))
{
  static uint8_t page[TZ_PAGE] __attribute__ ((aligned (64)));
  FILE *f = fopen (name, "rb");
  unsigned n = 0, i;

  CHECK (f != NULL);
  for (i = 0; fread (page, 1, TZ_PAGE, f) == TZ_PAGE; i++)
    if (i % every == 0) {
      fn (page);
      n++;
    }
  fclose (f);
  return n;
}

/* Call fn with made pages, those in tests/data and those in the files named on
 * the command line; every takes only one in so many of the files'.
 */
static inline void
all_pages (char **files, unsigned every, void (*fn) (const uint8_t *page))
{
  static uint8_t page[TZ_PAGE] __attribute__ ((aligned (64)));
  const char *dir = getenv ("top_srcdir");
  unsigned kind, n = 0;
  uint64_t seed;
  char pattern[4096];
  glob_t g;
  size_t i;

  for (kind = 0; kind < PAGE_KINDS; kind++)
    for (seed = 0; seed < 40; seed++, n++) {
      make_page (kind, seed * 101, page);
      fn (page);
    }
  snprintf (pattern, sizeof pattern, "%s/tests/data/*.pages",
            dir ? dir : ".");
  if (glob (pattern, 0, NULL, &g) == 0) {
    for (i = 0; i < g.gl_pathc; i++)
      n += file_pages (g.gl_pathv[i], every, fn);
    globfree (&g);
  }
  for (; *files; files++)
    n += file_pages (*files, every, fn);
  printf ("%u pages\n", n);
}

#endif /* TZ_PAGES_H */

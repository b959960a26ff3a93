/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What tests of large requests share: a disk whose content is known, and many
 * who read and rewrite one at once.
 */
#ifndef TZ_TEST_IMAGE_H
#define TZ_TEST_IMAGE_H

#include "engine.h"
#include "pages.h"

#define MiB    (1 << 20)
#ifdef __SANITIZE_THREAD__
#define SLOW   8
#else
#define SLOW   1
#endif
#define PAGES  1500
#define SIZE   (PAGES * (uint64_t) TZ_PAGE + 1234)

static uint8_t *image, *got;

static inline void
make_image (void)
{
  uint64_t page;

  if (!image) {
    image = malloc ((PAGES + 1) * TZ_PAGE);
    got = malloc ((PAGES + 1) * TZ_PAGE);
    CHECK (image && got);
  }
  for (page = 0; page < PAGES; page++)
    make_page (page % PAGE_KINDS, page, image + page * TZ_PAGE);
  make_page (5, 1, image + page * TZ_PAGE);
}

static inline bool
reads_well (struct tz_store *s, uint64_t count, uint64_t offset)
{
  memset (got, 0xee, count + 1);
  return tz_read (s, got, count, offset) == 0 && got[count] == 0xee
         && memcmp (got, image + offset, count) == 0;
}

static inline void
faults (unsigned f, unsigned odds)
{
  atomic_store (&engine_faults, f);
  atomic_store (&engine_odds, odds);
}

/* ---- Many at once, while pages are rewritten ---- */

#define WRITERS     2
#define READERS     4
#define CROWD_PAGES 600
static atomic_bool crowd_stop;

/* Every page is all of one generation: its first byte in all lines. */
static inline void
generation (uint8_t *page, uint64_t number, unsigned gen)
{
  unsigned i;

  make_page (number % PAGE_KINDS, number, page);
  for (i = 0; i < TZ_PAGE; i += 64)
    page[i] = (uint8_t) gen;
}

/* Single pages, and some at once. */
static void *
crowd_writer (void *opaque)
{
  struct tz_store *s = opaque;
  uint8_t *buf = malloc (40 * TZ_PAGE);
  uint64_t rng = (uintptr_t) &buf, from, n, i;
  unsigned gen;

  CHECK (buf != NULL);
  for (gen = 1; !atomic_load (&crowd_stop); gen++) {
    n = gen % 2 ? 1 : 1 + rnd (&rng) % 40;
    from = rnd (&rng) % (CROWD_PAGES - n + 1);
    for (i = 0; i < n; i++)
      generation (buf + i * TZ_PAGE, from + i, gen);
    CHECK (tz_write (s, buf, n * TZ_PAGE, from * TZ_PAGE) == 0);
  }
  free (buf);
  return NULL;
}

static void *
crowd_reader (void *opaque)
{
  struct tz_store *s = opaque;
  uint8_t *buf = malloc (CROWD_PAGES * TZ_PAGE), want[TZ_PAGE];
  uint64_t rng = (uintptr_t) &want, from, n, i;
  unsigned round;

  CHECK (buf != NULL);
  for (round = 0; round < 60 / SLOW; round++) {
    from = rnd (&rng) % 500;
    n = 1 + rnd (&rng) % (round % 2 ? 30 : CROWD_PAGES - from);
    CHECK (tz_read (s, buf, n * TZ_PAGE, from * TZ_PAGE) == 0);
    for (i = 0; i < n; i++) {
      generation (want, from + i, buf[i * TZ_PAGE]);
      CHECK (memcmp (want, buf + i * TZ_PAGE, TZ_PAGE) == 0);
    }
  }
  free (buf);
  return NULL;
}

static inline void
crowd_fill (struct tz_store *s)
{
  uint8_t page[TZ_PAGE];
  uint64_t n;

  for (n = 0; n < CROWD_PAGES; n++) {
    generation (page, n, 0);
    CHECK (tz_write (s, page, TZ_PAGE, n * TZ_PAGE) == 0);
  }
}

/* Until the readers have had enough of what crowd_fill wrote. */
static inline void
crowd (struct tz_store *s)
{
  pthread_t thread[WRITERS + READERS];
  unsigned i;

  atomic_store (&crowd_stop, false);
  for (i = 0; i < WRITERS + READERS; i++)
    CHECK (pthread_create (&thread[i], NULL,
                           i < WRITERS ? crowd_writer : crowd_reader, s)
           == 0);
  for (i = WRITERS; i < WRITERS + READERS; i++)
    pthread_join (thread[i], NULL);
  atomic_store (&crowd_stop, true);
  for (i = 0; i < WRITERS; i++)
    pthread_join (thread[i], NULL);
}

#endif /* TZ_TEST_IMAGE_H */

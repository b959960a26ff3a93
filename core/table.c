/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The table: one 64-bit word a page, in leaves of one chunk each (8192 pages,
 * 32 MiB of disk), found through a flat directory of chunk numbers.  Both are
 * memory only where pages were written, so a disk may be 2^63 - 1 bytes.
 *
 * A word's lowest bits are its lock.  A thread that finds it taken spins for
 * as long as a page takes to decode, then sleeps on the word: a low-priority
 * holder must be able to run.
 */
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "internal.h"

_Static_assert (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
                "the lock bits must lie in the first half of a word");

#define SPINS 100

slot_t *
tz_slot (struct table *t, uint64_t page, bool create)
{
  _Atomic uint32_t *entry = &t->dir[page / LEAF_WORDS];
  uint32_t leaf = atomic_load_explicit (entry, memory_order_acquire), c;

  if (leaf == 0) {
    if (!create)
      return NULL;
    c = tz_pool_take_leaf (t->pool);
    if (c == 0)
      return NULL;
    if (atomic_compare_exchange_strong (entry, &leaf, c))
      leaf = c;
    else
      tz_pool_return_leaf (t->pool, c);
  }
  return (slot_t *) (t->region->base + (size_t) leaf * TZ_CHUNK)
         + page % LEAF_WORDS;
}

static uint64_t
lock_slowly (slot_t *slot)
{
  uint64_t w;
  unsigned spins = 0;

  for (;;) {
    w = atomic_load_explicit (slot, memory_order_relaxed);
    if (!(w & WORD_LOCK)) {
      if (atomic_compare_exchange_weak_explicit (slot, &w, w | WORD_LOCK,
                                                 memory_order_acquire,
                                                 memory_order_relaxed))
        return w & ~WORD_WAITER;
      continue;
    }
    if (spins++ < SPINS) {
      tz_pause_cpu ();
      continue;
    }
    if (!(w & WORD_WAITER)
        && !atomic_compare_exchange_weak_explicit (
            slot, &w, w | WORD_WAITER, memory_order_relaxed,
            memory_order_relaxed))
      continue;
    syscall (SYS_futex, slot, FUTEX_WAIT_PRIVATE, (uint32_t) (w | WORD_WAITER),
             NULL, NULL, 0);
  }
}

uint64_t
tz_slot_lock (slot_t *slot)
{
  uint64_t w = atomic_load_explicit (slot, memory_order_relaxed);

  if (likely (!(w & (WORD_LOCK | WORD_WAITER)))
      && likely (atomic_compare_exchange_strong_explicit (
          slot, &w, w | WORD_LOCK, memory_order_acquire,
          memory_order_relaxed)))
    return w;
  return lock_slowly (slot);
}

bool
tz_slot_trylock (slot_t *slot, uint64_t *word)
{
  *word = atomic_load_explicit (slot, memory_order_relaxed);
  return !(*word & (WORD_LOCK | WORD_WAITER))
         && atomic_compare_exchange_strong_explicit (
             slot, word, *word | WORD_LOCK, memory_order_acquire,
             memory_order_relaxed);
}

void
tz_slot_unlock (slot_t *slot, uint64_t word)
{
  uint64_t w = atomic_exchange_explicit (slot, word, memory_order_release);

  if (unlikely (w & WORD_WAITER))
    syscall (SYS_futex, slot, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

/* ---- Attaching ---- */

/* True if a store of this kind can have written this word. */
static bool
word_sound (uint64_t w)
{
  unsigned codec = word_codec (w), len = word_len (w);

  switch (codec) {
  case TZ_ABSENT:
    return w == 0;
  case TZ_SAME:
    return len == 8 || (len == 0 && word_run (w) <= UINT32_MAX);
  case TZ_RAW:
    return len == TZ_PAGE;
  case TZ_LD64:
  case TZ_LZ4:
  case TZ_ZSTD:
    return len > 0 && len < TZ_PAGE;
  default:
    return false;
  }
}

struct attach {
  bool checksum;
  tz_word_fn *fn;
  void *opaque;
};

static int
attach_leaf (struct table *t, uint64_t first, uint32_t leaf,
             const struct attach *a)
{
  slot_t *slot
      = (slot_t *) (t->region->base + (size_t) leaf * TZ_CHUNK);
  uint64_t i, w;
  int err;

  err = tz_region_populate (t->region, (size_t) leaf * TZ_CHUNK, TZ_CHUNK);
  if (err)
    return err;
  for (i = 0; i < LEAF_WORDS; i++) {
    /* Whoever held the lock is gone, and had not published anything; and so
     * are the lists that ages refer to.
     */
    w = atomic_load (&slot[i])
        & ~(WORD_LOCK | WORD_WAITER | WORD_AGE_MASK << WORD_AGE_SHIFT);
    atomic_store (&slot[i], w);
    if (w == 0)
      continue;
    if (first + i >= t->pages || !word_sound (w))
      return -EUCLEAN;
    if (word_len (w)) {
      err = tz_pool_mark (t->pool, word_run (w), word_units (w, a->checksum));
      if (err)
        return err;
    }
    a->fn (a->opaque, w);
  }
  return 0;
}

/* The next entry from i on that may be in use: skips holes of the file, for
 * a directory can have billions of entries.
 */
static uint64_t
skip_hole (struct table *t, uint64_t i)
{
  off_t dir = (uint8_t *) t->dir - t->region->base, data;

  data = lseek (t->region->fd, dir + i * sizeof *t->dir, SEEK_DATA);
  if (data == -1)
    return errno == ENXIO ? UINT64_MAX : i;
  return (data - dir) / sizeof *t->dir > i ? (data - dir) / sizeof *t->dir : i;
}

static int
for_each_leaf (struct table *t, const struct attach *a,
               int (*fn) (struct table *, uint64_t, uint32_t,
                          const struct attach *))
{
  uint64_t entries = DIV_UP (t->pages, LEAF_WORDS), i;
  uint32_t leaf;
  int err;

  for (i = 0; i < entries; i++) {
    if (i % (TZ_PAGE / sizeof *t->dir) == 0)
      i = skip_hole (t, i);
    if (i >= entries)
      break;
    leaf = atomic_load (&t->dir[i]);
    if (leaf == 0)
      continue;
    err = fn (t, i * LEAF_WORDS, leaf, a);
    if (err)
      return err;
  }
  return 0;
}

static int
mark_leaf (struct table *t, uint64_t first, uint32_t leaf,
           const struct attach *a)
{
  (void) first;
  (void) a;
  return tz_pool_mark_leaf (t->pool, leaf);
}

int
tz_table_attach (struct table *t, bool checksum, tz_word_fn *fn, void *opaque)
{
  struct attach a = { checksum, fn, opaque };
  int err = for_each_leaf (t, &a, mark_leaf);

  /* Runs only when all leaves are known: none may lie in one. */
  return err ? err : for_each_leaf (t, &a, attach_leaf);
}

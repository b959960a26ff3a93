/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The model checker: random requests to a disk, compared with a flat shadow of
 * it.  The disk is the core itself (model-core.c) or a server (model-nbd.c).
 *
 * Each thread owns every n-th stripe of the disk's first half and a piece of
 * the second, so that threads share table leaves, chunks, shards and pages but
 * never a byte; each byte's content is known at any time.  All a thread does
 * follows from the seed and the thread's number.
 */
#ifndef TZ_MODEL_H
#define TZ_MODEL_H

#include <stdbool.h>
#include <stdint.h>

struct model_disk {
  /* All return 0 or a negative errno.  conn is what connect returned. */
  void *(*connect) (void);
  void (*disconnect) (void *conn);
  int (*read) (void *conn, void *buf, uint64_t count, uint64_t offset);
  int (*write) (void *conn, const void *buf, uint64_t count, uint64_t offset);
  int (*zero) (void *conn, uint64_t count, uint64_t offset, unsigned how);
  /* For each extent call model_extent (opaque, offset, count, zero). */
  int (*extents) (void *conn, uint64_t count, uint64_t offset, void *opaque);
  uint64_t size; /* bytes of the disk */
  bool may_fill; /* writes may fail with -ENOSPC */
};

int model_extent (void *opaque, uint64_t offset, uint64_t count, bool zero);

struct model_options {
  uint64_t seed;
  unsigned long ops; /* of all threads together */
  unsigned threads;
};

/* Reads -s SEED, -n OPERATIONS, -t THREADS; leaves the rest in argv. */
int model_options (struct model_options *o, int argc, char **argv);

/* Run and compare; false, with a message and the command that replays it, if
 * the disk and its shadow ever differ.
 */
bool model_run (const struct model_disk *disk, const struct model_options *o,
                const char *replay);

#endif /* TZ_MODEL_H */

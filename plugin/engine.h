/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Who else works on requests: idle cores, a thread that compresses later, and a
 * GPU through the module nbdkit-trueno-zram-cuda.so, which lies beside the
 * plugin.
 */
#ifndef ENGINE_H
#define ENGINE_H

#include <stdbool.h>

#include "tzram.h"

/* A parameter: 0, -1 after a message, or 1 if it is none of these. */
int engine_set (const char *key, const char *value);
#define ENGINE_HELP                                                           \
  "compress=now|later         When pages are compressed: before a write is\n" \
  "                           answered, or in the background (default now).\n" \
  "cuda=auto|on|off           Use a GPU for large requests (default auto:\n" \
  "                           where it is faster than the processor).\n"     \
  "batch=<N>                  The most pages given to the GPU at once\n"     \
  "                           (default 4096).\n"                              \
  "batch-wait=<MICROSECONDS>  How long a smaller batch waits for more\n"     \
  "                           (default 0)."

/* Whether pages can be kept in the GPU's memory, by what was said.  This and
 * all that follow: 0, or -1 after a message.
 */
int engine_check_vram (void);

/* In get_ready: find the module. */
int engine_prepare (bool vram);

/* In after_fork: have the GPU ready.  To keep pages in its memory, do so before
 * tz_open; the parameters are completed.
 */
int engine_open (struct tz_params *params);

/* In after_fork, after tz_start.  swap: no thread beside those that serve. */
int engine_start (struct tz_store *store, bool swap);

/* Unless it was started: the GPU is not needed any more. */
void engine_close (void);

/* Lines for the statistics and for --dump-plugin. */
void engine_stats (struct tz_store *store);
void engine_dump (void);

#endif /* ENGINE_H */

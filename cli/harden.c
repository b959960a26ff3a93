/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* A process that swap depends on must not itself wait for memory. */
#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <malloc.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "cli.h"

#ifndef PR_SET_IO_FLUSHER /* Linux 5.6 */
#define PR_SET_IO_FLUSHER 57
#endif
#ifndef MADV_POPULATE_READ /* Linux 5.14 */
#define MADV_POPULATE_READ  22
#define MADV_POPULATE_WRITE 23
#endif

#define HEAP     (1 << 20) /* bytes kept ready, more than dialling takes */
#define STACK    (64 << 10)
#define MAX_FILE (4 << 20) /* larger mappings are tables of the world's scripts,
                              which a library brings and nothing here reads */

static void
ready_heap (void)
{
  void *p;

  mallopt (M_MMAP_MAX, 0);
  mallopt (M_TRIM_THRESHOLD, INT32_MAX);
  p = malloc (HEAP);
  if (p)
    memset (p, 1, HEAP);
  __asm__ volatile ("" : : "r"(p) : "memory"); /* the memset is the point */
  free (p);
}

static void
ready_stack (void)
{
  char stack[STACK];
  size_t i;

  for (i = 0; i < sizeof stack; i += 4096)
    stack[i] = 0;
  /* All of it: clang makes single bytes of an array that nobody else sees. */
  __asm__ volatile ("" : : "r"(stack) : "memory");
}

static void
ready_files (void)
{
  char line[1024], perms[5];
  uintptr_t from, to;
  unsigned long inode;
  FILE *f = fopen ("/proc/self/maps", "re");

  while (f && fgets (line, sizeof line, f))
    if (sscanf (line, "%" SCNxPTR "-%" SCNxPTR " %4s %*s %*s %lu", &from, &to,
                perms, &inode)
          == 4
        && inode && perms[0] == 'r' && to - from <= MAX_FILE)
      madvise ((void *) from, to - from,
               perms[1] == 'w' ? MADV_POPULATE_WRITE : MADV_POPULATE_READ);
  if (f)
    fclose (f);
}

void
spare_from_oom_killer (void)
{
  FILE *f = fopen ("/proc/self/oom_score_adj", "we");

  if (f)
    fputs ("-1000", f);
  if (!f || fclose (f) == EOF)
    complain ("warning: the OOM killer may choose this process: %s; "
              "it needs CAP_SYS_RESOURCE", strerror (errno));
}

void
harden (void)
{
  const struct sched_param first = { .sched_priority = 1 };

  ready_heap ();
  ready_stack ();
  if (mlockall (MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) == -1)
    complain ("warning: the memory cannot be locked: %s; "
              "it needs CAP_IPC_LOCK", strerror (errno));
  ready_files ();
  if (sched_setscheduler (0, SCHED_RR, &first) == -1)
    complain ("warning: real-time scheduling is denied: %s; "
              "it needs CAP_SYS_NICE", strerror (errno));
  if (prctl (PR_SET_IO_FLUSHER, 1, 0, 0, 0) == -1)
    complain ("warning: PR_SET_IO_FLUSHER is denied: %s; "
              "it needs CAP_SYS_RESOURCE", strerror (errno));
  spare_from_oom_killer ();
}

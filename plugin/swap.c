/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Serving as swap, see swap.h. */
#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

#include "params.h"
#include "swap.h"

#ifndef PR_SET_IO_FLUSHER /* Linux 5.6 */
#define PR_SET_IO_FLUSHER 57
#endif
#ifndef MADV_POPULATE_READ /* Linux 5.14 */
#define MADV_POPULATE_READ  22
#define MADV_POPULATE_WRITE 23
#endif

#define CAP_IPC_LOCK 14 /* bit of CapEff */
#define STACK_SIZE   (256 << 10) /* bytes of a thread that serves */
#define STACK_TOUCH  (64 << 10)  /* as deep as a request goes, and more */
/* Bytes of heap kept ready: nbdkit takes a buffer a thread from it, as large
 * as the largest request it has seen.
 */
#define HEAP (2 << 20)

static enum swap_mode mode;

/* Something needed is missing: an error, or with try a warning.  -1 or 0. */
static int
missing (const char *what, const char *how)
{
  if (mode == SWAP_YES) {
    nbdkit_error ("swap=yes: %s: %m; %s", what, how);
    return -1;
  }
  nbdkit_error ("swap=try: %s: %m; going on without: under memory pressure "
                "this server may hang",
                what);
  return 0;
}

/* The same of memory that is not locked, of which there are several signs. */
static int
not_locked (const char *what, const char *how)
{
  static bool said;

  if (said)
    return 0;
  said = true;
  return missing (what, how);
}

#define LOCK_HOW "grant CAP_IPC_LOCK, or raise the limit with " \
                 "'ulimit -l unlimited' or LimitMEMLOCK=infinity"

/* A line of /proc/self/status, such as "VmLck:", as a number. */
static uint64_t
status_number (const char *name, int base)
{
  char line[256];
  uint64_t n = 0;
  FILE *f = fopen ("/proc/self/status", "re");

  while (f && fgets (line, sizeof line, f))
    if (strncmp (line, name, strlen (name)) == 0)
      n = strtoull (line + strlen (name), NULL, base);
  if (f)
    fclose (f);
  return n;
}

/* ---- Limits and priority ---- */

static int
check_memlock (uint64_t pool)
{
  char how[256];
  struct rlimit r;

  if (status_number ("CapEff:", 16) >> CAP_IPC_LOCK & 1)
    return 0;
  if (getrlimit (RLIMIT_MEMLOCK, &r) == -1)
    return missing ("getrlimit", "this should not happen");
  /* nbdkit has some hundred megabytes of address space. */
  if (r.rlim_cur == RLIM_INFINITY)
    return 0;
  snprintf (how, sizeof how,
            "it may lock %" PRIu64 " bytes and needs more than memory=%" PRIu64
            ", as all of its address space counts: " LOCK_HOW,
            (uint64_t) r.rlim_cur, pool);
  errno = EPERM;
  return not_locked ("the pool cannot be locked in memory", how);
}

static int
set_realtime (void)
{
  struct sched_param param = { .sched_priority = 1 };

  if (sched_setscheduler (0, SCHED_RR, &param) == -1)
    return missing ("real-time scheduling is denied",
                    "grant CAP_SYS_NICE, or raise the limit with "
                    "'ulimit -r 1' or LimitRTPRIO=1");
  nbdkit_debug ("swap: SCHED_RR, priority 1");
  return 0;
}

/* These two help and can be done without. */
static void
set_io_flusher (void)
{
  if (prctl (PR_SET_IO_FLUSHER, 1, 0, 0, 0) == -1)
    nbdkit_error ("swap: warning: PR_SET_IO_FLUSHER is denied: %m; it needs "
                  "CAP_SYS_RESOURCE");
  else
    nbdkit_debug ("swap: PR_SET_IO_FLUSHER");
}

static void
set_oom_score (void)
{
  FILE *f = fopen ("/proc/self/oom_score_adj", "we");
  bool ok = f && fputs ("-1000", f) >= 0;

  if (f && fclose (f) == EOF)
    ok = false;
  if (!ok)
    nbdkit_error ("swap: warning: the OOM killer may choose this server: "
                  "oom_score_adj is denied: %m; it needs CAP_SYS_RESOURCE");
  else
    nbdkit_debug ("swap: oom_score_adj -1000");
}

int
swap_check (enum swap_mode m, uint64_t pool)
{
  mode = m;
  return mode == SWAP_NO ? 0 : check_memlock (pool);
}

int
swap_raise (void)
{
  if (mode == SWAP_NO)
    return 0;
  if (set_realtime () == -1)
    return -1;
  set_io_flusher ();
  set_oom_score ();
  return 0;
}

/* ---- Memory ---- */

/* Threads are made for each connection: their stacks are locked, too. */
static void
small_stacks (void)
{
  pthread_attr_t attr;

  pthread_attr_init (&attr);
  pthread_attr_setstacksize (&attr, STACK_SIZE);
  pthread_setattr_default_np (&attr);
  pthread_attr_destroy (&attr);
}

/* One arena that neither shrinks nor maps, with room in it. */
static void
ready_heap (void)
{
  void *p;

  mallopt (M_ARENA_MAX, 1);
  mallopt (M_MMAP_MAX, 0);
  mallopt (M_TRIM_THRESHOLD, INT32_MAX);
  p = malloc (HEAP);
  if (p)
    memset (p, 1, HEAP);
  __asm__ volatile ("" : : "r"(p) : "memory"); /* the memset is the point */
  free (p);
}

int
swap_lock (void)
{
  if (mode == SWAP_NO)
    return 0;
  /* In the foreground nbdkit asks to be ended when its parent ends, be it the
   * shell of whoever logs out.
   */
  prctl (PR_SET_PDEATHSIG, 0, 0, 0, 0);
  small_stacks ();
  ready_heap ();
  /* Without ONFAULT nbdkit's 200 MB of buffers would be filled in. */
  if (mlockall (MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) == -1)
    return not_locked ("the memory cannot be locked", LOCK_HOW);
  return 0;
}

struct call {
  int (*fn) (void *);
  void *arg;
  int result;
};

static void *
run_call (void *arg)
{
  struct call *call = arg;

  call->result = call->fn (call->arg);
  return NULL;
}

int
swap_at_ease (int (*fn) (void *), void *arg)
{
  const struct sched_param ordinary = { .sched_priority = 0 };
  struct call call = { fn, arg, 0 };
  pthread_attr_t attr;
  pthread_t thread;
  int err;

  if (mode == SWAP_NO)
    return fn (arg);
  pthread_attr_init (&attr);
  pthread_attr_setinheritsched (&attr, PTHREAD_EXPLICIT_SCHED);
  pthread_attr_setschedpolicy (&attr, SCHED_OTHER);
  pthread_attr_setschedparam (&attr, &ordinary);
  err = pthread_create (&thread, &attr, run_call, &call);
  pthread_attr_destroy (&attr);
  if (err)
    return -err;
  pthread_join (thread, NULL);
  return call.result;
}

/* nbdkit brings libraries for encryption, of which the kernel's client makes no
 * use: several megabytes.  Of these the dynamic linker looks at the beginning.
 */
static bool
never_used (const char *path, unsigned long offset)
{
  static const char *const names[] = { "/libgmp.so",     "/libgnutls.so",
                                       "/libhogweed.so", "/libidn2.so",
                                       "/libnettle.so",  "/libp11-kit.so",
                                       "/libpcre2-8.so", "/libunistring.so" };
  size_t i;

  if (offset == 0)
    return false;
  for (i = 0; i < sizeof names / sizeof names[0]; i++)
    if (strstr (path, names[i]))
      return true;
  /* Pages of another server may be of any codec. */
  return strstr (path, "/libzstd.so") && params.codec != TZ_ZSTD
         && !store_path;
}

/* Forget what starting brought in. */
static void
drop (void *start, size_t len)
{
  if (munlock (start, len) == 0) {
    madvise (start, len, MADV_DONTNEED);
    mlock2 (start, len, MLOCK_ONFAULT);
  }
}

/* Have program, plugin and libraries in memory: a page of theirs that must be
 * read in while the machine has no memory left could not be.
 */
static void
populate_files (void)
{
  char line[1024], perms[5];
  uintptr_t from, to;
  unsigned long offset, inode;
  size_t bytes = 0;
  int advice;
  FILE *f = fopen ("/proc/self/maps", "re");

  while (f && fgets (line, sizeof line, f)) {
    if (sscanf (line, "%" SCNxPTR "-%" SCNxPTR " %4s %lx %*s %lu", &from, &to,
                perms, &offset, &inode)
            != 5
        || inode == 0 || perms[0] != 'r' || perms[3] != 'p')
      continue;
    advice = perms[1] == 'w' ? MADV_POPULATE_WRITE : MADV_POPULATE_READ;
    if (advice == MADV_POPULATE_READ && never_used (line, offset)) {
      /* What is not text was written to. */
      if (perms[2] == 'x')
        drop ((void *) from, to - from);
      continue;
    }
    if (madvise ((void *) from, to - from, advice) == 0)
      bytes += to - from;
  }
  if (f)
    fclose (f);
  nbdkit_debug ("swap: %zu KiB of program and libraries populated",
                bytes / 1024);
}

int
swap_finish (uint64_t pool)
{
  uint64_t locked, resident;

  if (mode == SWAP_NO)
    return 0;
  populate_files ();
  locked = status_number ("VmLck:", 10) * 1024;
  resident = status_number ("VmRSS:", 10) * 1024;
  nbdkit_debug ("swap: %" PRIu64 " KiB locked, %" PRIu64
                " KiB of memory, %" PRIu64 " KiB beyond the pool",
                locked / 1024, resident / 1024,
                resident > pool ? (resident - pool) / 1024 : 0);
  if (locked < pool) {
    errno = EPERM;
    return not_locked ("the pool is not locked in memory", LOCK_HOW);
  }
  return 0;
}

void
swap_thread (void)
{
  static __thread bool ready;
  char stack[STACK_TOUCH];
  size_t i;

  if (mode == SWAP_NO || ready)
    return;
  for (i = 0; i < sizeof stack; i += 4096)
    stack[i] = 0;
  /* All of it: clang makes single bytes of an array that nobody else sees. */
  __asm__ volatile ("" : : "r"(stack) : "memory");
  ready = true;
}

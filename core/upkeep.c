/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Upkeep: a thread beside the requests that keeps the pool's reserve filled and
 * gives back the memory of chunks that have become empty.
 */
#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <sys/prctl.h>
#include <time.h>

#include "internal.h"

#ifndef PR_SET_IO_FLUSHER /* Linux 5.6 */
#define PR_SET_IO_FLUSHER 57
#endif

/* Free chunks are given back only after this long: a disk that is being
 * overwritten wants them again at once.
 */
#define SETTLE_MS 100
/* … and by this many at a time, so that refilling never waits for long. */
#define SHRINK_BATCH 64

/* With the lock held: true if that time passed undisturbed. */
static bool
wait_ms (struct upkeep *u, long ms)
{
  struct timespec ts;
  int err = 0;

  clock_gettime (CLOCK_MONOTONIC, &ts);
  ts.tv_nsec += ms * 1000000;
  ts.tv_sec += ts.tv_nsec / 1000000000;
  ts.tv_nsec %= 1000000000;
  while (!u->stop && !atomic_load (&u->wanted) && err != ETIMEDOUT)
    err = pthread_cond_timedwait (&u->cond, &u->lock, &ts);
  return err == ETIMEDOUT;
}

static bool
too_long (struct pool *p)
{
  return atomic_load (&p->ready_count) > p->reserve;
}

static void *
run (void *opaque)
{
  struct tz_store *s = opaque;
  struct upkeep *u = &s->upkeep;
  bool starved, stuck, settled = false;

  /* Whoever serves must not wait for its own device; this one may, and would
   * else wait for memory without helping to get any.
   */
  if (s->params.reserve)
    prctl (PR_SET_IO_FLUSHER, 0, 0, 0, 0);
  pthread_mutex_lock (&u->lock);
  while (!u->stop) {
    atomic_store (&u->wanted, false);
    pthread_mutex_unlock (&u->lock);
    starved = tz_pool_refill (&s->pool, UINT_MAX) < 0;
    /* What the system does not take back now, it may when there is more. */
    stuck = settled && tz_pool_shrink (&s->pool, SHRINK_BATCH) == 0;
    pthread_mutex_lock (&u->lock);
    if (u->stop || atomic_load (&u->wanted))
      continue;
    if ((too_long (&s->pool) && !stuck) || starved) {
      if (!settled || starved) {
        atomic_store (&u->settling, true);
        settled = wait_ms (u, SETTLE_MS) || settled;
        atomic_store (&u->settling, false);
      }
    }
    else {
      settled = false;
      pthread_cond_wait (&u->cond, &u->lock);
    }
  }
  pthread_mutex_unlock (&u->lock);
  return NULL;
}

void
tz_upkeep_want (void *store, bool more)
{
  struct upkeep *u = &((struct tz_store *) store)->upkeep;

  /* Giving back waits anyhow; and one wake-up is enough until upkeep has
   * looked.
   */
  if (!more && atomic_load (&u->settling))
    return;
  if (atomic_exchange (&u->wanted, true))
    return;
  pthread_mutex_lock (&u->lock);
  pthread_cond_signal (&u->cond);
  pthread_mutex_unlock (&u->lock);
}

static int
make_thread (struct tz_store *s, int policy, int priority)
{
  const struct sched_param param = { .sched_priority = priority };
  pthread_attr_t attr;
  int err;

  pthread_attr_init (&attr);
  pthread_attr_setinheritsched (&attr, PTHREAD_EXPLICIT_SCHED);
  pthread_attr_setschedpolicy (&attr, policy);
  pthread_attr_setschedparam (&attr, &param);
  err = pthread_create (&s->upkeep.thread, &attr, run, s);
  pthread_attr_destroy (&attr);
  return err;
}

/* Whatever the priority of those that serve, upkeep's is the ordinary one: but
 * where they cannot go on without it, it must not wait for a processor, and may
 * use what the kernel keeps for such threads.
 */
static int
make_upkeep (struct tz_store *s)
{
  if (s->params.reserve && make_thread (s, SCHED_RR, 1) == 0)
    return 0;
  return make_thread (s, SCHED_OTHER, 0);
}

int
tz_upkeep_start (struct tz_store *s)
{
  struct upkeep *u = &s->upkeep;
  pthread_condattr_t attr;
  int err;

  pthread_mutex_init (&u->lock, NULL);
  pthread_condattr_init (&attr);
  pthread_condattr_setclock (&attr, CLOCK_MONOTONIC);
  pthread_cond_init (&u->cond, &attr);
  pthread_condattr_destroy (&attr);
  u->stop = false;
  err = make_upkeep (s);
  if (err) {
    pthread_cond_destroy (&u->cond);
    pthread_mutex_destroy (&u->lock);
    return -err;
  }
  u->running = true;
  s->pool.want_upkeep_arg = s;
  s->pool.want_upkeep = tz_upkeep_want;
  return 0;
}

void
tz_upkeep_stop (struct tz_store *s)
{
  struct upkeep *u = &s->upkeep;

  if (!u->running)
    return;
  pthread_mutex_lock (&u->lock);
  u->stop = true;
  pthread_cond_signal (&u->cond);
  pthread_mutex_unlock (&u->lock);
  pthread_join (u->thread, NULL);
  pthread_cond_destroy (&u->cond);
  pthread_mutex_destroy (&u->lock);
  u->running = false;
}

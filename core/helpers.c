/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Helpers: threads that take a share of a large request while they have
 * nothing else to do.
 *
 * Whoever has much to do works through it part by part, and so do the helpers
 * it woke; each part is claimed by one atomic addition.  Nobody waits for a
 * helper to wake up: one that comes late finds nothing left.  At the end one
 * waits for the parts that helpers are in the middle of.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bulk.h"

#define SHARES 8 /* requests that are helped at once */
#define SPINS  1000

struct share {
  bool used;         /* a request has it */
  bool open;         /* helpers may join */
  atomic_uint users; /* helpers at it; changes with the lock held */
  atomic_uint next;  /* the first item that is not claimed */
  unsigned n, part;
  tz_part_fn *fn;
  void *opaque;
  pthread_cond_t left;
} __attribute__ ((aligned (64)));

struct helpers {
  pthread_mutex_t lock;
  pthread_cond_t work;
  bool stop;
  unsigned threads;
  atomic_uint idle;   /* helpers asleep; changes with the lock held */
  atomic_uint active; /* requests that run here */
  struct share shares[SHARES];
  pthread_t thread[];
};

static void
work_on (struct share *sh)
{
  unsigned from;

  for (;;) {
    from = atomic_fetch_add_explicit (&sh->next, sh->part,
                                      memory_order_relaxed);
    if (from >= sh->n)
      return;
    sh->fn (sh->opaque, from,
            sh->n - from < sh->part ? sh->n - from : sh->part);
  }
}

/* With the lock held: a share that has something left. */
static struct share *
find_open (struct helpers *h)
{
  struct share *sh;

  for (sh = h->shares; sh < h->shares + SHARES; sh++)
    if (sh->open
        && atomic_load_explicit (&sh->next, memory_order_relaxed) < sh->n)
      return sh;
  return NULL;
}

static void *
helper (void *opaque)
{
  struct helpers *h = opaque;
  struct share *sh;

  pthread_mutex_lock (&h->lock);
  while (!h->stop) {
    sh = find_open (h);
    if (!sh) {
      atomic_fetch_add (&h->idle, 1);
      pthread_cond_wait (&h->work, &h->lock);
      atomic_fetch_sub (&h->idle, 1);
      continue;
    }
    atomic_fetch_add (&sh->users, 1);
    pthread_mutex_unlock (&h->lock);
    work_on (sh);
    pthread_mutex_lock (&h->lock);
    if (atomic_fetch_sub (&sh->users, 1) == 1)
      pthread_cond_signal (&sh->left);
  }
  pthread_mutex_unlock (&h->lock);
  return NULL;
}

static struct share *
open_share (struct helpers *h, unsigned n, unsigned part, tz_part_fn *fn,
            void *opaque)
{
  unsigned want = (n - 1) / part, i;
  struct share *sh = NULL;

  pthread_mutex_lock (&h->lock);
  for (i = 0; i < SHARES && !sh; i++)
    if (!h->shares[i].used)
      sh = &h->shares[i];
  if (sh) {
    sh->used = sh->open = true;
    sh->n = n;
    sh->part = part;
    sh->fn = fn;
    sh->opaque = opaque;
    atomic_store_explicit (&sh->next, 0, memory_order_relaxed);
    for (i = 0; i < want && i < atomic_load (&h->idle); i++)
      pthread_cond_signal (&h->work);
  }
  pthread_mutex_unlock (&h->lock);
  return sh;
}

static void
close_share (struct helpers *h, struct share *sh)
{
  unsigned spins;

  /* Most often the last part is done before one could fall asleep. */
  for (spins = 0; spins < SPINS && atomic_load (&sh->users) > 0; spins++)
    tz_pause_cpu ();
  pthread_mutex_lock (&h->lock);
  sh->open = false;
  while (atomic_load (&sh->users) > 0)
    pthread_cond_wait (&sh->left, &h->lock);
  sh->used = false;
  pthread_mutex_unlock (&h->lock);
}

bool
tz_helpers_run (struct helpers *h, unsigned n, unsigned part, unsigned busy,
                tz_part_fn *fn, void *opaque)
{
  unsigned active = atomic_fetch_add (&h->active, 1) + 1;
  struct share *sh = NULL;

  /* As many requests as cores keep them busy without help. */
  if (n > part && active + busy <= h->threads && atomic_load (&h->idle) > 0)
    sh = open_share (h, n, part, fn, opaque);
  if (sh) {
    work_on (sh);
    close_share (h, sh);
  }
  else
    fn (opaque, 0, n);
  atomic_fetch_sub (&h->active, 1);
  return sh != NULL;
}

void
tz_helpers_stop (struct helpers *h)
{
  unsigned i;

  if (!h)
    return;
  pthread_mutex_lock (&h->lock);
  h->stop = true;
  pthread_cond_broadcast (&h->work);
  pthread_mutex_unlock (&h->lock);
  for (i = 0; i < h->threads; i++)
    pthread_join (h->thread[i], NULL);
  for (i = 0; i < SHARES; i++)
    pthread_cond_destroy (&h->shares[i].left);
  pthread_cond_destroy (&h->work);
  pthread_mutex_destroy (&h->lock);
  free (h);
}

int
tz_helpers_start (struct helpers **helpers, unsigned threads)
{
  size_t len = sizeof (struct helpers) + threads * sizeof (pthread_t);
  struct helpers *h = aligned_alloc (64, (len + 63) / 64 * 64);
  unsigned i;
  int err;

  if (!h)
    return -ENOMEM;
  memset (h, 0, len);
  pthread_mutex_init (&h->lock, NULL);
  pthread_cond_init (&h->work, NULL);
  for (i = 0; i < SHARES; i++)
    pthread_cond_init (&h->shares[i].left, NULL);
  for (; h->threads < threads; h->threads++) {
    err = pthread_create (&h->thread[h->threads], NULL, helper, h);
    if (err) {
      tz_helpers_stop (h);
      return -err;
    }
  }
  *helpers = h;
  return 0;
}

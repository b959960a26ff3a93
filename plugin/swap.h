/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Serving as swap for the machine the server runs on.
 *
 * Such a server must never wait for memory: the kernel may be waiting for it
 * to take a page.  So all its memory is there before the first request and
 * locked, and it runs at a real-time priority, which lets the kernel's
 * allocations for its replies reach into the reserves.
 */
#ifndef SWAP_H
#define SWAP_H

#include <stdint.h>

enum swap_mode {
  SWAP_NO,
  SWAP_TRY, /* do what can be done, warn of the rest */
  SWAP_YES, /* refuse to start without what is needed */
};

/* In get_ready, with the privileges the user gave and a terminal to complain
 * to: pool is how many bytes will have to be locked.  0, or -1 after a message.
 */
int swap_check (enum swap_mode mode, uint64_t pool);

/* The priority, which the fork does not change; of a server on standby only
 * once it has its memory, for it may wait for that.  0, or -1 after a message.
 */
int swap_raise (void);

/* In after_fork, before tz_start: lock what there is and what will come. */
int swap_lock (void);

/* In after_fork: call fn at the ordinary priority, as it takes long; at the
 * other nothing else would run meanwhile, not even threads of the kernel that
 * it needs.  What fn returns, or a negative errno.
 */
int swap_at_ease (int (*fn) (void *), void *arg);

/* In after_fork, after tz_start: have the rest of the process in memory, and
 * verify that the pool is locked.
 */
int swap_finish (uint64_t pool);

/* In each thread that serves, before its first request. */
void swap_thread (void);

#endif /* SWAP_H */

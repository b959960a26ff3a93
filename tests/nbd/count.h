/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What tests/nbd/count.c counts in the file that COUNT_FILE names. */
#ifndef COUNT_H
#define COUNT_H

#include <stdint.h>

struct counts {
  _Atomic uint64_t reads;    /* calls of read: one or two a request */
  _Atomic uint64_t plugin;   /* allocations, by the plugin or libzstd */
  _Atomic uint64_t server;   /* allocations, by anybody else */
  _Atomic uint64_t mappings; /* calls of mmap, munmap, mremap, madvise and
                              * mprotect, by whomever */
};

#endif /* COUNT_H */

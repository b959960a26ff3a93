/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Every program here that has the core in it hides what the plugin hides: the
 * features of the processor that TZRAM_DISABLE_CPU_FEATURES lists.
 */
#ifndef HIDE_CPU_H
#define HIDE_CPU_H

#include <stdio.h>
#include <stdlib.h>

#include "tzram.h"

static void __attribute__ ((constructor))
hide_cpu_features (void)
{
  const char *list = getenv ("TZRAM_DISABLE_CPU_FEATURES");

  if (list && tz_cpu_hide (list) != 0) {
    fprintf (stderr, "TZRAM_DISABLE_CPU_FEATURES=%s: no such features\n", list);
    exit (EXIT_FAILURE);
  }
}

#endif /* HIDE_CPU_H */

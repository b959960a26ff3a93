/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The parameters of the plugin, as nbdkit gives them. */
#ifndef PARAMS_H
#define PARAMS_H

#include "swap.h"
#include "tzram.h"

/* What tz_open gets; valid after params_complete. */
extern struct tz_params params;
extern enum swap_mode swap;
extern char *store_path; /* NULL: anonymous memory, … */
extern bool store_vram;  /* … or the GPU's */

/* nbdkit's .config_help, .config, .config_complete and .dump_plugin. */
extern const char params_help[];
int params_set (const char *key, const char *value);
int params_complete (void);
void params_dump (void);

#endif /* PARAMS_H */

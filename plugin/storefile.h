/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* store=FILE: the file that keeps the pages for the next server. */
#ifndef STOREFILE_H
#define STOREFILE_H

#include <stdbool.h>

/* Open or create the file, locked against other servers as long as any
 * descriptor of it is open; attach: it holds something already.  If another
 * server has it, that is an error or, where standby is true on entry, not; it
 * says on return whether it is so.  The descriptor, or -1 after a message.
 */
int storefile_open (const char *path, bool *attach, bool *standby);

/* This server does not come to serve: remove the file if it held nothing, so
 * that it takes no memory, and whoever tries again may give other parameters.
 */
void storefile_give_up (void);

/* Wait until the other server ends, which the kernel tells by its lock however
 * it came to its end.  0, or -1 if this server is to end instead.
 */
int storefile_wait (const char *path, int fd);

/* What a negative errno of tz_open means for such a file, and what to do. */
const char *storefile_error (int r);

#endif /* STOREFILE_H */

/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* trueno-zram(1): an NBD export as a block device, and as swap.  Functions
 * that return an int return 0, or -1 after they said why; those that exit say
 * so.
 */
#ifndef CLI_H
#define CLI_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

#define MAX_CONNECTIONS 16
#define RUN_DIR         "/run/trueno-zram"
#define URI_SIZE        512

struct options {
  const char *device; /* /dev/nbdN, or NULL for any */
  int connections;    /* or 0 */
  uint64_t timeout, dead_timeout; /* seconds */
};

/* Of a clock that nobody sets. */
time_t seconds (void);
void complain (const char *format, ...)
  __attribute__ ((format (printf, 1, 2)));

/* ---- export.c: the server ---- */

struct export
{
  struct sockaddr_storage address; /* where it was found first */
  socklen_t address_length;
  char *name;
  uint64_t size, flags; /* flags as in the protocol's transmission phase */
  char id[33];          /* of the pages it holds; empty if it says none */
};

/* Dial an URI and learn all about the export; no connection remains. */
int export_open (struct export *e, const char *uri);

/* It may be used over several connections at once. */
bool export_multi (const struct export *e);

/* Dial it again, at the same address, and see that it is the same export.  A
 * socket for the kernel, or -1.
 */
int export_dial (const struct export *e);

/* ---- server.c: one in this machine ---- */

struct server {
  const char *size, *memory; /* as the user gave them, or NULL */
  const char *store;         /* a file, or NULL */
};

/* Start it, and say where it will answer.  Its process group, or -1. */
pid_t server_start (const struct server *server, char uri[URI_SIZE]);
void server_stop (pid_t group, const char *uri);

/* ---- device.c: the kernel ---- */

struct device {
  int index; /* of /dev/nbdN */
  int pid_fd;
};

/* These need CAP_SYS_ADMIN and the module nbd. */
int device_connect (struct device *d, const struct export *e,
                    const int *sockets, const struct options *options);
int device_reconfigure (const struct device *d, const struct export *e,
                        int socket);
int device_disconnect (int index);
/* The number N of /dev/nbdN, or -1. */
int device_index (const char *name);
bool device_connected (const struct device *d);
/* Something uses it: swap, or a file system. */
bool device_busy (int index);
/* Have the kernel tell of dead connections, and a descriptor to wait on. */
int device_watch (void);
/* How many of this device's have died since it was asked last. */
unsigned device_deaths (int index);

/* ---- harden.c ---- */

/* Keep this process able to work when the machine has no memory left: as far
 * as that is permitted, with a warning where it is not.
 */
void harden (void);

/* A part of that. */
void spare_from_oom_killer (void);

/* ---- The commands: they return an exit status ---- */

/* Connect; tell ready_fd the device's name; stay until it is disconnected. */
int connect_and_stay (const char *uri, const struct options *options,
                      int ready_fd);
int swap_on (const char *uri, const struct server *server, int priority,
             const struct options *options); /* one of the first two is NULL */
int swap_off (const char *device, bool force);

#endif /* CLI_H */

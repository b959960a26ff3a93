/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* trueno-zram connect: hand the connections to the kernel and replace those
 * that die, so that requests wait for the server instead of failing.
 */
#include <config.h>

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"

static volatile sig_atomic_t asked_to_end;

static void
on_signal (int sig)
{
  (void) sig;
  asked_to_end = 1;
}

static void
catch_signals (void)
{
  const struct sigaction end = { .sa_handler = on_signal };

  sigaction (SIGTERM, &end, NULL);
  sigaction (SIGINT, &end, NULL);
  signal (SIGHUP, SIG_IGN);
  signal (SIGPIPE, SIG_IGN);
}

/* Tell systemd, if it waits for that. */
static void
notify_ready (void)
{
  const char *path = getenv ("NOTIFY_SOCKET");
  struct sockaddr_un address = { .sun_family = AF_UNIX };
  int fd;

  if (!path || strlen (path) >= sizeof address.sun_path)
    return;
  strcpy (address.sun_path, path);
  if (path[0] == '@')
    address.sun_path[0] = 0;
  fd = socket (AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd == -1
      || sendto (fd, "READY=1", 7, MSG_NOSIGNAL, (void *) &address,
                 offsetof (struct sockaddr_un, sun_path) + strlen (path))
           == -1)
    complain ("warning: NOTIFY_SOCKET: %s", strerror (errno));
  if (fd != -1)
    close (fd);
}

/* A connection is one thread in the server and one in the kernel. */
static int
suitable_connections (const struct export *e)
{
  const long cpus = sysconf (_SC_NPROCESSORS_ONLN);

  if (!export_multi (e) || cpus < 1)
    return 1;
  return cpus < 4 ? cpus : 4;
}

static int
attach (struct device *d, const struct export *e,
        const struct options *options)
{
  int sockets[MAX_CONNECTIONS], n, r = -1;

  for (n = 0; n < options->connections; n++)
    if ((sockets[n] = export_dial (e)) == -1) {
      complain ("only %d of %d connections were made", n,
                options->connections);
      break;
    }
  if (n == options->connections)
    r = device_connect (d, e, sockets, options);
  while (n > 0)
    close (sockets[--n]);
  return r;
}

/* Replace one dead connection.  True if that was done. */
static bool
replace (const struct device *d, const struct export *e)
{
  int fd = export_dial (e), r;

  if (fd == -1)
    return false;
  r = device_reconfigure (d, e, fd);
  close (fd);
  return r == 0;
}

/* Until the device is disconnected, by whomever. */
static void
stay (const struct device *d, const struct export *e, int events)
{
  const struct timespec pause = { .tv_nsec = 200000000 };
  struct pollfd wait = { .fd = events, .events = POLLIN };
  unsigned dead = 0;

  while (device_connected (d)) {
    if (asked_to_end) {
      asked_to_end = 0;
      if (!device_busy (d->index)) {
        device_disconnect (d->index);
        return;
      }
      complain ("/dev/nbd%d is in use: this stays until it is not", d->index);
    }
    dead += device_deaths (d->index);
    if (dead == 0)
      poll (&wait, 1, 1000);
    else if (!e->id[0]) {
      complain ("/dev/nbd%d lost a connection, and a server without an "
                "identity cannot be trusted to hold the same pages",
                d->index);
      dead = 0;
    }
    else if (replace (d, e)) {
      complain ("/dev/nbd%d: connected again", d->index);
      dead--;
    }
    else
      nanosleep (&pause, NULL);
  }
}

int
connect_and_stay (const char *uri, const struct options *wanted, int ready_fd)
{
  struct options options = *wanted;
  struct export e;
  struct device d;
  int events;

  if (export_open (&e, uri) == -1)
    return EXIT_FAILURE;
  if (options.connections == 0)
    options.connections = suitable_connections (&e);
  if (options.connections > 1 && !export_multi (&e)) {
    complain ("%s: this server allows one connection only: use -C 1", uri);
    return EXIT_FAILURE;
  }
  if (!e.id[0])
    complain ("warning: %s has no identity: if it goes away, so does the "
              "device", uri);
  /* Before the kernel depends on it. */
  events = device_watch ();
  if (events == -1)
    return EXIT_FAILURE;
  harden ();
  catch_signals ();
  if (attach (&d, &e, &options) == -1)
    return EXIT_FAILURE;
  dprintf (ready_fd, "/dev/nbd%d\n", d.index);
  if (ready_fd != STDOUT_FILENO)
    close (ready_fd);
  notify_ready ();
  stay (&d, &e, events);
  return EXIT_SUCCESS;
}

/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The server that swapon starts in this machine.
 *
 * With a store there are two: one serves, the other stands by with all it will
 * need in memory, and goes on when the first dies.  To start a server only then
 * would be too late: that takes memory, which the machine may not have until
 * its swap works again.  For the same reason both have the listening socket
 * from the beginning, and it outlives them.  Their parent, the keeper, replaces
 * the one that died.  It needs no memory in time: it may even be swapped out.
 */
#include <config.h>

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"

#define RETRY      10          /* seconds */
#define RESERVE    "2M"        /* kept ready for requests */
#define MEMORY_MIN (128 << 10) /* bytes; what the plugin wants at least */

/* What it takes to start one. */
struct start {
  struct sockaddr_un address;
  char size[64], memory[64], store[520]; /* as parameters */
  int listener;
};

/* Bytes, of a number as the plugin reads it, which complains of all others. */
static uint64_t
bytes (const char *text)
{
  static const char suffixes[] = "bkmgtpe";
  char *end;
  uint64_t n = strtoull (text, &end, 10);
  const char *s = strchr (suffixes, tolower ((unsigned char) *end));

  return *end && s ? n << 10 * (s - suffixes) : n;
}

/* What is not said is half of the machine's memory, and half of that. */
static void
set_sizes (struct start *st, const struct server *server)
{
  uint64_t size, memory;

  if (server->size) {
    snprintf (st->size, sizeof st->size, "size=%s", server->size);
    size = bytes (server->size);
  }
  else {
    size = (uint64_t) sysconf (_SC_PHYS_PAGES) * sysconf (_SC_PAGESIZE) / 2
           / 4096 * 4096;
    snprintf (st->size, sizeof st->size, "size=%" PRIu64, size);
  }
  memory = size / 2 > MEMORY_MIN ? size / 2 : MEMORY_MIN;
  if (server->memory)
    snprintf (st->memory, sizeof st->memory, "memory=%s", server->memory);
  else
    snprintf (st->memory, sizeof st->memory, "memory=%" PRIu64, memory);
}

static int
prepare (struct start *st, const struct server *server)
{
  char *path = st->address.sun_path;

  st->address.sun_family = AF_UNIX;
  sprintf (path, RUN_DIR "/%ld.sock", (long) getpid ());
  set_sizes (st, server);
  if (server->store)
    snprintf (st->store, sizeof st->store, "store=%s", server->store);
  unlink (path);
  st->listener = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (st->listener == -1
      || bind (st->listener, (void *) &st->address, sizeof st->address) == -1
      || listen (st->listener, SOMAXCONN) == -1) {
    complain ("%s: %s", path, strerror (errno));
    return -1;
  }
  return 0;
}

/* Wait until there is a greeting from the socket, and take leave in the words
 * of the protocol.  False if the child ended instead.
 */
static bool
await_greeting (const struct start *st, pid_t child)
{
  static const char leave[20] = "\0\0\0\3IHAVEOPT\0\0\0\2\0\0\0";
  struct pollfd wait
      = { socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), POLLIN, 0 };
  char text[64];
  bool greeted;

  if (connect (wait.fd, (const void *) &st->address, sizeof st->address)
      == -1) {
    complain ("%s: %s", st->address.sun_path, strerror (errno));
    close (wait.fd);
    return false;
  }
  while (poll (&wait, 1, 100) == 0 && waitpid (child, NULL, WNOHANG) == 0)
    ;
  greeted = recv (wait.fd, text, sizeof text, MSG_DONTWAIT) > 0;
  if (greeted && send (wait.fd, leave, sizeof leave, MSG_NOSIGNAL) > 0)
    while (recv (wait.fd, text, sizeof text, 0) > 0)
      ;
  close (wait.fd);
  return greeted;
}

/* Become one: it finds the socket as systemd would hand it over.  When that
 * ends all processes, the @ keeps it from ending what may still be swap.
 */
static void
become_server (const struct start *st, bool standby)
{
  const char *argv[16] = { "@nbdkit", "-t", "1", "trueno-zram", st->size,
                           st->memory, "swap=yes" };
  int n = 7;
  char text[16];

  argv[n++] = st->store[0] ? st->store : "reserve=" RESERVE;
  if (standby)
    argv[n++] = "standby=yes";
  snprintf (text, sizeof text, "%ld", (long) getpid ());
  setenv ("LISTEN_PID", text, 1);
  setenv ("LISTEN_FDS", "1", 1);
  if (st->listener == 3 ? fcntl (3, F_SETFD, 0) == 0
                        : dup2 (st->listener, 3) == 3)
    execvp ("nbdkit", (char *const *) argv);
  complain ("nbdkit: %s", strerror (errno));
  _exit (EXIT_FAILURE);
}

static pid_t
fork_server (const struct start *st, bool standby)
{
  pid_t pid = fork ();

  if (pid == 0)
    become_server (st, standby);
  if (pid == -1)
    complain ("fork: %s", strerror (errno));
  return pid;
}

/* The keeper: once the first has made the store, always two servers.  One that
 * was killed is replaced at once; one that ended by itself said why, and the
 * reason may pass.
 */
static void
keep (const struct start *st)
{
  pid_t first;
  int status;

  spare_from_oom_killer ();
  first = fork_server (st, false);
  if (first == -1 || !await_greeting (st, first))
    return;
  for (;;)
    if (fork_server (st, true) == -1
        || (wait (&status) != -1 && WIFEXITED (status)))
      sleep (RETRY);
}

/* None but the processes of a server have its socket.  Once they have all
 * ended, the number of their group may be another's.
 */
static bool
exists (const char *path)
{
  char line[256];
  bool found = false;
  FILE *f = fopen ("/proc/net/unix", "re");

  while (f && fgets (line, sizeof line, f)) {
    line[strcspn (line, "\n")] = 0;
    found |= strstr (line, path) && strcmp (strstr (line, path), path) == 0;
  }
  if (f)
    fclose (f);
  return found || !f;
}

/* Without a chance to end by themselves: one would take over from the other. */
void
server_stop (pid_t group, const char *uri)
{
  const struct timespec rest = { .tv_nsec = 50000000 };
  const char *path = strchr (uri, '=') + 1;
  int i;

  if (exists (path)) {
    kill (-group, SIGKILL);
    for (i = 0; i < 100 && kill (-group, 0) == 0; i++) {
      waitpid (group, NULL, WNOHANG);
      nanosleep (&rest, NULL);
    }
  }
  unlink (path);
}

pid_t
server_start (const struct server *server, char uri[URI_SIZE])
{
  struct start st = { 0 };
  bool greeted = false;
  pid_t pid;
  int null;

  if (prepare (&st, server) == -1)
    return -1;
  snprintf (uri, URI_SIZE, "nbd+unix:///?socket=%s", st.address.sun_path);
  pid = fork ();
  if (pid == 0) {
    setsid ();
    null = open ("/dev/null", O_RDWR | O_CLOEXEC);
    dup2 (null, STDIN_FILENO);
    dup2 (null, STDOUT_FILENO);
    if (!server->store)
      become_server (&st, false);
    keep (&st);
    _exit (EXIT_FAILURE);
  }
  if (pid == -1)
    complain ("fork: %s", strerror (errno));
  else
    greeted = await_greeting (&st, pid);
  close (st.listener);
  if (greeted)
    return pid;
  if (pid != -1)
    server_stop (pid, uri);
  unlink (st.address.sun_path);
  return -1;
}

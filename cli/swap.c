/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* trueno-zram swapon, swapoff.  What must be known to undo a swapon is in
 * RUN_DIR/nbdN, a line each: the URI; the process group of the server, or 0 if
 * it is not ours; the file it keeps its pages in, if any.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <inttypes.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"

extern char **environ;

static volatile sig_atomic_t told_to_stop;

struct swap {
  char device[32];
  char uri[URI_SIZE];
  pid_t server;
  char store[512];
};

static void
rest (void)
{
  const struct timespec t = { .tv_nsec = 100000000 };

  nanosleep (&t, NULL);
}

/* What it says is not what whoever started us reads: that is the device. */
static int
run (char *const argv[])
{
  posix_spawn_file_actions_t actions;
  pid_t pid;
  int r, status;

  posix_spawn_file_actions_init (&actions);
  posix_spawn_file_actions_adddup2 (&actions, STDERR_FILENO, STDOUT_FILENO);
  r = posix_spawnp (&pid, argv[0], &actions, NULL, argv, environ);
  posix_spawn_file_actions_destroy (&actions);
  if (r != 0) {
    complain ("%s: %s", argv[0], strerror (r));
    return -1;
  }
  if (waitpid (pid, &status, 0) != pid || status != 0) {
    complain ("%s %s failed", argv[0], argv[1]);
    return -1;
  }
  return 0;
}

/* Where mkswap and swapon are, even for those who do not look there. */
static void
extend_path (void)
{
  const char *path = getenv ("PATH");
  char longer[4096];

  snprintf (longer, sizeof longer, "%s:/usr/sbin:/sbin", path ?: "/usr/bin");
  setenv ("PATH", longer, 1);
}

/* ---- The record ---- */

static void
record_path (char path[64], const char *device)
{
  snprintf (path, 64, RUN_DIR "/%s", strrchr (device, '/') + 1);
}

static int
write_record (const struct swap *s)
{
  char path[64];
  FILE *f;
  bool ok;

  record_path (path, s->device);
  f = fopen (path, "we");
  ok = f
       && fprintf (f, "%s\n%ld\n%s\n", s->uri, (long) s->server, s->store)
            > 0;
  if (f && fclose (f) == EOF)
    ok = false;
  if (!ok)
    complain ("%s: %s", path, strerror (errno));
  return ok ? 0 : -1;
}

static int
read_record (struct swap *s, const char *device)
{
  char path[64];
  glob_t found;
  long server;
  FILE *f;
  int n;

  if (!device) {
    n = glob (RUN_DIR "/nbd*[0-9]", 0, NULL, &found) == 0 ? found.gl_pathc : 0;
    if (n == 1)
      snprintf (s->device, sizeof s->device, "/dev/%s",
                strrchr (found.gl_pathv[0], '/') + 1);
    globfree (&found);
    if (n != 1) {
      complain (n == 0 ? "there is no swap of 'trueno-zram swapon'"
                       : "there are several: which device?");
      return -1;
    }
  }
  else
    snprintf (s->device, sizeof s->device, "%s", device);
  if (device_index (s->device) == -1)
    return -1;
  record_path (path, s->device);
  f = fopen (path, "re");
  n = f ? fscanf (f, "%511s %ld%*c%511[^\n]", s->uri, &server, s->store) : 0;
  if (f)
    fclose (f);
  if (n < 2) {
    complain ("%s is no swap of 'trueno-zram swapon'", s->device);
    return -1;
  }
  s->server = server;
  return 0;
}

/* ---- The connection ---- */

/* Start the process that stays, and wait until the device is there. */
static int
start_connection (struct swap *s, const struct options *options)
{
  int ready[2], null;
  ssize_t n;

  if (pipe2 (ready, O_CLOEXEC) == -1) {
    complain ("pipe: %s", strerror (errno));
    return -1;
  }
  switch (fork ()) {
  case -1:
    complain ("fork: %s", strerror (errno));
    return -1;
  case 0:
    setsid ();
    null = open ("/dev/null", O_RDWR);
    dup2 (null, STDIN_FILENO);
    dup2 (null, STDOUT_FILENO);
    close (ready[0]);
    _exit (connect_and_stay (s->uri, options, ready[1]));
  }
  close (ready[1]);
  n = read (ready[0], s->device, sizeof s->device - 1);
  close (ready[0]);
  if (n <= 1)
    return -1; /* it said why */
  s->device[n - 1] = 0;
  return 0;
}

static void
stop_connection (const char *device)
{
  char path[64];
  int index = device_index (device), i;

  snprintf (path, sizeof path, "/sys/block/nbd%d/pid", index);
  if (access (path, F_OK) == -1 || device_disconnect (index) == -1)
    return;
  for (i = 0; i < 100 && access (path, F_OK) == 0; i++)
    rest ();
}

static void
warn_of_small_reserves (void)
{
  FILE *f = fopen ("/proc/sys/vm/min_free_kbytes", "re");
  unsigned long kb = 0;

  if (f && fscanf (f, "%lu", &kb) == 1 && kb < 16384)
    complain ("warning: vm.min_free_kbytes is %lu; swapping over a socket "
              "wants 16384 or more", kb);
  if (f)
    fclose (f);
}

static int
use_as_swap (const struct swap *s, int priority)
{
  char text[16];
  char *const mkswap[] = { "mkswap", (char *) s->device, NULL };
  char *const swapon[] = { "swapon", "-d", "-p", text, (char *) s->device,
                           NULL };

  snprintf (text, sizeof text, "%d", priority);
  return write_record (s) == -1 || run (mkswap) == -1 || run (swapon) == -1
           ? -1 : 0;
}

/* A path that means the same to whoever undoes this. */
static int
set_store (struct swap *s, const char *store)
{
  char directory[sizeof s->store] = "";
  size_t n = sizeof s->store;

  if (store[0] != '/' && !getcwd (directory, sizeof directory - 1)) {
    complain ("--store: %s", strerror (errno));
    return -1;
  }
  if (directory[0])
    strcat (directory, "/");
  if ((size_t) snprintf (s->store, n, "%s%s", directory, store) >= n) {
    complain ("--store: the path is longer than %zu characters", n - 1);
    return -1;
  }
  return 0;
}

/* The rest of a swap that is off: the connection, then the server, and its
 * pages, which nothing needs any more.
 */
static void
take_down (const struct swap *s)
{
  char path[64];

  if (s->device[0]) {
    stop_connection (s->device);
    record_path (path, s->device);
    unlink (path);
  }
  if (s->server == 0)
    return;
  server_stop (s->server, s->uri);
  if (s->store[0])
    unlink (s->store);
}

static int
set_up (struct swap *s, const struct server *server)
{
  struct server absolute = { 0 };

  if (mkdir (RUN_DIR, 0700) == -1 && errno != EEXIST) {
    complain (RUN_DIR ": %s", strerror (errno));
    return -1;
  }
  if (!server)
    return 0;
  absolute = *server;
  if (server->store) {
    if (set_store (s, server->store) == -1)
      return -1;
    absolute.store = s->store;
  }
  s->server = server_start (&absolute, s->uri);
  return s->server == -1 ? -1 : 0;
}

static void
on_signal (int sig)
{
  (void) sig;
  told_to_stop = true;
}

/* What was started is undone; a connection that is being made is made first, as
 * only then is it known which.
 */
static void
catch_signals (void)
{
  const struct sigaction stop = { .sa_handler = on_signal,
                                  .sa_flags = SA_RESTART };

  sigaction (SIGINT, &stop, NULL);
  sigaction (SIGTERM, &stop, NULL);
  sigaction (SIGHUP, &stop, NULL);
}

static bool
stopped (void)
{
  if (told_to_stop)
    complain ("stopped by a signal: there is no swap");
  return told_to_stop;
}

int
swap_on (const char *uri, const struct server *server, int priority,
         const struct options *options)
{
  struct swap s = { 0 };

  extend_path ();
  catch_signals ();
  warn_of_small_reserves ();
  if (uri && snprintf (s.uri, sizeof s.uri, "%s", uri) >= (int) sizeof s.uri) {
    complain ("the URI is longer than %d characters", URI_SIZE - 1);
    return EXIT_FAILURE;
  }
  if (set_up (&s, server) == -1) {
    stopped ();
    return EXIT_FAILURE;
  }
  if (stopped () || start_connection (&s, options) == -1
      || stopped () || use_as_swap (&s, priority) == -1) {
    take_down (&s);
    return EXIT_FAILURE;
  }
  puts (s.device);
  return EXIT_SUCCESS;
}

/* ---- And back ---- */

/* Every swapped page comes back from the server: it must be there, and be the
 * one that has them.
 */
static bool
server_answers (const struct swap *s)
{
  struct export e;
  char path[64], id[40] = "";
  int fd;
  ssize_t n;

  snprintf (path, sizeof path, "/sys/block/%s/backend", s->device + 5);
  fd = open (path, O_RDONLY | O_CLOEXEC);
  n = fd == -1 ? 0 : read (fd, id, sizeof id - 1);
  if (fd != -1)
    close (fd);
  id[n > 0 ? n : 0] = 0;
  id[strcspn (id, "\n")] = 0;
  if (export_open (&e, s->uri) == -1)
    complain ("%s stays swap: its server does not answer, and without it the "
              "pages there are lost; start it again, or say --force",
              s->device);
  else if (id[0] && strcmp (id, e.id) != 0)
    complain ("%s stays swap: the server at %s holds other pages than those "
              "swapped; say --force to lose them", s->device, s->uri);
  else
    return true;
  return false;
}

/* False if it was already taken away, by whatever ends all swap. */
static bool
is_swap (const char *device)
{
  size_t n = strlen (device);
  char line[512];
  bool found = false;
  FILE *f = fopen ("/proc/swaps", "re");

  while (f && fgets (line, sizeof line, f))
    if (strncmp (line, device, n) == 0 && line[n] == ' ')
      found = true;
  if (f)
    fclose (f);
  return found || !f;
}

int
swap_off (const char *device, bool force)
{
  struct swap s = { 0 };
  char *const swapoff[] = { "swapoff", s.device, NULL };

  extend_path ();
  if (read_record (&s, device) == -1)
    return EXIT_FAILURE;
  if (is_swap (s.device)
      && ((!force && !server_answers (&s)) || run (swapoff) == -1))
    return EXIT_FAILURE;
  take_down (&s);
  return EXIT_SUCCESS;
}

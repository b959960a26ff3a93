/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* trueno-zram swapon, swapoff.  What must be known to undo a swapon is in
 * RUN_DIR/nbdN: the URI, and the process id of the server or 0 if it is not
 * ours.
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

struct swap {
  char device[32];
  char uri[512];
  pid_t server;
};

static void
rest (void)
{
  const struct timespec t = { .tv_nsec = 100000000 };

  nanosleep (&t, NULL);
}

static int
run (char *const argv[])
{
  pid_t pid;
  int r = posix_spawnp (&pid, argv[0], NULL, NULL, argv, environ), status;

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
  ok = f && fprintf (f, "%s\n%ld\n", s->uri, (long) s->server) > 0;
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
    n = glob (RUN_DIR "/nbd*", 0, NULL, &found) == 0 ? found.gl_pathc : 0;
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
  n = f ? fscanf (f, "%511s %ld", s->uri, &server) : 0;
  if (f)
    fclose (f);
  if (n != 2) {
    complain ("%s is no swap of 'trueno-zram swapon'", s->device);
    return -1;
  }
  s->server = server;
  return 0;
}

/* ---- The server ---- */

static void
server_files (char pid_file[64], char sock[64], pid_t owner)
{
  snprintf (pid_file, 64, RUN_DIR "/%ld.pid", (long) owner);
  snprintf (sock, 64, RUN_DIR "/%ld.sock", (long) owner);
}

/* Bytes, of a number that may end in K, M, G or T. */
static uint64_t
bytes (const char *text)
{
  static const char suffixes[] = "KMGT";
  char *end;
  uint64_t n = strtoull (text, &end, 10);
  const char *s = *end ? strchr (suffixes, *end) : NULL;

  return s ? n << 10 * (s - suffixes + 1) : n;
}

/* The server must run in the background: nbdkit -f ends with its parent.  Its
 * files are named after this process.
 */
static int
start_server (struct swap *s, const char *size, const char *memory)
{
  char half[32], size_text[32], pool[64], pid_file[64], sock[64];
  char *const argv[] = { "nbdkit", "-t", "1", "-P", pid_file, "-U", sock,
                         "trueno-zram", (char *) size ?: size_text, pool,
                         "swap=yes", NULL };
  long pid = 0;
  FILE *f;
  int i;

  snprintf (size_text, sizeof size_text, "%" PRIu64,
            (uint64_t) sysconf (_SC_PHYS_PAGES) * sysconf (_SC_PAGESIZE) / 2
              / 4096 * 4096);
  snprintf (half, sizeof half, "%" PRIu64, bytes (size ?: size_text) / 2);
  snprintf (pool, sizeof pool, "memory=%s", memory ?: half);
  server_files (pid_file, sock, getpid ());
  unlink (pid_file);
  unlink (sock);
  snprintf (s->uri, sizeof s->uri, "nbd+unix:///?socket=%s", sock);
  if (run (argv) == -1)
    return -1;
  for (i = 0; i < 50 && pid == 0; i++) {
    f = fopen (pid_file, "re");
    if (!f || fscanf (f, "%ld\n", &pid) != 1) {
      pid = 0;
      rest ();
    }
    if (f)
      fclose (f);
  }
  unlink (pid_file);
  if (pid <= 1) {
    complain ("the server did not start; its reason is in the system's log");
    return -1;
  }
  s->server = pid;
  return 0;
}

static void
stop_server (const struct swap *s)
{
  int i;

  if (s->server == 0)
    return;
  kill (s->server, SIGTERM);
  for (i = 0; i < 100 && kill (s->server, 0) == 0; i++)
    rest ();
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

int
swap_on (const char *what, const char *memory, int priority,
         const struct options *options)
{
  struct swap s = { 0 };
  char path[64];
  bool remote = what && strstr (what, "://");

  extend_path ();
  warn_of_small_reserves ();
  if (mkdir (RUN_DIR, 0700) == -1 && errno != EEXIST) {
    complain (RUN_DIR ": %s", strerror (errno));
    return EXIT_FAILURE;
  }
  if (remote)
    snprintf (s.uri, sizeof s.uri, "%s", what);
  if (!remote && start_server (&s, what, memory) == -1)
    return EXIT_FAILURE;
  if (start_connection (&s, options) == -1) {
    stop_server (&s);
    return EXIT_FAILURE;
  }
  if (use_as_swap (&s, priority) == -1) {
    stop_connection (s.device);
    stop_server (&s);
    record_path (path, s.device);
    unlink (path);
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

int
swap_off (const char *device, bool force)
{
  struct swap s = { 0 };
  char *const swapoff[] = { "swapoff", s.device, NULL };
  char path[64];

  extend_path ();
  if (read_record (&s, device) == -1 || (!force && !server_answers (&s))
      || run (swapoff) == -1)
    return EXIT_FAILURE;
  stop_connection (s.device);
  stop_server (&s);
  if (s.server && strncmp (s.uri, "nbd+unix:///?socket=", 20) == 0)
    unlink (s.uri + 20);
  record_path (path, s.device);
  unlink (path);
  return EXIT_SUCCESS;
}

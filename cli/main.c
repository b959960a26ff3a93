/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The command line. */
#include <config.h>

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"

static const char usage[] =
  "usage: trueno-zram connect URI [-d /dev/nbdN] [-C CONNECTIONS]\n"
  "                   [--timeout S] [--dead-timeout S]\n"
  "       trueno-zram swapon [SIZE] [--memory SIZE] [--store FILE]\n"
  "                   [--priority N] [and the options of connect]\n"
  "       trueno-zram swapon URI [--priority N] [and those]\n"
  "       trueno-zram swapoff [/dev/nbdN] [--force]\n"
  "       trueno-zram --help | --version\n"
  "man trueno-zram has the details.\n";

time_t
seconds (void)
{
  struct timespec t;

  clock_gettime (CLOCK_MONOTONIC, &t);
  return t.tv_sec;
}

/* What is tried again and again is complained about now and then. */
void
complain (const char *format, ...)
{
  static char last[768];
  static time_t when;
  char line[sizeof last];
  va_list args;

  va_start (args, format);
  vsnprintf (line, sizeof line, format, args);
  va_end (args);
  if (strcmp (line, last) == 0 && seconds () < when + 10)
    return;
  strcpy (last, line);
  when = seconds ();
  dprintf (STDERR_FILENO, "trueno-zram: %s\n", line);
}

/* The commands, as bits: an option is for some of them. */
enum { CONNECT = 1, SWAPON = 2, SWAPON_URI = 4, SWAPOFF = 8 };

static _Noreturn void
bad_usage (void)
{
  fputs (usage, stderr);
  exit (EXIT_FAILURE);
}

static int
command_of (const char *name, const char *operand)
{
  if (strcmp (name, "connect") == 0 && operand)
    return CONNECT;
  if (strcmp (name, "swapon") == 0)
    return operand && strstr (operand, "://") ? SWAPON_URI : SWAPON;
  if (strcmp (name, "swapoff") == 0)
    return SWAPOFF;
  bad_usage ();
}

static uint64_t
number (const char *text, const char *what, uint64_t min, uint64_t max)
{
  char *end;
  unsigned long long n;

  errno = 0;
  n = strtoull (text, &end, 10);
  if (errno || end == text || *end || text[0] == '-' || n < min || n > max) {
    complain ("%s: '%s' is not a number from %llu to %llu", what, text,
              (unsigned long long) min, (unsigned long long) max);
    exit (EXIT_FAILURE);
  }
  return n;
}

int
main (int argc, char *argv[])
{
  enum { TIMEOUT = 256, DEAD_TIMEOUT, MEMORY, STORE, PRIORITY, FORCE };
  static const struct option longs[] = {
    { "connections", required_argument, NULL, 'C' },
    { "device", required_argument, NULL, 'd' },
    { "timeout", required_argument, NULL, TIMEOUT },
    { "dead-timeout", required_argument, NULL, DEAD_TIMEOUT },
    { "memory", required_argument, NULL, MEMORY },
    { "store", required_argument, NULL, STORE },
    { "priority", required_argument, NULL, PRIORITY },
    { "force", no_argument, NULL, FORCE },
    { "help", no_argument, NULL, 'h' },
    { "version", no_argument, NULL, 'V' },
    { NULL, 0, NULL, 0 },
  };
  struct options options = { .timeout = 10, .dead_timeout = 600 };
  struct server server = { 0 };
  const char *operand;
  int c, command, fitting = ~0, priority = 150;
  bool force = false;

  while ((c = getopt_long (argc, argv, "C:d:hV", longs, NULL)) != -1)
    switch (c) {
    case 'C':
      options.connections = number (optarg, "-C", 1, MAX_CONNECTIONS);
      fitting &= ~SWAPOFF;
      break;
    case 'd': options.device = optarg; fitting &= ~SWAPOFF; break;
    case TIMEOUT:
      options.timeout = number (optarg, "--timeout", 1, 86400);
      fitting &= ~SWAPOFF;
      break;
    case DEAD_TIMEOUT:
      options.dead_timeout = number (optarg, "--dead-timeout", 1, 86400);
      fitting &= ~SWAPOFF;
      break;
    case MEMORY: server.memory = optarg; fitting &= SWAPON; break;
    case STORE: server.store = optarg; fitting &= SWAPON; break;
    case PRIORITY:
      priority = number (optarg, "--priority", 0, 32767);
      fitting &= SWAPON | SWAPON_URI;
      break;
    case FORCE: force = true; fitting &= SWAPOFF; break;
    case 'h': fputs (usage, stdout); return EXIT_SUCCESS;
    case 'V': puts (PACKAGE_STRING); return EXIT_SUCCESS;
    default: bad_usage ();
    }
  if (optind == argc || argc - optind > 2)
    bad_usage ();
  operand = argv[optind + 1];
  command = command_of (argv[optind], operand);
  if (!(command & fitting)) {
    complain ("'%s%s' takes not all of these options", argv[optind],
              command == SWAPON_URI ? " URI" : "");
    bad_usage ();
  }
  if (options.device && device_index (options.device) == -1)
    return EXIT_FAILURE;
  server.size = operand;
  switch (command) {
  case CONNECT: return connect_and_stay (operand, &options, STDOUT_FILENO);
  case SWAPON: return swap_on (NULL, &server, priority, &options);
  case SWAPON_URI: return swap_on (operand, NULL, priority, &options);
  default: return swap_off (operand, force);
  }
}

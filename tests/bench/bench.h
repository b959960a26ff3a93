/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What the benchmarks share: the clock, statistics, and rows of results.
 *
 * A row compares one figure of ours with the same figure of a peer, taken in
 * the same run.  Rows are printed as a table, or with bench_json as one JSON
 * object a line.
 */
#ifndef TZ_BENCH_H
#define TZ_BENCH_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "../hide-cpu.h"

static bool bench_json; /* print JSON lines instead of a table */

struct bench_row {
  const char *bench;   /* "codec", "store", "nbd" */
  const char *file;    /* page set, "TOTAL" for all; NULL: none */
  const char *setting; /* what else tells rows apart; NULL: nothing */
  const char *codec;   /* NULL: none */
  int level;           /* of the codec; 0: it has none */
  const char *isa;     /* the body that ran; NULL: does not matter */
  const char *peer;    /* "liblz4", "zstd:1", …; NULL: no peer */
  const char *metric;  /* "compress", "read", … */
  const char *unit;    /* "GB/s", "x", "ns" */
  double ours, theirs; /* theirs is ignored without a peer */
};

static inline uint64_t
now_ns (void)
{
  struct timespec t;

  clock_gettime (CLOCK_MONOTONIC, &t);
  return (uint64_t) t.tv_sec * 1000000000 + (uint64_t) t.tv_nsec;
}

static inline int
bench_compare (const void *a, const void *b)
{
  double x = *(const double *) a, y = *(const double *) b;

  return (x > y) - (x < y);
}

/* The median of n values, n > 0; sorts them. */
static inline double
median (double *v, size_t n)
{
  qsort (v, n, sizeof *v, bench_compare);
  return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

static inline void
bench_print_string (const char *key, const char *value)
{
  if (!value)
    return;
  printf ("\"%s\":\"", key);
  for (; *value; value++) {
    if ((unsigned char) *value < ' ')
      continue;
    if (*value == '"' || *value == '\\')
      putchar ('\\');
    putchar (*value);
  }
  printf ("\",");
}

static inline void
bench_row_json (const struct bench_row *r)
{
  putchar ('{');
  bench_print_string ("bench", r->bench);
  bench_print_string ("file", r->file);
  bench_print_string ("setting", r->setting);
  bench_print_string ("codec", r->codec);
  if (r->level)
    printf ("\"level\":%d,", r->level);
  bench_print_string ("isa", r->isa);
  bench_print_string ("peer", r->peer);
  bench_print_string ("metric", r->metric);
  bench_print_string ("unit", r->unit);
  printf ("\"ours\":%.6g", r->ours);
  if (r->peer && r->theirs > 0)
    printf (",\"theirs\":%.6g,\"ratio\":%.4f", r->theirs, r->ours / r->theirs);
  printf ("}\n");
}

static inline void
bench_row_text (const struct bench_row *r)
{
  char codec[32] = "";

  if (r->codec && r->level)
    snprintf (codec, sizeof codec, "%s:%d", r->codec, r->level);
  else if (r->codec)
    snprintf (codec, sizeof codec, "%s", r->codec);
  printf ("%-10.10s %-14s %-8s %-7s %-16s %9.3f %-5s", r->file ? r->file : "-",
          r->setting ? r->setting : "-", codec, r->isa ? r->isa : "-",
          r->metric, r->ours, r->unit);
  if (r->peer && r->theirs > 0)
    printf (" %-8s %9.3f %7.3fx", r->peer, r->theirs, r->ours / r->theirs);
  putchar ('\n');
}

static inline void
bench_row (const struct bench_row *r)
{
  if (bench_json)
    bench_row_json (r);
  else
    bench_row_text (r);
  fflush (stdout);
}

#endif /* TZ_BENCH_H */

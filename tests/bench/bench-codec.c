/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Codecs on pages of real memory, beside liblz4 and libzstd.
 *
 *   bench-codec [--json] [--cold] [--rounds N] [--only TEXT] [--plot FILE.svg]
 *               FILE.pages...
 *
 * All methods take turns on each piece of a file, small enough to stay in the
 * cache, and the best of several rounds counts: what else the machine does
 * meets all of them alike.  --cold adds pages in random order out of a set
 * larger than the last-level cache.  --only limits ours to those whose name
 * ("ld64:1 avx2") holds the text.  Every page is decoded and compared.
 *
 * "lz4-decoder" is our decoder on liblz4's blocks.  What is done for a page
 * besides has rows of its own: finding same-filled ones, beside reading as
 * much, and what checking a blob adds to decoding it, LD64 here.
 */
#include <config.h>

#include <getopt.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

#ifdef HAVE_LIBLZ4
#define LZ4_STATIC_LINKING_ONLY /* for the fast reset */
#include <lz4.h>
#endif
#include <zstd.h>

#include "bench.h"
#include "checksum.h"
#include "codec/codec.h"
#include "codec/ld64.h"
#include "codec/lz4.h"
#include "cpu.h"

#define PIECE   256 /* pages measured at a time */
#define METHODS 32
#define FILES   64
#define SLOT    (TZ_PAGE + TZ_BLOB_SLACK)

struct method {
  char name[40]; /* "ld64:1 avx2", "liblz4", "zstd:1" */
  const char *codec, *isa;
  int level;
  int peer; /* index of the method to compare with, itself if it is one */
  int (*encode) (struct method *m, const uint8_t *page, uint8_t *dst);
  int (*decode) (struct method *m, const uint8_t *blob, int len, uint8_t *page);
  const struct tz_codec_ops *ops;
  const struct ld64_body *ld64;
  const struct lz4_body *lz4;
  void *scratch, *scratch2;
};

/* Of one method on one file. */
struct result {
  double encode_ns, decode_ns, bytes;
};

/* What is done besides, ns for all pages of a file. */
struct side {
  double same;      /* telling that a page is not same-filled */
  double checked;   /* checking and decoding LD64, level 1 */
  double decode;    /* decoding it */
  double same_full; /* of as many pages that are */
  double read;      /* reading these */
};

struct file {
  const char *name; /* without directory and suffix */
  uint8_t *pages;   /* those that are not same-filled */
  size_t n, same;
  struct result hot[METHODS];
  struct side side;
};

static struct method methods[METHODS];
static int n_methods, rounds = 5;
static struct file files[FILES];
static int n_files;
static const char *only, *plot;
static bool cold;

static void *
allocate (size_t size)
{
  void *p = aligned_alloc (64, (size + 63) / 64 * 64);

  if (!p) {
    perror ("bench-codec");
    exit (EXIT_FAILURE);
  }
  memset (p, 0, size);
  return p;
}

/* The methods. */

static int
ops_encode (struct method *m, const uint8_t *page, uint8_t *dst)
{
  return m->ops->encode (m->scratch, page, dst, m->level);
}

static int
ops_decode (struct method *m, const uint8_t *blob, int len, uint8_t *page)
{
  return m->ops->decode (m->scratch, blob, (size_t) len, page);
}

static int
ld64_encode (struct method *m, const uint8_t *page, uint8_t *dst)
{
  return m->ld64->encode[m->level](m->scratch, page, dst);
}

static int
ld64_decode (struct method *m, const uint8_t *blob, int len, uint8_t *page)
{
  return m->ld64->decode (blob, (size_t) len, page);
}

static int
lz4_encode (struct method *m, const uint8_t *page, uint8_t *dst)
{
  return tz_lz4_encode_with (m->lz4, m->scratch, page, dst, m->level);
}

static int
lz4_decode (struct method *m, const uint8_t *blob, int len, uint8_t *page)
{
  return tz_lz4_ops.decode (m->scratch, blob, (size_t) len, page);
}

#ifdef HAVE_LIBLZ4
static int
liblz4_encode (struct method *m, const uint8_t *page, uint8_t *dst)
{
  int r = LZ4_compress_fast_extState_fastReset (
      m->scratch, (const char *) page, (char *) dst, TZ_PAGE, TZ_DST_SIZE, 1);

  return r < TZ_PAGE ? r : 0;
}

static int
liblz4_decode (struct method *m, const uint8_t *blob, int len, uint8_t *page)
{
  (void)m;
  return LZ4_decompress_safe ((const char *) blob, (char *) page, len, TZ_PAGE)
         - TZ_PAGE;
}
#endif

static int
libzstd_encode (struct method *m, const uint8_t *page, uint8_t *dst)
{
  size_t r = ZSTD_compress2 (m->scratch, dst, TZ_DST_SIZE, page, TZ_PAGE);

  return r < TZ_PAGE ? (int) r : 0;
}

static int
libzstd_decode (struct method *m, const uint8_t *blob, int len, uint8_t *page)
{
  return ZSTD_decompressDCtx (m->scratch2, page, TZ_PAGE, blob, (size_t) len)
                 == TZ_PAGE
             ? 0
             : -1;
}

static struct method *
add_method (const char *codec, int level, const char *isa, int peer)
{
  struct method *m = &methods[n_methods];

  if (n_methods == METHODS) {
    fprintf (stderr, "bench-codec: too many methods\n");
    exit (EXIT_FAILURE);
  }
  m->codec = codec;
  m->level = level;
  m->isa = isa;
  m->peer = peer < 0 ? n_methods : peer;
  if (level)
    snprintf (m->name, sizeof m->name, "%s:%d%s%s", codec, level,
              isa ? " " : "", isa ? isa : "");
  else
    snprintf (m->name, sizeof m->name, "%s", codec);
  if (peer >= 0 && only && !strstr (m->name, only))
    return NULL;
  n_methods++;
  return m;
}

static int
add_libzstd (int level)
{
  struct method *m = add_method ("zstd", level, NULL, -1);

  m->scratch = ZSTD_createCCtx ();
  m->scratch2 = ZSTD_createDCtx ();
  if (!m->scratch || !m->scratch2) {
    fprintf (stderr, "bench-codec: no memory for libzstd\n");
    exit (EXIT_FAILURE);
  }
  ZSTD_CCtx_setParameter (m->scratch, ZSTD_c_compressionLevel, level);
  ZSTD_CCtx_setParameter (m->scratch, ZSTD_c_contentSizeFlag, 0);
  m->encode = libzstd_encode;
  m->decode = libzstd_decode;
  return n_methods - 1;
}

static void
add_ops (const struct tz_codec_ops *ops, int level, int peer)
{
  struct method *m = add_method (ops->name, level, ops->isa (), peer);
  size_t size;

  if (!m)
    return;
  m->ops = ops;
  m->encode = ops_encode;
  m->decode = ops_decode;
  if (!ops->scratch_size)
    return;
  size = ops->scratch_size (level);
  m->scratch = allocate (size);
  if (ops->init && ops->init (m->scratch, size, level) != 0) {
    fprintf (stderr, "bench-codec: %s does not start\n", m->name);
    exit (EXIT_FAILURE);
  }
}

static void
add_ld64 (const struct ld64_body *body, int level, int peer)
{
  struct method *m;

  if (strcmp (body->isa, tz_ld64_ops.isa ()) == 0) {
    add_ops (&tz_ld64_ops, level, peer);
    return;
  }
  m = add_method ("ld64", level, body->isa, peer);
  if (!m)
    return;
  m->ld64 = body;
  m->scratch = allocate (sizeof (struct ld64_scratch));
  m->encode = ld64_encode;
  m->decode = ld64_decode;
}

static void
add_lz4 (const struct lz4_body *body, int level, int peer)
{
  struct method *m;

  if (strcmp (body->isa, tz_lz4_ops.isa ()) == 0) {
    add_ops (&tz_lz4_ops, level, peer);
    return;
  }
  m = add_method ("lz4", level, body->isa, peer);
  if (!m)
    return;
  m->lz4 = body;
  m->scratch = allocate (sizeof (struct lz4_work));
  m->encode = lz4_encode;
  m->decode = lz4_decode;
}

#ifdef HAVE_LIBLZ4
static int
add_liblz4 (void)
{
  struct method *m = add_method ("liblz4", 0, LZ4_versionString (), -1), *d;

  m->scratch = allocate (sizeof (LZ4_stream_t));
  LZ4_initStream (m->scratch, sizeof (LZ4_stream_t));
  m->encode = liblz4_encode;
  m->decode = liblz4_decode;
  d = add_method ("lz4-decoder", 0, NULL, (int) (m - methods));
  if (d) {
    d->scratch = m->scratch;
    d->encode = liblz4_encode;
    d->decode = lz4_decode;
  }
  return (int) (m - methods);
}
#endif

static void
add_methods (void)
{
  int zstd_peer[3] = { add_libzstd (-1), add_libzstd (1), add_libzstd (3) };
  int lz4_peer = zstd_peer[0], level, i;

#ifdef HAVE_LIBLZ4
  lz4_peer = add_liblz4 ();
#endif
  for (i = 0; tz_ld64_bodies[i]; i++)
    for (level = 1; level <= LD64_LEVELS; level++)
      if ((tz_ld64_bodies[i]->needs & ~tz_cpu ()) == 0)
        add_ld64 (tz_ld64_bodies[i], level, lz4_peer);
  for (i = 0; i < tz_lz4_n_bodies; i++)
    for (level = tz_lz4_ops.min_level; level <= tz_lz4_ops.max_level; level++)
      if ((tz_lz4_bodies[i].needs & ~tz_cpu ()) == 0)
        add_lz4 (&tz_lz4_bodies[i], level, lz4_peer);
  add_ops (&tz_zstd_ops, 1, zstd_peer[1]);
  add_ops (&tz_zstd_ops, 3, zstd_peer[2]);
}

/* Files. */

static bool
same_filled (const uint8_t *page)
{
  return memcmp (page, page + 8, TZ_PAGE - 8) == 0;
}

static void
load (const char *path)
{
  struct file *f = &files[n_files];
  const char *base = strrchr (path, '/');
  FILE *fp = fopen (path, "rb");
  char *name;
  long size;

  if (n_files == FILES || !fp || fseek (fp, 0, SEEK_END) != 0
      || (size = ftell (fp)) < 0) {
    fprintf (stderr, "bench-codec: cannot read %s\n", path);
    exit (EXIT_FAILURE);
  }
  rewind (fp);
  f->pages = allocate ((size_t) size + TZ_PAGE);
  while (fread (f->pages + f->n * TZ_PAGE, TZ_PAGE, 1, fp) == 1)
    if (same_filled (f->pages + f->n * TZ_PAGE))
      f->same++;
    else
      f->n++;
  fclose (fp);
  name = strdup (base ? base + 1 : path);
  if (name && strchr (name, '.'))
    *strchr (name, '.') = 0;
  f->name = name;
  if (f->n > 0)
    n_files++;
}

/* Measuring.  A blob that does not pay is the page itself, as in a store. */

static int
encode_page (struct method *m, const uint8_t *page, uint8_t *dst)
{
  int r = m->encode (m, page, dst);

  if (r < 0 || r >= TZ_PAGE) {
    fprintf (stderr, "bench-codec: %s: encoder returns %d\n", m->name, r);
    exit (EXIT_FAILURE);
  }
  if (r == 0) {
    memcpy (dst, page, TZ_PAGE);
    r = TZ_PAGE;
  }
  return r;
}

static void
decode_page (struct method *m, const uint8_t *blob, int len, uint8_t *page)
{
  if (len == TZ_PAGE)
    memcpy (page, blob, TZ_PAGE);
  else if (m->decode (m, blob, len, page) != 0) {
    fprintf (stderr, "bench-codec: %s: does not decode\n", m->name);
    exit (EXIT_FAILURE);
  }
}

struct piece {
  double encode_ns, decode_ns, bytes;
};

/* One turn of one method on n pages, which compares each with its original
 * if check is true.
 */
static void
turn (struct method *m, const uint8_t *pages, size_t n, bool check,
      struct piece *best)
{
  static uint8_t blobs[PIECE * SLOT + TZ_DST_SIZE]
      __attribute__ ((aligned (64)));
  static uint8_t out[16][TZ_PAGE] __attribute__ ((aligned (64)));
  static size_t start[PIECE];
  static int len[PIECE];
  size_t i, at = 0, bytes = 0;
  uint64_t t0, t1, t2;

  t0 = now_ns ();
  for (i = 0; i < n; i++) {
    start[i] = at;
    len[i] = encode_page (m, pages + i * TZ_PAGE, blobs + at);
    at += ((size_t) len[i] + 63) / 64 * 64;
    bytes += (size_t) len[i];
  }
  t1 = now_ns ();
  for (i = 0; i < n; i++)
    decode_page (m, blobs + start[i], len[i], out[i % 16]);
  t2 = now_ns ();
  if (best->bytes == 0 || t1 - t0 < best->encode_ns)
    best->encode_ns = (double) (t1 - t0);
  if (best->bytes == 0 || t2 - t1 < best->decode_ns)
    best->decode_ns = (double) (t2 - t1);
  best->bytes = (double) bytes;
  for (i = 0; check && i < n; i++) {
    decode_page (m, blobs + start[i], len[i], out[0]);
    if (memcmp (out[0], pages + i * TZ_PAGE, TZ_PAGE) != 0) {
      fprintf (stderr, "bench-codec: %s: wrong page\n", m->name);
      exit (EXIT_FAILURE);
    }
  }
}

static void
run_hot (struct file *f)
{
  struct piece best[METHODS];
  size_t at, n;
  int i, r;

  for (at = 0; at < f->n; at += n) {
    n = f->n - at < PIECE ? f->n - at : PIECE;
    memset (best, 0, sizeof best);
    for (r = 0; r < rounds; r++)
      for (i = 0; i < n_methods; i++)
        turn (&methods[i], f->pages + at * TZ_PAGE, n, r == 0, &best[i]);
    for (i = 0; i < n_methods; i++) {
      f->hot[i].encode_ns += best[i].encode_ns;
      f->hot[i].decode_ns += best[i].decode_ns;
      f->hot[i].bytes += best[i].bytes;
    }
  }
}

/* Reading and no more, with the widest registers there are. */
typedef uint64_t widest __attribute__ ((vector_size (64)));

static inline __attribute__ ((always_inline)) uint64_t
read_with (const uint8_t *p, size_t n)
{
  widest v[4], sum[4] = { { 0 } };
  const uint8_t *end = p + n;
  int i;

  for (; p < end; p += sizeof v) {
    memcpy (v, p, sizeof v);
#pragma GCC unroll 4
    for (i = 0; i < 4; i++)
      sum[i] |= v[i];
  }
  return (sum[0] | sum[1] | sum[2] | sum[3])[0];
}

#if defined(__x86_64__)
__attribute__ ((target ("avx512f"))) static uint64_t
read_avx512 (const uint8_t *p, size_t n)
{
  return read_with (p, n);
}

__attribute__ ((target ("avx2"))) static uint64_t
read_avx2 (const uint8_t *p, size_t n)
{
  return read_with (p, n);
}
#endif

static uint64_t
read_all (const uint8_t *p, size_t n)
{
#if defined(__x86_64__)
  if (tz_cpu () & TZ_CPU_AVX512)
    return read_avx512 (p, n);
  if (tz_cpu () & TZ_CPU_AVX2)
    return read_avx2 (p, n);
#endif
  return read_with (p, n);
}

static void
keep_least (double *best, uint64_t since, bool first)
{
  double ns = (double) (now_ns () - since);

  if (first || ns < *best)
    *best = ns;
}

static volatile uint64_t sink; /* what is worked out must go somewhere */

/* Same-filled pages, and reading them. */
static void
turn_same_filled (const uint8_t *filled, size_t n, bool first,
                  struct side *best)
{
  uint64_t t = now_ns (), pattern;
  unsigned found = 0;
  size_t i;

  for (i = 0; i < n; i++)
    found += tz_same_filled (filled + i * TZ_PAGE, &pattern);
  keep_least (&best->same_full, t, first);
  if (found != n) {
    fprintf (stderr, "bench-codec: same-filled pages are not found\n");
    exit (EXIT_FAILURE);
  }
  t = now_ns ();
  sink = read_all (filled, n * TZ_PAGE);
  keep_least (&best->read, t, first);
}

/* LD64's blobs of n pages one after the other, each with its checksum; those
 * that do not pay have a length of 0.
 */
static void
side_blobs (const uint8_t *pages, size_t n, uint8_t *blobs, int *len)
{
  static struct ld64_scratch scratch __attribute__ ((aligned (64)));
  uint8_t *blob = blobs;
  size_t i;

  for (i = 0; i < n; i++, blob += SLOT) {
    len[i] = tz_ld64_ops.encode (&scratch, pages + i * TZ_PAGE, blob, 1);
    if (len[i] > 0)
      put32 (blob + len[i], tz_checksum (blob, (size_t) len[i], i));
  }
}

static void
side_decode (size_t n, const uint8_t *blob, const int *len, bool check)
{
  static uint8_t out[16][TZ_PAGE] __attribute__ ((aligned (64)));
  size_t i, size;
  int r = 0;

  for (i = 0; i < n; i++, blob += SLOT) {
    size = (size_t) len[i];
    if (size == 0)
      continue;
    if (check)
      r |= tz_decode_checked (&tz_ld64_ops, NULL, blob, size, out[i % 16], i,
                              get32 (blob + size));
    else
      r |= tz_ld64_ops.decode (NULL, blob, size, out[i % 16]);
  }
  if (r != 0) {
    fprintf (stderr, "bench-codec: LD64 does not decode\n");
    exit (EXIT_FAILURE);
  }
}

/* Decoding with and without check, whose turn comes first every other round:
 * what is first has to bring the blobs into the cache.
 */
static void
turn_side (const uint8_t *pages, size_t n, const uint8_t *blobs, const int *len,
           int round, struct side *best)
{
  uint64_t t = now_ns (), pattern, sum = 0;
  size_t i;
  int j;

  for (i = 0; i < n; i++)
    sum += tz_same_filled (pages + i * TZ_PAGE, &pattern);
  keep_least (&best->same, t, round == 0);
  sink = sum;
  for (j = 0; j < 2; j++) {
    t = now_ns ();
    side_decode (n, blobs, len, (round + j) % 2);
    keep_least ((round + j) % 2 ? &best->checked : &best->decode, t,
                round == 0);
  }
}

static void
add_side (struct side *all, const struct side *s)
{
  all->same += s->same;
  all->checked += s->checked;
  all->decode += s->decode;
  all->same_full += s->same_full;
  all->read += s->read;
}

static void
run_side (struct file *f)
{
  static uint8_t filled[PIECE * TZ_PAGE] __attribute__ ((aligned (64)));
  static uint8_t blobs[PIECE * SLOT + TZ_DST_SIZE]
      __attribute__ ((aligned (64)));
  static int len[PIECE];
  struct side best;
  size_t at, n;
  int r;

  tz_same_fill (filled, sizeof filled, 0x0123456789abcdef);
  for (at = 0; at < f->n; at += n) {
    n = f->n - at < PIECE ? f->n - at : PIECE;
    side_blobs (f->pages + at * TZ_PAGE, n, blobs, len);
    for (r = 0; r < rounds; r++) {
      turn_side (f->pages + at * TZ_PAGE, n, blobs, len, r, &best);
      turn_same_filled (filled, n, r == 0, &best);
    }
    add_side (&f->side, &best);
  }
}

/* Same-filled pages from memory. */
static void
run_side_cold (struct side *s, size_t pages)
{
  uint8_t *filled = allocate (pages * TZ_PAGE);
  int r;

  tz_same_fill (filled, pages * TZ_PAGE, 0x0123456789abcdef);
  for (r = 0; r < rounds; r++)
    turn_same_filled (filled, pages, r == 0, s);
  free (filled);
}

/* Cold: every page comes from memory, at random, and so does every blob.  A
 * method works on a piece that the others last touched long ago.
 */

#define COLD_PIECE 1024 /* pages */

struct cold_set {
  const uint8_t **pages; /* in random order */
  size_t n;              /* a multiple of COLD_PIECE */
  uint8_t *target;
  size_t target_pages;
};

static uint64_t
cold_random (void)
{
  static uint64_t x = 88172645463325252;

  x ^= x << 13;
  x ^= x >> 7;
  x ^= x << 17;
  return x;
}

static void
cold_make (struct cold_set *set, size_t want)
{
  size_t i = 0, j, k;
  const uint8_t *p;
  uint8_t *copy;

  set->n = (want / TZ_PAGE + COLD_PIECE) / COLD_PIECE * COLD_PIECE;
  set->pages = allocate (set->n * sizeof *set->pages);
  copy = allocate (set->n * TZ_PAGE);
  while (i < set->n)
    for (j = 0; j < (size_t) n_files; j++)
      for (k = 0; k < files[j].n && i < set->n; k++, i++)
        set->pages[i] = memcpy (copy + i * TZ_PAGE,
                                files[j].pages + k * TZ_PAGE, TZ_PAGE);
  for (i = set->n - 1; i > 0; i--) {
    j = cold_random () % (i + 1);
    p = set->pages[i];
    set->pages[i] = set->pages[j];
    set->pages[j] = p;
  }
  set->target_pages = want / TZ_PAGE / 4;
  set->target = allocate (set->target_pages * TZ_PAGE);
}

struct cold_blobs {
  struct piece *best; /* of each piece */
  uint8_t *arena;
  size_t end;
  size_t *start;
  int *len;
};

static void
cold_encode (struct method *m, const struct cold_set *set, size_t piece,
             struct cold_blobs *b)
{
  struct piece *best = &b->best[piece];
  uint64_t t = now_ns ();
  double ns, bytes = 0;
  size_t i;

  for (i = piece * COLD_PIECE; i < (piece + 1) * COLD_PIECE; i++) {
    b->start[i] = b->end;
    b->len[i] = encode_page (m, set->pages[i], b->arena + b->end);
    b->end += ((size_t) b->len[i] + 63) / 64 * 64;
    bytes += b->len[i];
  }
  ns = (double) (now_ns () - t);
  if (best->bytes == 0 || ns < best->encode_ns)
    best->encode_ns = ns;
  best->bytes = bytes;
}

static void
cold_decode (struct method *m, const struct cold_set *set, size_t piece,
             struct cold_blobs *b)
{
  struct piece *best = &b->best[piece];
  uint64_t t = now_ns ();
  uint8_t *target;
  size_t i, n;
  double ns;

  for (i = 0; i < COLD_PIECE; i++) {
    n = (i * 7919 + piece) % set->n; /* far from the last one */
    target = set->target + cold_random () % set->target_pages * TZ_PAGE;
    decode_page (m, b->arena + b->start[n], b->len[n], target);
  }
  ns = (double) (now_ns () - t);
  if (best->decode_ns == 0 || ns < best->decode_ns)
    best->decode_ns = ns;
}

/* Ours with their best bodies, and liblz4. */
static bool
cold_takes_part (int i)
{
  const struct method *m = &methods[i];

  return !m->ld64 && !m->lz4 && strcmp (m->codec, "zstd") != 0;
}

/* One round: all pieces of all methods are encoded, then all are decoded. */
static void
cold_round (const struct cold_set *set, struct cold_blobs *blobs)
{
  size_t pieces = set->n / COLD_PIECE, t, piece;
  int pass, i;

  for (i = 0; i < n_methods; i++)
    blobs[i].end = 0;
  for (pass = 0; pass < 2; pass++)
    for (t = 0; t < pieces; t++)
      for (i = 0; i < n_methods; i++) {
        if (!cold_takes_part (i))
          continue;
        piece = (t + pieces * (size_t) i / (size_t) n_methods) % pieces;
        if (pass == 0)
          cold_encode (&methods[i], set, piece, &blobs[i]);
        else
          cold_decode (&methods[i], set, piece, &blobs[i]);
      }
}

static size_t
run_cold (struct result *r)
{
  long cache = sysconf (_SC_LEVEL3_CACHE_SIZE);
  size_t llc = cache > 0 ? (size_t) cache : 32 << 20, t;
  static struct cold_blobs blobs[METHODS];
  struct cold_set set;
  int i, takes_part = 0;

  if (llc > 64 << 20) /* a sum over sockets, or a hypervisor's fancy */
    llc = 64 << 20;
  for (i = 0; i < n_methods; i++)
    takes_part += cold_takes_part (i);
  cold_make (&set, 2 * llc * (size_t) takes_part);
  for (i = 0; i < n_methods; i++)
    if (cold_takes_part (i)) {
      blobs[i].arena = allocate (set.n * TZ_PAGE + TZ_DST_SIZE);
      blobs[i].start = allocate (set.n * sizeof *blobs[i].start);
      blobs[i].len = allocate (set.n * sizeof *blobs[i].len);
      blobs[i].best = allocate (set.n / COLD_PIECE * sizeof *blobs[i].best);
    }
  for (i = 0; i < rounds; i++)
    cold_round (&set, blobs);
  for (i = 0; i < n_methods; i++)
    for (t = 0; cold_takes_part (i) && t < set.n / COLD_PIECE; t++) {
      r[i].encode_ns += blobs[i].best[t].encode_ns;
      r[i].decode_ns += blobs[i].best[t].decode_ns;
      r[i].bytes += blobs[i].best[t].bytes;
    }
  return set.n;
}

/* Results. */

static void
row (const char *file, size_t pages, const struct result *r, int i,
     const char *suffix)
{
  const struct method *m = &methods[i], *peer = &methods[m->peer];
  const struct result *p = &r[m->peer];
  double bytes = (double) pages * TZ_PAGE;
  char metric[32];
  struct bench_row row = { .bench = "codec",
                           .file = file,
                           .codec = m->codec,
                           .level = m->level,
                           .isa = m->isa,
                           .peer = m->peer == i ? NULL : peer->name,
                           .metric = metric };

  snprintf (metric, sizeof metric, "compress%s", suffix);
  row.unit = "GB/s";
  row.ours = bytes / r[i].encode_ns;
  row.theirs = bytes / p->encode_ns;
  bench_row (&row);
  snprintf (metric, sizeof metric, "decompress%s", suffix);
  row.ours = bytes / r[i].decode_ns;
  row.theirs = bytes / p->decode_ns;
  bench_row (&row);
  if (*suffix)
    return;
  snprintf (metric, sizeof metric, "ratio");
  row.unit = "x";
  row.ours = bytes / r[i].bytes;
  row.theirs = bytes / p->bytes;
  bench_row (&row);
}

static void
table (const char *file, size_t pages, const struct result *r,
       const char *suffix)
{
  double bytes = (double) pages * TZ_PAGE, n = (double) pages;
  int i, p;

  if (!bench_json)
    printf ("\n%s%s, %zu pages\n%-16s %8s %8s %7s %8s %8s  %s\n", file, suffix,
            pages, "", "compress", "decompr.", "ratio", "ns/page", "ns/page",
            "times the peer");
  for (i = 0; i < n_methods; i++) {
    if (r[i].bytes == 0)
      continue;
    if (bench_json) {
      row (file, pages, r, i, suffix);
      continue;
    }
    printf ("%-16s %8.3f %8.3f %7.3f %8.0f %8.0f", methods[i].name,
            bytes / r[i].encode_ns, bytes / r[i].decode_ns, bytes / r[i].bytes,
            r[i].encode_ns / n, r[i].decode_ns / n);
    p = methods[i].peer;
    if (p != i)
      printf ("  %.2f %.2f %.3f of %s", r[p].encode_ns / r[i].encode_ns,
              r[p].decode_ns / r[i].decode_ns, r[p].bytes / r[i].bytes,
              methods[p].name);
    putchar ('\n');
  }
  fflush (stdout);
}

static void
side_row (const char *file, const char *codec, const char *isa,
          const char *metric, const char *unit, double ours, const char *peer,
          double theirs)
{
  struct bench_row r = { .bench = "codec", .file = file, .codec = codec,
                         .isa = isa, .peer = peer, .metric = metric,
                         .unit = unit, .ours = ours, .theirs = theirs };

  if (bench_json)
    bench_row (&r);
  else if (!peer)
    printf ("%-12s %-7s %-22s %8.1f %s\n", codec, isa, metric, ours, unit);
  else
    printf ("%-12s %-7s %-22s %8.1f %-5s %.3f of %s\n", codec, isa, metric,
            ours, unit, ours / theirs, peer);
}

static void
side_table (const char *file, size_t pages, const struct side *s, bool memory)
{
  double n = (double) pages, bytes = n * TZ_PAGE;

  if (!memory) {
    side_row (file, "same", tz_same_isa (), "detect", "ns", s->same / n, NULL,
              0);
    side_row (file, "checksum", tz_checksum_isa (), "checksum", "ns",
              (s->checked - s->decode) / n, "decoding", s->decode / n);
  }
  side_row (file, "same", tz_same_isa (),
            memory ? "detect-same-cold" : "detect-same", "GB/s",
            bytes / s->same_full, "reading", bytes / s->read);
  fflush (stdout);
}

/* The front, drawn: ratio upwards from 1, speed to the right, doubling; of ours
 * the bodies that a store would run.
 */
static bool
is_drawn (int i)
{
  const struct method *m = &methods[i];

  return !m->ld64 && !m->lz4 && strcmp (m->codec, "lz4-decoder") != 0;
}

static void
plot_method (FILE *f, int i, double x, double y)
{
  const struct method *m = &methods[i];
  bool peer = m->peer == i;
  char level[16] = "";

  if (m->level)
    snprintf (level, sizeof level, ":%d", m->level);
  fprintf (f,
           "<circle cx='%.1f' cy='%.1f' r='4' fill='%s'/>"
           "<text x='%.1f' y='%.1f' font-size='9' text-anchor='%s'>%s%s</text>"
           "\n",
           x, y, peer ? "gray" : "crimson", peer ? x - 7 : x + 7, y + 3,
           peer ? "end" : "start", m->codec, level);
}

static void
plot_panel (FILE *f, const char *title, const struct result *r, size_t pages,
            bool decode, int left)
{
  const double bottom = 440, high = 390, wide = 380;
  double bytes = (double) pages * TZ_PAGE, speed, top = 5.5;
  int i;

  for (i = 0; i < n_methods; i++)
    if (bytes / r[i].bytes > top - 0.3)
      top = bytes / r[i].bytes + 0.3;
  fprintf (f,
           "<g transform='translate(%d,0)'>\n"
           "<text x='190' y='24' text-anchor='middle'>%s, GB/s</text>\n"
           "<path d='M0 50V%.0fH%.0f' fill='none' stroke='black'/>\n",
           left, title, bottom, wide);
  for (i = 0; i < 9; i++)
    fprintf (f, "<text x='%.0f' y='%.0f'>%g</text>\n", i * wide / 9,
             bottom + 18, 0.125 * (1 << i));
  for (i = 1; i < top; i++)
    fprintf (f, "<text x='-14' y='%.0f'>%d</text>\n",
             bottom + 4 - high * (i - 1) / (top - 1), i);
  for (i = 0; i < n_methods; i++) {
    speed = bytes / (decode ? r[i].decode_ns : r[i].encode_ns);
    if (is_drawn (i))
      plot_method (f, i, log2 (speed / 0.125) * wide / 9,
                   bottom - high * (bytes / r[i].bytes - 1) / (top - 1));
  }
  fprintf (f, "</g>\n");
}

static void
draw (const struct result *r, size_t pages)
{
  FILE *f = fopen (plot, "w");

  if (!f) {
    perror (plot);
    exit (EXIT_FAILURE);
  }
  fprintf (f, "<svg xmlns='http://www.w3.org/2000/svg' width='960' "
              "height='480' font-family='sans-serif' font-size='12'>\n"
              "<rect width='960' height='480' fill='white'/>\n"
              "<text x='14' y='44'>ratio</text>\n"
              "<text x='480' y='474' text-anchor='middle'>ld64: %s, lz4: %s"
              "</text>\n",
           tz_ld64_ops.isa (), tz_lz4_ops.isa ());
  plot_panel (f, "compress", r, pages, false, 40);
  plot_panel (f, "decompress", r, pages, true, 520);
  fprintf (f, "</svg>\n");
  if (fclose (f) != 0) {
    perror (plot);
    exit (EXIT_FAILURE);
  }
}

int
main (int argc, char **argv)
{
  static const struct option options[]
      = { { "json", no_argument, NULL, 'j' },
          { "cold", no_argument, NULL, 'c' },
          { "rounds", required_argument, NULL, 'r' },
          { "only", required_argument, NULL, 'o' },
          { "plot", required_argument, NULL, 'p' },
          { NULL, 0, NULL, 0 } };
  static struct result total[METHODS], from_memory[METHODS];
  struct side side = { 0 }, side_from_memory;
  size_t pages = 0, same = 0;
  int c, i, j;

  while ((c = getopt_long (argc, argv, "", options, NULL)) != -1)
    switch (c) {
    case 'j':
      bench_json = true;
      break;
    case 'c':
      cold = true;
      break;
    case 'r':
      rounds = atoi (optarg);
      break;
    case 'o':
      only = optarg;
      break;
    case 'p':
      plot = optarg;
      break;
    default:
      return EXIT_FAILURE;
    }
  if (optind == argc || rounds < 1) {
    fprintf (stderr, "usage: bench-codec [--json] [--cold] [--rounds N] "
                     "[--only TEXT] [--plot FILE.svg] FILE.pages...\n");
    return EXIT_FAILURE;
  }
  for (; optind < argc; optind++)
    load (argv[optind]);
  add_methods ();
  for (i = 0; i < n_files; i++) {
    run_hot (&files[i]);
    table (files[i].name, files[i].n, files[i].hot, "");
    run_side (&files[i]);
    side_table (files[i].name, files[i].n, &files[i].side, false);
    add_side (&side, &files[i].side);
    pages += files[i].n;
    same += files[i].same;
    for (j = 0; j < n_methods; j++) {
      total[j].encode_ns += files[i].hot[j].encode_ns;
      total[j].decode_ns += files[i].hot[j].decode_ns;
      total[j].bytes += files[i].hot[j].bytes;
    }
  }
  table ("TOTAL", pages, total, "");
  side_table ("TOTAL", pages, &side, false);
  if (!bench_json)
    printf ("\n%zu same-filled pages left out\n", same);
  if (plot)
    draw (total, pages);
  if (cold) {
    pages = run_cold (from_memory);
    table ("TOTAL", pages, from_memory, "-cold");
    run_side_cold (&side_from_memory, pages);
    side_table ("TOTAL", pages, &side_from_memory, true);
  }
  return EXIT_SUCCESS;
}

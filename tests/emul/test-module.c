/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The module that runs kernels on a GPU, on the emulated one: what comes out
 * lies where it is to, wherever jobs say that is, and what is wrong is said.
 *   test-module MODULE
 */
#include <config.h>

#include <dlfcn.h>
#include <unistd.h>

#include "checksum.h"
#include "codec/codec.h"
#include "offload.h"
#include "../unit/pages.h"

#define N      132 /* pages: three runs, which the module copies if it likes */
#define RUN    (N / 3)
#define WRONG  77 /* this one's checksum is */
#define STRIDE (TZ_PAGE + TZ_BLOB_SLACK)

static const struct tz_engine_ops *ops;
static struct tz_engine *engine;
static uint8_t *in, *out; /* the engine's: N blobs or pages, N + 1 pages */
static uint8_t page[N][TZ_PAGE];
static struct tz_job jobs[N];
static int32_t result[N];

static void
run (unsigned lane, struct tz_batch *b)
{
  int r;

  memset (result, 0x5a, sizeof result);
  CHECK (ops->submit (engine, lane, b) == 0);
  while ((r = ops->poll (engine, lane)) == 0)
    usleep (100);
  CHECK (r == 1);
}

/* Have the blobs of all pages in in, and jobs to decode them. */
static void
compress (struct tz_batch *b)
{
  uint64_t number;
  unsigned i;

  for (i = 0; i < N; i++) {
    memcpy (in + (size_t) i * STRIDE, page[i], TZ_PAGE);
    jobs[i] = (struct tz_job) { .src = in + (size_t) i * STRIDE,
                                .dst = out + (size_t) i * TZ_PAGE,
                                .page = i * UINT64_C (0x100000001) };
  }
  b->op = TZ_ENCODE;
  b->checksum = false;
  run (0, b);
  for (i = 0; i < N; i++) {
    CHECK (result[i] > 0 && result[i] < TZ_PAGE);
    memcpy (in + (size_t) i * STRIDE, jobs[i].dst, (size_t) result[i]);
    number = jobs[i].page << 4 | b->codec;
    jobs[i].len = (uint32_t) result[i];
    jobs[i].sum = tz_checksum (jobs[i].src, jobs[i].len, number);
  }
}

/* Page i is to come out at place[i]. */
static void
decompress (struct tz_batch *b, unsigned lane, const unsigned place[N])
{
  unsigned i;

  for (i = 0; i < N; i++)
    jobs[i].dst = out + (size_t) place[i] * TZ_PAGE;
  memset (out, 0xa5, (N + 1) * TZ_PAGE);
  b->op = TZ_DECODE;
  run (lane, b);
  for (i = 0; i < N; i++) {
    if (b->checksum && i == WRONG) {
      CHECK (result[i] < 0);
      continue;
    }
    CHECK (result[i] == 0);
    CHECK (memcmp (jobs[i].dst, page[i], TZ_PAGE) == 0);
  }
  for (i = 0; i < TZ_PAGE; i++)
    CHECK (out[N * TZ_PAGE + i] == 0xa5);
}

static void
test_codec (enum tz_codec codec)
{
  struct tz_batch b = { .codec = codec, .n = N, .jobs = jobs,
                        .result = result };
  unsigned place[N], i;

  compress (&b);
  for (i = 0; i < N; i++) /* runs, the last one first */
    place[i] = (2 - i / RUN) * RUN + i % RUN;
  decompress (&b, 0, place);
  jobs[WRONG].sum ^= 1;
  b.checksum = true;
  decompress (&b, 1, place);
  for (i = 0; i < N; i++) /* nowhere side by side */
    place[i] = i * 5 % N;
  decompress (&b, 0, place);
  jobs[WRONG].sum ^= 1;
}

/* Two at once do not meet: of the second all checksums are wrong. */
static void
test_lanes (void)
{
  struct tz_batch all = { .codec = TZ_LD64, .n = N, .jobs = jobs,
                          .result = result };
  struct tz_batch b[2];
  unsigned i;
  int r;

  compress (&all);
  for (i = 0; i < N; i++)
    jobs[i].sum ^= i >= N / 2;
  memset (out, 0xa5, (N + 1) * TZ_PAGE);
  for (i = 0; i < 2; i++) {
    b[i] = (struct tz_batch) { .op = TZ_DECODE, .codec = TZ_LD64,
                               .checksum = true, .n = N / 2,
                               .jobs = jobs + i * (N / 2),
                               .result = result + i * (N / 2) };
    CHECK (ops->submit (engine, i, &b[i]) == 0);
  }
  for (i = 0; i < 2; i++) {
    while ((r = ops->poll (engine, i)) == 0)
      usleep (100);
    CHECK (r == 1);
  }
  for (i = 0; i < N; i++) {
    CHECK (i < N / 2 ? result[i] == 0 : result[i] < 0);
    CHECK (i >= N / 2 || memcmp (jobs[i].dst, page[i], TZ_PAGE) == 0);
  }
}

/* Memory that the device does not know is refused, and then pinned. */
static void
test_pin (void)
{
  struct tz_batch b = { .op = TZ_DECODE, .codec = TZ_LD64, .checksum = true,
                        .n = 1, .jobs = jobs, .result = result };
  struct tz_batch all = { .codec = TZ_LD64, .n = N, .jobs = jobs,
                          .result = result };
  uint8_t *pool = guarded (2 * TZ_PAGE);

  compress (&all);
  memcpy (pool + TZ_PAGE, jobs[0].src, jobs[0].len);
  jobs[0].src = pool + TZ_PAGE;
  CHECK (ops->submit (engine, 0, &b) < 0);
  CHECK (ops->pin (engine, pool, 2 * TZ_PAGE) == 0);
  run (0, &b);
  CHECK (result[0] == 0 && memcmp (jobs[0].dst, page[0], TZ_PAGE) == 0);
}

int
main (int argc, char **argv)
{
  const struct tz_engine_params with = { .lanes = 2, .batch = N };
  void *lib = dlopen (argc > 1 ? argv[1] : "", RTLD_NOW);
  char why[256];
  unsigned i, turn;

  if (!lib)
    fprintf (stderr, "test-module: %s\n", dlerror ());
  CHECK (lib && (ops = dlsym (lib, TZ_ENGINE_SYMBOL)));
  CHECK (ops->abi == TZ_ENGINE_ABI && ops->probe (why, sizeof why) == 0);
  for (i = 0; i < N; i++) {
    make_page (1, i, page[i]);
    page[i][i] ^= 0x55;
  }
  /* Which way pages come out is found out anew each time. */
  for (turn = 0; turn < 3; turn++) {
    CHECK (ops->open (&with, &engine, why, sizeof why) == 0);
    in = ops->alloc (engine, (size_t) N * STRIDE);
    out = ops->alloc (engine, (N + 1) * TZ_PAGE);
    CHECK (in && out && in[0] == 0);
    test_codec (TZ_LD64);
    test_codec (TZ_LZ4);
    test_lanes ();
    test_pin ();
    ops->close (engine);
  }
  return 0;
}

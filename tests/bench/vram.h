/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Requests of one thread to a store whose pages are in the GPU's memory, beside
 * the same store in the host's: for bench-gpu.c, which includes this.
 */
#ifndef TZ_BENCH_VRAM_H
#define TZ_BENCH_VRAM_H

static const struct tz_engine_ops *vram_ops; /* NULL: no module was named */

static void
vram_load (const char *path)
{
  void *library = dlopen (path, RTLD_NOW | RTLD_LOCAL);

  vram_ops = library ? dlsym (library, TZ_ENGINE_SYMBOL) : NULL;
  if (!vram_ops)
    give_up (EXIT_FAILURE, "%s", dlerror ());
  if (vram_ops->abi != TZ_ENGINE_ABI)
    give_up (EXIT_FAILURE, "%s is of another version", path);
}

static struct tz_store *
vram_store (bool vram)
{
  struct tz_params p = { .size = set.n * TZ_PAGE, .codec = codec,
                         .level = LEVEL, .checksum = true, .fd = -1 };
  struct tz_offload_params o = {
    .with = { .lanes = 2, .batch = set.n < 4096 ? (unsigned) set.n : 4096,
              .patience_ms = 60000 },
    .always = true,
    .timeout_ms = 60000,
  };
  struct tz_store *s;
  char why[512];

  if (vram) {
    if (vram_ops->open (&o.with, &p.engine, why, sizeof why) != 0)
      give_up (EXIT_FAILURE, "%s", why);
    p.vram = o.ops = vram_ops;
    o.engine = p.engine;
  }
  if (tz_open (&p, &s) != 0 || tz_start (s) != 0
      || (vram && tz_offload_start (s, &o) != 0)
      || tz_write (s, set.page, set.n * TZ_PAGE, 0) != 0)
    give_up (EXIT_FAILURE, "%s: no room for a store of it", set.name);
  return s;
}

/* The median of requests of n pages at places all over the disk, in ns. */
static double
vram_request (struct tz_store *s, bool write, unsigned n)
{
  static double ns[SAMPLES];
  uint64_t start = now_ns (), since;
  size_t first = 0;
  unsigned i;
  int err = 0;

  for (i = 0; i < rounds
              || (i < SAMPLES && rounds > 1 && now_ns () - start < ENOUGH);
       i++) {
    first = (first + 7919 * (size_t) n) % (set.n - n + 1);
    since = now_ns ();
    err |= write ? tz_write (s, set.page + first * TZ_PAGE,
                             (uint64_t) n * TZ_PAGE, first * TZ_PAGE)
                 : tz_read (s, room, (uint64_t) n * TZ_PAGE, first * TZ_PAGE);
    ns[i] = (double) (now_ns () - since);
    if (err || (!write && memcmp (room, set.page + first * TZ_PAGE,
                                  (size_t) n * TZ_PAGE)))
      give_up (EXIT_FAILURE, "%s, vram: a request of %u pages at %zu: %s",
               set.name, n, first, err ? strerror (-err) : "other data");
  }
  return median (ns, i);
}

static void
vram_measure (void)
{
  static const unsigned sizes[] = { 1, 32, 2048 };
  struct tz_store *s, *host;
  char metric[32];
  unsigned i, n, write;

  if (!vram_ops)
    return;
  s = vram_store (true);
  host = vram_store (false);
  for (i = 0; i < 6; i++) {
    n = sizes[i % 3];
    write = i / 3;
    if (n > set.n)
      continue;
    snprintf (metric, sizeof metric, "%s-%u", write ? "write" : "read", n);
    row ("vram", metric, "GB/s", gbps (n, vram_request (s, write, n)),
         "host", gbps (n, vram_request (host, write, n)));
  }
  tz_close (s);
  tz_close (host);
}

#endif /* TZ_BENCH_VRAM_H */

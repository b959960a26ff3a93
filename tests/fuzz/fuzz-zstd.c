/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* zstd: a blob of any bytes; libzstd must keep to the page. */
#include <errno.h>

#include "codec/codec.h"
#include "fuzz.h"

static uint8_t dst[TZ_DST_SIZE] __attribute__ ((aligned (64)));
static struct guarded room, page;
static void *scratch;

static void
set_up (void)
{
  size_t size = tz_zstd_ops.scratch_size (1);

  if (scratch)
    return;
  room = guarded_alloc (3 * TZ_PAGE);
  page = guarded_alloc (TZ_PAGE);
  FUZZ_CHECK (posix_memalign (&scratch, 64, size) == 0);
  memset (scratch, 0, size);
  FUZZ_CHECK (tz_zstd_ops.init (scratch, size, 1) == 0);
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  size_t at;
  int r;

  set_up ();
  if (size == 0 || size >= TZ_PAGE)
    return 0;
  at = (size_t) (room.end - room.start - TZ_BLOB_SLACK - size) / 16 * 16;
  memcpy (room.start + at, data, size);
  r = tz_zstd_ops.decode (scratch, room.start + at, size, page.start);
  FUZZ_CHECK (r == 0 || r == -EBADMSG);
  return 0;
}

size_t
fuzz_seed (unsigned i, uint8_t buf[FUZZ_MAX])
{
  uint8_t in[TZ_PAGE];
  uint64_t rng = i;
  size_t j;
  int n;

  set_up ();
  if (i >= 64)
    return 0;
  for (j = 0; j < TZ_PAGE; j++)
    in[j] = fuzz_random (&rng) % (2 + i) == 0 || j < 64
                ? (uint8_t) (fuzz_random (&rng) % (2 << i % 7))
                : in[j - (1 + i % 64)];
  n = tz_zstd_ops.encode (scratch, in, dst, 1);
  FUZZ_CHECK (n > 0);
  memcpy (buf, dst, (size_t) n);
  return (size_t) n;
}

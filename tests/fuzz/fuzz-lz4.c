/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* LZ4: a blob of any bytes, then those bytes as a page. */
#include <errno.h>

#include "codec/codec.h"
#include "fuzz.h"

static uint8_t scratch[65536] __attribute__ ((aligned (64)));
static uint8_t dst[TZ_DST_SIZE] __attribute__ ((aligned (64)));
static struct guarded room, page;

/* The blob's slack ends at the guard, filled with the byte given. */
static int
decode (const uint8_t *blob, size_t len, int slack)
{
  size_t at = (size_t) (room.end - room.start - TZ_BLOB_SLACK - len) / 16 * 16;
  uint8_t *p = room.start + at;

  memset (p + len, slack, (size_t) (room.end - p) - len);
  memcpy (p, blob, len);
  return tz_lz4_ops.decode (scratch, p, len, page.start);
}

static void
as_page (const uint8_t *data, size_t size)
{
  static uint8_t in[TZ_PAGE];
  int level, n;

  memset (in, 0, sizeof in);
  memcpy (in, data, size < TZ_PAGE ? size : TZ_PAGE);
  for (level = tz_lz4_ops.min_level; level <= tz_lz4_ops.max_level; level++) {
    n = tz_lz4_ops.encode (scratch, in, dst, level);
    FUZZ_CHECK (n >= 0 && n < TZ_PAGE);
    if (n == 0)
      continue;
    FUZZ_CHECK (decode (dst, (size_t) n, 0) == 0);
    FUZZ_CHECK (memcmp (page.start, in, TZ_PAGE) == 0);
  }
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  uint8_t out[TZ_PAGE];
  int r;

  if (!room.start) {
    room = guarded_alloc (3 * TZ_PAGE);
    page = guarded_alloc (TZ_PAGE);
  }
  if (size == 0)
    return 0;
  if (size < TZ_PAGE) {
    r = decode (data, size, 0);
    FUZZ_CHECK (r == 0 || r == -EBADMSG);
    memcpy (out, page.start, TZ_PAGE);
    FUZZ_CHECK (decode (data, size, 255) == r);
    FUZZ_CHECK (r != 0 || memcmp (page.start, out, TZ_PAGE) == 0);
  }
  as_page (data, size);
  return 0;
}

size_t
fuzz_seed (unsigned i, uint8_t buf[FUZZ_MAX])
{
  uint8_t in[TZ_PAGE];
  uint64_t rng = i;
  size_t j;

  if (i >= 64)
    return 0;
  memset (in, 0, sizeof in);
  for (j = 0; j < TZ_PAGE; j++) {
    if (fuzz_random (&rng) % (2 + i / 4) == 0)
      in[j] = (uint8_t) (fuzz_random (&rng) % (1 << i % 9));
    else if (j >= 64)
      in[j] = in[j - (i % 3 ? 1 + i % 64 : 64)];
  }
  memcpy (buf, in, TZ_PAGE); /* as good a seed if it does not shrink */
  j = (size_t) tz_lz4_ops.encode (scratch, in, dst, (int) (1 + i % 3));
  if (j > 0)
    memcpy (buf, dst, j);
  return j > 0 ? j : TZ_PAGE;
}

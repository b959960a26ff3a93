/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Any bytes decode to the same page with every body, or not at all, and
 * nothing outside is read or written.  What decodes also encodes and decodes
 * again.
 */
#include <errno.h>

#include "codec/ld64.h"
#include "cpu.h"
#include "fuzz.h"

static struct guarded in, out;
static struct ld64_scratch scratch __attribute__ ((aligned (64)));

static void
round_trip (const struct ld64_body *body, const uint8_t *page)
{
  static uint8_t dst[TZ_DST_SIZE] __attribute__ ((aligned (64)));
  static uint8_t back[TZ_PAGE];
  int level, len;

  for (level = 1; level <= LD64_LEVELS; level++) {
    len = body->encode[level](&scratch, page, dst);
    FUZZ_CHECK (len >= 0 && len < TZ_PAGE);
    if (len > 0) {
      FUZZ_CHECK (body->decode (dst, (size_t) len, back) == 0);
      FUZZ_CHECK (memcmp (back, page, TZ_PAGE) == 0);
    }
  }
}

/* The same by the other way to decode, if there is one. */
static void
decode_sum (const struct ld64_body *body, const uint8_t *blob, size_t size,
            const uint8_t *page, int expected)
{
  uint64_t sum;

  if (!body->decode_sum)
    return;
  memset (out.start, 0xa5, TZ_PAGE);
  FUZZ_CHECK (body->decode_sum (blob, size, out.start, &sum) == expected);
  if (expected == 0) {
    FUZZ_CHECK (memcmp (out.start, page, TZ_PAGE) == 0);
    FUZZ_CHECK (sum == tz_checksum_sum_scalar (blob, size));
  }
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  static uint8_t first[TZ_PAGE];
  uint8_t *blob;
  int i, r, expected = 1;

  if (!in.start) {
    in = guarded_alloc (2 * TZ_PAGE);
    out = guarded_alloc (TZ_PAGE);
  }
  if (size > TZ_PAGE)
    size = TZ_PAGE;
  blob = in.end - TZ_BLOB_SLACK - size;
  memset (blob + size, (int) size, TZ_BLOB_SLACK);
  if (size)
    memcpy (blob, data, size);
  for (i = 0; tz_ld64_bodies[i]; i++) {
    if (tz_ld64_bodies[i]->needs & ~tz_cpu ())
      continue;
    memset (out.start, 0x5a, TZ_PAGE);
    r = tz_ld64_bodies[i]->decode (blob, size, out.start);
    FUZZ_CHECK (r == 0 || r == -EBADMSG);
    FUZZ_CHECK (expected == 1 || r == expected);
    if (r == 0 && expected == 0)
      FUZZ_CHECK (memcmp (out.start, first, TZ_PAGE) == 0);
    memcpy (first, out.start, TZ_PAGE);
    expected = r;
    decode_sum (tz_ld64_bodies[i], blob, size, first, r);
    if (r == 0 && size % 8 == 0)
      round_trip (tz_ld64_bodies[i], first);
  }
  return 0;
}

/* Records of several sizes, from a few lines to a full page. */
size_t
fuzz_seed (unsigned i, uint8_t buf[FUZZ_MAX])
{
  static uint8_t page[TZ_PAGE], dst[TZ_DST_SIZE];
  uint64_t rng = i;
  unsigned at;
  int len;

  if (i >= 64)
    return 0;
  memset (page, 0, sizeof page);
  for (at = 0; at < 64 * i; at++)
    if (at % (i + 9) < 8)
      page[at] = (uint8_t) (fuzz_random (&rng) % (i + 1));
  len = tz_ld64_ops.encode (&scratch, page, dst, 1 + (int) i % 2);
  FUZZ_CHECK (len > 0);
  memcpy (buf, dst, (size_t) len);
  return (size_t) len;
}

/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Pages of one 8-byte pattern. */
#include <string.h>

#include "codec/codec.h"

#define BLOCK 128 /* bytes looked at between two exits */

bool
tz_same_filled (const uint8_t *page, uint64_t *pattern)
{
  uint64_t first, last, w, diff;
  size_t i, j;

  memcpy (&first, page, sizeof first);
  memcpy (&last, page + TZ_PAGE - sizeof last, sizeof last);
  if (first != last)
    return false;
  for (i = 0; i < TZ_PAGE; i += BLOCK) {
    diff = 0;
    for (j = i; j < i + BLOCK; j += sizeof w) {
      memcpy (&w, page + j, sizeof w);
      diff |= w ^ first;
    }
    if (diff != 0)
      return false;
  }
  *pattern = first;
  return true;
}

void
tz_same_fill (uint8_t *buf, size_t count, uint64_t pattern, unsigned phase)
{
  uint8_t twice[16];
  size_t i;

  memcpy (twice, &pattern, sizeof pattern);
  memcpy (twice + 8, &pattern, sizeof pattern);
  if (memcmp (twice, twice + 1, 8) == 0) {
    memset (buf, twice[0], count);
    return;
  }
  memcpy (&pattern, twice + phase % 8, sizeof pattern);
  for (i = 0; i + 8 <= count; i += 8)
    memcpy (buf + i, &pattern, sizeof pattern);
  memcpy (buf + i, &pattern, count - i);
}

const char *
tz_same_isa (void)
{
  return "scalar";
}

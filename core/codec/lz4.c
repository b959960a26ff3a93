/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Standard LZ4 blocks of one page. */
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "codec/bytes.h"
#include "codec/codec.h"

#define MIN_MATCH   4
#define END_LITERALS 5  /* a block ends with at least so many literals */
#define LAST_START  12 /* no match starts closer to the end than this */
#define HASH_BITS   12

static size_t
scratch_size (int level)
{
  (void) level;
  return sizeof (uint16_t) << HASH_BITS;
}

/* Lengths over 14 go on in bytes of 255 and a last one below. */
static uint8_t *
put_length (uint8_t *op, unsigned n)
{
  for (; n >= 255; n -= 255)
    *op++ = 255;
  *op++ = n;
  return op;
}

/* A sequence; match_len 0 stands for the last one, which has no match. */
static uint8_t *
put_sequence (uint8_t *op, const uint8_t *literals, unsigned n,
              unsigned offset, unsigned match_len)
{
  unsigned m = match_len ? match_len - MIN_MATCH : 0;

  *op++ = (n < 15 ? n : 15) << 4 | (m < 15 ? m : 15);
  if (n >= 15)
    op = put_length (op, n - 15);
  memcpy (op, literals, n);
  op += n;
  if (match_len == 0)
    return op;
  put16 (op, offset);
  op += 2;
  if (m >= 15)
    op = put_length (op, m - 15);
  return op;
}

static unsigned
match_length (const uint8_t *page, unsigned a, unsigned b)
{
  unsigned n = 0;

  while (b + n < TZ_PAGE - END_LITERALS && page[a + n] == page[b + n])
    n++;
  return n;
}

static int
encode (void *scratch, const uint8_t *page, uint8_t *dst, int level)
{
  uint16_t *table = scratch;
  uint8_t *op = dst;
  unsigned pos = 1, anchor = 0, cand, h, n;
  uint32_t w;

  (void) level;
  memset (table, 0, sizeof *table << HASH_BITS);
  while (pos <= TZ_PAGE - LAST_START) {
    w = get32 (page + pos);
    h = w * 2654435761u >> (32 - HASH_BITS);
    cand = table[h];
    table[h] = pos;
    if (cand >= pos || get32 (page + cand) != w) {
      pos += 1 + ((pos - anchor) >> 6);
      continue;
    }
    while (pos > anchor && cand > 0 && page[pos - 1] == page[cand - 1])
      pos--, cand--;
    n = match_length (page, cand, pos);
    op = put_sequence (op, page + anchor, pos - anchor, pos - cand, n);
    pos += n;
    anchor = pos;
  }
  op = put_sequence (op, page + anchor, TZ_PAGE - anchor, 0, 0);
  return op - dst < TZ_PAGE ? op - dst : 0;
}

/* Read the rest of a length; it stops growing once it is too long for a page.
 * Bytes after the end may be read: the caller sees that ip is past it.
 */
static inline const uint8_t *
get_length (const uint8_t *ip, const uint8_t *end, size_t *n)
{
  uint8_t b;

  do {
    b = *ip++;
    *n += b;
  } while (b == 255 && ip < end);
  return ip;
}

/* Copy n bytes; up to 15 bytes after them may be overwritten if wild. */
static inline void
copy_literals (uint8_t *op, const uint8_t *ip, size_t n, bool wild)
{
  size_t i;

  if (!wild) {
    memcpy (op, ip, n);
    return;
  }
  for (i = 0; i < n; i += 16)
    memcpy (op + i, ip + i, 16);
}

/* Copy n bytes from offset bytes before op, which they may reach; up to 31
 * bytes after them may be overwritten if wild.
 */
static inline void
copy_match (uint8_t *op, size_t offset, size_t n, bool wild)
{
  const uint8_t *from = op - offset;
  size_t i;

  if (!wild || offset < 8) {
    for (i = 0; i < n; i++)
      op[i] = from[i];
    return;
  }
  for (i = 0; i < n; i += 8)
    memcpy (op + i, from + i, 8);
}

static int
decode (void *scratch, const uint8_t *blob, size_t len, uint8_t *page)
{
  const uint8_t *ip = blob, *const end = blob + len;
  uint8_t *op = page, *const op_end = page + TZ_PAGE;
  size_t n, offset;
  unsigned token;

  (void) scratch;
  while (ip < end) {
    token = *ip++;
    n = token >> 4;
    if (n == 15)
      ip = get_length (ip, end, &n);
    if (ip > end || n > (size_t) (end - ip) || n > (size_t) (op_end - op))
      return -EBADMSG;
    copy_literals (op, ip, n, op_end - op >= (ptrdiff_t) n + 16);
    ip += n;
    op += n;
    if (ip == end)
      return op == op_end ? 0 : -EBADMSG;
    offset = get16 (ip);
    ip += 2;
    n = token & 15;
    if (n == 15)
      ip = get_length (ip, end, &n);
    n += MIN_MATCH;
    if (ip >= end || offset - 1 >= (size_t) (op - page)
        || n > (size_t) (op_end - op))
      return -EBADMSG;
    copy_match (op, offset, n, op_end - op >= (ptrdiff_t) n + 16);
    op += n;
  }
  return -EBADMSG;
}

static const char *
isa (void)
{
  return "scalar";
}

const struct tz_codec_ops tz_lz4_ops = {
  .name = "lz4",
  .min_level = 1,
  .max_level = 3,
  .default_level = 2,
  .scratch_size = scratch_size,
  .encode = encode,
  .decode = decode,
  .isa = isa,
};

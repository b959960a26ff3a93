/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Standard LZ4 blocks of one page: the encoder's reference and the decoder. */
#include <errno.h>

#include "cpu.h"
#include "codec/codec.h"

#define TARGET
#include "codec/lz4-encode.h"

INLINE struct span
measure (const uint8_t *p, const uint8_t *c)
{
  uint64_t differ = get64 (p - 8) ^ get64 (c - 8);
  struct span s;

  s.back = differ ? __builtin_clzll (differ) / 8 : 8;
  for (s.forward = 0; s.forward < LZ4_FORWARD; s.forward += 8) {
    differ = get64 (p + s.forward) ^ get64 (c + s.forward);
    if (differ != 0) {
      s.forward += __builtin_ctzll (differ) / 8;
      break;
    }
  }
  return s;
}

/* Put a word's entry into the table; 1 if old is one of the same hash, else 0.
 * Nothing foresees which: neither here nor below does a branch ask.
 */
INLINE uint32_t
exchange (uint32_t *table, uint32_t hash, unsigned i, uint32_t *old)
{
  uint32_t entry = (hash & ~LZ4_NUMBER) | i;
  uint32_t *slot = table + (hash >> (32 - LZ4_HASH_BITS));

  *old = *slot;
  *slot = entry;
  return ((*old ^ entry) <= LZ4_NUMBER) & ((*old & LZ4_NUMBER) != LZ4_NONE);
}

INLINE void
refer_wide (struct lz4_work *w, uint64_t *wide)
{
  uint32_t h, old, ok;
  uint64_t mask = 0;
  const uint8_t *p;
  unsigned i;

  for (i = 0; i < LZ4_WORDS; i++) {
    p = w->page + 4 * i;
    h = get32 (p - 2) * LZ4_WIDE_MUL0 + get32 (p + 1) * LZ4_WIDE_MUL1;
    ok = exchange (w->wide, h, i, &old);
    w->words[i] = (old & LZ4_NUMBER) | (ok - 1); /* UINT32_MAX: none */
    mask |= (uint64_t) ok << i % 64;
    if (i % 64 == 63) {
      wide[i / 64] = mask;
      mask = 0;
    }
  }
}

INLINE uint64_t
refer_narrow (struct lz4_work *w, unsigned k)
{
  uint32_t h, old, ok, none;
  uint64_t mask = 0;
  unsigned i;

  for (i = 64 * k; i < 64 * (k + 1); i++) {
    h = get32 (w->page + 4 * i - 1) * LZ4_NARROW_MUL;
    ok = exchange (w->narrow, h, i, &old);
    none = -(w->words[i] >> 31);
    w->words[i] = (w->words[i] & ~none) | (old & LZ4_NUMBER & none);
    mask |= (uint64_t) ok << i % 64;
  }
  return mask;
}

unsigned
tz_lz4_encode_scalar (struct lz4_work *work, uint8_t *dst,
                      unsigned narrow_below)
{
  return encode (work, dst, narrow_below);
}

const struct lz4_body tz_lz4_bodies[] = {
#if defined(__x86_64__)
  { "avx2", TZ_CPU_AVX2, tz_lz4_encode_avx2 },
  { "ssse3", TZ_CPU_SSSE3, tz_lz4_encode_ssse3 },
#elif defined(__aarch64__)
  { "neon", TZ_CPU_NEON, tz_lz4_encode_neon },
#endif
  { "scalar", 0, tz_lz4_encode_scalar },
};
const int tz_lz4_n_bodies = sizeof tz_lz4_bodies / sizeof tz_lz4_bodies[0];

static const struct lz4_body *
best (void)
{
  const struct lz4_body *body = tz_lz4_bodies;

  while ((body->needs & ~tz_cpu ()) != 0)
    body++;
  return body;
}

int
tz_lz4_encode_with (const struct lz4_body *body, void *scratch,
                    const uint8_t *page, uint8_t *dst, int level)
{
  /* Level 3 looks for narrow references everywhere. */
  static const uint8_t narrow_below[] = { 24, 24, 40, 65 };
  struct lz4_work *work = scratch;
  unsigned n;

  memcpy (work->page, page, TZ_PAGE);
  n = body->encode (work, dst, narrow_below[level]);
  return n < TZ_PAGE ? (int) n : 0;
}

static int
lz4_encode (void *scratch, const uint8_t *page, uint8_t *dst, int level)
{
  return tz_lz4_encode_with (best (), scratch, page, dst, level);
}

static size_t
scratch_size (int level)
{
  (void) level;
  return sizeof (struct lz4_work);
}

/* The rest of a length.  It may read one byte after the end, as may all that
 * reads a token or an offset: then ip is past it, which is found in the end.
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

/* A match that reaches into itself repeats a pattern.  For each distance up to
 * 8: a factor that makes 8 bytes of it, and how far on they fit again.
 */
static const uint64_t repeat[9]
    = { 0, 0x0101010101010101, 0x0001000100010001, 0x0001000001000001,
        0x0000000100000001, 0x0000010000000001, 0x0001000000000001,
        0x0100000000000001, 1 };
static const uint8_t period[9] = { 0, 8, 8, 6, 8, 5, 6, 7, 8 };

static inline uint64_t
pattern (const uint8_t *from, size_t offset)
{
  return (get64 (from) & UINT64_MAX >> (64 - 8 * offset)) * repeat[offset];
}

/* Copy in steps of 32 bytes, so that most loops end after the first and the
 * processor can foresee it.  Near matches go in parts of 8 bytes: to load what
 * more than one store wrote takes long.
 */
#define COPY_SLACK 32 /* bytes that may be overwritten behind those */

static inline void
copy_far (uint8_t *op, const uint8_t *from, size_t n)
{
  const uint8_t *end = op + n;

  do {
    memcpy (op, from, 16);
    memcpy (op + 16, from + 16, 16);
    op += 32;
    from += 32;
  } while (op < end);
}

static inline void
copy_near (uint8_t *op, const uint8_t *from, size_t n)
{
  const uint8_t *end = op + n;
  int i;

  do {
    for (i = 0; i < 32; i += 8)
      memcpy (op + i, from + i, 8);
    op += 32;
    from += 32;
  } while (op < end);
}

static inline void
copy_pattern (uint8_t *op, size_t offset, size_t n)
{
  uint64_t v = pattern (op - offset, offset);
  const uint8_t *end = op + n;
  size_t step = period[offset];

  do {
    put64 (op, v);
    put64 (op + step, v);
    put64 (op + 2 * step, v);
    put64 (op + 3 * step, v);
    op += 4 * step;
  } while (op < end);
}

/* Copy a match and touch no byte behind it. */
static void
copy_exactly (uint8_t *op, size_t offset, size_t n)
{
  const uint8_t *from = op - offset;
  uint64_t v;

  if (offset > 8 || n < 8) { /* with less a pattern may lie past the page */
    for (; n >= 8; n -= 8, op += 8, from += 8)
      memcpy (op, from, 8);
    for (; n > 0; n--)
      *op++ = *from++;
    return;
  }
  v = pattern (from, offset);
  for (; n >= 8; n -= period[offset], op += period[offset])
    put64 (op, v);
  for (; n > 0; n--, v >>= 8)
    *op++ = v;
}

/* Decode from ip on what is left of a page, and tell right from wrong. */
static int
decode_rest (const uint8_t *ip, const uint8_t *end, uint8_t *op,
             const uint8_t *page)
{
  const uint8_t *op_end = page + TZ_PAGE;
  size_t n, offset;
  unsigned token;

  for (;;) {
    token = *ip++;
    n = token >> 4;
    if (n == 15)
      ip = get_length (ip, end, &n);
    if (ip > end || n > (size_t) (end - ip) || n > (size_t) (op_end - op))
      return -EBADMSG;
    memcpy (op, ip, n);
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
    copy_exactly (op, offset, n);
    op += n;
  }
}

/* Copy a match of 19 bytes or more. */
static inline void
copy_long (uint8_t *op, size_t offset, size_t n, size_t room)
{
  if (UNLIKELY (n + COPY_SLACK > room))
    copy_exactly (op, offset, n);
  else if (offset >= 16)
    copy_far (op, op - offset, n);
  else if (offset > 8)
    copy_near (op, op - offset, n);
  else
    copy_pattern (op, offset, n);
}

/* Most of a page is decoded here, with careless copies.  The loop ends well
 * before the page does, so that short lengths need no test.
 */
static int
decode (void *scratch, const uint8_t *blob, size_t len, uint8_t *page)
{
  const uint8_t *ip = blob, *next, *match, *const end = blob + len;
  uint8_t *op = page, *const op_end = page + TZ_PAGE;
  uint8_t *const op_careful = op_end - (14 + COPY_SLACK);
  size_t n, offset;
  unsigned token;

  (void) scratch;
  while (op <= op_careful) {
    token = *ip++;
    n = token >> 4;
    if (n < 15)
      memcpy (op, ip, 16);
    else {
      next = get_length (ip, end, &n);
      if (next >= end || n >= (size_t) (end - next)
          || n + COPY_SLACK > (size_t) (op_end - op))
        return decode_rest (ip - 1, end, op, page);
      ip = next;
      copy_far (op, ip, n);
    }
    ip += n;
    op += n;
    if (UNLIKELY (ip >= end))
      return -EBADMSG;
    offset = get16 (ip);
    ip += 2;
    if (UNLIKELY (offset - 1 >= (size_t) (op - page)))
      return -EBADMSG;
    match = op - offset;
    n = (token & 15) + MIN_MATCH;
    if (n < 15 + MIN_MATCH) {
      if (offset >= 8) {
        memcpy (op, match, 8);
        memcpy (op + 8, match + 8, 8);
        memcpy (op + 16, match + 16, 2);
      }
      else
        copy_pattern (op, offset, n);
    }
    else {
      ip = get_length (ip, end, &n);
      if (n > (size_t) (op_end - op))
        return -EBADMSG;
      copy_long (op, offset, n, op_end - op);
    }
    op += n;
  }
  return decode_rest (ip, end, op, page);
}

static const char *
isa (void)
{
  return best ()->isa;
}

const struct tz_codec_ops tz_lz4_ops = {
  .name = "lz4",
  .min_level = 1,
  .max_level = 3,
  .default_level = 1,
  .scratch_size = scratch_size,
  .encode = lz4_encode,
  .decode = decode,
  .isa = isa,
};

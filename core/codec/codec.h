/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What a codec is to the store.
 *
 * Encoders take exactly TZ_PAGE readable bytes and decoders write exactly
 * TZ_PAGE bytes, never one outside, whatever the blob holds.  A blob is
 * len bytes, 1 … TZ_PAGE - 1, starts on a 16-byte boundary and is followed by
 * TZ_BLOB_SLACK bytes that may be read (their content is undefined and must
 * not matter).  No codec allocates, prints or blocks.
 */
#ifndef TZ_CODEC_H
#define TZ_CODEC_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>

#include "tzram.h"
#include "checksum.h"

#define TZ_BLOB_SLACK 128 /* readable bytes after a blob */
#define TZ_DST_SIZE   (2 * TZ_PAGE) /* writable bytes given to an encoder */

struct tz_codec_ops {
  const char *name;
  int min_level, max_level, default_level;

  /* Bytes of scratch one thread needs at this level, aligned to 64; it is
   * zeroed once, before init.  NULL: none, and encode and decode get NULL.
   */
  size_t (*scratch_size) (int level);
  /* Prepare scratch; NULL: nothing to do.  0 or a negative errno. */
  int (*init) (void *scratch, size_t size, int level);

  /* Compress page into dst (TZ_DST_SIZE bytes, 64-aligned).  Returns the
   * blob's length; 0 if it would not be shorter than TZ_PAGE; or a
   * negative errno.
   */
  int (*encode) (void *scratch, const uint8_t *page, uint8_t *dst, int level);
  /* Expand a blob; 0 or -EBADMSG.  scratch may be NULL unless
   * decode_scratch.
   */
  bool decode_scratch;
  int (*decode) (void *scratch, const uint8_t *blob, size_t len,
                 uint8_t *page);
  /* The same, and tz_checksum_sum of the blob, in less time than both take.
   * NULL: none.
   */
  int (*decode_sum) (const uint8_t *blob, size_t len, uint8_t *page,
                     uint64_t *sum);

  /* The instruction set that runs: "scalar", "avx2", … */
  const char *(*isa) (void);
};

extern const struct tz_codec_ops tz_ld64_ops;
extern const struct tz_codec_ops tz_lz4_ops;
extern const struct tz_codec_ops tz_zstd_ops;

/* By enum tz_codec; NULL for TZ_ABSENT, TZ_SAME and TZ_RAW.  Tests replace an
 * entry to inject failures.
 */
extern const struct tz_codec_ops *tz_codecs[TZ_CODECS];

/* Decode a blob whose tz_checksum with this seed is check; else, or if it is
 * none, -EBADMSG and anything in the page.
 */
static inline int
tz_decode_checked (const struct tz_codec_ops *ops, void *scratch,
                   const uint8_t *blob, size_t len, uint8_t *page,
                   uint64_t seed, uint32_t check)
{
  uint64_t sum;
  int r;

  if (!ops->decode_sum) {
    if (tz_checksum (blob, len, seed) != check)
      return -EBADMSG;
    return ops->decode (scratch, blob, len, page);
  }
  r = ops->decode_sum (blob, len, page, &sum);
  if (r == 0 && tz_checksum_end (sum, len, seed) != check)
    r = -EBADMSG;
  return r;
}

/* True if the page is one 8-byte pattern (as memory holds it) repeated. */
bool tz_same_filled (const uint8_t *page, uint64_t *pattern);
void tz_same_fill (uint8_t *buf, size_t count, uint64_t pattern);
const char *tz_same_isa (void);

#endif /* TZ_CODEC_H */

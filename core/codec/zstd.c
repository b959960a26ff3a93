/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* zstd frames without magic number, size, dictionary id and checksum: the
 * store knows or keeps all of these.  Both contexts live in the scratch and
 * are of the static kind, which never allocates.
 */
#define ZSTD_STATIC_LINKING_ONLY
#include <zstd.h>

#include <errno.h>

#include "codec/codec.h"

#define ALIGN64(n) (((n) + 63) & ~(size_t) 63)

/* What the scratch starts with. */
struct contexts {
  ZSTD_CCtx *c;
  ZSTD_DCtx *d;
};

static ZSTD_compressionParameters
params_for (int level)
{
  return ZSTD_getCParams (level, TZ_PAGE, 0);
}

static size_t
c_size (int level)
{
  return ALIGN64 (ZSTD_estimateCCtxSize_usingCParams (params_for (level)));
}

static size_t
d_size (void)
{
  return ALIGN64 (ZSTD_estimateDCtxSize ());
}

static size_t
scratch_size (int level)
{
  return ALIGN64 (sizeof (struct contexts)) + c_size (level) + d_size ();
}

static int
set_up_encoder (ZSTD_CCtx *c, int level)
{
  ZSTD_compressionParameters p = params_for (level);
  const struct {
    ZSTD_cParameter name;
    int value;
  } set[] = {
    { ZSTD_c_format, ZSTD_f_zstd1_magicless },
    { ZSTD_c_contentSizeFlag, 0 },
    { ZSTD_c_checksumFlag, 0 },
    { ZSTD_c_dictIDFlag, 0 },
    { ZSTD_c_windowLog, p.windowLog },
    { ZSTD_c_chainLog, p.chainLog },
    { ZSTD_c_hashLog, p.hashLog },
    { ZSTD_c_searchLog, p.searchLog },
    { ZSTD_c_minMatch, p.minMatch },
    { ZSTD_c_targetLength, p.targetLength },
    { ZSTD_c_strategy, p.strategy },
  };
  size_t i;

  /* The level first: it resets nothing but what is derived from it. */
  if (ZSTD_isError (ZSTD_CCtx_setParameter (c, ZSTD_c_compressionLevel, level)))
    return -EINVAL;
  for (i = 0; i < sizeof set / sizeof set[0]; i++)
    if (ZSTD_isError (ZSTD_CCtx_setParameter (c, set[i].name, set[i].value)))
      return -EINVAL;
  return 0;
}

static int
encode (void *scratch, const uint8_t *page, uint8_t *dst, int level)
{
  struct contexts *ctx = scratch;
  size_t n = ZSTD_compress2 (ctx->c, dst, TZ_DST_SIZE, page, TZ_PAGE);

  (void) level; /* set in init */
  if (ZSTD_isError (n))
    return -EIO;
  return n < TZ_PAGE ? (int) n : 0;
}

static int
decode (void *scratch, const uint8_t *blob, size_t len, uint8_t *page)
{
  struct contexts *ctx = scratch;

  if (ZSTD_decompressDCtx (ctx->d, page, TZ_PAGE, blob, len) != TZ_PAGE)
    return -EBADMSG;
  return 0;
}

/* A page goes through both contexts so that they have done all that they
 * put off to their first use, and a library that would not is found out now.
 */
static int
warm_up (void *scratch, int level)
{
  static const uint8_t zeroes[TZ_PAGE];
  uint8_t dst[TZ_DST_SIZE], page[TZ_PAGE];
  int n = encode (scratch, zeroes, dst, level);

  if (n <= 0)
    return -EIO;
  return decode (scratch, dst, n, page) == 0 ? 0 : -EIO;
}

static int
init (void *scratch, size_t size, int level)
{
  struct contexts *ctx = scratch;
  uint8_t *p = (uint8_t *) scratch + ALIGN64 (sizeof *ctx);
  int r;

  if (size < scratch_size (level))
    return -EINVAL;
  ctx->c = ZSTD_initStaticCCtx (p, c_size (level));
  ctx->d = ZSTD_initStaticDCtx (p + c_size (level), d_size ());
  if (!ctx->c || !ctx->d)
    return -ENOMEM;
  r = set_up_encoder (ctx->c, level);
  if (r < 0)
    return r;
  if (ZSTD_isError (ZSTD_DCtx_setParameter (ctx->d, ZSTD_d_format,
                                            ZSTD_f_zstd1_magicless)))
    return -EINVAL;
  return warm_up (scratch, level);
}

/* libzstd chooses its own bodies. */
static const char *
isa (void)
{
  return "libzstd";
}

const char *
tz_zstd_version (void)
{
  return ZSTD_versionString ();
}

const struct tz_codec_ops tz_zstd_ops = {
  .name = "zstd",
  .min_level = -7,
  .max_level = 19,
  .default_level = 1,
  .scratch_size = scratch_size,
  .init = init,
  .encode = encode,
  .decode_scratch = true,
  .decode = decode,
  .isa = isa,
};

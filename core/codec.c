/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The codec table and its names. */
#include <errno.h>
#include <string.h>

#include "cpu.h"
#include "tzram.h"
#include "codec/codec.h"

const struct tz_codec_ops *tz_codecs[TZ_CODECS] = {
  [TZ_LD64] = &tz_ld64_ops,
  [TZ_LZ4] = &tz_lz4_ops,
  [TZ_ZSTD] = &tz_zstd_ops,
};

static const char *const names[] = {
  [TZ_ABSENT] = "absent", [TZ_SAME] = "same", [TZ_RAW] = "raw",
  [TZ_LD64] = "ld64",     [TZ_LZ4] = "lz4",   [TZ_ZSTD] = "zstd",
  [TZ_AUTO] = "auto",
};

const char *
tz_codec_name (enum tz_codec codec)
{
  if ((unsigned) codec >= sizeof names / sizeof names[0] || !names[codec])
    return "unknown";
  return names[codec];
}

int
tz_codec_by_name (const char *name)
{
  enum tz_codec c;

  for (c = TZ_RAW; c < TZ_CODECS; c++)
    if (strcmp (name, names[c]) == 0)
      return c;
  if (strcmp (name, names[TZ_AUTO]) == 0)
    return TZ_AUTO;
  return -EINVAL;
}

/* auto is ld64: the fastest, and denser than lz4. */
int
tz_codec_levels (enum tz_codec codec, int *min, int *max, int *dflt)
{
  const struct tz_codec_ops *ops;

  if (codec == TZ_AUTO)
    codec = TZ_LD64;
  if (codec == TZ_RAW) {
    *min = *max = *dflt = 0;
    return 0;
  }
  if (codec < TZ_LD64 || codec >= TZ_CODECS)
    return -EINVAL;
  ops = tz_codecs[codec];
  *min = ops->min_level;
  *max = ops->max_level;
  *dflt = ops->default_level;
  return 0;
}

const char *
tz_codec_isa (enum tz_codec codec)
{
  if (codec == TZ_AUTO)
    codec = TZ_LD64;
  if (codec == TZ_SAME)
    return tz_same_isa ();
  if (codec < TZ_LD64 || codec >= TZ_CODECS)
    return "none";
  return tz_codecs[codec]->isa ();
}

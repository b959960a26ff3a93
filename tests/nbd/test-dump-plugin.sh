#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# --dump-plugin tells programs what this build can do, without parameters.
source "$(dirname "$0")/functions.sh"

"$nbdkit" trueno-zram --dump-plugin >"$tmp/dump" 2>"$tmp/err"
cat "$tmp/dump"
[ ! -s "$tmp/err" ] || fail "$(cat "$tmp/err")"

has ()
{
  grep -Eqx "$1" "$tmp/dump" || fail "no line $1"
}
has 'name=trueno-zram'
has 'version=[0-9.]+'
has 'magic_config_key=size'
has 'max_thread_model=parallel'
has 'thread_model=parallel'
has 'trueno_zram_codecs=auto ld64 lz4 zstd raw'
for codec in ld64 lz4 zstd same; do
  has "trueno_zram_isa_$codec=[a-z0-9]+"
done
has 'trueno_zram_cpu_features=[a-z0-9 ]+'
has 'trueno_zram_zstd=1\.[0-9]+\.[0-9]+'
has 'trueno_zram_page_size=4096'
has 'trueno_zram_chunk_size=65536'
has 'trueno_zram_cuda=(yes|no)'

# Every codec named there can be had.
for codec in $(sed -n 's/^trueno_zram_codecs=//p' "$tmp/dump"); do
  "$nbdkit" -U - trueno-zram 1M codec="$codec" --run : || fail "codec=$codec"
done

# Features of the processor can be hidden.
export TZRAM_DISABLE_CPU_FEATURES=avx512,avx2,ssse3,neon
"$nbdkit" trueno-zram --dump-plugin >"$tmp/dump"
has 'trueno_zram_cpu_features=none'
has 'trueno_zram_isa_ld64=scalar'
TZRAM_DISABLE_CPU_FEATURES=avx9 "$nbdkit" trueno-zram --dump-plugin 2>&1 \
  >/dev/null | grep 'avx9: nothing is hidden' || fail "avx9 is a feature"

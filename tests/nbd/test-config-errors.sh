#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Every parameter that is wrong stops the server before it starts, and a
# message names the parameter and what would be right.
source "$(dirname "$0")/functions.sh"

# refused MESSAGE ARG…: nbdkit trueno-zram ARG… says exactly that last.
refused ()
{
  local message=$1 said
  shift
  echo "nbdkit trueno-zram $*"
  if "$nbdkit" -U - trueno-zram "$@" --run : 2>"$tmp/err" </dev/null; then
    fail "it started with $*"
  fi
  said=$(tail -1 "$tmp/err")
  [ "$said" = "nbdkit: error: $message" ] ||
    fail "$*: it said:" "$(cat "$tmp/err")"
}

size='the disk must have from 1 to 9223372036854775807 bytes, such as size=8G'
refused "size is missing: give the size of the disk, such as size=8G"
refused "size is missing: give the size of the disk, such as size=8G" codec=lz4
for v in 0 -1 -1K junk '' 1Q 1.5G 0x10 99E 9223372036854775808 '1 G'; do
  refused "size=$v: $size" size="$v"
done
refused "size=junk: $size" junk

memory='the limit must be at least 128K, such as memory=2G; leave it out for no limit'
for v in 0 1 4096 65536 131071 -1 junk '' 99E; do
  refused "memory=$v: $memory" 1M memory="$v"
done

for v in lzma '' LZ4 lz4hc same absent unknown 3; do
  refused "codec=$v: the codec must be auto, ld64, lz4, zstd or raw" \
          1M codec="$v"
done

for v in maybe '' 2 crc32; do
  refused "checksum=$v: checksum must be yes or no" 1M checksum="$v"
done

for v in maybe '' 2 always; do
  refused "swap=$v: swap must be yes, no or try" 1M swap="$v"
done
for v in yes try; do
  refused "swap=$v needs memory: give the memory that the pages may take, such as memory=2G" 1M swap=$v
done
for v in 0 1 65535 -1 junk ''; do
  refused "reserve=$v: at least 64K must be kept ready, such as reserve=32M; leave it out to have all of memory at the start" \
          1M memory=8M swap=yes reserve="$v"
done
refused 'reserve= is for swap=yes without store=: leave it out' 1M reserve=1M
refused 'reserve= is for swap=yes without store=: leave it out' \
        1M memory=8M swap=yes reserve=1M store="$tmp/store"

for v in maybe '' yes 2; do
  refused "compress=$v: compress must be now or later" 1M compress="$v"
done
for v in maybe '' 2 gpu; do
  refused "cuda=$v: cuda must be auto, on or off" 1M cuda="$v"
done
for v in 31 0 -1 65537 junk ''; do
  refused "batch=$v: batch must be from 32 to 65536 pages" 1M batch="$v"
done
for v in -1 1000001 junk ''; do
  refused "batch-wait=$v: batch-wait must be from 0 to 1000000 microseconds" \
          1M batch-wait="$v"
done

for v in 99 20 -8 junk '' 3x 99999999999; do
  refused "level=$v: codec=zstd has levels from -7 to 19 (default 1)" \
          1M codec=zstd level="$v"
  # The order does not matter.
  refused "level=$v: codec=zstd has levels from -7 to 19 (default 1)" \
          1M level="$v" codec=zstd
done
for v in 0 1 99 -1; do
  refused "level=$v: codec=raw has no levels, leave level out" \
          1M codec=raw level="$v"
done
for codec in auto ld64 lz4; do
  if "$nbdkit" -U - trueno-zram 1M codec=$codec level=99 --run : \
               2>"$tmp/err"; then
    fail "codec=$codec level=99 started"
  fi
  grep -q "^nbdkit: error: level=99: codec=$codec has " "$tmp/err" ||
    fail "codec=$codec level=99: $(cat "$tmp/err")"
done

unknown='there are size, codec, level, memory, checksum, swap, reserve, store, standby, compress, cuda, batch and batch-wait'
for key in sizes Size SIZE allocator file swaps level1; do
  refused "unknown parameter '$key': $unknown" 1M "$key=1"
done

#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Every parameter that is right is taken, the last of two counts, and -v says
# what came of it.
source "$(dirname "$0")/functions.sh"

# taken CONFIGURATION ARG…
taken ()
{
  local want=$1
  shift
  "$nbdkit" -v -U - trueno-zram "$@" --run : 2>"$tmp/err" ||
    fail "$*: $(cat "$tmp/err")"
  grep -Fq -- "$want" "$tmp/err" || fail "$*: no '$want' in: $(cat "$tmp/err")"
}

auto='codec=auto level=1 memory=0 (no limit) checksum=yes'
taken "size=1 $auto" 1
taken "size=1048576 $auto" size=1M
taken "size=8589934592 $auto" 8G
taken "size=9223372036854775807 $auto" size=9223372036854775807
taken "size=2097152 $auto" 1M 2M
taken "size=2097152 $auto" size=1M size=2M

taken "size=1048576 codec=raw level=0 memory=131072 checksum=no" \
      1M codec=raw memory=128K checksum=no
taken "size=1048576 codec=zstd level=1 " 1M codec=zstd
for level in -7 0 1 19; do
  taken "size=1048576 codec=zstd level=$level " 1M codec=zstd level=$level
done
taken "size=1048576 codec=lz4 " 1M codec=zstd codec=lz4
taken "size=1048576 codec=ld64 " 1M codec=ld64
taken "size=1048576 codec=zstd level=5 " 1M level=99 level=5 codec=zstd
taken "checksum=no " 1M checksum=yes checksum=off
taken "checksum=yes " 1M checksum=0 checksum=true
taken "memory=2147483648 checksum=yes " 1M memory=1G memory=2G

#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# nbdcopy: an image goes in and comes out the same, holes stay holes.
source "$(dirname "$0")/functions.sh"
requires nbdcopy --version

# Pages of processes, noise, and holes.
image=$tmp/image
cat "$top_srcdir"/tests/data/*.pages >"$image"
head -c 3000001 /dev/urandom >>"$image"
truncate -s 48M "$image"
cat "$top_srcdir"/tests/data/*.pages >>"$image"
truncate -s 64M "$image"

for connections in 1 4; do
  start_nbdkit trueno-zram 64M
  nbdcopy --connections=$connections "$image" "$uri"
  nbdcopy --connections=$connections "$uri" "$tmp/copy"
  cmp "$image" "$tmp/copy" || fail "another image came back"
  nbdinfo --map "$uri" >"$tmp/map"
  [ "$(wc -l <"$tmp/map")" -ge 4 ] || fail "no holes: $(cat "$tmp/map")"
  # From one disk to another.
  from=$uri
  start_nbdkit trueno-zram 64M codec=lz4
  nbdcopy --connections=$connections "$from" "$uri"
  nbdcopy "$uri" - | cmp "$image" - || fail "another image came back"
  rm "$tmp/copy"
done

#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# qemu-img converts an image into the disk and out of it, compares, and maps.
source "$(dirname "$0")/functions.sh"
requires qemu-img --version

cat "$top_srcdir"/tests/data/*.pages >"$tmp/image"
truncate -s 40M "$tmp/image"
head -c 2M /dev/urandom >>"$tmp/image"
truncate -s 64M "$tmp/image"

start_nbdkit trueno-zram 64M
qemu-img convert -n -f raw -O raw "$tmp/image" "$uri"
qemu-img compare -f raw -F raw "$tmp/image" "$uri"
qemu-img convert -f raw -O qcow2 "$uri" "$tmp/copy"
qemu-img compare -f raw -F qcow2 "$tmp/image" "$tmp/copy"
qemu-img map -f raw --output=json "$uri" | tee "$tmp/map"
grep -q '"length": 2097152,.* "zero": false, "data": true' "$tmp/map" ||
  fail "the noise is not where it was put"
grep -q '"zero": true, "data": false' "$tmp/map" || fail "no hole"

# A difference of one byte is found.
nbd_script <<<'h.pwrite(b"\x01", 41943039)'
if qemu-img compare -f raw -F raw "$tmp/image" "$uri"; then
  fail "a difference was not found"
fi

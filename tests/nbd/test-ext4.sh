#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# A real file system: nbdfuse, a loop device, mkfs.ext4, files, fsck.
source "$(dirname "$0")/functions.sh"
requires_root
requires nbdfuse --version
requires test -c /dev/fuse
requires mkfs.ext4 -V
requires e2fsck -V
requires losetup -f

start_nbdkit trueno-zram 96M
mkdir "$tmp/fuse" "$tmp/mnt"
nbdfuse "$tmp/fuse/disk" "$uri" 2>"$tmp/fuse.log" &
fuse=$!
cleanup_fn _end $fuse
cleanup_fn umount -q "$tmp/fuse"
for ((i = 0; i < 500; i++)); do
  if [ -e "$tmp/fuse/disk" ]; then break; fi
  kill -0 $fuse 2>/dev/null || skip "nbdfuse: $(cat "$tmp/fuse.log")"
  sleep 0.01
done

loop=$(losetup --show -f "$tmp/fuse/disk" 2>&1) || skip "losetup: $loop"
cleanup_fn losetup -d "$loop"
mkfs.ext4 -q "$loop"
mount "$loop" "$tmp/mnt" || skip "ext4 cannot be mounted"
cleanup_fn umount -q "$tmp/mnt"

mkdir "$tmp/mnt/a"
cp "$top_srcdir"/tests/data/*.pages "$tmp/mnt/a"
head -c 20M /dev/urandom >"$tmp/noise"
cp "$tmp/noise" "$tmp/mnt/noise"
for ((i = 0; i < 300; i++)); do echo "file $i" >"$tmp/mnt/a/$i"; done
umount "$tmp/mnt"
e2fsck -fn "$loop" || fail "e2fsck"

mount "$loop" "$tmp/mnt"
cmp "$tmp/noise" "$tmp/mnt/noise"
for f in "$top_srcdir"/tests/data/*.pages; do
  cmp "$f" "$tmp/mnt/a/${f##*/}"
done
[ "$(cat "$tmp"/mnt/a/299)" = "file 299" ] || fail "another content"
rm "$tmp/mnt/noise" "$tmp"/mnt/a/1*
umount "$tmp/mnt"
e2fsck -fn "$loop" || fail "e2fsck after files were removed"

#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Swap on a mirror (RAID 1) of two machines' memory: one is lost for good under
# load, and no page is.
more_modules=(raid1)
source "$(dirname "$0")/functions.sh"
fetch mdadm mdadm
trouble=${trouble#I/O error|} # of that one there must be some
tmp=$(mktemp -d)
servers=()
trap 'kill "${servers[@]}" $qemu 2>/dev/null || true; rm -rf "$tmp"' EXIT
port=$((20000 + RANDOM % 10000))

for i in 0 1; do
  "$top_builddir/nbdkit" -f -t 1 -i 127.0.0.1 -p $((port + i)) \
    trueno-zram 352M memory=256M &
  servers+=($!)
done
root=$cache/root
add_program "$cache/mdadm/sbin/mdadm" usr/sbin/mdadm
pack "$root" >"$cache/base.cpio.gz"
start_guest -n -m 256 <<CASE
for i in 0 1; do
  trueno-zram connect nbd://10.0.2.2:\$(($port + i)) -d /dev/nbd\$i \
    --timeout 3 --dead-timeout 3 >/run/name\$i &
  until_true 20 test -s /run/name\$i
done
# Without a superblock, which would have to be written before many a page.
MDADM_NO_UDEV=1 mdadm --build /dev/md0 --assume-clean --level=1 \
  --raid-devices=2 /dev/nbd0 /dev/nbd1
/usr/sbin/mkswap /dev/md0
/usr/sbin/swapon -d -p 150 /dev/md0
hog -p /pages -n 4 -r 0 64
swapped_out 25000
note \$(grep -A 1 md0 /proc/mdstat)
grep -q '\[U_\]' /proc/mdstat
/usr/sbin/swapoff /dev/md0
CASE
(wait_for_progress 45000; kill -9 "${servers[1]}") &
await
report
passed

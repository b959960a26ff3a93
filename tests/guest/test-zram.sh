#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# The same load with the kernel's own zram, to compare with.
source "$(dirname "$0")/functions.sh"

guest <<'CASE'
echo lz4 >/sys/block/zram0/comp_algorithm
echo 352M >/sys/block/zram0/disksize
/usr/sbin/mkswap /dev/zram0
/usr/sbin/swapon -d -p 150 /dev/zram0
load
note "mm_stat" $(cat /sys/block/zram0/mm_stat)
/usr/sbin/swapoff /dev/zram0
CASE
passed

#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# The memory for swapped pages is full: writes fail, the kernel keeps the pages,
# and none is lost.
source "$(dirname "$0")/functions.sh"

# Here, writes are to fail.
trouble='blocked for more than|Killed process|[Oo]ut of memory|BUG:|Oops'
guest "$here/reclaim.sh" <<'CASE'
. /reclaim.sh
start trueno-zram 96M memory=4M codec=raw
trueno-zram swapon nbd://127.0.0.1 -d /dev/nbd0 2>>/run/log
hog_in_swap 20 120 # some seconds, on an idle host too
said 30 'No space left on device: the compressed pages fill the memory'
until_true 30 sh -c 'dmesg | grep -q "Write-error on swap-device"'
finish_hog
[ $(grep -c 'fill the memory' /run/log) -le 12 ] # and not one a page
trueno-zram swapoff
stop
CASE
passed

#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Four processes read at once what together is four times the machine's memory,
# from a disk whose server is in the machine.
source "$(dirname "$0")/functions.sh"

guest -m 192 <<'CASE'
# nbdkit has buffers of 200 MB, and touches none of them.
echo 1 >/proc/sys/vm/overcommit_memory
server ram -U /run/ram.sock trueno-zram 768M memory=28M swap=yes
trueno-zram connect 'nbd+unix:///?socket=/run/ram.sock' >/run/name &
until_true 20 test -s /run/name
device=$(cat /run/name)
hog -c -n 4 -r 0 -d $device 192
note "$device: $(xargs </sys/block/${device#/dev/}/stat)"
kill $(pidof trueno-zram)
until_true 20 sh -c '! pidof trueno-zram'
CASE
passed

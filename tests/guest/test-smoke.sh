#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# One command makes swap of a server in the same machine, another undoes it;
# and what cannot be is refused with its reason.
source "$(dirname "$0")/functions.sh"

guest -m 256 <<'CASE'
refused ()
{
  what=$1
  shift
  if "$@" >/tmp/out 2>&1; then note "this should have failed: $*"; return 1; fi
  note "$(tail -n 1 /tmp/out)"
  grep -q "$what" /tmp/out
}

swap_on 256M --memory 32M --device /dev/nbd3
grep -q '^/dev/nbd3.*[[:space:]]150$' /proc/swaps
server=$(pidof nbdkit)
note "the server takes" $(grep VmRSS /proc/$server/status)
[ $(awk '/^VmRSS:/ { print $2 }' /proc/$server/status) -lt 20000 ] # not 32M
socket=$(ls /run/trueno-zram/*.sock)
[ $(grep -c "$socket" /proc/net/unix) = 3 ] # two processors: two connections
hog 32
uri=nbd+unix:///?socket=$socket
refused '/dev/nbd3 is in use' trueno-zram connect "$uri" -d /dev/nbd3
kill $(pidof trueno-zram)
sleep 0.5
pidof trueno-zram # it stays while its device is in use
trueno-zram swapoff
until_true 10 sh -c '! pidof trueno-zram nbdkit'
[ -z "$(ls /run/trueno-zram)" ]
[ ! -e /sys/block/nbd3/pid ]
refused 'there is no swap' trueno-zram swapoff

# Not swap, but a disk; with a server that has no identity.
server memory -U /run/m.sock memory 64M
trueno-zram connect 'nbd+unix:///?socket=/run/m.sock' >/tmp/name &
until_true 10 test -s /tmp/name
device=$(cat /tmp/name)
dd if=/pages of=$device bs=4k count=256 2>/dev/null
sync
cmp -n 1048576 /pages $device
kill $(pidof trueno-zram)
until_true 10 sh -c '! pidof trueno-zram'
[ ! -e /sys/block/${device#/dev/}/pid ]
rmmod nbd
refused 'modprobe nbd' trueno-zram connect 'nbd+unix:///?socket=/run/m.sock'
CASE
passed

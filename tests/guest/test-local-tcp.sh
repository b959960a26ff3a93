#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# The same over TCP, whose packets the kernel needs memory for, too, and with so
# small a reserve that requests have to wait until it is filled.
source "$(dirname "$0")/functions.sh"

guest -m 320 <<'CASE'
server ram -i 127.0.0.1 -p 10809 trueno-zram 352M memory=128M reserve=128K \
  -D trueno-zram.stats=1 swap=yes
swap_on nbd://127.0.0.1
load
swap_off
kill $(cat /run/ram.pid)
until_true 20 sh -c '! pidof nbdkit'
CASE
passed
tr -d '\r' <"$log" | grep 'reserve_misses=[1-9]' || fail "no request waited"

#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# While pages are swapped out their server is gone, and others or nobody are in
# its place.  Each has its message, swapoff is refused, and no page is lost.
source "$(dirname "$0")/functions.sh"

# Here, there is nothing to be read for a while.
patience=90
trouble='Killed process|[Oo]ut of memory|BUG:|Oops|[Ww]rite-error'
guest "$here/reclaim.sh" <<'CASE'
. /reclaim.sh

# refused WHAT: swapoff says so and does nothing.
refused ()
{
  if trueno-zram swapoff 2>/run/out; then note 'it swapped off'; return 1; fi
  note "$(tail -n 1 /run/out)"
  grep -q "$1" /run/out
  grep -q '^/dev/nbd0' /proc/swaps
}

store='trueno-zram 96M memory=64M store=/dev/shm/store'
start $store
trueno-zram swapon nbd://127.0.0.1 -d /dev/nbd0 --timeout 3 2>>/run/log
hog_in_swap 40 4
until_true 30 sh -c 'awk "/nbd0/ { exit !(\$4 > 8000) }" /proc/swaps'
stop
said 10 'the server cannot be reached: Connection refused'
refused 'stays swap: its server does not answer'
start trueno-zram 80M
said 10 "refused: this server's export has 83886080 bytes, the device 100663296"
stop
start trueno-zram 96M
said 10 'refused: this server holds other pages'
refused 'holds other pages than those swapped'
stop
start memory 96M
said 10 'refused: this server holds other pages (id=none)'
stop
sleep 100 | nc -l -p 10809 &
silent=$! # pidof would read of hog what is swapped out, and wait
said 20 'no handshake with the server: the server does not answer'
kill $silent || true
sleep 0.3
start $store
said 20 'connected again'
finish_hog
trueno-zram swapoff
until_true 10 sh -c '! pidof trueno-zram'

note '--- taken away by others'
trueno-zram swapon nbd://127.0.0.1 -d /dev/nbd0
/usr/sbin/swapoff /dev/nbd0
trueno-zram swapoff
until_true 10 sh -c '! pidof trueno-zram'
[ -z "$(ls /run/trueno-zram)" ]
CASE
passed

#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# A machine swaps to another, whose server is killed twice under load, once
# while pages are made and once while all are verified; every one is right.
# Another server in its place is refused.
source "$(dirname "$0")/functions.sh"
timeout=5
shm=$(mktemp -d /dev/shm/trueno-zram-XXXXXX) || skip "this needs /dev/shm"
server=
trap 'kill $server $qemu 2>/dev/null || true; rm -rf "$shm"' EXIT
port=$((20000 + RANDOM % 10000))

start_server ()
{
  "$top_builddir/nbdkit" -f -i 127.0.0.1 -p $port -P "$shm/pid" trueno-zram \
    352M memory=256M store="$1" 2>>"$shm/log" &
  server=$!
}

# outage PAGES [OTHER]: when so many pages are done, three seconds without the
# server; for the last two of them, with another that has none of the pages.
outage ()
{
  wait_for_progress "$1"
  kill -9 $server
  wait $server || true
  echo "killed when $(progress)"
  sleep 1
  if [ $# -gt 1 ]; then
    start_server "$2"
    sleep 2
    kill $server
    wait $server || true
  else
    sleep 2
  fi
  start_server "$shm/store"
}

start_server "$shm/store"
start_guest -n -m 256 <<CASE
swap_on nbd://10.0.2.2:$port --timeout $timeout
load
swap_off
CASE
(outage 45000; outage 160000 "$shm/other"; wait) 2>/dev/null &
outages=$!
await
kill $outages 2>/dev/null || true
report
kill $(cat "$shm/pid") 2>/dev/null || true
tr -d '\r' <"$log" | grep -aE '^(trueno-zram|outage): ' | sort | uniq -c
passed
outages_within $timeout
grep -aq 'refused: this server holds other pages' "$log" ||
  fail "the other server was not refused"

#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# A server that is asked to end while clients are busy ends well and soon.
source "$(dirname "$0")/functions.sh"
requires test -x "$load"

for i in 1 2 3; do
  start_nbdkit $(threads_for_rude_clients) -D trueno-zram.stats=1 trueno-zram 64M
  "$load" -c 8 -t -n 100000000 -z 33554432 -s $i "$uri" >/dev/null 2>&1 &
  client=$!
  cleanup_fn _end $client
  sleep 0.4
  kill -0 $client || fail "the client had ended by itself"
  start=$SECONDS
  stop_nbdkit || fail "exit status $?"
  [ $((SECONDS - start)) -le 5 ] || fail "it took $((SECONDS - start)) s"
  [ "$(stat_of orig_data_size)" -gt 0 ] || fail "no statistics"
  if wait $client; then fail "the client did not notice"; fi
done

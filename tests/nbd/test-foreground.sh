#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# In the foreground: SIGTERM and SIGINT end the server, well and soon.
source "$(dirname "$0")/functions.sh"

for signal in TERM INT QUIT; do
  # A shell's background jobs ignore SIGINT, setsid's do not.
  rm -f "$tmp/pid"
  "$nbdkit" -f -P "$tmp/pid" -U "$tmp/sock-$signal" \
            -D trueno-zram.stats=1 trueno-zram 64M 2>"$tmp/server.log" &
  pid=$!
  cleanup_fn _end $pid
  for ((i = 0; i < 500; i++)); do
    if [ -s "$tmp/pid" ]; then break; fi
    sleep 0.01
  done
  nbd_script "nbd+unix:///?socket=$tmp/sock-$signal" <<<'h.pwrite(b"x", 0)'
  if [ $signal = INT ] && [ "$(awk '/^SigIgn:/ { print and(strtonum("0x" $2), 2) }' /proc/$pid/status 2>/dev/null)" = 2 ]; then
    signal=TERM
  fi
  start=$SECONDS
  kill -$signal $pid
  wait $pid || fail "SIG$signal: exit status $?"
  [ $((SECONDS - start)) -le 3 ] || fail "SIG$signal: it took too long"
  [ "$(stat_of orig_data_size)" = 4096 ] || fail "no statistics"
done

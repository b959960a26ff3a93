#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# The server that 'trueno-zram swapon' starts says what is wrong with what it is
# given, takes sizes as it does, and is gone when swap cannot be had: here, where
# there is no network block device.
source "$(dirname "$0")/functions.sh"
cli=$top_builddir/trueno-zram
[ -x "$cli" ] || skip "trueno-zram was not built"
[ ! -e /sys/module/nbd ] || skip "there are network block devices"
requires_root
requires_no_sanitizer
requires "$nbdkit" -U - trueno-zram 1M memory=1M swap=yes --run :
[ -e /run/trueno-zram ] ||
  cleanup_fn rmdir --ignore-fail-on-non-empty /run/trueno-zram

# nbdkit as it is installed, with the plugin of the build tree.
mkdir "$tmp/bin"
printf '#!/bin/sh\nPATH=%q exec %q "$@"\n' "$PATH" "$nbdkit" >"$tmp/bin/nbdkit"
chmod +x "$tmp/bin/nbdkit"
PATH=$tmp/bin:$PATH

# refused WHAT ARG…: that is the last it says, but for what a server that stands
# by is denied, which may come at any time.
refused ()
{
  local what=$1
  shift
  "$cli" swapon "$@" >"$tmp/out" 2>"$tmp/err" </dev/null &
  if wait $!; then fail "swapon $*: this should have failed"; fi
  echo "--- swapon $*" && cat "$tmp/err"
  grep -v ': warning: ' "$tmp/err" | tail -n 1 | grep -q -e "$what" ||
    fail "it does not say '$what'"
  [ ! -s "$tmp/out" ] || fail "it printed $(cat "$tmp/out")"
  [ ! -e /run/trueno-zram/$!.sock ] || fail "its socket is left"
}

for size in 8Q localhost '' -5 swap=no; do
  refused "error: size=$size: the disk must have" -- "$size"
done
refused 'error: memory=junk: the limit must be' 1M --memory junk
refused 'error: memory=: the limit must be' 1M --memory ''
refused 'error: store=/none/file: No such file' 1M --store /none/file
refused 'longer than 511' 1M --store "/$(printf %0600d 0)"
for size in 8192 128s 8m 8M 0008m; do
  refused "load them with 'modprobe nbd'" "$size"
done
if [ -w /dev/shm ]; then
  shm=$(mktemp -d /dev/shm/trueno-zram-XXXXXX)
  cleanup_fn rm -rf "$shm"
  refused "load them with 'modprobe nbd'" 1M --store "$shm/store"
  [ ! -e "$shm/store" ] || fail "the pages are left"
fi

# Told to stop while its server starts, it leaves nothing behind.
mv "$tmp/bin/nbdkit" "$tmp/bin/real"
printf '#!/bin/sh\n: >%q\nsleep 1\nexec %q "$@"\n' \
       "$tmp/starting" "$tmp/bin/real" >"$tmp/bin/nbdkit"
chmod +x "$tmp/bin/nbdkit"
for signal in HUP TERM; do
  rm -f "$tmp/starting"
  "$cli" swapon 8M >"$tmp/out" 2>"$tmp/err" </dev/null &
  pid=$!
  for ((i = 0; i < 500; i++)); do
    if [ -e "$tmp/starting" ]; then break; fi
    sleep 0.01
  done
  kill -$signal $pid
  if wait $pid; then fail "$signal: this should have failed"; fi
  grep 'stopped by a signal' "$tmp/err" || fail "it says $(cat "$tmp/err")"
  [ ! -e /run/trueno-zram/$pid.sock ] || fail "$signal: its socket is left"
  ! grep -q "/run/trueno-zram/$pid.sock" /proc/net/unix ||
    fail "$signal: its server is left"
done

# swapoff ends a server, by its group, but nobody who has that number since.
record=/run/trueno-zram/nbd$$ sock=/run/trueno-zram/$$.sock
[ -e /run/trueno-zram ] || mkdir -m 700 /run/trueno-zram
cleanup_fn rm -f $record $sock
for there in yes no; do
  setsid python3 -c 'import socket, sys, time
if sys.argv[1] == "yes":
    s = socket.socket(socket.AF_UNIX)
    s.bind(sys.argv[2])
    s.listen(1)
print("ready", flush=True)
time.sleep(100)' $there $sock >"$tmp/ready" &
  pid=$!
  cleanup_fn _end $pid
  for ((i = 0; i < 500; i++)); do
    if [ -s "$tmp/ready" ]; then break; fi
    sleep 0.01
  done
  printf 'nbd+unix:///?socket=%s\n%s\n\n' $sock $pid >$record
  "$cli" swapoff /dev/nbd$$ || fail "swapoff failed"
  [ ! -e $record ] && [ ! -e $sock ] || fail "record or socket are left"
  if [ $there = no ]; then
    kill $pid || fail "it killed another"
  elif kill $pid 2>/dev/null; then
    fail "it did not kill the server"
  fi
done

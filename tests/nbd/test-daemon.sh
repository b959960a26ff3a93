#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# In the background: the store and its upkeep thread live on after the fork.
source "$(dirname "$0")/functions.sh"

sock=$tmp/sock
"$nbdkit" -P "$tmp/pid" -U "$sock" trueno-zram 64M
# The parent ends before its child writes the pid file.
for ((i = 0; i < 500; i++)); do
  if [ -s "$tmp/pid" ]; then break; fi
  sleep 0.01
done
pid=$(cat "$tmp/pid")
end_daemon ()
{
  local i
  kill "$pid" 2>/dev/null
  for ((i = 0; i < 500; i++)); do
    kill -0 "$pid" 2>/dev/null || return 0
    sleep 0.01
  done
  return 1
}
cleanup_fn end_daemon
# It is started after the pid file is written.
for ((i = 0; i < 500; i++)); do
  threads=$(ls /proc/$pid/task | wc -l)
  if [ "$threads" -ge 2 ]; then break; fi
  sleep 0.01
done
[ "$threads" -ge 2 ] || fail "no upkeep thread: $threads threads"

uri="nbd+unix:///?socket=$sock"
nbd_script <<'END'
data = random.Random(7).randbytes(1 << 20)
for at in range(0, 64 << 20, 1 << 20):
    h.pwrite(data, at)
for at in range(0, 64 << 20, 1 << 20):
    assert h.pread(1 << 20, at) == data
h.trim(64 << 20, 0)
assert h.pread(1 << 20, 0) == bytes(1 << 20)
END
end_daemon || fail "it did not end"

# What is wrong is said before the server goes into the background.
if "$nbdkit" -P "$tmp/pid2" -U "$tmp/sock2" trueno-zram 2>"$tmp/err"; then
  fail "it started without a size"
fi
grep -q 'size is missing' "$tmp/err" || fail "$(cat "$tmp/err")"
[ ! -e "$tmp/pid2" ] || fail "a pid file of a server that did not start"

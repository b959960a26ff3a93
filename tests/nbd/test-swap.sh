#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# nbdkit --swap locks all memory of the server, and that to come: it must
# start, serve, and give memory back all the same.
source "$(dirname "$0")/functions.sh"
requires_no_sanitizer
requires_root

rss () { awk '/^VmRSS:/ { print $2 }' /proc/$pid/status; }

# Stacks and arenas of the server's threads would be locked too.
ulimit -s 256
export MALLOC_ARENA_MAX=1
start_nbdkit --swap -t 1 trueno-zram 64M codec=raw
[ "$(awk '/^VmLck:/ { print $2 }' /proc/$pid/status)" -gt 0 ] ||
  skip "memory cannot be locked"
nbd_script <<'END'
data = random.Random(10).randbytes(1 << 20)
for i in range(64):
    h.pwrite(data, i << 20)
for i in range(64):
    assert h.pread(1 << 20, i << 20) == data
END
full=$(rss)
nbd_script <<<'h.trim(h.get_size(), 0); assert h.pread(9, 0) == bytes(9)'
for ((i = 0; i < 50; i++)); do
  trimmed=$(rss)
  if [ $((full - trimmed)) -ge 60000 ]; then break; fi
  sleep 0.1
done
echo "KiB: full $full, trimmed $trimmed"
[ $((full - trimmed)) -ge 60000 ] || fail "locked memory was not given back"
stop_nbdkit || fail "the server did not end well"

#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# A full memory and damaged pages are logged at once, but not for each request:
# a line in ten seconds, and every error is counted in some line.
source "$(dirname "$0")/functions.sh"
requires test -d /dev/shm -a -w /dev/shm
shm=$(mktemp -d /dev/shm/trueno-zram-XXXXXX)
cleanup_fn rm -rf "$shm"
log=$tmp/server.log

lines () { grep -c "$1" "$log" || true; }

# A swap device does this: the same pages again and again.
start_nbdkit trueno-zram 64M memory=4M codec=raw store="$shm/store"
nbd_script <<'END' | tee "$tmp/out"
import time
P = 4096
data = random.Random(6).randbytes(P)
refused = 0

def write(page):
    global refused
    try:
        h.pwrite(data, page * P)
    except nbd.Error as ex:
        assert ex.errnum == errno.ENOSPC, ex
        refused += 1

for page in range(8000):
    write(page)
burst = refused
assert burst > 5000, burst
time.sleep(11)
while refused < burst + 10:
    write(7999)
print("refused", refused)
END
refused=$(sed -n 's/^refused //p' "$tmp/out")
full='fill the memory that memory= allows'
n=$(lines "$full")
[ "$n" -ge 2 ] || fail "$n lines: not at once, or not again after ten seconds"
[ "$n" -le 6 ] || fail "$n lines for $refused errors"
grep "$full" "$log" | head -n 1 | grep -v 'more' |
  grep -q 'error: write of 4096 bytes at' || fail "the first one says not where"

# Another kind of error is not kept quiet by this one.
python3 - "$shm/store" <<'END'
import random, sys
page = random.Random(6).randbytes(4096)
with open(sys.argv[1], "r+b") as f:
    store = f.read()
    at = store.find(page)
    while at != -1:
        f.seek(at + 1000)
        f.write(b"damage")
        at = store.find(page, at + 1)
END
nbd_script <<'END' | tee "$tmp/out"
bad = 0
for page in range(900):
    try:
        h.pread(4096, page * 4096)
    except nbd.Error as ex:
        assert ex.errnum == errno.EIO, ex
        bad += 1
print("bad", bad)
END
bad=$(sed -n 's/^bad //p' "$tmp/out")
[ "$bad" -gt 100 ] || fail "only $bad pages are damaged"
stop_nbdkit || fail "the server did not end well"
grep 'error:' "$log"
damaged='a page did not decode or verify'
[ "$(lines "$damaged")" -le 4 ] || fail "$(lines "$damaged") lines of damage"
[ "$(errors_logged "$damaged")" = "$bad" ] ||
  fail "$(errors_logged "$damaged") pages of $bad are in the log"
[ "$(errors_logged "$full")" = "$refused" ] ||
  fail "$(errors_logged "$full") writes of $refused are in the log"

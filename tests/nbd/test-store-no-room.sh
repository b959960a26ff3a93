#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# A file system without room for the store: a message or an error, and never
# the signal that touching a page without memory behind it brings.
source "$(dirname "$0")/functions.sh"
mount=$tmp/noswap # it is not mounted so
mkdir "$mount"
requires mount -t tmpfs -o size=12M trueno-zram "$mount"
cleanup_fn umount "$mount"
file=$mount/store

# refused WHAT ARG…: it does not start, and says what is wrong.
refused ()
{
  local what=$1 status=0
  shift
  timeout 20 "$nbdkit" -f -U "$tmp/refused" trueno-zram "$@" 2>"$tmp/err" ||
    status=$?
  rm -f "$tmp/refused"
  cat "$tmp/err"
  [ $status = 1 ] || fail "status $status with $*"
  grep -q "error: .*$what" "$tmp/err" || fail "it does not say '$what'"
}

# Writes fail when there is no more; reads do not.
start_nbdkit trueno-zram 64M memory=32M codec=raw store="$file"
grep -q 'warning: this tmpfs may itself be swapped out' "$tmp/server.log" ||
  fail "no warning that it may be swapped out"
nbd_script <<'END'
data = random.Random(8).randbytes(65536)
for i in range(1024):
    try:
        h.pwrite(data, i * 65536)
    except nbd.Error as ex:
        assert ex.errnum == errno.ENOSPC, ex
        break
print("full after", i)
assert 150 < i < 200
for k in range(i):
    assert h.pread(65536, k * 65536) == data
END
stop_nbdkit || fail "the server did not end well"

# Pages have gone from the file, and there is no memory to read zeroes from.
fallocate -p -o 4M -l 1M "$file"
head -c 2M /dev/zero >"$mount/other" || true
refused 'store=.*not enough memory' 64M memory=32M codec=raw store="$file"
rm "$mount/other"
start_nbdkit trueno-zram 64M memory=32M codec=raw store="$file"
nbd_script <<<'fails(errno.EIO, lambda: h.pread(12 << 20, 0))'
stop_nbdkit || fail "the server did not end well"

requires_no_sanitizer
rm "$file"
refused 'is not so much where store= is: Cannot' 64M memory=32M swap=try \
  store="$file"
[ ! -e "$file" ] || fail "a store that never served is left"

# Without a warning where there is nothing to warn of.
umount "$mount"
requires mount -t tmpfs -o noswap,size=12M trueno-zram "$mount"
start_nbdkit trueno-zram 1M store="$file"
stop_nbdkit || fail "the server did not end well"
[ ! -s "$tmp/server.log" ] || fail "it said: $(cat "$tmp/server.log")"

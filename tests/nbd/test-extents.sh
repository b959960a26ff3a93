#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Block status: what was never written or was dropped is a hole, written
# zeroes are zeroes, and every answer is in order and without gaps.
source "$(dirname "$0")/functions.sh"

start_nbdkit trueno-zram 300M
nbd_script <<'END'
DATA, ZERO, HOLE = 0, nbd.STATE_ZERO, nbd.STATE_ZERO | nbd.STATE_HOLE
M = 1 << 20
size = h.get_size()

def status(n, off, flags=0):
    "one answer"
    out = []
    def cb(context, offset, entries, err):
        assert context == "base:allocation" and offset == off
        out.extend(zip(entries[0::2], entries[1::2]))
    h.block_status(n, off, cb, flags)
    return out

assert status(size, 0) == [(size, HOLE)]
assert status(1, 0) == [(1, HOLE)]
assert status(1, size - 1) == [(1, HOLE)]

page = bytes(range(256)) * 16
h.pwrite(page * 16, 128 * M - 32768)
h.pwrite(page, 64 * M)
assert status(size, 0) == [
    (64 * M, HOLE), (4096, DATA), (64 * M - 4096 - 32768, HOLE),
    (65536, DATA), (size - 128 * M - 32768, HOLE)]
# Within a page, and up to its middle.
assert status(5, 64 * M + 1) == [(5, DATA)]
assert status(4096, 64 * M + 1) == [(4095, DATA), (1, HOLE)]
assert status(8192, 64 * M - 4097) == [(4097, HOLE), (4095, DATA)]
# The first only.
one = nbd.CMD_FLAG_REQ_ONE
assert status(size, 0, one) == [(64 * M, HOLE)]
assert status(size - 64 * M, 64 * M, one) == [(4096, DATA)]
assert status(100, 64 * M + 1, one) == [(100, DATA)]
assert status(65536, 128 * M - 32768, one) == [(65536, DATA)]

# Half a page dropped stays data, the rest of it dropped makes a hole.
h.trim(2048, 64 * M)
assert status(4096, 64 * M) == [(4096, DATA)]
h.zero(4096, 64 * M)
assert status(4096, 64 * M) == [(4096, HOLE)]
# Zeroes that are written: zeroes, whether they take memory or not.
h.pwrite(bytes(65536), 64 * M)
for n, kind in status(65536, 64 * M):
    assert kind in (ZERO, HOLE), (n, kind)
h.pwrite(b"abcdefgh" * 512, 64 * M)
assert status(4096, 64 * M) == [(4096, DATA)]

# Every other page: far more extents than one answer needs to hold, so it
# may stop early, and the client goes on from there.
h.trim(size, 0)
for at in range(0, 8 * M, 8192):
    h.pwrite(page, at)
off, seen = 0, []
while off < 8 * M:
    got = status(8 * M - off, off)
    assert got
    seen += got
    off += sum(n for n, _ in got)
assert seen == [(4096, DATA), (4096, HOLE)] * (M // 1024), len(seen)
END
stop_nbdkit || fail "the server did not end well"

# nbdkit cuts the answer itself where the client wants the first extent only;
# what the plugin told it is in the log.
start_nbdkit --filter=log trueno-zram 1M logfile="$tmp/log"
nbd_script <<'END'
h.pwrite(b"x" * 4096, 8192)
h.pwrite(b"x" * 4096, 65536)
h.block_status(1 << 20, 0, lambda *args: 0)
h.block_status(1 << 20, 0, lambda *args: 0, nbd.CMD_FLAG_REQ_ONE)
END
stop_nbdkit || fail "the server did not end well"
grep Extents "$tmp/log"
grep -F 'extents=(0x0 0x2000 "hole,zero" 0x2000 0x1000 "" 0x3000 0xd000' \
     "$tmp/log" || fail "not all extents"
grep -F 'extents=(0x0 0x2000 "hole,zero") ' "$tmp/log" ||
  fail "more than the first extent"

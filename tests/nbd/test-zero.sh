#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Zero and trim, long and short, over the borders of the table: what is inside
# reads as zeroes, what is outside keeps every byte.
source "$(dirname "$0")/functions.sh"

start_nbdkit trueno-zram 512M
nbd_script <<'END'
M = 1 << 20
rnd = random.Random(3)
size = h.get_size()

def zero(n, off): h.zero(n, off)
def zero_no_hole(n, off): h.zero(n, off, nbd.CMD_FLAG_NO_HOLE)
def zero_fast(n, off): h.zero(n, off, nbd.CMD_FLAG_FAST_ZERO)
def zero_fua(n, off): h.zero(n, off, nbd.CMD_FLAG_FUA)
def trim(n, off): h.trim(n, off)
def trim_fua(n, off): h.trim(n, off, nbd.CMD_FLAG_FUA)

def check(do, off, n):
    "drop off…off+n from data that goes 64 KiB further on both sides"
    around = 65536
    head, tail = rnd.randbytes(around), rnd.randbytes(around)
    inside = rnd.randbytes(around)
    probes = sorted({min(max(p, off), off + n - 1) for p in
                     (off, off + n // 3, off + n // 2, off + 64 * M,
                      off + n - around, off + n - 1)})
    for p in probes:
        h.pwrite(inside[:off + n - p], p)
    h.pwrite(head, off - around)
    h.pwrite(tail, off + n)
    do(n, off)
    assert h.pread(around, off - around) == head, (do, off, n)
    assert h.pread(around, off + n) == tail, (do, off, n)
    for p in probes:
        k = min(around, off + n - p)
        assert h.pread(k, p) == bytes(k), (do, off, n, p)
    h.trim(size, 0)

every = zero, zero_no_hole, zero_fast, zero_fua, trim, trim_fua
for do in every:
    for n in 1, 4095, 4096, 4097, 100000:
        check(do, 32 * M - 4096, n)
        check(do, 128 * M - n // 2 - 1, n)
for do in zero, trim:
    # Lengths that cross one border or many, with odd ends.
    for n in 32 * M, 128 * M, 200 * M:
        check(do, 16 * M, n)
        check(do, 31 * M + 4095, n + 2)

# Nothing beyond the first 64 MiB may be left out.
for do in every:
    for at in range(0, 200, 8):
        h.pwrite(b"x" * 5000, at * M + 1000)
    do(200 * M, 0)
    for at in range(0, 200, 8):
        assert h.pread(8192, at * M) == bytes(8192), (do, at)

# A zero that begins before a border of 128 MiB and ends in nothing must not
# take the page before that border with it.
for do in every:
    data = rnd.randbytes(65536)
    h.pwrite(data, 128 * M - 65536)
    do(65536, 128 * M - 16384)
    assert h.pread(49152, 128 * M - 65536) == data[:49152], do
    assert h.pread(65536, 128 * M - 16384) == bytes(65536), do
    h.trim(size, 0)
END
stop_nbdkit || fail "the server did not end well"

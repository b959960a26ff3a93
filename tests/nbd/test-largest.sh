#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# The largest disk there can be: 2^63-1 bytes, its last page not a whole one.
source "$(dirname "$0")/functions.sh"

start_nbdkit trueno-zram 9223372036854775807
nbd_script <<'END'
size = h.get_size()
assert size == 2**63 - 1
G = 1 << 30

# The end, the beginning and the middle.
data = random.Random(1).randbytes(10000)
for at in size - 10000, 0, 2**62 - 5000, size - 3 * G - 4097:
    h.pwrite(data, at)
for at in size - 10000, 0, 2**62 - 5000, size - 3 * G - 4097:
    assert h.pread(10000, at) == data
assert h.pread(1, size - 1) == data[-1:]
assert h.pread(5096, size - 15096)[:5095] == bytes(5095)

# Past the end.
fails(errno.EINVAL, lambda: h.pread(2, size - 1))
h.set_strict_mode(0)
fails(errno.EINVAL, lambda: h.pread(2, size - 1))
fails(errno.ENOSPC, lambda: h.pwrite(b"xy", size - 1))
fails(errno.EINVAL, lambda: h.trim(2, size - 1))
fails(errno.ENOSPC, lambda: h.zero(2, size - 1))

def extents(count, offset):
    out = []
    def cb(ctx, off, entries, err):
        for i in range(0, len(entries), 2):
            out.append((entries[i], entries[i + 1]))
    h.block_status(count, offset, cb)
    return out
start = (size - 10000) // 4096 * 4096
assert extents(G, size - G) == [(G - (size - start), 3), (size - start, 0)]
assert extents(4096, 0) == [(4096, 0)]
hole = extents(2**32 - 4096, 2**61)
assert hole == [(2**32 - 4096, 3)], hole

# Zeroes over almost 4 GiB, up to the last byte but one.
h.zero(2**32 - 4096, size - 1 - (2**32 - 4096))
assert h.pread(10000, size - 10000) == bytes(9999) + data[-1:]
assert h.pread(10000, size - 3 * G - 4097) == bytes(10000)
assert h.pread(10000, 2**62 - 5000) == data
END
stop_nbdkit || fail "the server did not end well"

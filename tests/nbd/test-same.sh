#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Pages of one pattern: read back at any phase, and next to no memory taken.
source "$(dirname "$0")/functions.sh"

start_nbdkit -D trueno-zram.stats=1 trueno-zram 64M
nbd_script <<'END'
for pattern in b"\x00" * 8, b"\xff" * 8, b"abcd" * 2, b"abcdefgh":
    h.pwrite(pattern * (32 << 20 >> 3), 32 << 20)
    for off, n in (0, 4096), (3, 1), (4093, 7), (8191, 8195), (77777, 70001):
        want = (pattern * (n // 8 + 2))[off % 8:off % 8 + n]
        assert h.pread(n, (32 << 20) + off) == want, (pattern, off, n)
h.pwrite(b"wxyzwxyz" * (32 << 20 >> 3), 0)
# A byte in the middle makes it an ordinary page, another puts it right again.
h.pwrite(b"!", 5000)
page = bytearray(b"wxyzwxyz" * 512)
page[904:905] = b"!"
assert h.pread(4096, 4096) == page
h.pwrite(b"w", 5000)
assert h.pread(4096, 4096) == b"wxyzwxyz" * 512
END
stop_nbdkit || fail "the server did not end well"
[ "$(stat_of same_pages)" = 16384 ] || fail "same_pages"
[ "$(stat_of orig_data_size)" = 67108864 ] || fail "orig_data_size"
[ "$(stat_of mem_used_total)" -lt 16777216 ] || fail "mem_used_total"

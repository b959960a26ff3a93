#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Under nbdkit's cow filter: clients write to the overlay, the plugin's disk
# is only read.
source "$(dirname "$0")/functions.sh"
requires nbdkit --filter=cow null --dump-plugin

start_nbdkit -D trueno-zram.stats=1 --filter=cow trueno-zram 64M
nbd_script <<'END'
for i in range(64):
    assert h.pread(1 << 20, i << 20) == bytes(1 << 20)
END
cat "$top_srcdir"/tests/data/*.pages >"$tmp/image"
truncate -s 64M "$tmp/image"
nbdcopy "$tmp/image" "$uri"
nbdcopy "$uri" - | cmp "$tmp/image" - || fail "another image came back"
nbd_script <<'END'
h.pwrite(b"x" * 10000, 33333)
assert h.pread(10002, 33332) == h.pread(1, 33332) + b"x" * 10000 + \
    h.pread(1, 43333)
assert h.pread(1, (64 << 20) - 1) == b"\0"
END
stop_nbdkit || fail "the server did not end well"
[ "$(stat_of orig_data_size)" = 0 ] || fail "something was written through"

#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# The largest requests that nbdkit lets through, beyond the advertised maximum.
source "$(dirname "$0")/functions.sh"

start_nbdkit trueno-zram 200M
nbd_script <<'END'
h.set_strict_mode(0)
n = 64 << 20
data = random.Random(4).randbytes(1 << 20) * 64
for off in 0, 12345:
    h.pwrite(data, off)
    assert h.pread(n, off) == data
h.zero(h.get_size(), 0)
assert h.pread(n, 0) == bytes(n)
END
stop_nbdkit || fail "the server did not end well"

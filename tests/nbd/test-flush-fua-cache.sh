#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Flush, forced unit access and cache are understood and change no content.
source "$(dirname "$0")/functions.sh"

start_nbdkit -D trueno-zram.io=1 trueno-zram 16M
nbd_script <<'END'
h.flush()
h.pwrite(b"a" * 10000, 5000, nbd.CMD_FLAG_FUA)
h.flush()
h.cache(16 << 20, 0)
h.cache(1, 12345)
assert h.pread(10000, 5000) == b"a" * 10000
h.zero(5000, 7000, nbd.CMD_FLAG_FUA | nbd.CMD_FLAG_NO_HOLE)
h.trim(1000, 13000, nbd.CMD_FLAG_FUA)
want = b"a" * 2000 + bytes(5000) + b"a" * 1000 + bytes(1000) + b"a" * 1000
assert h.pread(10000, 5000) == want
END
stop_nbdkit || fail "the server did not end well"
# Not one of them was made up by the server from other requests.
[ "$(grep -c ' flush ' "$tmp/server.log")" = 2 ] || fail "flushes"
[ "$(grep -c ' fua' "$tmp/server.log")" = 3 ] || fail "FUA"
[ "$(grep -c ' read ' "$tmp/server.log")" = 2 ] || fail "reads"

#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# A client starts the server itself: over standard input and output, to which
# nothing else may be written, and by systemd's socket activation.
source "$(dirname "$0")/functions.sh"

NBDKIT=$nbdkit nbdsh -c '
import os
server = [os.environ["NBDKIT"], "-D", "trueno-zram.io=1",
          "-D", "trueno-zram.stats=1"]
disk = ["trueno-zram", "1M"]

def use(h):
    h.pwrite(b"x" * 10000, 5000)
    assert h.pread(10002, 4999) == b"\0" + b"x" * 10000 + b"\0"
    h.trim(1 << 20, 0)
    assert h.pread(1 << 20, 0) == bytes(1 << 20)
    h.shutdown()

h.connect_command(server + ["-s", "--exit-with-parent"] + disk)
use(h)
h = nbd.NBD()
h.connect_systemd_socket_activation(server + disk)
use(h)
' 2>"$tmp/err" || fail "$(cat "$tmp/err")"
[ "$(grep -c '^trueno-zram: write count=10000 offset=5000' "$tmp/err")" = 2 ] ||
  fail "other requests: $(cat "$tmp/err")"

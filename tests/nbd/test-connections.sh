#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Several connections at once, reads, writes, trims and zeroes mixed: every
# page read is what was written to it, with each codec.
source "$(dirname "$0")/functions.sh"
requires test -x "$load"

for codec in ld64 lz4 zstd raw; do
  start_nbdkit trueno-zram 32M codec=$codec
  "$load" -c 4 -d 16 -t -n 60000 -z 33554432 -s ${SEED:-$RANDOM} "$uri" ||
    fail "codec=$codec"
  stop_nbdkit || fail "the server did not end well"
done

# What one connection wrote, another reads.
start_nbdkit trueno-zram 32M
nbd_script <<END
g = nbd.NBD()
g.connect_uri("$uri")
assert h.can_multi_conn()
for i in range(1000):
    data = random.Random(i).randbytes(100)
    h.pwrite(data, i * 1000)
    assert g.pread(100, i * 1000) == data
    g.zero(50, i * 1000)
    assert h.pread(100, i * 1000) == bytes(50) + data[50:]
END

#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Under nbdkit's blocksize filter, which turns any request into blocks.
source "$(dirname "$0")/functions.sh"
requires nbdkit --filter=blocksize null --dump-plugin

start_nbdkit --filter=blocksize trueno-zram 16M \
             minblock=4096 maxdata=64k maxlen=1M
nbd_script <<'END'
rnd = random.Random(8)
size = h.get_size()
shadow = bytearray(size)
for i in range(300):
    n = rnd.choice([1, 100, 4096, 5000, 300000])
    off = rnd.randrange(size - n)
    kind = rnd.randrange(4)
    data = rnd.randbytes(n) if kind < 2 else bytes(n)
    if kind < 2: h.pwrite(data, off)
    elif kind == 2: h.zero(n, off)
    else:
        # This filter trims whole blocks only.
        n, off = 8192, off // 8192 * 8192
        data = bytes(n)
        h.trim(n, off)
    shadow[off:off + n] = data
assert h.pread(size, 0) == shadow
h.zero(size, 0)
assert h.pread(size, 0) == bytes(size)
END

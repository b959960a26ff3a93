#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Under nbdkit's error filter: a request that failed changed nothing, the
# others did what they should.
source "$(dirname "$0")/functions.sh"
requires nbdkit --filter=error null --dump-plugin

start_nbdkit --filter=error trueno-zram 4M error=ENOSPC error-rate=30%
nbd_script <<'END'
rnd = random.Random(9)
size = h.get_size()
shadow = bytearray(size)
failed = done = 0

def read(n, off):
    while True:
        try: return h.pread(n, off)
        except nbd.Error as ex: assert ex.errnum == errno.ENOSPC

for i in range(2000):
    n = rnd.choice([1, 4096, 10000])
    off = rnd.randrange(size - n)
    kind = rnd.randrange(4)
    data = rnd.randbytes(n) if kind < 2 else bytes(n)
    try:
        if kind < 2: h.pwrite(data, off)
        elif kind == 2: h.zero(n, off)
        else: h.trim(n, off)
        shadow[off:off + n] = data
        done += 1
    except nbd.Error as ex:
        assert ex.errnum == errno.ENOSPC
        failed += 1
    assert read(n, off) == shadow[off:off + n]
assert failed > 100 and done > 100
assert read(size, 0) == shadow
END

#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Odd offsets and lengths: one byte, a page's edges, an odd end of the disk.
source "$(dirname "$0")/functions.sh"

for params in codec=auto "codec=zstd checksum=no" codec=lz4 codec=raw; do
  start_nbdkit trueno-zram 1000003 $params
  nbd_script <<'END'
size = h.get_size()
rnd = random.Random(2)
shadow = bytearray(size)
word = [rnd.randbytes(16) for _ in range(8)]

def content(n):
    "compressible, one pattern, or neither"
    kind = rnd.randrange(4)
    if kind == 0: return rnd.randbytes(n)
    if kind == 1: return (rnd.randbytes(8) * (n // 8 + 1))[:n]
    return b"".join(rnd.choices(word, k=n // 16 + 1))[:n]

lengths = [1, 2, 7, 8, 63, 511, 4095, 4096, 4097, 8191, 12289, 50001]
def check(off, n):
    assert h.pread(n, off) == shadow[off:off + n], (off, n)

for i in range(1200):
    n = rnd.choice(lengths)
    edge = rnd.randrange(size // 4096 + 1) * 4096
    off = rnd.choice([edge, edge - 1, edge + 1, edge - n, edge - n + 1,
                      size - n, rnd.randrange(size)])
    off = min(max(off, 0), size - n)
    kind = rnd.randrange(8)
    if kind < 5:
        data = content(n)
        h.pwrite(data, off)
    else:
        data = bytes(n)
        (h.zero if kind < 7 else h.trim)(n, off)
    shadow[off:off + n] = data
    check(max(off - 1, 0), min(n + 2, size - max(off - 1, 0)))
    off = rnd.randrange(size - n)
    check(off, n)
check(0, size)
END
  stop_nbdkit || fail "the server did not end well"
done

#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# A full pool answers ENOSPC, every page keeps what it held or has what it was
# given, the statistics say so, and trimming makes room again.
source "$(dirname "$0")/functions.sh"

for codec in auto raw zstd; do
  start_nbdkit -D trueno-zram.stats=1 trueno-zram 64M memory=4M codec=$codec
  nbd_script <<'END'
rnd = random.Random(5)
P = 4096
held = {}

def write(page, data):
    try:
        h.pwrite(data, page * P)
    except nbd.Error as ex:
        assert ex.errnum == errno.ENOSPC, ex
        return False
    held[page] = data
    return True

def check():
    for page in range(1200):
        want = held.get(page, bytes(P))
        assert h.pread(P, page * P) == want, page

refused = sum(not write(page, rnd.randbytes(P)) for page in range(1200))
stored = len(held)
print("stored", stored, "refused", refused)
assert refused > 100 and 750 < stored <= 1024, stored
check()

# Overwriting with what does not compress, whole pages and parts of them.
for page in range(1200):
    write(page, rnd.randbytes(P))
check()
for page in list(held)[:300]:
    part = rnd.randbytes(999)
    new = held[page][:2000] + part + held[page][2999:]
    try:
        h.pwrite(part, page * P + 2000)
        held[page] = new
    except nbd.Error as ex:
        assert ex.errnum == errno.ENOSPC
check()

# Over many pages: the first of them are new, the others old, none is mixed.
for first in range(0, 1184, 16):
    old = h.pread(16 * P, first * P)
    new = rnd.randbytes(16 * P)
    try:
        h.pwrite(new, first * P)
    except nbd.Error as ex:
        assert ex.errnum == errno.ENOSPC
        got = h.pread(16 * P, first * P)
        k = 0
        while got[k * P:k * P + P] == new[k * P:k * P + P]: k += 1
        assert k < 16 and got[k * P:] == old[k * P:], (first, k)
    got = h.pread(16 * P, first * P)
    for i in range(16):
        held[first + i] = got[i * P:i * P + P]

# What takes no memory can always be written.
for page in range(5000, 5100):
    h.pwrite(bytes(P), page * P)

# There is room again.
h.trim(h.get_size(), 0)
held.clear()
assert all(write(page, rnd.randbytes(P)) for page in range(700))
check()
END
  stop_nbdkit || fail "the server did not end well"
  grep -q '^nbdkit: trueno-zram.*: error: write of 4096 bytes at [0-9]*: No space left on device: ' \
    "$tmp/server.log" || fail "no message"
  grep '^trueno-zram: ' "$tmp/server.log"
  errors=$(errors_logged 'fill the memory')
  [ "$(stat_of failed_writes)" = "$errors" ] || fail "failed_writes, $errors"
  [ "$(stat_of pool_full)" = "$errors" ] || fail "pool_full, $errors"
  [ "$(stat_of bad_blobs)" = 0 ] || fail "bad_blobs"
  [ "$(stat_of mem_limit)" = 4194304 ] || fail "mem_limit"
done

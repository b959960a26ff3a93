#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# nbdkit's checkwrite filter compares what would be written, zeroed or trimmed
# with what the plugin reads and with its extents.
source "$(dirname "$0")/functions.sh"
requires nbdkit --filter=checkwrite null --dump-plugin

truncate -s 200M "$tmp/zeroes"

# A fresh disk is zeroes all over.  Without extents the filter reads them all.
for filters in --filter=checkwrite "--filter=checkwrite --filter=noextents"; do
  start_nbdkit $filters trueno-zram 200M
  nbd_script <<'END'
size = h.get_size()
h.zero(size, 0)
h.trim(size, 0)
h.zero(12345, 6789)
h.pwrite(bytes(1 << 20), 5000)
fails(errno.EIO, lambda: h.pwrite(b"x", 5000))
fails(errno.EIO, lambda: h.pwrite(bytes(4095) + b"x", 128 << 20))
END
  nbdcopy "$tmp/zeroes" "$uri" || fail "the disk is not what it should be"
done

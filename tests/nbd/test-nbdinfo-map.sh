#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# nbdinfo --map of a fresh disk, a written one and one that is half trimmed.
source "$(dirname "$0")/functions.sh"
requires nbdinfo --version

# map WANT: offset, length and type of each extent.
map ()
{
  nbdinfo --map "$uri" | awk '{ print $1, $2, $3 }' >"$tmp/map"
  diff <(cat) "$tmp/map" || fail "$1: another map"
}

start_nbdkit trueno-zram 1G
map fresh <<<'0 1073741824 3'

nbd_script <<'END'
for at in range(0, 256 << 20, 1 << 20):
    h.pwrite(b"0123456789abcdef" * 65536, at)
h.pwrite(b"end", h.get_size() - 3)
END
map written <<'END'
0 268435456 0
268435456 805302272 3
1073737728 4096 0
END

nbd_script <<<'h.trim(128 << 20, 64 << 20)'
map trimmed <<'END'
0 67108864 0
67108864 134217728 3
201326592 67108864 0
268435456 805302272 3
1073737728 4096 0
END
nbdinfo --map --totals "$uri"
nbd_script <<<'h.zero(h.get_size(), 0)'
map zeroed <<<'0 1073741824 3'

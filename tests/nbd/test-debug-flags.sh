#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# -D flags work in spite of the dash in the plugin's name, whichever compiler
# made the symbol.
source "$(dirname "$0")/functions.sh"

start_nbdkit -D trueno-zram.io=1 -D trueno-zram.stats=1 trueno-zram 1M
nbd_script <<'END'
h.pwrite(bytes(range(256)) * 16, 8192, nbd.CMD_FLAG_FUA)
h.pread(10, 8190)
h.zero(100, 1, nbd.CMD_FLAG_FAST_ZERO)
h.trim(4096, 4096)
h.flush()
h.block_status(4096, 0, lambda *args: 0, nbd.CMD_FLAG_REQ_ONE)
END
stop_nbdkit || fail "the server did not end well"
cat "$tmp/server.log"

if grep -i warning "$tmp/server.log"; then fail "a flag was not found"; fi
said ()
{
  grep -Fqx "trueno-zram: $1" "$tmp/server.log" || fail "no line '$1'"
}
said 'write count=4096 offset=8192 fua'
said 'read count=10 offset=8190'
said 'zero count=100 offset=1 may_trim fast_zero'
said 'trim count=4096 offset=4096'
said 'flush count=0 offset=0'
said 'extents count=4096 offset=0 req_one'
said 'orig_data_size=4096'
[ "$(stat_of mem_limit)" = 0 ] || fail mem_limit
[ "$(stat_of compr_data_size)" -gt 0 ] || fail compr_data_size
[ "$(stat_of mem_used_total)" -gt 4096 ] || fail mem_used_total
said "ratio=$(awk "BEGIN { printf \"%.2f\", $(stat_of orig_data_size) / \
                           $(stat_of mem_used_total) }")"

# Without the flags nothing is said, and an unknown flag is noticed.
start_nbdkit trueno-zram 1M
nbd_script <<<'h.pwrite(b"x", 0)'
stop_nbdkit || fail "the server did not end well"
[ ! -s "$tmp/server.log" ] || fail "it said something without being asked"
"$nbdkit" -U - -D trueno-zram.nothing=1 trueno-zram 1M --run : \
          2>"$tmp/server.log"
grep -q warning "$tmp/server.log" || fail "no warning of an unknown flag"

for cc in gcc clang; do
  command -v $cc >/dev/null || continue
  echo 'DEBUG_FLAG (stats);' |
    $cc -I "$top_srcdir/plugin" -include debug.h -shared -fPIC -x c - \
        -Wl,--version-script="$top_srcdir/plugin/plugin.syms" \
        -o "$tmp/$cc.so"
  nm -D "$tmp/$cc.so" | grep -E ' [BD] trueno-zram_debug_stats$' ||
    fail "$cc: $(nm -D "$tmp/$cc.so")"
done

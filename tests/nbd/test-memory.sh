#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Memory goes back to the system after trim, and what the server takes is what
# the statistics say.
source "$(dirname "$0")/functions.sh"
requires_no_sanitizer

rss () { awk '/^VmRSS:/ { print $2 }' /proc/$pid/status; }
write ()
{
  nbd_script <<'END'
rnd = random.Random(6)
for at in range(0, 128 << 20, 65536):
    h.pwrite(rnd.randbytes(65536), at)
END
}

start_nbdkit -D trueno-zram.stats=1 trueno-zram 128M codec=raw
# Warm up the server's own buffers.
nbd_script <<<'for i in range(1000): h.pwrite(bytes(65536), 0)'
empty=$(rss)
write
full=$(rss)
nbd_script <<<'h.trim(h.get_size(), 0)'
for ((i = 0; i < 50; i++)); do
  trimmed=$(rss)
  if [ $((trimmed - empty)) -le $(((full - empty) / 20)) ]; then break; fi
  sleep 0.1
done
stop_nbdkit || fail "the server did not end well"
echo "KiB: empty $empty, full $full, trimmed $trimmed"
[ $((full - empty)) -gt 131072 ] || fail "128M cannot take so little"
[ $((trimmed - empty)) -le $(((full - empty) / 20)) ] ||
  fail "the memory was not given back"
said=$(($(stat_of mem_used_max) / 1024))
[ $((full - empty)) -le $((said + 4096)) ] ||
  fail "it takes $((full - empty)) KiB and says $said"

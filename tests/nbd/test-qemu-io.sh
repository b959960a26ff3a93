#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# qemu-io writes patterns, zeroes and discards, and finds them again.
source "$(dirname "$0")/functions.sh"
requires qemu-io --version

start_nbdkit trueno-zram 256M
qemu_io ()
{
  local args=() c
  for c in "$@"; do args+=(-c "$c"); done
  qemu-io -f raw -t none -d unmap "$uri" "${args[@]}" >"$tmp/out" 2>&1 ||
    fail "$(cat "$tmp/out")"
  if grep -Ei 'fail|error' "$tmp/out"; then fail "$(cat "$tmp/out")"; fi
}

qemu_io 'read -P 0 0 64M' \
        'write -P 0x5a 0 64M' 'read -P 0x5a 0 64M' \
        'write -P 0xa5 4096 512' 'read -P 0xa5 4096 512' \
        'read -P 0x5a 0 4096' 'read -P 0x5a 4608 1M' \
        'write -P 7 1023 65537' 'read -P 7 1023 65537' \
        'write -P 9 268435000 456' 'read -P 9 268435000 456'
qemu_io 'write -z 1M 32M' 'read -P 0 1M 32M' 'read -P 0x5a 33M 31M' \
        'write -z -u 40M 3000001' 'read -P 0 40M 3000001' \
        'discard 50M 2M' 'read -P 0 50M 2M' 'read -P 0x5a 52M 12M' \
        'write -z -n 60M 1M' 'read -P 0 60M 1M' 'flush'
qemu_io 'aio_write -P 1 100M 1M' 'aio_write -P 2 101M 1M' \
        'aio_write -P 3 102M 1M' 'aio_flush' \
        'read -P 1 100M 1M' 'read -P 2 101M 1M' 'read -P 3 102M 1M' \
        'write -f -P 4 100M 4097' 'read -P 4 100M 4097'

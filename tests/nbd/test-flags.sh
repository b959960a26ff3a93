#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# What the server says it can do, as nbdinfo shows it.
source "$(dirname "$0")/functions.sh"
requires nbdinfo --version

start_nbdkit trueno-zram 1234567
nbdinfo "$uri" | tee "$tmp/info"
has ()
{
  grep -Eq "^[[:space:]]*$1" "$tmp/info" || fail "no line $1"
}
has 'export-size: 1234567'
has 'export="":'
has 'description: trueno-zram: auto, 4096-byte pages, id=[0-9a-f]{32}$'
has 'base:allocation$'
has 'is_rotational: false'
has 'is_read_only: false'
for can in cache df fast_zero flush fua multi_conn trim zero; do
  has "can_$can: true"
done
has 'block_size_minimum: 1$'
has 'block_size_preferred: 4096$'
has 'block_size_maximum: 33554432$'
stop_nbdkit || fail "the server did not end well"

# Read-only is the server's business.
start_nbdkit -r trueno-zram 1M codec=lz4
nbdinfo "$uri" | tee "$tmp/info"
has 'is_read_only: true'
has 'description: trueno-zram: lz4, 4096-byte pages, id=[0-9a-f]{32}$'

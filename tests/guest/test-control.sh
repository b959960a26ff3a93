#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# A server that takes memory while it serves hangs its machine under this load:
# so these tests see it when that happens.
source "$(dirname "$0")/functions.sh"
patience=20

guest <<'CASE'
server memory -U /run/ram.sock memory 352M allocator=zstd
swap_on 'nbd+unix:///?socket=/run/ram.sock' --timeout 600
load
CASE
[ "$verdict" = hung ] || fail "it did not hang: it $verdict"
grep -aq 'task:nbdkit .*state:' "$log" || fail "the kernel did not say who waits"

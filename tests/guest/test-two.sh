#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Two servers at the same priority share the pages.
source "$(dirname "$0")/functions.sh"

guest -m 320 <<'CASE'
swap_on 176M --memory 64M --device /dev/nbd0
swap_on 176M --memory 64M --device /dev/nbd1
load
for device in nbd0 nbd1; do
  written=$(xargs </sys/block/$device/stat | cut -d' ' -f7)
  note "$device: $((written / 8)) pages written"
  [ $written -gt 100000 ]
done
swap_off /dev/nbd0
swap_off /dev/nbd1
CASE
passed

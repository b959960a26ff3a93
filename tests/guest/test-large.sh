#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# A device much larger than its memory, as swapon shows it.
source "$(dirname "$0")/functions.sh"

guest <<'CASE'
swap_on 8G --memory 160M
note "$(/usr/sbin/swapon --show | tail -n 1)"
/usr/sbin/swapon --show=NAME,TYPE,SIZE,PRIO --noheadings |
  grep -E '^/dev/nbd0 +partition +8G +150$'
hog -p /pages -n 4 -r 0 80
swapped_out 30000
swap_off
CASE
passed

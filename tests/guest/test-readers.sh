#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Four processes read at once what together is four times the machine's memory.
source "$(dirname "$0")/functions.sh"

guest -m 256 <<'CASE'
swap_on 1100M --memory 64M
hog -c -n 4 -r 0 256
swapped_out 200000
swap_off
CASE
passed

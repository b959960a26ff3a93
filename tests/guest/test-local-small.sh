#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# The same in a machine with very little memory.
source "$(dirname "$0")/functions.sh"

guest -m 256 <<'CASE'
swap_on 200M --memory 80M
hog -p /pages -n 4 -r 2 45
swapped_out 20000
swap_off
CASE
passed

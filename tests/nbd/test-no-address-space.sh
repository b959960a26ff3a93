#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Where the system has no room for the disk, the server says so and ends.
source "$(dirname "$0")/functions.sh"
requires_no_sanitizer

(ulimit -v 2000000
 "$nbdkit" -U - trueno-zram 1T --run : 2>"$tmp/err") && fail "it started"
cat "$tmp/err"
[ "$(tail -1 "$tmp/err")" = "nbdkit: error: cannot set up a disk of 1099511627776 bytes: Cannot allocate memory" ] ||
  fail "another message"

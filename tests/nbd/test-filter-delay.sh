#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Under nbdkit's delay filter requests overtake each other: every page is
# still what was written to it.
source "$(dirname "$0")/functions.sh"
requires nbdkit --filter=delay null --dump-plugin
requires test -x "$load"

start_nbdkit --filter=delay trueno-zram 16M rdelay=1ms wdelay=2ms
"$load" -c 4 -d 32 -t -n 20000 -z 4194304 "$uri" || fail "another content"

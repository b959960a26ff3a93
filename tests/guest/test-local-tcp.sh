#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# The same over TCP, whose packets the kernel needs memory for, too.
source "$(dirname "$0")/functions.sh"

guest <<'CASE'
server ram -i 127.0.0.1 -p 10809 trueno-zram 352M memory=128M swap=yes
swap_on nbd://127.0.0.1
load
swap_off
CASE
passed

#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# A machine swaps to a server of its own, far beyond its memory.
source "$(dirname "$0")/functions.sh"

guest -m 320 <<'CASE'
swap_on 352M --memory 128M
load
pidof nbdkit >/run/ram.pid
server_memory ram
swap_off
CASE
passed

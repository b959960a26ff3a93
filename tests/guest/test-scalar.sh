#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# The same on a processor without any of the instructions that codecs like.
source "$(dirname "$0")/functions.sh"

guest -c qemu64 -m 320 <<'CASE'
nbdkit trueno-zram --dump-plugin >/tmp/dump
note $(grep -E 'features|isa_(ld64|lz4)' /tmp/dump)
grep -q '^trueno_zram_isa_ld64=scalar$' /tmp/dump
grep -q '^trueno_zram_isa_lz4=scalar$' /tmp/dump
swap_on 352M --memory 128M
load
swap_off
CASE
passed

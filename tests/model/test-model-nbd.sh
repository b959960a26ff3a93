#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Random requests to a server against a shadow of the disk, over one
# connection and over eight.  MODEL_OPS scales the run, MODEL_SEED repeats one.
source "$(dirname "$0")/../nbd/functions.sh"
ops=${MODEL_OPS:-40000}
model ()
{
  "$top_builddir/tests/model/model-nbd" -n "$ops" \
    ${MODEL_SEED:+-s "$MODEL_SEED"} "$@" || fail "model-nbd $*"
}

# An odd size, over two leaves of the table.
size=$(((72 << 20) + 1234))
start_nbdkit trueno-zram $size codec=ld64
model -t 1 "$uri"
start_nbdkit trueno-zram $size codec=ld64
model -t 8 "$uri"
start_nbdkit trueno-zram $size codec=lz4 memory=8M
model -t 8 "$uri" full

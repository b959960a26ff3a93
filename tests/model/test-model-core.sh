#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Random requests to the core against a shadow of the disk, in one thread and
# in eight.  MODEL_OPS scales the run, MODEL_SEED repeats one.
set -e -o pipefail
ops=${MODEL_OPS:-150000}
model ()
{
  "${top_builddir:-.}/tests/model/model-core" -n "$ops" \
    ${MODEL_SEED:+-s "$MODEL_SEED"} "$@"
}

model -t 1 ld64
model -t 8 ld64
model -t 8 ld64:2 full
model -t 1 lz4 full
model -t 8 lz4 file
model -t 1 ld64 file full
model -t 8 zstd
model -t 8 raw full
model -t 8 ld64 cores
model -t 8 lz4 full engine
model -t 8 ld64 full later
model -t 8 ld64 file later engine
model -t 8 ld64 vram engine
model -t 8 lz4 full vram cores

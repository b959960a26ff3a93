#!/bin/bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# The module that uses a real GPU, and what checks and measures one, on the
# emulated one; and that the check notices pages which a driver spoils.
set -e
cd "${top_builddir:-.}"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cp tests/emul/.libs/libcuda.so "$tmp/libcuda.so.1"
export LD_LIBRARY_PATH=$tmp FAKE_CUDA=$tmp/faults
export ASAN_OPTIONS=detect_leaks=0 # they end and leave it to the system

./test-module tests/emul/.libs/cuda-module.so
./test-gpu --pages 128
echo 'bad 100' >"$FAKE_CUDA"
if ./test-gpu --pages 128 2>"$tmp/err"; then
  echo "bad results went unnoticed"
  exit 1
fi
grep 'result -1, not 0' "$tmp/err" >/dev/null
rm "$FAKE_CUDA"

./bench-gpu --json --pages 64 --rounds 1 \
  --module tests/emul/.libs/cuda-module.so \
  "${top_srcdir:?}/tests/data/perl.pages" \
  >"$tmp/rows"
for metric in to-device to-host memory decompress compress ratio crossover \
              decompress-end compress-end deliver-to-gpu latency-32 read-1 \
              read-32 write-32; do
  grep "\"metric\":\"$metric\"" "$tmp/rows" >/dev/null ||
    { echo "no row about $metric"; exit 1; }
done

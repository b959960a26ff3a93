#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# A GPU that is none: the plugin, its module and a driver whose kernels the
# emulator runs.  Whatever goes wrong with it, no client ever sees it.
source "$(dirname "$0")/functions.sh"
requires nbdsh --version
requires_no_sanitizer

emulated=$top_builddir/tests/emul/.libs
mkdir "$tmp/dir" "$tmp/lib"
cp "$plugin" "$tmp/dir/"
module=$tmp/dir/nbdkit-trueno-zram-cuda.so
zram=$tmp/dir/${plugin##*/}
head -qc 256K "$top_srcdir"/tests/data/*.pages >"$tmp/data"
export FAKE_CUDA=$tmp/faults

# says PATTERN ARG…: the server refuses to start, and says so.
says ()
{
  local pattern=$1
  shift
  rm -f "$tmp/none"
  if timeout 60 "$nbdkit" -f -U "$tmp/none" "$zram" 64M "$@" 2>"$tmp/err"; then
    fail "it started with $*"
  fi
  grep -Eq "^nbdkit: error: $pattern" "$tmp/err" ||
    fail "$*: it said: $(cat "$tmp/err")"
}

# Without the module, without the driver, without a device.
says 'cuda=on: .*nbdkit-trueno-zram-cuda.so.*: install it, or build' cuda=on
"$nbdkit" -f -U - "$zram" 64M --run : || fail "cuda=auto needs the module"
cp "$emulated/cuda-module.so" "$module"
says 'cuda=on: no libcuda.so.1: install NVIDIA' cuda=on
"$nbdkit" -f -U - "$zram" 64M --run : || fail "cuda=auto needs the driver"
cp "$emulated/libcuda.so" "$tmp/lib/libcuda.so.1"
export LD_LIBRARY_PATH=$tmp/lib
echo 'none 0' >"$FAKE_CUDA"
says "cuda=on: NVIDIA's driver finds no GPU" cuda=on
"$nbdkit" -f -U - "$zram" 64M --run : || fail "cuda=auto needs a device"
start_nbdkit -D trueno-zram.stats=1 "$zram" 64M
stop_nbdkit || fail "the server ended with $?"
[ -n "$(stat_of ratio)" ] || fail "no statistics"
[ -z "$(stat_of engine)" ] || fail "statistics of a GPU that is not there"
for fault in cuInit cuDevicePrimaryCtxRetain cuModuleLoadData cuMemHostAlloc \
             cuMemAlloc cuStreamCreate cuLaunchKernel cuEventQuery; do
  echo "$fault 999" >"$FAKE_CUDA"
  says 'cuda=on: .' cuda=on batch=64
done
for fault in 'bad 500' 'wrong 100'; do
  echo "$fault" >"$FAKE_CUDA"
  says 'cuda=on: .*computed something else than the processor' cuda=on batch=64
done

# reads FAULT: write the data, lay the fault, and read all in requests of 1 MiB
# of two connections; with PAUSE, that many seconds after the first time.
reads ()
{
  FAULT=$1 DATA=$tmp/data nbd_script <<'END'
import time
data = open(os.environ["DATA"], "rb").read()
for at in range(0, len(data), 1 << 20):
    h.pwrite(data[at:at + (1 << 20)], at)
with open(os.environ["FAKE_CUDA"], "w") as f:
    f.write(os.environ["FAULT"] + "\n")
h2 = nbd.NBD()
h2.connect_uri(h.get_uri())
for turn in range(3):
    if turn == 1:
        time.sleep(float(os.environ.get("PAUSE", "0")))
    pending = []
    for conn in (h, h2):
        for at in range(0, len(data), 1 << 20):
            n = min(1 << 20, len(data) - at)
            buf = nbd.Buffer(n)
            pending.append((conn, conn.aio_pread(buf, at), buf, at, n))
    for conn, cookie, buf, at, n in pending:
        while not conn.aio_command_completed(cookie):
            conn.poll(-1)
        assert buf.to_bytearray() == data[at:at + n], at
END
}

# with FAULT ARG…: all of that, and the statistics.  The emulator is slow.
timeout=10000
with ()
{
  local fault=$1
  shift
  echo "$fault; $*"
  : >"$FAKE_CUDA"
  start_nbdkit -D trueno-zram.stats=1 -D trueno-zram.gpu_timeout=$timeout \
               "$zram" 64M cuda=on batch=64 "$@"
  reads "$fault"
  : >"$FAKE_CUDA"
  stop_nbdkit || fail "the server ended with $?"
  [ "$(stat_of failed_reads)" = 0 ] || fail "a read failed"
  [ "$(stat_of batches)" -gt 0 ] || fail "no batch was made"
}

with '' codec=ld64
[ "$(stat_of engine_pages)" -gt 0 ] || fail "no page came from the GPU"
[ "$(stat_of engine_errors)" = 0 ] || fail "errors without a fault"
with '' codec=lz4 batch-wait=500
[ "$(stat_of engine_pages)" -gt 0 ] || fail "no page came from the GPU"
with 'cuMemHostRegister 1' codec=ld64 checksum=no

if [ "$(id -u)" = 0 ]; then
  with '' swap=try memory=32M
  [ "$(stat_of pinned)" = 1 ] || fail "the pool was not pinned"
  [ "$(stat_of engine_pages)" -gt 0 ] || fail "no page came from the GPU"
fi

# Compressed in the background, by the GPU.
export PAUSE=3
with '' compress=later
[ "$(stat_of later_pages)" -gt 0 ] || fail "nothing was compressed later"
[ "$(stat_of engine_compresses)" = 1 ] || fail "cuda=on, not by the GPU"
# Unless all cores are faster, as they are than the emulator.
with '' compress=later cuda=auto
[ "$(stat_of later_pages)" -gt 0 ] || fail "nothing was compressed later"
[ "$(stat_of compress_percent)" -gt 100 ] || fail "the GPU was not slower"
[ "$(stat_of engine_compresses)" = 0 ] || fail "cuda=auto, by the slower GPU"
with 'bad 300' compress=later codec=lz4
unset PAUSE

with 'bad 100'
[ "$(stat_of fallback_pages)" -gt 0 ] || fail "bad pages were not counted"
with 'cuLaunchKernel 1 50'
[ "$(stat_of engine_errors)" -gt 0 ] || fail "errors were not counted"
[ "$(stat_of engine_lost)" = 0 ] || fail "given up too early"
for fault in 'cuLaunchKernel 719' 'cuEventQuery 46' 'cuEventRecord 999'; do
  with "$fault"
  [ "$(stat_of engine_lost)" = 1 ] || fail "$fault: the GPU was not given up"
  grep -q 'the GPU is given up' "$tmp/server.log" || fail "$fault: no message"
done
timeout=100
with 'slow 300 50'
[ "$(stat_of engine_timeouts)" -gt 0 ] || fail "lateness was not counted"
with 'hang 0'
[ "$(stat_of engine_timeouts)" -gt 0 ] || fail "a hanging GPU was not noticed"

# The driver does not return, not even when the server ends.
: >"$FAKE_CUDA"
start_nbdkit -D trueno-zram.stats=1 -D trueno-zram.gpu_timeout=$timeout \
             "$zram" 64M cuda=on batch=64
reads 'stuck 0'
stop_nbdkit || fail "the server ended with $?"
[ "$(stat_of engine_timeouts)" -gt 0 ] || fail "a stuck driver was not noticed"
grep -q 'the GPU is given up' "$tmp/server.log" || fail "it was not given up"

#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Pages in the memory of a GPU that is none: the module, and a driver whose
# kernels the emulator runs.  What is written is what is read, until that memory
# is lost: then the pages in it are, and nothing else.
source "$(dirname "$0")/functions.sh"
requires nbdsh --version
requires_no_sanitizer

emulated=$top_builddir/tests/emul/.libs
mkdir "$tmp/dir" "$tmp/lib"
cp "$plugin" "$tmp/dir/"
module=$tmp/dir/nbdkit-trueno-zram-cuda.so
zram=$tmp/dir/${plugin##*/}
head -qc 384K "$top_srcdir"/tests/data/*.pages >"$tmp/data"
export FAKE_CUDA=$tmp/faults DATA=$tmp/data

# says PATTERN ARG…: the server refuses to start, and says so.
says ()
{
  local pattern=$1
  shift
  rm -f "$tmp/none"
  if timeout 60 "$nbdkit" -f -U "$tmp/none" "$zram" store=vram "$@" \
             2>"$tmp/err"; then
    fail "it started with $*"
  fi
  grep -Eq "^nbdkit: error: $pattern" "$tmp/err" ||
    fail "$*: it said: $(cat "$tmp/err")"
}

for swap in yes try; do
  says "store=vram with swap=$swap: a GPU must not be the only" \
       64M swap=$swap memory=8M
done
says 'store=vram needs the GPU: leave cuda=off out' 64M cuda=off
says 'store=vram with compress=later: ' 64M compress=later
says 'standby=yes needs store: ' 64M standby=yes
says 'store=vram: .*nbdkit-trueno-zram-cuda.so.*: install it, or build' 64M
cp "$emulated/cuda-module.so" "$module"
says 'store=vram: no libcuda.so.1: install NVIDIA' 64M
cp "$emulated/libcuda.so" "$tmp/lib/libcuda.so.1"
export LD_LIBRARY_PATH=$tmp/lib
echo 'none 0' >"$FAKE_CUDA"
says "store=vram: NVIDIA's driver finds no GPU" 64M
echo 'room 64' >"$FAKE_CUDA"
says 'store=vram: Fake GPU.* has no memory free' 64M
echo 'cuMemGetInfo 999' >"$FAKE_CUDA"
says 'store=vram: Fake GPU.* has no memory free' 64M
echo 'room 80' >"$FAKE_CUDA"
says 'memory=33554432: Fake GPU.* has 16777216 bytes free; leave memory= out' \
     64M memory=32M
# It promises more than it gives.
echo 'room 9000' >"$FAKE_CUDA"
says 'cannot set up a disk of .* bytes: Cannot allocate memory' 4G memory=4G
: >"$FAKE_CUDA"

# Any other name is a file's.
(cd "$tmp" && "$nbdkit" -U - "$zram" 1M store=./vram --run : 2>"$tmp/err") ||
  grep 'store=.*/vram: the file must be on hugetlbfs' "$tmp/err" ||
  fail "store=./vram is not a file"

# start [-D …] ARG…: a server, with or without large reads by the GPU.
timeout=10000
start ()
{
  : >"$FAKE_CUDA"
  start_nbdkit -D trueno-zram.stats=1 -D trueno-zram.gpu_timeout=$timeout \
               "$zram" store=vram batch=64 "$@"
}
stop ()
{
  : >"$FAKE_CUDA"
  stop_nbdkit || fail "the server ended with $?"
}
# expect NAME TEST: of a number in the statistics.
expect ()
{
  test "$(stat_of "$1")" "${@:2}" || fail "$1 is $(stat_of "$1"), not ${*:2}"
}

# ---- What is right ----

# Several clients at once, each answer checked.
for codec in ld64 lz4; do
  start 16M memory=16M codec=$codec cuda=on
  "$top_builddir/tests/model/model-nbd" -n 1500 -t 4 "$uri" ||
    fail "model-nbd, $codec"
  "$load" -c 4 -d 8 -n 4000 -z 4194304 -t "$uri" || fail "load, $codec"
  stop
  expect vram_total = 16777216
  expect vram_errors = 0
  expect failed_reads = 0
  expect engine_pages -gt 0
done
start 16M memory=512K
"$top_builddir/tests/model/model-nbd" -n 1500 -t 4 "$uri" full ||
  fail "model-nbd, full"
stop
expect pool_full -gt 0
expect vram_total = 524288

# Large reads, from two connections, are decompressed by the GPU.  The second
# server knows nothing of what the first one had.
for turn in 1 2; do
  start 64M memory=32M cuda=on
  nbd_script <<'END'
data = open(os.environ["DATA"], "rb").read()
h2 = nbd.NBD()
h2.connect_uri(h.get_uri())
assert h.pread(1 << 20, 0) == bytearray(1 << 20)
for at in range(0, len(data), 1 << 20):
    h2.pwrite(data[at:at + (1 << 20)], at)
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
  stop
  expect engine_pages -gt 300
  expect pinned = 1
  expect fallback_pages = 0
done

# Without memory= it takes what there is, and says so if that may be too little.
echo 'room 80' >"$FAKE_CUDA"
start_nbdkit -D trueno-zram.stats=1 "$zram" 1G store=vram batch=64
nbd_script <<'END'
assert h.get_size() == 1 << 30
END
stop
expect vram_total = 16777216
grep 'store=vram: warning: Fake GPU.* has 16777216 bytes free' \
     "$tmp/server.log" || fail "no warning"

# ---- What goes wrong ----

# Copies that fail are errors for that request, and leave what was there.
start 64M memory=32M
nbd_script <<'END'
data = open(os.environ["DATA"], "rb").read()
faults = lambda text: open(os.environ["FAKE_CUDA"], "w").write(text + "\n")
size = 512 << 10
old, new = data[:size], data[size:2 * size]
h.pwrite(old, 0)
faults("cuMemcpyHtoDAsync 2 5")
failed = 0
for at in range(0, size, 4096):
    try:
        h.pwrite(new[at:at + 4096], at)
        old = old[:at] + new[at:at + 4096] + old[at + 4096:]
    except nbd.Error as ex:
        assert ex.errnum == errno.EIO, ex
        failed += 1
assert 0 < failed < size // 4096, failed
fails(errno.EIO, lambda: [h.pwrite(new, 0) for _ in range(50)])
faults("cuMemcpyDtoHAsync 2")
fails(errno.EIO, lambda: h.pread(4096, 1 << 20 >> 2))
faults("")
now = h.pread(size, 0)
for at in range(0, size, 4096):
    assert now[at:at + 4096] in (old[at:at + 4096], new[at:at + 4096]), at
END
stop
expect vram_errors -gt 0
expect failed_reads = 1
expect engine_lost = 0
grep 'error: write of .*: the GPU did not copy a page from or to its' \
     "$tmp/server.log" || fail "no message about it"

# lost FAULT: the device is lost while it is in use.  Pages without a blob stay,
# all can be trimmed, and nothing hangs.
lost ()
{
  local since
  echo "lost: $1"
  start 64M memory=32M cuda=on
  since=$SECONDS
  FAULT=$1 nbd_script <<'END'
import signal
signal.alarm(60) # where it hangs
data = open(os.environ["DATA"], "rb").read()[:1 << 20]
same, zero, ones = 8 << 20, 9 << 20, b"\1" * 65536
h.pwrite(data, 0)
h.pwrite(ones, same)
h.pwrite(bytes(65536), zero)
with open(os.environ["FAKE_CUDA"], "w") as f:
    f.write(os.environ["FAULT"] + "\n")
def lost():
    # A kernel that fails or hangs is noticed by a large read only, whose pages
    # may still be had.
    for i in range(200):
        h.pread(1 << 20, 0)
        h.pread(4096, 4096 * i)
        h.pwrite(data[:4096], 0)
fails(errno.EIO, lost)
for i in range(3):
    fails(errno.EIO, lambda: h.pread(4096, 0))
    fails(errno.EIO, lambda: h.pread(1 << 20, 0))
    fails(errno.EIO, lambda: h.pwrite(data[:4096], 4096 * i))
    fails(errno.EIO, lambda: h.pwrite(b"x", same + 5))
    fails(errno.EIO, lambda: h.pread(1, 4096 * i))
assert h.pread(65536, same) == ones
assert h.pread(65536, zero) == bytearray(65536)
# A page can become one without a blob.
h.pwrite(ones, 0)
assert h.pread(65536, 0) == ones
h.trim(65536, 65536)
assert h.pread(65536, 65536) == bytearray(65536)
h.zero(len(data), 0)
assert h.pread(len(data), 0) == bytearray(len(data))
END
  stop
  [ $((SECONDS - since)) -lt 20 ] || fail "it took $((SECONDS - since)) s"
  expect engine_lost = 1
  expect vram_errors -gt 10
  expect failed_reads -gt 8
  expect run_bytes = 0
  [ "$(grep -c 'the GPU is lost (.*), and with it all pages' \
            "$tmp/server.log")" = 1 ] || fail "the loss is not told once"
  [ "$(grep -c ': the GPU is lost, and the pages in its memory with it' \
            "$tmp/server.log")" -le 4 ] || fail "too many lines about it"
}
for fault in 'cuMemcpyDtoHAsync 719' 'cuMemcpyHtoDAsync 46' \
             'cuEventRecord 999' 'cuEventQuery 719' 'cuLaunchKernel 719'; do
  lost "$fault"
done
timeout=50
lost 'hang 0'

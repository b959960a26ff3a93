#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# fio writes blocks of mixed sizes through NBD, also several times over, and
# verifies a checksum in each.
source "$(dirname "$0")/functions.sh"
requires sh -c 'fio --enghelp=nbd'

# verify NAME ARG…: two writes to one block at once would leave either of them.
verify ()
{
  (cd "$tmp" &&
   timeout 100 fio --name="$1" --ioengine=nbd --uri="$uri" --size=48M \
       --iodepth=16 --verify=crc32c --verify_fatal=1 --randrepeat=0 \
       --serialize_overlap=1 \
       --buffer_compress_percentage=60 --refill_buffers "${@:2}" \
       >"$tmp/fio.log" 2>&1) || fail "$1: $(cat "$tmp/fio.log")"
  if grep -q 'verify:.*bad' "$tmp/fio.log"; then fail "$(cat "$tmp/fio.log")"; fi
  grep -q 'READ: bw=' "$tmp/fio.log" || fail "$1: nothing was verified"
}

start_nbdkit trueno-zram 48M
verify mixed --rw=randwrite --bsrange=512-64k --bs_unaligned=0
verify odd --rw=randwrite --bsrange=512-20k --bs_unaligned --io_size=24M
verify overwrite --rw=randwrite --bs=4k --norandommap --io_size=64M \
       --verify_backlog=1024
stop_nbdkit || fail "the server did not end well"
start_nbdkit trueno-zram 48M codec=zstd
verify zstd --rw=write --bs=64k

#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# After warm-up, a million requests of 4 KiB allocate nothing, map nothing and
# fault no page in, in the threads that serve them.
source "$(dirname "$0")/functions.sh"
requires test -x "$load"
requires test -r /proc/self/stat
requires_no_sanitizer

count=$top_builddir/tests/nbd/.libs/count.so
requires test -r "$count"

export COUNT_FILE=$tmp/counts
head -c 4096 /dev/zero >"$tmp/counts"
LD_PRELOAD=$count start_nbdkit -D trueno-zram.stats=1 trueno-zram 256M
# It answers when the upkeep thread is there, which is not to be counted.
nbd_script <<<'h.pread(1, 0)'
# A machine that is busy with other things adds a fault or two to some
# runs, so there are three; one of them must be without.
for run in 1 2 3; do
  "$load" -d 32 -z 134217728 -w 100000 -n 1000000 -p $pid -k "$tmp/counts" \
          "$uri" | tee "$tmp/out"
  if grep -q ' minor=0 major=0$' "$tmp/out"; then break; fi
  echo "run $run was disturbed"
done
stop_nbdkit || fail "the server did not end well"
grep '^trueno-zram: ' "$tmp/server.log"

# The counter counts, and in the right threads.
reads=$(sed -n 's/^reads=\([0-9]*\) .*/\1/p' "$tmp/out")
[ "$reads" -ge 1000000 ] || fail "only $reads reads were counted"
threads=$(sed -n 's/^threads=\([0-9]*\) .*/\1/p' "$tmp/out")
[ "$threads" -ge 16 ] || fail "only $threads threads were counted"

grep -q ' plugin=0 ' "$tmp/out" || fail "the plugin allocates"
grep -q ' server=0 ' "$tmp/out" || fail "the server allocates"
grep -q ' mappings=0$' "$tmp/out" || fail "memory is mapped while serving"
grep -q ' minor=0 major=0$' "$tmp/out" || fail "pages are faulted in"

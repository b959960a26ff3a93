#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# swap=yes has the memory and the priority it needs, and refuses to start
# without; swap=try goes on.
source "$(dirname "$0")/functions.sh"
requires_root
requires_no_sanitizer
requires setpriv --version
requires chrt -r 1 true

status () { awk -v "n=$1:" '$1 == n { print $2 }' /proc/$pid/status; }

start_nbdkit -v trueno-zram 1G memory=64M swap=yes codec=zstd
nbd_script <<<'h.pread(1, 0)' # it answers when it is ready
[ "$(status VmLck)" -ge 65536 ] || fail "the pool is not locked"
[ "$(status VmRSS)" -ge 65536 ] || fail "the pool is not in memory"
echo "beyond the pool: $(($(status VmRSS) - 65536)) KiB"
[ "$(status VmRSS)" -le $((65536 + 16384)) ] || fail "more than 16 MiB beyond"
chrt -p $pid | grep -q SCHED_RR || fail "no real-time priority"
upkeep=$(find /proc/$pid/task -mindepth 1 -maxdepth 1 | sort -V | tail -n 1)
chrt -p "${upkeep##*/}" | grep -q SCHED_OTHER || fail "upkeep has priority"
grep -q 'swap: .* KiB locked' "$tmp/server.log" || fail "not logged"
if ! grep -q 'oom_score_adj is denied' "$tmp/server.log"; then
  [ "$(cat /proc/$pid/oom_score_adj)" = -1000 ] || fail "not spared"
fi
if ! grep -q 'PR_SET_IO_FLUSHER is denied' "$tmp/server.log"; then
  # PF_MEMALLOC_NOIO of the kernel's flags of a process
  [ $(($(cut -d' ' -f9 /proc/$pid/stat) >> 19 & 1)) = 1 ] || fail "not a flusher"
fi
awk '/^[0-9a-f]+-[0-9a-f]+ / { m = $0 }
     /^Size:/ { size = $2 }
     /^Rss:/ && $2 < size && m ~ /r..p .*(nbdkit|libc\.so|libzstd)/ {
       print m ", of it in memory: " $2 }' /proc/$pid/smaps >"$tmp/absent"
[ ! -s "$tmp/absent" ] || fail "it would have to be read: $(cat "$tmp/absent")"
awk '/^[0-9a-f]+-[0-9a-f]+ / { m = $0 }
     /^Size:/ { size = $2 }
     /^Rss:/ && $2 == size && m ~ / r-xp .*(gnutls|unistring)/ { print m }' \
  /proc/$pid/smaps >"$tmp/useless"
[ ! -s "$tmp/useless" ] || fail "nobody uses this: $(cat "$tmp/useless")"
awk '/^[0-9a-f]+-[0-9a-f]+ / { heap = / \[heap\]$/ }
     /^Rss:/ && heap { n += $2 }
     END { print "heap:", n, "KiB"; exit (n < 2048) }' /proc/$pid/smaps ||
  fail "no heap for the requests to come"

# Connected, and busy with the largest requests of a kernel client.
nbd_script <<'END'
data = random.Random(3).randbytes(131072)
for i in range(64):
    h.pwrite(data, i * 131072)
assert h.pread(131072, 131072 * 63) == data
END
echo "after requests: $(($(status VmRSS) - 65536)) KiB"
[ "$(status VmRSS)" -le $((65536 + 24576)) ] || fail "more than 24 MiB beyond"
# What was mapped since is locked, too: the stacks of threads.
awk '/^[0-9a-f]+-[0-9a-f]+ / { m = $0 }
     /^VmFlags:/ && !/ lo( |$)/ && m !~ /\[v/ { print m }' \
  /proc/$pid/smaps >"$tmp/unlocked"
[ ! -s "$tmp/unlocked" ] || fail "not locked: $(cat "$tmp/unlocked")"
"$load" -n 20000 -w 2000 -z 16777216 -p $pid "$uri" >"$tmp/load" ||
  fail "load failed"
cat "$tmp/load"
# Stacks are small, and ready before they are needed.
awk '/^Size:/ { size = $2 } /^Rss:/ && size == 256 && $2 >= 64 { n++ }
     END { print n + 0, "stacks"; exit (n < 8) }' /proc/$pid/smaps ||
  fail "stacks are not in memory"

# It outlives who started it.
sh -c '"$@" </dev/null >/dev/null 2>&1 & sleep 0.5' sh \
  "$nbdkit" -f -P "$tmp/orphan" -U "$tmp/orphan.sock" trueno-zram 1M \
  memory=1M swap=yes
sleep 0.2
nbdinfo --size "nbd+unix:///?socket=$tmp/orphan.sock" ||
  fail "it ended with its parent"
kill "$(cat "$tmp/orphan")"

# More memory than the disk can take is not taken.
stop_nbdkit
start_nbdkit -D trueno-zram.stats=1 trueno-zram 16M memory=1G swap=yes
nbd_script <<<'h.pread(1, 0)'
[ "$(status VmRSS)" -le $((2 * 16384 + 16384)) ] || fail "more than it can take"
stop_nbdkit
[ "$(stat_of cores_min_pages)" = -1 ] || fail "requests wait for other threads"

# With a reserve, little is taken at the start, and no more than is needed.
start_nbdkit -v trueno-zram 1G memory=64M swap=yes reserve=4M
nbd_script <<<'h.pread(1, 0)'
[ "$(status VmRSS)" -le $((4096 + 16384)) ] || fail "more than the reserve"
upkeep=$(find /proc/$pid/task -mindepth 1 -maxdepth 1 | sort -V | tail -n 1)
chrt -p "${upkeep##*/}" | grep -q SCHED_RR || fail "upkeep has no priority"
nbd_script <<'END'
import time
data = random.Random(3).randbytes(1048576)
for i in range(40):
    h.pwrite(data, i * 1048576)
    time.sleep(0.05) # to refill it
assert h.pread(1048576, 1048576 * 39) == data
END
[ "$(status VmRSS)" -ge $((40 * 1024)) ] || fail "where are the pages?"

# refused WITHOUT WHAT ARG…: it does not start, and says what is missing.
refused ()
{
  local without=$1 what=$2
  shift 2
  if setpriv --inh-caps="$without" --bounding-set="$without" \
      "$nbdkit" -f -U - trueno-zram 1G memory=64M "$@" --run true \
      2>"$tmp/err"; then
    fail "it started with $without"
  fi
  cat "$tmp/err"
  grep -q "$what" "$tmp/err" || fail "it does not say '$what'"
}
ulimit -r 0
refused -sys_nice 'swap=yes: real-time scheduling is denied.*CAP_SYS_NICE' \
  swap=yes
ulimit -l 1024
refused -ipc_lock 'swap=yes: the pool cannot be locked.*LimitMEMLOCK' swap=yes

setpriv --inh-caps=-sys_nice,-ipc_lock --bounding-set=-sys_nice,-ipc_lock \
  "$nbdkit" -f -U - trueno-zram 1G memory=64M swap=try --run true \
  2>"$tmp/err" || fail "swap=try did not start: $(cat "$tmp/err")"
grep -q 'swap=try: real-time scheduling is denied.*may hang' "$tmp/err" ||
  fail "swap=try did not warn: $(cat "$tmp/err")"

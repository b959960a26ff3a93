#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# The same load on several kinds of swap, each in an emulated machine of its
# own, one after another, in turns:
#   bench-swap.sh [--json] [-r ROUNDS] [--only "KIND..."] FILE.pages...
# Kinds: zram-lz4 zram-zstd unix tcp memory, and remote/host, all others with
# "/host", too; medians of the rounds.
#
# The machine has one processor, whose clock counts its instructions, one a
# nanosecond: neither what else the host does shows nor what QEMU finds dear.
# With "/host" it has two and the clock is the host's.  That a server outside
# needs, but for QEMU two things are dear that are not for processors: to switch
# between processes, and for one processor to wake the other.
#
# An emulated processor is not the real one slowed down.  So the machine is
# spared what only emulation makes dear, for all kinds alike: string moves a
# byte at a time, a slow clock, cures for flaws it does not have.
json='' rounds=1
kinds='zram-lz4 zram-zstd unix tcp memory zram-lz4/host unix/host remote/host'
while [ $# -gt 0 ]; do
  case $1 in
  --json) json=1; shift ;;
  -r) rounds=$2; shift 2 ;;
  --only) kinds=$2; shift 2 ;;
  -*) echo "bench-swap: no option $1" >&2; exit 1 ;;
  *) break ;;
  esac
done
case " $kinds " in
*' remote '*) echo 'bench-swap: remote needs a clock: remote/host' >&2; exit 1 ;;
esac
cpu=max,-erms,-fsrm
kernel_arguments='tsc=reliable mitigations=off'
source "$(dirname "$0")/../guest/functions.sh"
results=$cache/bench-swap
server=
trap 'kill $server $qemu 2>/dev/null || true' EXIT
: >"$results"
# Not more than fits beside the load: they are in the guest's memory.
cat "$@" | head -c 4M >"$cache/pages" || true

# What each kind does before the load, which is of 320 MB.
setup ()
{
  echo 'swap=256M connect="-C 1"'
  # Reads of what was written together; zram's never are of more than a page.
  echo 'echo 5 >/proc/sys/vm/page-cluster'
  case $1 in
  zram-*) cat <<END
echo ${1#zram-} >/sys/block/zram0/comp_algorithm
echo \$swap >/sys/block/zram0/disksize
/usr/sbin/mkswap /dev/zram0
/usr/sbin/swapon -d -p 150 /dev/zram0
echo 'memory () { set -- \$(cat /sys/block/zram0/mm_stat); echo \$3; }' \
  >/run/memory
END
    return ;;
  unix) cat <<'END'
server ram -U /run/ram.sock trueno-zram $swap memory=160M reserve=2M swap=yes
uri=nbd+unix:///?socket=/run/ram.sock
END
    ;;
  tcp) cat <<'END'
server ram -i 127.0.0.1 trueno-zram $swap memory=160M reserve=2M swap=yes
uri=nbd://127.0.0.1
END
    ;;
  memory) cat <<'END' # as safe as it can be made: nbdkit's --swap takes 200 MB
server ram -U /run/ram.sock memory $swap allocator=zstd
/chrt -r -p 1 $(cat /run/ram.pid)
echo -1000 >/proc/$(cat /run/ram.pid)/oom_score_adj
uri=nbd+unix:///?socket=/run/ram.sock
END
    ;;
  remote) echo "uri=nbd://10.0.2.2:$port" ;;
  esac
  cat <<'END'
swap_on "$uri" $connect
echo "memory () { awk '/^VmRSS:/ { print \$2 * 1024 }' \
  /proc/$(cat /run/ram.pid)/status; }" >/run/memory
END
}

measure ()
{
  cat <<'END'
hog -p /all.pages -n 4 -r 1 -t 80
note "out $(sed -n 's/^pswpout //p' /proc/vmstat)"
note "in $(sed -n 's/^pswpin //p' /proc/vmstat)"
note "switches $(sed -n 's/^ctxt //p' /proc/stat)"
if [ -s /run/ram.pid ]; then
  note "cpu $(cut -d' ' -f14,15 /proc/$(cat /run/ram.pid)/stat)"
fi
END
  [ "$1" = remote ] || cat <<'END'
sleep 2 # what the load had is discarded
cat >/run/look <<'SH'
. /run/memory
echo "case: 0 memory $(memory) for $(awk 'NR == 2 { print $4 }' /proc/swaps)"
SH
hog -p /all.pages -n 4 -x 'sh /run/look' 80
END
}

start_server ()
{
  port=$((20000 + RANDOM % 10000))
  "$top_builddir/nbdkit" -f -i 127.0.0.1 -p $port -t 1 trueno-zram 256M \
    memory=160M 2>/dev/null &
  server=$!
}

# note_result KIND: what the log says, a line "kind metric value" each.
note_result ()
{
  tr -d '\r' <"$log" | awk -v kind="$1" '
    function say(metric, value) { print kind, metric, value }
    /^hog: .* pages in / { say("wall", $5) }
    /^hog: .* faults, / { say("fault-p50", $5); say("fault-p99", $8) }
    /^case: [0-9.]+ out / { say("pages-out", $4) }
    /^case: [0-9.]+ in / { say("pages-in", $4) }
    /^case: [0-9.]+ switches / { say("switches", $4) }
    /^case: [0-9.]+ cpu / { say("server-cpu", ($4 + $5) / 100) }
    /^case: [0-9.]+ memory / {
      if ($6 > 0) say("memory-per-page", $4 / ($6 / 4))
    }' >>"$results"
}

# set_machine KIND
set_machine ()
{
  case $1 in
  */host) processors=2 clock='' patience=40 limit=240 ;;
  *) processors=1 clock='-icount shift=0,sleep=off' patience=120 limit=900 ;;
  esac
}

# run_kind KIND AS: what it is called in results.
run_kind ()
{
  cp "$cache/pages" "$cache/all.pages"
  if [ "$1" = remote ]; then start_server; fi
  start_guest $([ "$1" != remote ] || printf %s -n) -c $cpu \
    "$cache/all.pages" "$(command -v chrt)" < <(setup "$1"; measure "$1")
  await
  if [ "$1" = remote ]; then
    [ "$verdict" != passed ] || awk -v kind="$2" '{ print kind, "server-cpu",
      ($14 + $15) / 100 }' "/proc/$server/stat" >>"$results"
    kill $server
    wait $server || true
    server=
  fi
  if [ "$verdict" = passed ]; then
    note_result "$2"
  else
    echo "bench-swap: $2: $verdict ($log)" >&2
    cp "$log" "$cache/bench-$1.log"
    case $verdict in hung|late) verdict=hangs ;; esac
    echo "$2 verdict $verdict" >>"$results"
  fi
}

for ((i = 0; i < rounds; i++)); do
  for kind in $kinds; do
    set_machine "$kind"
    run_kind "${kind%/host}" "$kind"
  done
done

isa=$("$top_builddir/nbdkit" trueno-zram --dump-plugin |
  sed -n 's/^trueno_zram_isa_ld64=//p')
case $isa in avx512) isa=avx2 ;; esac # QEMU has no AVX-512
sort -k1,1 -k2,2 -k3,3n "$results" | awk -v json="$json" -v isa="$isa" \
  -v kinds="$kinds" '
  $2 == "verdict" { verdict[$1] = $3; next }
  { n[$1, $2]++; v[$1, $2, n[$1, $2]] = $3 }
  function median(k, m,   c) {
    c = n[k, m]
    return c % 2 ? v[k, m, (c + 1) / 2] \
                 : (v[k, m, c / 2] + v[k, m, c / 2 + 1]) / 2
  }
  function row(k, m, unit, peer,   ours, theirs, codec, body) {
    if (!n[k, m]) return
    ours = median(k, m)
    peer = peer (k ~ /\/host$/ ? "/host" : "")
    theirs = k != peer && n[peer, m] ? median(peer, m) : 0
    codec = k ~ /^(unix|tcp|remote)/ ? "ld64" : ""
    body = codec && k !~ /^remote/ ? isa : ""
    if (json) {
      printf "{\"bench\":\"swap\",\"setting\":\"%s\",", k
      if (codec) printf "\"codec\":\"%s\",\"level\":1,", codec
      if (body) printf "\"isa\":\"%s\",", body
      if (theirs) printf "\"peer\":\"%s\",", peer
      printf "\"metric\":\"%s\",\"unit\":\"%s\",\"ours\":%.6g", m, unit, ours
      if (theirs) printf ",\"theirs\":%.6g,\"ratio\":%.4f", theirs, ours / theirs
      print "}"
      return
    }
    printf "%-10s %-14s %-8s %-7s %-16s %9.3f %-5s", "-", k,
      codec ? codec ":1" : "", body ? body : "-", m, ours, unit
    if (theirs) printf " %-13s %9.3f %7.3fx", peer, theirs, ours / theirs
    print ""
  }
  END {
    c = split(kinds, kind, " ")
    for (i = 1; i <= c; i++) {
      k = kind[i]
      if (k in verdict && !json) printf "%-10s %-14s %s\n", "-", k, verdict[k]
      row(k, "wall", "s", "zram-lz4")
      if (k !~ /^zram/) row(k, "wall", "s", "zram-zstd")
      row(k, "pages-out", "n", "zram-lz4"); row(k, "pages-in", "n", "zram-lz4")
      row(k, "fault-p50", "us", "zram-lz4"); row(k, "fault-p99", "us", "zram-lz4")
      row(k, "switches", "n", "zram-lz4"); row(k, "server-cpu", "s", "zram-lz4")
      row(k, "memory-per-page", "B", "zram-lz4")
    }
  }'

# SPDX-License-Identifier: MIT OR Apache-2.0
# What every test of the plugin needs.  A test exits 0 if it passed, 77 if it
# cannot run here, which it explains.  By hand:
#   top_builddir=BUILD tests/nbd/test-NAME.sh
set -e -o pipefail

top_srcdir=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
top_builddir=$(cd "${top_builddir:-.}" && pwd)
nbdkit=$top_builddir/nbdkit
plugin=$top_builddir/.libs/nbdkit-trueno-zram-plugin.so
load=$top_builddir/tests/nbd/load

# libnbd's Python module belongs to the system's Python.
PATH=/usr/sbin:/usr/bin:/sbin:/bin:$PATH
export LC_ALL=C
# Freed memory shows when it is used again.
export MALLOC_PERTURB_=$((RANDOM % 255 + 1))

tmp=$(mktemp -d "${TMPDIR:-/tmp}/trueno-zram-XXXXXX")
servers=0

# cleanup_fn CMD ARG…: run it when the test ends, the last one first.
_cleanups=("rm -rf $(printf %q "$tmp")")
cleanup_fn ()
{
  _cleanups=("$(printf '%q ' "$@")" "${_cleanups[@]}")
}
_cleanup ()
{
  local status=$? cmd
  trap - EXIT
  set +e
  for cmd in "${_cleanups[@]}"; do eval "$cmd"; done
  exit $status
}
trap _cleanup EXIT
trap 'exit 1' INT TERM HUP

skip ()
{
  echo "skipped: $*"
  exit 77
}

fail ()
{
  echo "FAILED: $*" >&2
  if [ -s "$tmp/server.log" ]; then
    sed 's/^/server: /' "$tmp/server.log" >&2
  fi
  exit 1
}

# requires CMD ARG…: skip the test unless the command succeeds.
requires ()
{
  "$@" </dev/null >/dev/null 2>&1 || skip "this fails here: $*"
}

requires_root ()
{
  [ "$(id -u)" = 0 ] || skip "this needs root"
}

# A sanitizer allocates and faults where the plugin does not.
requires_no_sanitizer ()
{
  if nm -D "$plugin" | grep -E '__(asan|tsan)_' >/dev/null; then
    skip "this cannot be measured with a sanitizer"
  fi
}

# _end PID: end a server that this test started.
_end ()
{
  kill "$1" 2>/dev/null && wait "$1" 2>/dev/null
  return 0
}

# start_nbdkit ARG…: start a server in the foreground and wait until it is
# ready.  Sets pid, sock and uri; what it says is in $tmp/server.log.
start_nbdkit ()
{
  local i
  servers=$((servers + 1))
  sock=$tmp/sock$servers
  uri="nbd+unix:///?socket=$sock"
  rm -f "$tmp/pid"
  "$nbdkit" -f -P "$tmp/pid" -U "$sock" "$@" 2>"$tmp/server.log" &
  pid=$!
  cleanup_fn _end $pid
  for ((i = 0; i < 1000; i++)); do
    if [ -s "$tmp/pid" ]; then return 0; fi
    kill -0 $pid 2>/dev/null || break
    sleep 0.01
  done
  fail "nbdkit $*: did not start"
}

# nbdkit before 1.34 ends with an assertion when a client goes away while several
# threads have answers for it.  These options avoid that, where it is needed.
threads_for_rude_clients ()
{
  local minor
  minor=$("$nbdkit" --dump-config | sed -n 's/^version_minor=//p')
  if [ "$minor" -lt 34 ]; then echo "-t 1"; fi
}

# Ask the server to end and wait for it; its exit status is the result.
stop_nbdkit ()
{
  kill $pid
  wait $pid
}

# nbd_script [URI]: run a script for nbdsh from the standard input.  Beside
# the handle h it has fails (errno, function), which calls the function and
# wants that error.
nbd_script ()
{
  local prelude='
import errno, os, random, sys

def fails(number, function):
    try:
        function()
    except nbd.Error as ex:
        assert ex.errnum == number, ex
    else:
        raise AssertionError("this should have failed")
'
  nbdsh --base-allocation -u "${1:-$uri}" -c "$prelude" -c "$(cat)"
}

# stat_of NAME: a number that -D trueno-zram.stats=1 printed.
stat_of ()
{
  sed -n "s/^trueno-zram: $1=//p" "$tmp/server.log"
}

# errors_logged WHAT: of how many errors of a kind the log tells, in lines about
# one and in those that count the rest.
errors_logged ()
{
  grep "$1" "$tmp/server.log" | awk '
    match ($0, /and [0-9]+ more since/) { n += substr ($0, RSTART + 4) }
    match ($0, /[0-9]+ more errors since/) { n += substr ($0, RSTART) - 1 }
    { n++ }
    END { print n + 0 }'
}

#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# trueno-zram: what can be seen of it without a kernel's block device, which is
# how it refuses, and that its manual is whole.  The rest is in tests/guest.
source "$(dirname "$0")/functions.sh"
cli=$top_builddir/trueno-zram
[ -x "$cli" ] || skip "trueno-zram was not built"

# refused WHAT ARG…: it fails, and says what is wrong.
refused ()
{
  local what=$1
  shift
  if "$cli" "$@" >"$tmp/out" 2>"$tmp/err" </dev/null; then
    fail "$*: this should have failed"
  fi
  cat "$tmp/err"
  grep -q -e "$what" "$tmp/err" || fail "$*: it does not say '$what'"
  [ ! -s "$tmp/out" ] || fail "$*: it printed $(cat "$tmp/out")"
}

for args in '' connect 'dance' 'connect a b' 'swapon a b' --dance; do
  refused usage $args
done
"$cli" --version | grep '^trueno-zram [0-9]' || fail "no version"
refused "-C: '17' is not a number from 1 to 16" connect x -C 17
refused "-C: '-1' is not a number" connect x -C -1
refused "timeout: '1x' is not a number" connect x --timeout 1x
refused "'/dev/sda' is not a device such as" connect x -d /dev/sda
for name in /dev/nbd0p1 /dev/nbd /dev/nbd-1 /dev/nbd00 /dev/nbd4294967296; do
  refused "'$name' is not a device such as" swapon -d $name
done
refused "'swapoff' takes not all" swapoff -C 2
refused "'swapoff' takes not all" swapoff --priority 5 --force
refused "'swapon URI' takes not all" swapon nbd://x --memory 1G
refused "'swapon' takes not all" swapon 1G --force
refused "'connect' takes not all" connect nbd://x --store y
refused 'longer than 511' swapon "nbd://localhost/$(printf %0600d 0)"

refused 'No such file' connect "nbd+unix:///?socket=$tmp/none"
refused 'URI' connect none
refused TLS connect nbds://localhost
start_nbdkit trueno-zram 513
refused 'cannot have 513 bytes' connect "$uri"
start_nbdkit --filter=blocksize-policy trueno-zram 1M blocksize-minimum=8192 \
  blocksize-preferred=8192
refused 'larger blocks' connect "$uri"
start_nbdkit --filter=multi-conn trueno-zram 1M multi-conn-mode=disable
refused 'one connection only: use -C 1' connect -C 2 "$uri"
if [ ! -e /sys/module/nbd ]; then # else it would be used
  refused "load them with 'modprobe nbd'" connect -C 1 "$uri"
  refused "load them with 'modprobe nbd'" connect "$uri"
fi

pod=$top_srcdir/docs/trueno-zram.pod
podchecker -warnings -warnings "$pod" || fail "podchecker"
for word in $("$cli" --help | grep -oE -- '--[a-z-]+|-[a-zA-Z]\b'); do
  grep -q "^=item B<$word>" "$pod" || fail "$word is not in the man page"
done
for word in connect swapon swapoff; do
  "$cli" --help | grep -q "trueno-zram $word " || fail "no $word in --help"
  grep -q "^=item B<$word>" "$pod" || fail "$word is not in the man page"
done

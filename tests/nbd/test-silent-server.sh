#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# trueno-zram does not wait for ever for what accepts its connection and then
# never answers, or is no NBD server.
source "$(dirname "$0")/functions.sh"
cli=$top_builddir/trueno-zram
[ -x "$cli" ] || skip "trueno-zram was not built"

cat >"$tmp/listen.py" <<'END'
import socket, sys, time
s = socket.socket(socket.AF_UNIX)
s.bind(sys.argv[1])
s.listen(1)
kept = []
while True:
    c, _ = s.accept()
    kept.append(c)
    c.send(sys.argv[2].encode("latin1").decode("unicode_escape").encode("latin1"))
    if sys.argv[3] == "close":
        c.close()
END

# listener NAME BYTES keep|close: who accepts it sends so much, and no more.
listener ()
{
  python3 "$tmp/listen.py" "$tmp/$1" "$2" "$3" &
  cleanup_fn _end $!
  for ((i = 0; i < 500; i++)); do
    if [ -S "$tmp/$1" ]; then return; fi
    sleep 0.01
  done
  fail "no listener"
}

# refused WHAT NAME: within ten seconds.
refused ()
{
  local status=0
  timeout 10 "$cli" connect "nbd+unix:///?socket=$tmp/$2" 2>"$tmp/$2.err" \
    || status=$?
  cat "$tmp/$2.err"
  [ $status = 1 ] || fail "$2: status $status"
  grep -q "socket=$tmp/$2: .*$1" "$tmp/$2.err" || fail "$2: it does not say '$1'"
}

listener silent '' keep
listener greeting 'NBDMAGIC' keep
listener gone '' close
listener other 'SSH-2.0-other program of quite another kind\r\n' keep
refused 'the server does not answer' silent &
first=$!
refused 'the server does not answer' greeting
wait $first
refused 'server disconnected' gone
refused 'magic' other

#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Clients that die in the middle of a request leave nothing locked, lost or
# half done behind.
source "$(dirname "$0")/functions.sh"
requires test -x "$load"

start_nbdkit $(threads_for_rude_clients) trueno-zram 64M
for i in 1 2 3 4; do
  "$load" -c 8 -t -n 100000000 -z 33554432 -s $i "$uri" >/dev/null &
  client=$!
  sleep 0.5
  kill -KILL $client || fail "the client had ended by itself"
  wait $client 2>/dev/null || true
done

# One that sends a part of a long write only.
nbd_script <<'END'
h.pwrite(b"old-old-" * (1 << 20), 40 << 20)
END
nbd_script <<'END' || true
buf = nbd.Buffer.from_bytearray(bytearray(b"new-new+" * (1 << 20)))
h.aio_pwrite(buf, 40 << 20)
os._exit(0)
END
nbd_script <<'END'
got = h.pread(8 << 20, 40 << 20)
pages = {bytes(got[i:i + 4096]) for i in range(0, 8 << 20, 4096)}
assert pages <= {b"old-old-" * 512, b"new-new+" * 512}
END

# Every page can be written and read.
timeout 60 "$load" -c 4 -t -n 20000 -z 67108864 "$uri" || fail "not usable any more"
stop_nbdkit || fail "the server did not end well"

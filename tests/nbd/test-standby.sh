#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# standby=yes: a server waits until the one that has the file ends, however that
# comes about, and goes on with its pages, here at the same socket.
source "$(dirname "$0")/functions.sh"
requires test -d /dev/shm -a -w /dev/shm
requires python3 -c 'import nbd'
shm=$(mktemp -d /dev/shm/trueno-zram-XXXXXX)
cleanup_fn rm -rf "$shm"

cat >"$tmp/standby.py" <<'END'
import nbd, os, select, signal, socket, subprocess, sys, time

nbdkit, path, store, log = sys.argv[1:5]
listener = socket.socket(socket.AF_UNIX)
listener.bind(path)
listener.listen(16)

def start():
    return subprocess.Popen(
        ["sh", "-c", 'LISTEN_PID=$$ LISTEN_FDS=1 exec "$@"', "sh", nbdkit,
         "-t", "1", "trueno-zram", "64M", "memory=8M", "store=" + store,
         "standby=yes"], stderr=open(log, "a"), pass_fds=[3])

def connect():
    h = nbd.NBD()
    h.set_full_info(True)
    h.connect_unix(path)
    return h

def idle(server, seconds=1):
    """It answers nobody, and lives."""
    s = socket.socket(socket.AF_UNIX)
    s.connect(path)
    answered = select.select([s], [], [], seconds)[0]
    assert not answered and server.poll() is None
    s.close()

os.dup2(listener.fileno(), 3)
os.set_inheritable(3, True)
first = start()
h = connect()
name = h.get_export_description()
page = lambda i, round: b"%06d %08d " % (i, round) * 256
for round in range(1, 9):
    for i in range(200):
        h.pwrite(page(i, round), (i * 37 % 200) * 4096)
    second = start()
    time.sleep(0.3)
    assert second.poll() is None, "no standby"
    if round == 8:
        h.shutdown()
    first.send_signal(signal.SIGTERM if round == 8 else signal.SIGKILL)
    first.wait()
    before = time.monotonic()
    h = connect()
    print("answered after %.3f s" % (time.monotonic() - before))
    assert h.get_export_description() == name
    for i in range(200):
        got = bytes(h.pread(4096, (i * 37 % 200) * 4096))
        assert got == page(i, round), i
    first = second

# A standby ends when told to; the other goes on.
second = start()
time.sleep(0.5)
second.terminate()
second.wait(10)
assert bytes(h.pread(4096, 0)) == page(0, 8)

# The first frozen: the standby answers nobody.
first.send_signal(signal.SIGSTOP)
second = start()
idle(second)
first.kill()
first.wait()
assert bytes(connect().pread(4096, 0)) == page(0, 8)
second.terminate()
second.wait(10)
END
python3 "$tmp/standby.py" "$nbdkit" "$tmp/sock" "$shm/store" "$tmp/server.log" ||
  fail "see above"

# refused WHAT ARG…: it does not start, and says what is wrong.
refused ()
{
  local what=$1
  shift
  if "$nbdkit" -f -U - trueno-zram 64M "$@" --run : 2>"$tmp/err"; then
    fail "it started with $*"
  fi
  cat "$tmp/err"
  grep -q "error: $what" "$tmp/err" || fail "it does not say '$what'"
}
refused 'standby=yes needs store' standby=yes
refused 'standby=2x: standby must be yes or no' standby=2x store="$shm/store"
start_nbdkit trueno-zram 64M memory=8M store="$shm/store"
refused 'store=.*of another size' memory=16M store="$shm/store" standby=yes

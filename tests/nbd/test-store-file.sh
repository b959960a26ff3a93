#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# store=FILE outlives its server: kill -9 under load loses nothing that was
# acknowledged; and a file that is not what it should be is refused.
source "$(dirname "$0")/functions.sh"
requires test -d /dev/shm -a -w /dev/shm
shm=$(mktemp -d /dev/shm/trueno-zram-XXXXXX)
cleanup_fn rm -rf "$shm"
file=$shm/store

id () { nbdinfo "$uri" | sed -n 's/.*id=\([0-9a-f]*\).*/\1/p'; }

start_nbdkit trueno-zram 64M memory=32M store="$file"
first=$(id)
[ ${#first} = 32 ] || fail "no identity: $(nbdinfo "$uri")"
[ "$(stat -c %a "$file")" = 600 ] || fail "others can read the pages"

# Three kills while a client writes; it remembers what was acknowledged.
cat >"$tmp/writer.py" <<'END'
import sys
done = open(sys.argv[1], "ab", buffering=0)
rnd = random.Random(int(sys.argv[2]))
while True:
    page = rnd.randrange(1024)
    data = (b"%08d" % rnd.randrange(10**8)) * 512
    done.write(b"%d %s ?\n" % (page, data[:8]))
    h.pwrite(data, page * 4096)
    done.write(b"%d %s !\n" % (page, data[:8]))
END
: >"$tmp/done"
for kill in 1 2 3; do
  nbdsh -u "$uri" -c 'import random' \
    -c "import sys; sys.argv = ['', '$tmp/done', '$kill']" \
    -c "$(cat "$tmp/writer.py")" 2>/dev/null &
  writer=$!
  for ((i = 0; i < 2000 && $(wc -l <"$tmp/done") < 400 * kill; i++)); do
    sleep 0.01
  done
  kill -9 $pid
  wait $pid 2>/dev/null || true
  wait $writer 2>/dev/null || true
  start_nbdkit trueno-zram 64M memory=32M codec=lz4 store="$file"
  [ "$(id)" = "$first" ] || fail "another identity after kill $kill"
  nbd_script <<END
held = {}
for line in open("$tmp/done"):
    page, data, state = line.split()
    if state == "!":
        held[page] = {data}
    else:
        held.setdefault(page, {"\0" * 8}).add(data)
assert len(held) > 100
for page, data in held.items():
    got = bytes(h.pread(4096, int(page) * 4096))
    assert got == got[:8] * 512 and got[:8].decode() in data, (page, got[:8])
    open("$tmp/done", "a").write("%s %s !\n" % (page, got[:8].decode()))
END
done

# refused WHAT ARG…: it does not start, and says what is wrong.
refused ()
{
  local what=$1
  shift
  if "$nbdkit" -f -U - trueno-zram "$@" --run : 2>"$tmp/err"; then
    fail "it started with $*"
  fi
  cat "$tmp/err"
  grep -q "error: store=.*$what" "$tmp/err" || fail "it does not say '$what'"
}
same=(64M memory=32M store="$file")
refused 'another server is using this file' "${same[@]}"
stop_nbdkit || fail "the server did not end well"
refused 'of another size, memory' 65M memory=32M store="$file"
refused 'of another size, memory' 64M memory=16M store="$file"
refused 'of another size, memory' 64M memory=32M store="$file" checksum=no
cp --sparse=always "$file" "$shm/keep"
printf 'X' | dd of="$file" bs=1 seek=0 conv=notrunc status=none
refused 'holds no store of this version' "${same[@]}"
cp --sparse=always "$shm/keep" "$file"
printf 'XXXX' | dd of="$file" bs=1 seek=28 conv=notrunc status=none
refused 'damaged and will not be used' "${same[@]}"
cp --sparse=always "$shm/keep" "$file"
printf '\377\377' | dd of="$file" bs=1 seek=65536 conv=notrunc status=none
refused 'damaged and will not be used' "${same[@]}"
cp --sparse=always "$shm/keep" "$file"
truncate -s 1M "$file"
refused 'damaged and will not be used' "${same[@]}"
refused 'must be on hugetlbfs or on tmpfs' 64M store=/proc/version
refused 'must be on hugetlbfs or on tmpfs' 64M store="$top_builddir/stray"
[ ! -e "$top_builddir/stray" ] || fail "a refused file was left behind"
refused 'Is a directory' 64M store="$shm"
refused 'No such file or directory' 64M store="$shm/none/file"
refused 'the name of a file' 64M store=

# Nobody else reads the pages, whoever made the file.
rm "$file"
(umask 0 && : >"$file")
start_nbdkit trueno-zram "${same[@]}"
[ "$(stat -c %a "$file")" = 600 ] || fail "others can read the pages"
stop_nbdkit || fail "the server did not end well"
if [ $EUID = 0 ]; then
  for content in '' some; do
    printf %s "$content" >"$shm/theirs"
    chown 12345 "$shm/theirs"
    refused 'belongs to another user (uid 12345)' 64M store="$shm/theirs"
    [ "$(cat "$shm/theirs" || echo gone)" = "$content" ] || fail "it was changed"
  done
fi

# Removed, it starts afresh: with another identity.
rm "$file"
start_nbdkit trueno-zram "${same[@]}"
[ "$(id)" != "$first" ] || fail "an empty store has the old identity"
stop_nbdkit || fail "the server did not end well"

# SPDX-License-Identifier: MIT OR Apache-2.0
# Runs a case in a machine of its own, emulated, so that it may run out of
# memory, hang and crash.  Nothing is installed for it, and root is not needed.
# By hand: top_builddir=BUILD tests/guest/test-NAME.sh
set -e -o pipefail

top_srcdir=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
top_builddir=$(cd "${top_builddir:-.}" && pwd)
here=$top_srcdir/tests/guest
name=$(basename "$0" .sh)
cache=$top_builddir/guest
log=$cache/$name.log
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C

modules=(virtio_pci virtio_net zram lz4 zstd nbd "${more_modules[@]}")
programs=(nbdkit mkswap swapon swapoff)

skip ()
{
  echo "skipped: $*"
  exit 77
}

fail ()
{
  echo "FAILED: $* ($log)" >&2
  exit 1
}

# fetch PACKAGE DIRECTORY: unpack it there, without installing it.
fetch ()
{
  if [ -e "$cache/$2" ]; then return; fi
  mkdir -p "$cache/fetch"
  (cd "$cache/fetch" && apt-get -q download "$1") >"$cache/fetch.log" 2>&1 ||
    skip "the package $1 cannot be fetched ($cache/fetch.log)"
  rm -rf "$cache/new"
  dpkg -x "$cache/fetch/$1"_*.deb "$cache/new"
  mv "$cache/new" "$cache/$2"
}

# Debian's own.
fetch_kernel ()
{
  local package
  if [ -e "$cache/kernel" ]; then return; fi
  package=$(apt-cache depends linux-image-cloud-amd64 2>/dev/null |
              sed -n 's/.*Depends: //p' | head -n 1)
  [ -n "$package" ] || skip "there is no package linux-image-cloud-amd64 here"
  fetch "$package" kernel
}

# add_module NAME: copy it, after those it needs, and note the order.
add_module ()
{
  local file need
  file=$(find "$cache/kernel/lib/modules" -name "${1//[-_]/[-_]}.ko")
  [ -n "$file" ] || return 0 # built in
  if grep -qx "${file##*/}" "$root/modules/order"; then return; fi
  for need in $(tr '\0' '\n' <"$file" | sed -n 's/^depends=//p' | tr , ' '); do
    add_module "$need"
  done
  cp "$file" "$root/modules"
  echo "${file##*/}" >>"$root/modules/order"
}

# add_program FILE TO: copy it and the libraries it needs.
add_program ()
{
  local library
  install -D "$1" "$root/$2"
  ldd "$1" | grep -o '/[^ ]*' | while read -r library; do
    install -D "$library" "$root/$library"
  done
}

# All that is the same for every case: base.cpio.gz.
make_base ()
{
  local root=$cache/root program module
  rm -rf "$root"
  mkdir -p "$root/bin" "$root/modules"
  : >"$root/modules/order"
  for module in "${modules[@]}"; do add_module "$module"; done
  cp /bin/busybox "$root/bin"
  for program in "${programs[@]}"; do
    command -v "$program" >/dev/null || skip "$program is not installed"
    add_program "$(command -v "$program")" "usr/sbin/$program"
  done
  add_program "$top_builddir/tests/guest/hog" usr/bin/hog
  add_program "$top_builddir/trueno-zram" usr/bin/trueno-zram
  add_program "$top_builddir/.libs/nbdkit-trueno-zram-plugin.so" \
    "$plugins/nbdkit-trueno-zram-plugin.so"
  add_program "$plugins/nbdkit-memory-plugin.so" \
    "$plugins/nbdkit-memory-plugin.so"
  install "$here/init" "$root/init"
  cp "$here/inside.sh" "$root"
  cat "$top_srcdir"/tests/data/*.pages >"$root/pages"
  pack "$root" >"$cache/base.cpio.gz"
}

pack ()
{
  (cd "$1" && find . | cpio -o -H newc --quiet -R 0:0 | gzip -1)
}

# The case, from the standard input, and files that it wants in /.
make_image ()
{
  local root=$cache/case
  rm -rf "$root"
  mkdir -p "$root"
  if [ $# -gt 0 ]; then cp "$@" "$root"; fi
  { echo '. /inside.sh'; cat; } >"$root/case"
  { cat "$cache/base.cpio.gz"; pack "$root"; } >"$cache/image"
}

# What the watcher in the guest last said, without the time and free memory.
progress ()
{
  tail -c 20000 "$log" |
    sed -n 's/^watch: [0-9]* s, \(.*\), [0-9]* free.*/\1/p' | tail -n 1
}

# Have the guest's kernel say where everyone waits: a break and a key each, the
# first for it to say so here.
sysrq ()
{
  local key
  for key in 8 t l m; do
    printf '\001b' >&3
    sleep 0.2
    printf '%s' "$key" >&3
    sleep 2
  done
}

# Seconds since the start, bar those that QEMU waited for a processor: what
# others do on this host may make a case slow, but neither late nor hung.
own_time ()
{
  cat /proc/$qemu/task/*/schedstat 2>/dev/null |
    awk -v s=$SECONDS '$2 / 1e9 > w { w = $2 / 1e9 } END { print int(s - w) }'
}

# Wait for the end of QEMU: sets verdict to passed, failed, hung or late.
await ()
{
  local last='' new since=0 t=0
  verdict='' spent=0
  SECONDS=0
  while t=$(own_time); kill -0 $qemu 2>/dev/null; do
    sleep 1
    spent=$t
    new=$(progress)
    if [ "$new" != "$last" ]; then since=$t; fi
    last=$new
    if [ $((t - since)) -ge "$patience" ]; then verdict=hung
    elif [ "$t" -ge "$limit" ]; then verdict=late
    else continue; fi
    sysrq
    kill $qemu
    break
  done
  wall=$SECONDS
  wait $qemu 2>/dev/null || true
  if [ -n "$verdict" ]; then return; fi
  verdict=failed
  if grep -q '^case: passed' "$log" && ! grep -aE "$trouble" "$log"; then
    verdict=passed
  fi
}

trouble='I/O error|blocked for more than|Killed process|[Oo]ut of memory'
trouble+='|BUG:|Oops|[Ww]rite-error|page allocation failure'

# start_guest [-m MIB] [-c CPU] [-n] [-r] [FILE…] <CASE: boot it.  With -n it
# has a network.  With -r its programs cannot be swapped out, as if they were on
# a disk.  Then a test may do things outside, and must call await.
start_guest ()
{
  local memory=384 cpu=max nic=none root=tmpfs
  while [ $# -gt 0 ]; do
    case $1 in
    -m) memory=$2; shift 2 ;;
    -c) cpu=$2; shift 2 ;;
    -n) nic=user,model=virtio-net-pci; shift ;;
    -r) root=ramfs; shift ;;
    *) break ;;
    esac
  done
  make_image "$@"
  rm -f "$cache/keys"
  mkfifo "$cache/keys"
  exec 3<>"$cache/keys"
  # With a thread for each processor, one busy neighbour on the host makes
  # a request forty times as slow.
  qemu-system-x86_64 -accel tcg,thread=single -cpu "$cpu" \
    -smp $processors $clock -m "$memory" -display none -no-reboot \
    -nic "$nic" -serial mon:stdio \
    -kernel "$(echo "$cache"/kernel/boot/vmlinuz-*)" -initrd "$cache/image" \
    -append "console=ttyS0 panic=-1 quiet loglevel=5 sysrq_always_enabled=1 \
rootfstype=$root no_timer_check ${kernel_arguments-}" \
    <&3 >"$log" 2>&1 &
  qemu=$!
}

# guest ARG… <CASE: run it to its end.
guest ()
{
  start_guest "$@"
  await
  report
}

report ()
{
  echo "$name: $verdict after $wall s, $spent of them its own"
  tr -d '\r' <"$log" | grep -aE '^(case|hog): ' || true
}

passed ()
{
  if [ "$verdict" != passed ]; then
    tail -n 60 "$log" | tr -d '\r'
    fail "the case $verdict"
  fi
}

# outages_within TIMEOUT: requests went without an answer for no longer, and two
# seconds of the guest's own time.
outages_within ()
{
  local most=$(($1 * 10 + 20 * wall / (spent + 1)))
  tr -d '\r' <"$log" | sed -n 's/^outage: \([0-9]*\)\.\([0-9]\) s.*/\1\2/p' |
    while read -r tenths; do
      [ "$tenths" -le $most ] || fail "no answer for $tenths / 10 s"
    done
}

# wait_for_progress N: until the load did so many pages, or the guest ended.
wait_for_progress ()
{
  local n=0
  while [ "${n:-0}" -lt "$1" ]; do
    kill -0 $qemu 2>/dev/null || return 0
    sleep 0.2
    n=$(progress | sed 's/.* out, \([0-9]*\) done.*/\1/')
  done
}

for tool in qemu-system-x86_64:qemu-system-x86 cpio:cpio \
            busybox:busybox-static apt-cache:apt dpkg:dpkg; do
  command -v "${tool%:*}" >/dev/null || skip "please install ${tool#*:}"
done
[ -x "$top_builddir/trueno-zram" ] || skip "trueno-zram was not built"
[ "$(uname -m)" = x86_64 ] || skip "the guest is an x86_64"
plugins=$(nbdkit --dump-config | sed -n 's/^plugindir=//p')
processors=2 clock='' # or options of QEMU that set one
patience=40 # s of it without progress until a case counts as hung
limit=120 # s of a case's own time
qemu=
trap '[ -z "$qemu" ] || kill $qemu 2>/dev/null || true' EXIT
trap 'exit 1' INT TERM HUP
mkdir -p "$cache"
fetch_kernel
make_base

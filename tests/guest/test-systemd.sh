#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# A machine whose first program is systemd: the units make a disk and swap when
# it starts, and when it is switched off take them away in the right order, with
# nobody killed and every page that was swapped out right.
source "$(dirname "$0")/functions.sh"
for tool in /lib/systemd/systemd /usr/bin/systemctl; do
  [ -x $tool ] || skip "please install systemd"
done
tree=$cache/systemd

# The units as they are installed, with their programs where they look for them.
install_units ()
{
  local root=$tree swap
  make -s -C "$top_builddir" install-systemdsystemunitDATA DESTDIR="$tree" \
    systemdsystemunitdir=/etc/systemd/system >"$cache/units.log" 2>&1 ||
    skip "the units were not built ($cache/units.log)"
  swap=$tree/etc/systemd/system/trueno-zram-swap@.service
  add_program "$top_builddir/trueno-zram" "$(sed -n \
    's|^ExecStop=\(.*/trueno-zram\) .*|\1|p' "$swap")"
  add_program "$top_builddir/.libs/nbdkit-trueno-zram-plugin.so" "$(sed -n \
    's|^ExecStart=.* \(/.*plugin\.so\) .*|\1|p' "${swap/swap@/server@}")"
  conf=$tree$(dirname "$(sed -n 's|^EnvironmentFile=||p' "$swap")")
  mkdir -p "$conf"
  echo 'ARGS=160M --memory 64M' >"$conf/nbd0.conf"
  echo 'ARGS=nbd+unix:///?socket=/run/trueno-zram/disk.sock' >"$conf/nbd1.conf"
  echo 'ARGS=64M memory=32M store=/dev/shm/disk' >"$conf/disk.conf"
}

install_systemd ()
{
  local root=$tree file
  for file in /lib/systemd/systemd /lib/systemd/systemd-shutdown \
              /lib/systemd/systemd-executor /usr/bin/systemctl; do
    if [ -e $file ]; then add_program $file $file; fi
  done
  mkdir -p "$tree/lib/systemd/system" "$tree/etc/systemd/system"
  cp /lib/systemd/system/*.target /lib/systemd/system/modprobe@.service \
    /lib/systemd/system/systemd-poweroff.service "$tree/lib/systemd/system"
  echo 0123456789abcdef0123456789abcdef >"$tree/etc/machine-id"
  cat >"$tree/etc/systemd/system.conf" <<'END'
[Manager]
DefaultStandardOutput=tty
DefaultStandardError=tty
DefaultTimeoutStopSec=20
END
}

# unit NAME: from the standard input, and started with the machine.
unit ()
{
  local wants=$tree/etc/systemd/system/multi-user.target.wants
  mkdir -p "$wants"
  if [ $# -gt 0 ] && [[ $1 != trueno* ]]; then
    cat >"$tree/etc/systemd/system/$1"
  fi
  ln -s "/etc/systemd/system/${1/@*./@.}" "$wants/$1"
}

# Instead of what the other cases need: the second archive brings systemd.
make_image ()
{
  rm -rf "$tree"
  mkdir -p "$tree"
  install_systemd
  install_units
  ln -s /lib/systemd/system/multi-user.target \
    "$tree/etc/systemd/system/default.target"
  { echo '. /inside.sh'; cat; } >"$tree/case"
  unit trueno-zram-server@disk.service
  unit trueno-zram-connect@nbd1.service
  unit trueno-zram-swap@nbd0.service
  unit remote-fs.target </lib/systemd/system/remote-fs.target
  # Stopped after the swap, for it starts before.
  unit after.service <<'END'
[Unit]
Before=trueno-zram-swap@nbd0.service trueno-zram-server@disk.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=true
ExecStop=sh -e /after
END
  unit case.service <<'END'
[Unit]
After=trueno-zram-swap@nbd0.service trueno-zram-connect@nbd1.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=sh -c 'sh -e /case && echo "case: passed" || echo "case: FAILED"; \
  systemctl --no-block poweroff'
END
  cat >"$tree/after" <<'END'
. /inside.sh
note "left: $(tail -n +2 /proc/swaps) $(pidof nbdkit trueno-zram)"
[ "$(wc -l </proc/swaps)" = 1 ]
for file in $(seq 15); do cmp /pages /dev/shm/$file; done
note 'every page is right'
END
  cat >"$tree/init" <<'END'
#!/bin/busybox sh
/bin/busybox mkdir -p /bin /dev /proc /sys /run /tmp
/bin/busybox --install -s /bin
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /run
exec </dev/null >/dev/console 2>&1
for module in $(cat /modules/order); do insmod "/modules/$module"; done
echo 16384 >/proc/sys/vm/min_free_kbytes
ip link set lo up
hog -w &
export SYSTEMD_COLORS=0
exec /lib/systemd/systemd --log-target=console --show-status=0
END
  chmod +x "$tree/init"
  # What the first archive has need not be there again.
  (cd "$cache/root" && find . -type f ! -name init) |
    (cd "$tree" && xargs rm -f)
  { cat "$cache/base.cpio.gz"; pack "$tree"; } >"$cache/image"
}

trouble="${trouble/Killed process/Killed process|SIGKILL to PID}"
guest -m 288 <<'CASE'
systemctl is-active trueno-zram-server@disk trueno-zram-connect@nbd1 \
  trueno-zram-swap@nbd0 | xargs echo "case:"
grep '^/dev/nbd0.*150$' /proc/swaps

# Another server for the disk, while it is in use.
dd if=/pages of=/dev/nbd1 bs=4k count=300 2>/dev/null
sync
systemctl restart trueno-zram-server@disk
systemctl is-active trueno-zram-server@disk trueno-zram-connect@nbd1
echo 3 >/proc/sys/vm/drop_caches
cmp -n 1228800 /pages /dev/nbd1
note 'the disk has outlived its server'
kill -9 $(cat /run/trueno-zram/disk.pid)
echo 3 >/proc/sys/vm/drop_caches
cmp -n 1228800 /pages /dev/nbd1
note 'and so it has when that was killed'

# More than fits into memory.  What was swapped out first stays until the end.
mount -o remount,size=90% /dev/shm
for file in $(seq 124); do cp /pages /dev/shm/$file; done
for file in $(seq 16 124); do rm /dev/shm/$file; done
used=$(awk '/nbd0/ { print $4 }' /proc/swaps)
note "$used KiB are swapped out"
[ "$used" -gt 10000 ]
CASE
tr -d '\r' <"$log" | grep -aE 'Deactivated|deactivated|timed out' || true
passed

# in_order TEXT…: the log has these one after another, once it is over.
in_order ()
{
  tr -d '\r' <"$log" | sed '0,/case: passed/d' | awk '
    BEGIN { for (n = ARGC - 1; n >= 1; n--) { want[n] = ARGV[n]; ARGV[n] = "" }
            n = ARGC - 1; i = 1 }
    i <= n && index ($0, want[i]) { i++ }
    END { if (i <= n) { print "not, or too early: " want[i]; exit 1 } }' "$@" ||
    fail "the order is not $*"
}
in_order 'trueno-zram-swap@nbd0.service: Deactivated successfully' \
  'case: ' 'every page is right' 'All swaps deactivated'
in_order 'trueno-zram-connect@nbd1.service: Deactivated successfully' \
  'trueno-zram-server@disk.service: Deactivated successfully'

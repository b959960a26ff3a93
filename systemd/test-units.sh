#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# The units as they are installed: systemd finds nothing wrong with them, they
# start and stop in the right order, and none of them is killed.
source "$(dirname "$0")/../tests/nbd/functions.sh"
requires systemd-analyze --version
requires systemctl --version

make -s -C "$top_builddir" install-systemdsystemunitDATA DESTDIR="$tmp/root" \
  >"$tmp/log" 2>&1 || fail "$(cat "$tmp/log")"
units=$(dirname "$(find "$tmp/root" -name 'trueno-zram-server@.service')")
[ -x "$top_builddir/trueno-zram" ] || skip "trueno-zram was not built"
if grep -n '@[a-z]*dir@' "$units"/*; then fail "not replaced"; fi

# As instances, with programs that exist: these are not installed.
mkdir "$tmp/units"
for unit in server connect swap; do
  sed "s|^\(Exec[A-Za-z]*=@*\)/.*/trueno-zram |\1$top_builddir/trueno-zram |" \
    "$units/trueno-zram-$unit@.service" >"$tmp/units/trueno-zram-$unit@.service"
done
for unit in server@disk connect@nbd1 swap@nbd0; do
  SYSTEMD_UNIT_PATH=$tmp/units: systemd-analyze verify --man=no \
    "$tmp/units/trueno-zram-${unit%@*}@${unit#*@}.service" 2>"$tmp/log" ||
    fail "$unit: $(cat "$tmp/log")"
  # It may have something to say of others' units.
  if grep trueno-zram "$tmp/log"; then fail "$unit has warnings"; fi
done

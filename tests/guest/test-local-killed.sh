#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# The server of a machine's own swap is killed again and again under load; its
# pages are in a file on hugetlbfs, and another server stands by.
source "$(dirname "$0")/functions.sh"
kills=${KILLS:-4} timeout=4

guest <<CASE
echo 66 >/proc/sys/vm/nr_hugepages
mkdir -p /huge
mount -t hugetlbfs hugetlbfs /huge
swap_on 352M --memory 128M --store /huge/pages --timeout $timeout
(for i in $(seq $kills | xargs); do sleep 2; kill_server; done; >/run/killed) &
until [ -e /run/killed ]; do load; done
swap_off
[ ! -e /huge/pages ]
! pidof nbdkit
CASE
tr -d '\r' <"$log" | grep -aE '^(outage|trueno-zram): '
passed
outages_within $timeout

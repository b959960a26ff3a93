#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# What swap=yes and swap=try say without each of the capabilities, and with
# limits that make up for them or do not.
source "$(dirname "$0")/functions.sh"
requires_root
requires_no_sanitizer
requires setpriv --inh-caps=-sys_nice --bounding-set=-sys_nice true
ulimit -S -r 0
ulimit -S -l 64

# without CAPS STATUS ARG…: start with all capabilities but these.
without ()
{
  local caps=$1 want=$2 status=0
  shift 2
  # shellcheck disable=SC2001  # the list is -a,-b
  caps=$(sed 's/\([a-z_]*\)/-\1/g' <<<"${caps//,/ }" | tr ' ' ,)
  setpriv --inh-caps="$caps" --bounding-set="$caps" \
    "$nbdkit" -f -U - trueno-zram 1G "$@" --run : 2>"$tmp/err" || status=$?
  echo "--- without $caps: $*" && cat "$tmp/err"
  [ $status = "$want" ] || fail "without $caps: status $status"
}
said () { grep -q -e "$1" "$tmp/err" || fail "it does not say '$1'"; }
not_said () { if grep -e "$1" "$tmp/err"; then fail "it says '$1'"; fi; }

# Needed: what, why and how to grant it, and nothing of the rest.
without ipc_lock 1 memory=64M swap=yes
said 'error: swap=yes: the pool cannot be locked in memory'
said 'it may lock 65536 bytes and needs more than memory=67108864'
said 'grant CAP_IPC_LOCK, or raise the limit with .ulimit -l unlimited. or'
not_said 'real-time'
(ulimit -S -l 4096 && without ipc_lock 1 memory=256M swap=yes)
said 'it may lock 4194304 bytes and needs more than memory=268435456'
without sys_nice 1 memory=64M swap=yes
said 'error: swap=yes: real-time scheduling is denied: .*grant CAP_SYS_NICE, or'
said 'ulimit -r 1'
not_said 'locked'

# Useful: a warning each, and it starts.
if chrt -r 1 true 2>"$tmp/log"; then
  without sys_resource 0 memory=64M swap=yes
  said 'warning: PR_SET_IO_FLUSHER is denied: .*CAP_SYS_RESOURCE'
  said 'warning: the OOM killer may choose this server: .*CAP_SYS_RESOURCE'
fi

# With try all are warnings.
without ipc_lock,sys_nice,sys_resource 0 memory=64M swap=try
said 'swap=try: the pool cannot be locked in memory: .*may hang'
said 'swap=try: real-time scheduling is denied: .*may hang'
[ "$(grep -c locked "$tmp/err")" = 1 ] || fail "it says more than needed"

# Limits do instead of capabilities.
if (ulimit -S -l unlimited && ulimit -S -r 1) 2>"$tmp/log"; then
  (ulimit -S -l unlimited && ulimit -S -r 1 &&
     without ipc_lock,sys_nice,sys_resource 0 memory=64M swap=yes)
fi

# Without swap= nothing of all this is needed, nor said.
without ipc_lock,sys_nice,sys_resource 0 memory=64M
not_said .

# SPDX-License-Identifier: MIT OR Apache-2.0
# For a case in the guest: swapping out, again and again, the pages of a process
# which there is memory for, so that what goes wrong with them costs nothing else.
mkdir -p /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
echo +memory >/sys/fs/cgroup/cgroup.subtree_control
mkdir /sys/fs/cgroup/hog
[ -e /sys/fs/cgroup/hog/memory.reclaim ]

# hog_in_swap MIB ROUNDS: one whose pages are swapped out again and again, until
# it is to be finished.
hog_in_swap ()
{
  (echo 0 >/sys/fs/cgroup/hog/cgroup.procs
   exec hog -r "$2" "$1" >/run/hog.out) &
  hog=$!
  (while kill -0 $hog 2>/dev/null && [ ! -e /run/calm ]; do
     echo 64M >/sys/fs/cgroup/hog/memory.reclaim 2>/dev/null || true
     sleep 0.2
   done) &
}

finish_hog ()
{
  touch /run/calm
  wait $hog
  cat /run/hog.out
}

# said SECONDS WHAT: the connection or the server says so within this time.
said () { until_true "$1" grep -q "$2" /run/log; }

start () { server ram -i 127.0.0.1 -p 10809 "$@" 2>>/run/log; }
stop () { kill -9 $(cat /run/ram.pid); sleep 0.3; }

: >/run/log
tail -f /run/log &

# SPDX-License-Identifier: MIT OR Apache-2.0
# What a case may use inside the guest, where the shell is busybox's, which
# prefers its own programs: those of util-linux are called by their paths.

note ()
{
  echo "case: $(cut -d' ' -f1 /proc/uptime) $*"
}

# until_true SECONDS CMD ARG…
until_true ()
{
  local left=$(($1 * 10))
  shift
  until "$@"; do
    left=$((left - 1))
    if [ $left = 0 ]; then note "waited in vain: $*"; return 1; fi
    sleep 0.1
  done
}

# server NAME ARG…: one in this guest, at /run/NAME.sock, its process id in
# /run/NAME.pid.  One request of a connection at a time: clients have several.
server ()
{
  local name=$1
  shift
  rm -f "/run/$name.pid"
  setsid nbdkit -f -t 1 -P "/run/$name.pid" "$@" </dev/null &
  until_true 20 test -s "/run/$name.pid"
}

# What the server keeps in memory, in kB.
server_memory ()
{
  note "server $1 takes" $(sed -n 's/^VmRSS://p' \
                             "/proc/$(cat "/run/$1.pid")/status")
}

# swap_on ARG…: with the program that this is about.
swap_on ()
{
  trueno-zram swapon "$@"
  note "swap: $(tail -n 1 /proc/swaps | xargs)"
}

swap_off ()
{
  trueno-zram swapoff "$@"
  note "swapped off"
}

# Show that the case was none of those that fit into memory: at least so many
# pages went out.
swapped_out ()
{
  local out
  out=$(sed -n 's/^pswpout //p' /proc/vmstat)
  note "$out pages went out, $(sed -n 's/^pswpin //p' /proc/vmstat) came in"
  [ "$out" -ge "$1" ]
}

# The load that every kind of swap has to bear: four processes which together
# want about twice the memory there is for them, in pages of real programs.  All
# is done when 204800 pages are: 65536 to fill, 65536 to verify at the end.
load ()
{
  hog -p /pages -n 4 -r 1 64
  swapped_out 30000
}

# Kill the older of two servers, once the other is ready to go on in its place:
# at last it gets its priority.
kill_server ()
{
  until_true 60 standby_ready
  kill -9 $(pidof nbdkit | tr ' ' '\n' | sort -n | head -n 1)
  note "killed a server"
}

standby_ready ()
{
  set -- $(pidof nbdkit | tr ' ' '\n' | sort -n)
  [ $# = 2 ] && [ "$(cut -d' ' -f41 "/proc/$2/stat")" = 2 ]
}

#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# The man page is well formed and names everything that a user can say or see.
source "$(dirname "$0")/../tests/nbd/functions.sh"
requires sh -c 'command -v podchecker'

pod=$top_srcdir/docs/nbdkit-trueno-zram-plugin.pod
podchecker -warnings -warnings "$pod" || fail "podchecker"

names=$("$nbdkit" trueno-zram --help | sed -n 's/^\[*\([a-z-]*\)=.*/\1/p')
[[ $(echo $names) = "size codec level memory checksum"* ]] ||
  fail "parameters in --help: $names"
for name in $names; do
  grep -q "^=item \[\?B<$name=" "$pod" || fail "$name= is not in the man page"
done

fields=$("$nbdkit" trueno-zram --dump-plugin |
         sed -n 's/^\(trueno_zram_[^=]*\)=.*/\1/p')
[ -n "$fields" ] || fail "no fields in --dump-plugin"
for field in $fields; do
  grep -q "^=item C<$field>" "$pod" || fail "$field is not in the man page"
done

flags=$(nm -D "$plugin" | sed -n 's/.* trueno-zram_debug_//p')
[ -n "$flags" ] || fail "no debug flags"
for flag in $flags; do
  grep -q "^=item I<-D trueno-zram.$flag=" "$pod" ||
    fail "-D trueno-zram.$flag is not in the man page"
done

"$nbdkit" -f -D trueno-zram.stats=1 -U - trueno-zram 1M --run : \
          2>"$tmp/server.log"
stats=$(sed -n 's/^trueno-zram: \([a-z_]*\)=.*/\1/p' "$tmp/server.log")
[ -n "$stats" ] || fail "no statistics"
for stat in $stats; do
  grep -q "^=item C<$stat>" "$pod" || fail "$stat is not in the man page"
done

#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# The plugin exports what the server looks up and nothing that could clash
# with another plugin, filter or library.
source "$(dirname "$0")/functions.sh"
requires_no_sanitizer

nm -D --defined-only "$plugin" | awk '{ print $3 }' | sort >"$tmp/symbols"
cat >"$tmp/want" <<'END'
plugin_init
trueno-zram_debug_gpu_timeout
trueno-zram_debug_io
trueno-zram_debug_stats
END
diff "$tmp/want" "$tmp/symbols" || fail "other symbols"

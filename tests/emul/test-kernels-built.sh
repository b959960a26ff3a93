#!/bin/bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# What the assembler said of the kernels: no registers spilled, and few enough
# for as many warps as shared memory has room for.
set -e
cd "${top_builddir:?}"
if [ ! -f cuda/kernels.log ]; then
  echo "built without nvcc"
  exit 77
fi

# Registers a kernel may use, in any architecture.
caps="
tz_ld64_decompress 72
tz_ld64_compress 72
tz_lz4_decompress 64
tz_lz4_compress 64
tz_same_scan 48
tz_checksum 64"
architectures=$(grep '^CUDA_CODE =' Makefile | grep -o 'sm_[0-9]*' || true)

awk -v caps="$caps" -v architectures="$architectures" '
  BEGIN {
    n = split(caps, c)
    for (i = 1; i <= n; i += 2)
      cap[c[i]] = c[i + 1]
    n_arch = split(architectures, arch)
  }
  /Compiling entry function/ {
    split($0, q, "\x27")
    kernel = q[2]; sm = q[4]
  }
  /bytes stack frame/ {
    if ($0 !~ /^ *0 bytes stack frame, 0 bytes spill stores, 0 bytes spill/)
      bad("spills: " $0)
  }
  / Used [0-9]+ registers/ {
    match($0, /Used [0-9]+/)
    regs = substr($0, RSTART + 5, RLENGTH - 5) + 0
    printf "%-20s %-7s %d registers\n", kernel, sm, regs
    if (!(kernel in cap))
      bad("no cap for " kernel)
    else if (regs > cap[kernel])
      bad(kernel " in " sm ": more than " cap[kernel])
    seen[kernel " " sm] = 1
  }
  function bad(what) { print "BAD: " what; failed = 1 }
  END {
    for (k in cap)
      for (i = 1; i <= n_arch; i++)
        if (!(k " " arch[i] in seen))
          bad("nothing about " k " in " arch[i])
    exit failed
  }' cuda/kernels.log

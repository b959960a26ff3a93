/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* All kernels, for nvcc; tests/emul/emul.c includes them too, as C. */
#include "ld64-compress.h"
#include "ld64-decompress.h"
#include "lz4-compress.h"
#include "lz4-decompress.h"
#include "scan.h"

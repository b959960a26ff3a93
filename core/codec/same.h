/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Same-filled pages: the bodies. */
#ifndef TZ_SAME_H
#define TZ_SAME_H

#include <stdbool.h>
#include <stdint.h>

#include "tzram.h"

/* True if the page is nothing but the pattern. */
typedef bool tz_same_rest_fn (const uint8_t *page, uint64_t pattern);
tz_same_rest_fn tz_same_rest_scalar, tz_same_rest_ssse3, tz_same_rest_avx2,
    tz_same_rest_avx512, tz_same_rest_neon;

#endif /* TZ_SAME_H */

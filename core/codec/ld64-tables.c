/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Byte shuffles for LD64, see ld64.h.  Each macro adds a bit, clear in the
 * first half of its list and set in the second; the highest comes first, so
 * that what is known of it moves up, and the number of literals before it
 * grows, as lower ones follow.
 */
#include "codec/ld64.h"

/* Byte i of the order for bits m: the place of the i-th bit set in m. */
#define C0(v)    v, (v) << 8
#define C(i, v)  (v) << 8 | i
#define C1(v)    C0 (v), C0 (C (1, v))
#define C2(v)    C1 (v), C1 (C (2, v))
#define C3(v)    C2 (v), C2 (C (3, v))
#define C4(v)    C3 (v), C3 (C (4, v))
#define C5(v)    C4 (v), C4 (C (5, v))
#define C6(v)    C5 (v), C5 (C (6, v))
#define C7(v)    C6 (v), C6 (C (7, v))

const uint64_t tz_ld64_compact[256] = { C7 (0ull) };

/* Byte i of the order for bits m: how many bits are set before i, or at least
 * 128 if i is not.
 */
#define CLEAR(v) ((v) << 8 | 0x80)
#define SET(v)   ((v) + 0x0101010101010101) << 8
#define E0(v)    CLEAR (v), SET (v)
#define E1(v)    E0 (CLEAR (v)), E0 (SET (v))
#define E2(v)    E1 (CLEAR (v)), E1 (SET (v))
#define E3(v)    E2 (CLEAR (v)), E2 (SET (v))
#define E4(v)    E3 (CLEAR (v)), E3 (SET (v))
#define E5(v)    E4 (CLEAR (v)), E4 (SET (v))
#define E6(v)    E5 (CLEAR (v)), E5 (SET (v))
#define E7(v)    E6 (CLEAR (v)), E6 (SET (v))

const uint64_t tz_ld64_expand[256] = { E7 (0ull) };

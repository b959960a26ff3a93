/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Tables for LD64, see ld64.h.  Each macro adds a bit, clear in the
 * first half of its list and set in the second; the highest comes first, so
 * that what is known of it moves up, and the number of literals before it
 * grows, as lower ones follow.
 */
#include "codec/ld64.h"

const uint8_t tz_ld64_zeroes[LD64_LINE] __attribute__ ((aligned (64))) = { 0 };

/* Byte i of the order for bits m: the place of the i-th bit set in m. */
#define C0(v)   v, (v) << 8
#define C(i, v) (v) << 8 | i
#define C1(v)   C0 (v), C0 (C (1, v))
#define C2(v)   C1 (v), C1 (C (2, v))
#define C3(v)   C2 (v), C2 (C (3, v))
#define C4(v)   C3 (v), C3 (C (4, v))
#define C5(v)   C4 (v), C4 (C (5, v))
#define C6(v)   C5 (v), C5 (C (6, v))
#define C7(v)   C6 (v), C6 (C (7, v))

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

/* For bits m the moves that bring bytes together: first those by one place,
 * then by two, then by four.  Byte i, if its bit is set, moves by the number d
 * of bits below it that are not.  Here the lowest bit comes first.
 */
#define BYTE(i)                      (0xffull << 8 * (i))
#define MOVE1(i, d)                  ((d) & 1) * BYTE (i)
#define MOVE2(i, d)                  ((d) >> 1 & 1) * BYTE ((i) - ((d) & 1))
#define MOVE4(i, d)                  ((d) >> 2 & 1) * BYTE ((i) - ((d) & 3))
#define ENTRY(m, d, all, v1, v2, v4) [m] = { all, v1, v2, v4 },
#define M7(m, d, all, a, b, c)                                                 \
  ENTRY (m, d + 1, all, a, b, c)                                               \
  ENTRY (m + 128, d, all | BYTE (7), a | MOVE1 (7, d), b | MOVE2 (7, d),       \
         c | MOVE4 (7, d))
#define M6(m, d, all, a, b, c)                                                 \
  M7 (m, d + 1, all, a, b, c)                                                  \
  M7 (m + 64, d, all | BYTE (6), a | MOVE1 (6, d), b | MOVE2 (6, d),           \
      c | MOVE4 (6, d))
#define M5(m, d, all, a, b, c)                                                 \
  M6 (m, d + 1, all, a, b, c)                                                  \
  M6 (m + 32, d, all | BYTE (5), a | MOVE1 (5, d), b | MOVE2 (5, d),           \
      c | MOVE4 (5, d))
#define M4(m, d, all, a, b, c)                                                 \
  M5 (m, d + 1, all, a, b, c)                                                  \
  M5 (m + 16, d, all | BYTE (4), a | MOVE1 (4, d), b | MOVE2 (4, d),           \
      c | MOVE4 (4, d))
#define M3(m, d, all, a, b, c)                                                 \
  M4 (m, d + 1, all, a, b, c)                                                  \
  M4 (m + 8, d, all | BYTE (3), a | MOVE1 (3, d), b | MOVE2 (3, d),            \
      c | MOVE4 (3, d))
#define M2(m, d, all, a, b, c)                                                 \
  M3 (m, d + 1, all, a, b, c)                                                  \
  M3 (m + 4, d, all | BYTE (2), a | MOVE1 (2, d), b | MOVE2 (2, d),            \
      c | MOVE4 (2, d))
#define M1(m, d, all, a, b, c)                                                 \
  M2 (m, d + 1, all, a, b, c)                                                  \
  M2 (m + 2, d, all | BYTE (1), a | MOVE1 (1, d), b | MOVE2 (1, d),            \
      c | MOVE4 (1, d))
#define M0(m, d, all, a, b, c)                                                 \
  M1 (m, d + 1, all, a, b, c)                                                  \
  M1 (m + 1, d, all | BYTE (0), a | MOVE1 (0, d), b | MOVE2 (0, d),            \
      c | MOVE4 (0, d))

const struct ld64_moves tz_ld64_moves[256] = { M0 (0, 0, 0, 0, 0, 0) };

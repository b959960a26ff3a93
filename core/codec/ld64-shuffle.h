/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What an LD64 decoder does first where bytes can be shuffled.  A body includes
 * this before ld64-parts.h and after it has defined
 *
 * uint64_t expand (const uint8_t *p, unsigned bits)
 *   the bytes at p at the places whose bit is set, zeroes elsewhere
 * unsigned count_literals (const uint64_t mask[4], uint8_t upto[32])
 *   upto[8 k + i] is how many bits are set in the bytes 0 … i of mask[k];
 *   returns how many in all four
 */
struct unpacked {
  uint64_t mask[LD64_LINES];
  uint8_t upto[8 * LD64_LINES]; /* literals of a line, a part's own included */
};

INLINE const uint8_t *
unpack (const uint8_t *flags, const uint8_t *end, uint64_t lines,
        struct unpacked *u)
{
  const uint8_t *p = flags + popcount (lines);
  unsigned k, f, all = 0;

  for (k = 0; k < LD64_LINES; k++, lines >>= 1) {
    f = *flags & -(unsigned) (lines & 1);
    flags += lines & 1;
    if (p > end)
      return NULL;
    put64 (&u->mask[k], expand (p, f));
    p += tz_ld64_count[f];
  }
  for (k = 0; k < LD64_LINES; k += 4)
    all += count_literals (&u->mask[k], &u->upto[8 * k]);
  return p <= end && all == (size_t) (end - p) ? p : NULL;
}

/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The primitives of cuda/warp.h for emul.c. */
#ifndef TZ_WARP_EMUL_H
#define TZ_WARP_EMUL_H

#include <string.h>

#define DEVICE       static inline __attribute__ ((unused))
#define RARE         static __attribute__ ((unused))
#define TABLE        static const
#define KERNEL(name) static void name
#define UNROLL(count)

struct pair { uint32_t x, y; } __attribute__ ((aligned (8)));
struct quad { uint32_t x, y, z, w; } __attribute__ ((aligned (16)));

unsigned lane_number (void);
unsigned block_number (void);
uint32_t smem_start (void);
void own_smem (uint32_t slot, uint32_t size, uint32_t common);

/* Shared memory: size bytes at at. */
enum emul_access { EMUL_LOAD, EMUL_STORE };
void *emul_smem (enum emul_access access, uint32_t at, unsigned size,
                 int site);

#define EMUL_LDS(type, at)                                                    \
  (*(const type *) emul_smem (EMUL_LOAD, at, sizeof (type), __LINE__))
#define EMUL_STS(type, at, v)                                                 \
  ((void) (*(type *) emul_smem (EMUL_STORE, at, sizeof (type), __LINE__)      \
           = (type) (v)))
#define EMUL_STS_STRUCT(type, at, v)                                          \
  ((void) (*(type *) emul_smem (EMUL_STORE, at, sizeof (type), __LINE__)      \
           = (v)))

#define lds8(at)      ((uint32_t) EMUL_LDS (uint8_t, at))
#define lds16(at)     ((uint32_t) EMUL_LDS (uint16_t, at))
#define lds32(at)     EMUL_LDS (uint32_t, at)
#define lds64(at)     EMUL_LDS (struct pair, at)
#define lds128(at)    EMUL_LDS (struct quad, at)
#define sts8(at, v)   EMUL_STS (uint8_t, at, v)
#define sts16(at, v)  EMUL_STS (uint16_t, at, v)
#define sts32(at, v)  EMUL_STS (uint32_t, at, v)
#define sts64(at, v)  EMUL_STS_STRUCT (struct pair, at, v)
#define sts128(at, v) EMUL_STS_STRUCT (struct quad, at, v)

static inline __attribute__ ((unused)) struct quad
ldg128 (uint64_t at)
{
  return *(const struct quad *) (uintptr_t) at;
}

static inline __attribute__ ((unused)) struct pair
ldg64 (uint64_t at)
{
  return *(const struct pair *) (uintptr_t) at;
}

static inline __attribute__ ((unused)) void
stg128 (uint64_t at, struct quad v)
{
  *(struct quad *) (uintptr_t) at = v;
}

#define copy_async(to, from, count)                                           \
  emul_copy_async (to, from, count, __LINE__)
void emul_copy_async (uint32_t to, uint64_t from, uint32_t count, int site);
void copies_done (void);

/* Wait for all lanes at this place, and tell them this one's v.  Returns
 * theirs, good until the next meeting.
 */
const uint32_t *emul_meet (uint32_t v, const char *what, const char *file,
                           int line);
#define EMUL_MEET(v, what) emul_meet (v, what, __FILE__, __LINE__)

#define together()          ((void) EMUL_MEET (0, "together"))
#define lanes_with(v)       emul_ballot (EMUL_MEET (v, "lanes_with"))
#define any_lane(v)         (emul_ballot (EMUL_MEET (v, "any_lane")) != 0)
#define group_get(v, lane)                                                    \
  emul_of_group (EMUL_MEET (v, "group_get"), (lane) % 8)
#define group_before(v, d)                                                    \
  emul_of_group (EMUL_MEET (v, "group_before"),                               \
                 lane_number () % 8 - (lane_number () % 8 >= (d) ? (d) : 0))
#define group_xor(v, m)                                                       \
  emul_of_group (EMUL_MEET (v, "group_xor"), (lane_number () % 8) ^ (m))
#define lanes_equal(v)      emul_equal (EMUL_MEET (v, "lanes_equal"))

static inline __attribute__ ((unused)) uint32_t
emul_ballot (const uint32_t *v)
{
  uint32_t mask = 0;
  int i;

  for (i = 0; i < 32; i++)
    mask |= (uint32_t) (v[i] != 0) << i;
  return mask;
}

static inline __attribute__ ((unused)) uint32_t
emul_of_group (const uint32_t *v, unsigned member)
{
  return v[lane_number () / 8 * 8 + member];
}

static inline __attribute__ ((unused)) uint32_t
emul_equal (const uint32_t *v)
{
  uint32_t mask = 0, mine = v[lane_number ()];
  int i;

  for (i = 0; i < 32; i++)
    mask |= (uint32_t) (v[i] == mine) << i;
  return mask;
}

static inline __attribute__ ((unused)) uint32_t
pick_bytes (uint32_t a, uint32_t b, uint32_t order)
{
  uint64_t both = a | (uint64_t) b << 32;
  uint32_t v = 0;
  int i;

  for (i = 0; i < 4; i++) {
    v |= (uint32_t) (both >> 8 * (order >> 4 * i & 7) & 0xff) << 8 * i;
    if (order >> 4 * i & 8) /* spreads the sign on a GPU: never meant */
      __builtin_trap ();
  }
  return v;
}

static inline __attribute__ ((unused)) uint32_t
funnel (uint32_t low, uint32_t high, uint32_t shift)
{
  return (uint32_t) ((low | (uint64_t) high << 32) >> shift % 32);
}

static inline __attribute__ ((unused)) uint32_t
funnel_clamp (uint32_t low, uint32_t high, uint32_t shift)
{
  return (uint32_t) ((low | (uint64_t) high << 32)
                     >> (shift < 32 ? shift : 32));
}

static inline __attribute__ ((unused)) unsigned
count_bits (uint32_t v)
{
  return (unsigned) __builtin_popcount (v);
}

static inline __attribute__ ((unused)) uint32_t
reverse_bits (uint32_t v)
{
  uint32_t r = 0;
  int i;

  for (i = 0; i < 32; i++)
    r |= (v >> i & 1) << (31 - i);
  return r;
}

static inline __attribute__ ((unused)) unsigned
zeroes_above (uint32_t v)
{
  return v ? (unsigned) __builtin_clz (v) : 32;
}

static inline __attribute__ ((unused)) unsigned
zeroes_below (uint32_t v)
{
  return v ? (unsigned) __builtin_ctz (v) : ~0u;
}

#endif /* TZ_WARP_EMUL_H */

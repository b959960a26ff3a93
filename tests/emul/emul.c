/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* See emul.h.  A warp is 32 fibers of one thread; shared memory has a shadow
 * that knows who touched each byte last, and when.
 */
#include <stdbool.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#if !defined(__x86_64__)
#include <ucontext.h>
#endif
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

#include "emul.h"

#define LANE_COUNT  32
#define STACK       (96 * 1024)
#define SMEM_MAX    (48 * 1024)
#define SMEM_START  1024 /* of an address; what is before is the system's */
#define COPIES_MAX  512
#define ANYONE      255 /* more than one lane */
#define SEEN_MAX    65536
#define SITES       1024 /* lines of a source file */

struct fiber {
#if defined(__x86_64__)
  void *sp;
#else
  ucontext_t context;
#endif
  void *fake_stack; /* AddressSanitizer's */
  bool done;
  const char *what, *file; /* where it waits */
  int line;
  uint32_t slot, slot_end, common;
  struct {
    uint32_t to, count;
    uint64_t from;
    int site;
  } copy[COPIES_MAX];
  unsigned copies;
};

/* Who touched a byte of shared memory in which epoch; one starts when the
 * lanes have met in together ().
 */
struct shadow {
  uint32_t stored, loaded;
  uint8_t store_lane, load_lane;
};

/* An access of one lane, to be joined with those of the other lanes. */
struct seen {
  int site, turn; /* its turn at this site since the lanes met */
  uint32_t at;
  uint16_t size;
  uint8_t lane;
};

struct emul {
  struct fiber fiber[LANE_COUNT];
  uint8_t *stacks;
  unsigned order[LANE_COUNT], next; /* this round's */
  unsigned lane, block;             /* running */
  uint32_t values[2][LANE_COUNT];
  unsigned parity;
  uint64_t rng;
  uint32_t epoch, smem_size;
  uint8_t *smem;
  struct shadow *shadow;
  struct emul_counts *counts;
  struct seen *seen;
  unsigned n_seen;
  uint16_t (*turn)[SITES]; /* of each lane at each site */
  enum tz_gpu_kernel kernel;
  const struct tz_gpu_job *jobs;
  int32_t *result;
  uint32_t n, flags;
  uint64_t *extra;
#if !defined(__x86_64__)
  ucontext_t home;
#else
  void *home;
#endif
  void *home_fake_stack;
  const void *home_bottom;
  size_t home_size;
};

static _Thread_local struct emul *emul;

static const struct tz_gpu_shape shapes[] = TZ_GPU_SHAPES;

static __attribute__ ((noreturn, format (printf, 1, 2))) void
fail (const char *fmt, ...)
{
  va_list args;

  fprintf (stderr, "%s: block %u, lane %u: ", shapes[emul->kernel].name,
           emul->block, emul->lane);
  va_start (args, fmt);
  vfprintf (stderr, fmt, args);
  va_end (args);
  fputc ('\n', stderr);
  abort ();
}

static uint32_t
rnd32 (void)
{
  emul->rng = emul->rng * 6364136223846793005 + 1442695040888963407;
  return (uint32_t) (emul->rng >> 33);
}

/* ---- Fibers ---- */

#if defined(__x86_64__)
/* What a call must keep, on the stack of who leaves. */
void emul_switch (void **leave, void *enter);
__asm__ (".pushsection .text\n"
         ".type emul_switch, @function\n"
         "emul_switch:\n"
         "push %rbp\n push %rbx\n push %r12\n push %r13\n push %r14\n"
         "push %r15\n mov %rsp, (%rdi)\n mov %rsi, %rsp\n"
         "pop %r15\n pop %r14\n pop %r13\n pop %r12\n pop %rbx\n pop %rbp\n"
         "ret\n"
         ".size emul_switch, . - emul_switch\n"
         ".popsection");
#endif

static uint8_t *
stack_of (unsigned lane)
{
  return emul->stacks + (size_t) lane * STACK;
}

/* Continue with a lane's fiber, or with who launched (lane is LANE_COUNT). */
static void
switch_to (unsigned from, unsigned to)
{
  bool home = to == LANE_COUNT, came_home = from == LANE_COUNT;

  if (from == to)
    return;
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber (
      came_home ? &emul->home_fake_stack
      : emul->fiber[from].done ? NULL : &emul->fiber[from].fake_stack,
      home ? emul->home_bottom : stack_of (to),
      home ? emul->home_size : STACK);
#endif
  if (!home)
    emul->lane = to;
#if defined(__x86_64__)
  emul_switch (came_home ? &emul->home : &emul->fiber[from].sp,
               home ? emul->home : emul->fiber[to].sp);
#else
  swapcontext (came_home ? &emul->home : &emul->fiber[from].context,
               home ? &emul->home : &emul->fiber[to].context);
#endif
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber (came_home ? emul->home_fake_stack
                                             : emul->fiber[from].fake_stack,
                                   NULL, NULL);
#endif
}

static void
shuffle_order (void)
{
  unsigned i, j, t;

  for (i = LANE_COUNT - 1; i > 0; i--) {
    j = rnd32 () % (i + 1);
    t = emul->order[i];
    emul->order[i] = emul->order[j];
    emul->order[j] = t;
  }
  emul->next = 0;
}

/* ---- Banks ---- */

static int
by_place (const void *a, const void *b)
{
  const struct seen *x = a, *y = b;

  if (x->site != y->site)
    return x->site < y->site ? -1 : 1;
  if (x->turn != y->turn)
    return x->turn < y->turn ? -1 : 1;
  return x->lane < y->lane ? -1 : x->lane > y->lane;
}

/* Turns the 32 banks need for one access of up to n lanes: words of one bank
 * that differ take turns; of eight bytes a lane half a warp is served at once,
 * of 16 a quarter.
 */
static unsigned
turns (const struct seen *s, unsigned n)
{
  unsigned part = s->size == 16 ? 8 : s->size == 8 ? 16 : 32, sum = 0;
  unsigned first, i, j, w, words, most, used[32];
  uint32_t word[32][32];

  for (first = 0; first < LANE_COUNT; first += part) {
    memset (used, 0, sizeof used);
    for (i = 0, most = 0; i < n; i++) {
      if (s[i].lane < first || s[i].lane >= first + part)
        continue;
      words = s[i].size > 4 ? s[i].size / 4 : 1;
      for (w = s[i].at / 4; w < s[i].at / 4 + words; w++) {
        for (j = 0; j < used[w % 32] && word[w % 32][j] != w; j++)
          ;
        if (j == used[w % 32])
          word[w % 32][used[w % 32]++] = w;
        most = used[w % 32] > most ? used[w % 32] : most;
      }
    }
    sum += most;
  }
  return sum;
}

static void
count_round (void)
{
  unsigned i, j;

  emul->counts->meetings++;
  qsort (emul->seen, emul->n_seen, sizeof *emul->seen, by_place);
  for (i = 0; i < emul->n_seen; i = j) {
    for (j = i + 1; j < emul->n_seen
                    && emul->seen[j].site == emul->seen[i].site
                    && emul->seen[j].turn == emul->seen[i].turn; j++)
      ;
    emul->counts->accesses++;
    emul->counts->wavefronts += turns (emul->seen + i, j - i);
  }
  emul->n_seen = 0;
  memset (emul->turn, 0, LANE_COUNT * sizeof *emul->turn);
}

static void
see (uint32_t at, unsigned size, int site)
{
  struct seen *s = emul->seen + emul->n_seen;

  if (emul->n_seen == SEEN_MAX)
    fail ("more accesses between two meetings than can be counted");
  *s = (struct seen) { site, emul->turn[emul->lane][site % SITES]++, at,
                       (uint16_t) size, (uint8_t) emul->lane };
  emul->n_seen++;
}

/* ---- Primitives ---- */

#include "../../cuda/kernels.cu"

unsigned
lane_number (void)
{
  return emul->lane;
}

unsigned
block_number (void)
{
  return emul->block;
}

uint32_t
smem_start (void)
{
  return SMEM_START;
}

void
own_smem (uint32_t slot, uint32_t size, uint32_t common)
{
  struct fiber *f = &emul->fiber[emul->lane];

  f->slot = slot;
  f->slot_end = slot + size;
  f->common = common;
}

static void
touch (enum emul_access access, uint32_t at, int site)
{
  struct shadow *s = emul->shadow + at;
  uint8_t lane = (uint8_t) emul->lane;

  if (s->stored == emul->epoch && s->store_lane != lane)
    fail ("line %d: byte %u of shared memory was just stored by lane %u",
          site, at, s->store_lane);
  if (access == EMUL_STORE) {
    if (s->loaded == emul->epoch && s->load_lane != lane)
      fail ("line %d: byte %u of shared memory was just loaded by another lane"
            " (%u)", site, at, s->load_lane);
    s->stored = emul->epoch;
    s->store_lane = lane;
    return;
  }
  s->load_lane = s->loaded == emul->epoch && s->load_lane != lane ? ANYONE
                                                                  : lane;
  s->loaded = emul->epoch;
}

void *
emul_smem (enum emul_access access, uint32_t at, unsigned size, int site)
{
  const struct fiber *f = &emul->fiber[emul->lane];
  bool own = at >= f->slot && at < f->slot_end && size <= f->slot_end - at;
  bool common = at >= f->common && at < SMEM_START + emul->smem_size
                && size <= SMEM_START + emul->smem_size - at;
  unsigned i;

  if (at % size != 0)
    fail ("line %d: %u bytes at %u of shared memory: not aligned", site, size,
          at);
  if (!own && !common)
    fail ("line %d: %u bytes at %u of shared memory are not in slot %u … %u",
          site, size, at, f->slot, f->slot_end);
  for (i = 0; i < size; i++)
    touch (access, at - SMEM_START + i, site);
  if (emul->counts)
    see (at, size, site);
  return emul->smem + at - SMEM_START;
}

void
emul_copy_async (uint32_t to, uint64_t from, uint32_t count, int site)
{
  struct fiber *f = &emul->fiber[emul->lane];

  if (count < 1 || count > 16 || from % 16 != 0)
    fail ("line %d: a copy of %u bytes from %#llx", site, count,
          (unsigned long long) from);
  if (f->copies == COPIES_MAX)
    fail ("line %d: too many copies", site);
  f->copy[f->copies].to = to;
  f->copy[f->copies].from = from;
  f->copy[f->copies].count = count;
  f->copy[f->copies].site = site;
  f->copies++;
}

void
copies_done (void)
{
  struct fiber *f = &emul->fiber[emul->lane];
  unsigned i;
  void *to;

  for (i = 0; i < f->copies; i++) {
    to = emul_smem (EMUL_STORE, f->copy[i].to, 16, f->copy[i].site);
    memset (to, 0, 16);
    memcpy (to, (const void *) (uintptr_t) f->copy[i].from, f->copy[i].count);
  }
  f->copies = 0;
}

/* All lanes wait: they must do so at the same place. */
static void
check_meeting (void)
{
  const struct fiber *f = emul->fiber, *g;

  for (g = f + 1; g < f + LANE_COUNT; g++)
    if (g->done != f->done || g->line != f->line
        || (!f->done && strcmp (g->file, f->file) != 0))
      fail ("lanes do not meet: 0 %s at %s:%d, %u %s at %s:%d",
            f->done ? "ended after" : f->what, f->file, f->line,
            (unsigned) (g - f), g->done ? "ended after" : g->what, g->file,
            g->line);
  if (f->done || strcmp (f->what, "together") == 0)
    emul->epoch++;
  emul->parity ^= 1;
  if (emul->counts)
    count_round ();
}

const uint32_t *
emul_meet (uint32_t v, const char *what, const char *file, int line)
{
  unsigned lane = emul->lane, parity = emul->parity;
  struct fiber *f = &emul->fiber[lane];

  f->what = what;
  f->file = file;
  f->line = line;
  emul->values[parity][lane] = v;
  if (++emul->next == LANE_COUNT) {
    check_meeting ();
    shuffle_order ();
  }
  switch_to (lane, emul->order[emul->next]);
  return emul->values[parity];
}

/* ---- Launching ---- */

typedef void kernel_fn KERNEL_ARGS;

static kernel_fn *const kernels[] = {
  [TZ_GPU_LD64_DECOMPRESS] = tz_ld64_decompress,
  [TZ_GPU_LD64_COMPRESS] = tz_ld64_compress,
  [TZ_GPU_LZ4_DECOMPRESS] = tz_lz4_decompress,
  [TZ_GPU_LZ4_COMPRESS] = tz_lz4_compress,
  [TZ_GPU_SAME_SCAN] = tz_same_scan,
  [TZ_GPU_CHECKSUM] = tz_checksum,
};

/* A fiber's whole life; it never returns. */
static void
live (void)
{
  unsigned lane = emul->lane;

#if defined(__SANITIZE_ADDRESS__)
  if (emul->home_bottom)
    __sanitizer_finish_switch_fiber (NULL, NULL, NULL);
  else
    __sanitizer_finish_switch_fiber (NULL, &emul->home_bottom,
                                     &emul->home_size);
#endif
  kernels[emul->kernel](emul->jobs, emul->result, emul->n, emul->flags,
                        emul->extra);
  emul->fiber[lane].done = true;
  if (emul->fiber[lane].copies > 0)
    fail ("ends while copies are under way");
  if (++emul->next < LANE_COUNT)
    switch_to (lane, emul->order[emul->next]);
  check_meeting ();
  switch_to (lane, LANE_COUNT);
}

static void
prepare_fiber (unsigned lane)
{
  struct fiber *f = &emul->fiber[lane];
#if defined(__x86_64__)
  /* Six registers, where to return, and an aligned stack for the callee. */
  void **sp = (void **) (stack_of (lane) + STACK) - 8;

  memset (sp, 0, 8 * sizeof *sp);
  sp[6] = (void *) live;
  f->sp = sp;
#else
  getcontext (&f->context);
  f->context.uc_stack.ss_sp = stack_of (lane);
  f->context.uc_stack.ss_size = STACK;
  makecontext (&f->context, live, 0);
#endif
  f->done = false;
  f->fake_stack = NULL;
  f->slot = f->slot_end = 0;
  f->common = UINT32_MAX;
  f->file = "the start";
  f->line = 0;
  emul->order[lane] = lane;
}

static void
run_block (unsigned block)
{
  unsigned i;

  emul->block = block;
  for (i = 0; i < LANE_COUNT; i++)
    prepare_fiber (i);
  for (i = 0; i < emul->smem_size; i++)
    emul->smem[i] = (uint8_t) rnd32 ();
  emul->epoch++;
  shuffle_order ();
  switch_to (LANE_COUNT, emul->order[0]);
}

static void *
take (size_t size)
{
  void *p = calloc (1, size);

  if (!p) {
    fprintf (stderr, "emul: no memory\n");
    abort ();
  }
  return p;
}

static struct emul *
get_emul (void)
{
  if (!emul) {
    emul = take (sizeof *emul);
    emul->stacks = aligned_alloc (64, LANE_COUNT * STACK);
    if (!emul->stacks)
      abort ();
    emul->smem = aligned_alloc (64, SMEM_MAX);
    emul->shadow = take (SMEM_MAX * sizeof *emul->shadow);
    emul->rng = 1;
  }
  return emul;
}

void
emul_count (struct emul_counts *counts)
{
  get_emul ()->counts = counts;
  if (!emul->seen) {
    emul->seen = take (SEEN_MAX * sizeof *emul->seen);
    emul->turn = take (LANE_COUNT * sizeof *emul->turn);
  }
}

void
emul_launch (enum tz_gpu_kernel kernel, const struct tz_gpu_job *jobs,
             int32_t *result, uint32_t n, uint32_t flags, uint64_t *extra)
{
  unsigned block;

  get_emul ();
  emul->kernel = kernel;
  emul->jobs = jobs;
  emul->result = result;
  emul->n = n;
  emul->flags = flags;
  emul->extra = extra;
  emul->smem_size = shapes[kernel].smem;
  emul->home_bottom = NULL;
  for (block = 0; block * shapes[kernel].pages < n; block++)
    run_block (block);
}

/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The region: one range of address space, backed by anonymous memory or by a
 * file on tmpfs or hugetlbfs that a later process can map again.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "internal.h"

#ifndef MADV_POPULATE_WRITE /* Linux 5.14 */
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_DONTNEED_LOCKED /* Linux 5.18 */
#define MADV_DONTNEED_LOCKED 24
#endif

void *
tz_map (size_t len)
{
  void *p = mmap (NULL, len, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

  return p == MAP_FAILED ? NULL : p;
}

void
tz_unmap (void *p, size_t len)
{
  if (p)
    munmap (p, len);
}

static int
map_file (struct region *r, int fd, size_t len)
{
  struct statfs fs;
  struct stat st;
  int err;

  if (fstatfs (fd, &fs) == -1 || fstat (fd, &st) == -1)
    return -errno;
  if (fs.f_type == HUGETLBFS_MAGIC)
    r->granule = fs.f_bsize;
  r->len = DIV_UP (len, r->granule) * r->granule;
  if ((uint64_t) st.st_size < r->len && ftruncate (fd, r->len) == -1)
    return -errno;
  r->fd = fcntl (fd, F_DUPFD_CLOEXEC, 0);
  if (r->fd == -1)
    return -errno;
  r->base = mmap (NULL, r->len, PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_NORESERVE, r->fd, 0);
  if (r->base == MAP_FAILED) {
    err = -errno;
    close (r->fd);
    r->fd = -1;
    r->base = NULL;
    return err;
  }
  return 0;
}

int
tz_region_open (struct region *r, int fd, size_t len)
{
  int err = 0;

  r->granule = TZ_CHUNK;
  r->fd = -1;
  r->len = len;
  if (fd != -1)
    err = map_file (r, fd, len);
  else {
    r->base = tz_map (len);
    if (!r->base)
      return -ENOMEM;
    /* A huge page would keep 2 MiB for one chunk. */
    madvise (r->base, r->len, MADV_NOHUGEPAGE);
  }
  r->runs = (uintptr_t) r->base;
  return err;
}

void
tz_region_close (struct region *r)
{
  if (!r->keep)
    tz_unmap (r->base, r->len);
  if (r->fd != -1)
    close (r->fd);
  r->base = NULL;
  r->fd = -1;
}

/* -EINVAL: an older kernel, which cannot. */
static int
populate (void *start, size_t len)
{
  if (madvise (start, len, MADV_POPULATE_WRITE) == 0)
    return 0;
  return errno == EFAULT ? -ENOMEM : -errno; /* the file system is full */
}

/* Each page, keeping what it holds. */
static void
touch (uint8_t *p, size_t len)
{
  size_t i;

  for (i = 0; i < len; i += TZ_PAGE)
    atomic_fetch_or_explicit ((_Atomic uint8_t *) (p + i), 0,
                              memory_order_relaxed);
}

int
tz_populate (void *start, size_t len)
{
  int err = populate (start, len);

  if (err == -EINVAL) {
    touch (start, len);
    err = 0;
  }
  return err;
}

int
tz_region_populate (struct region *r, size_t offset, size_t len)
{
  int err;

  /* A device's memory is there; here there are only leaves then. */
  if (r->runs != (uintptr_t) r->base)
    return 0;
  if (r->fd == -1)
    return tz_populate (r->base + offset, len);
  err = populate (r->base + offset, len);
  if (err != -EINVAL)
    return err;
  /* To touch a hole that there is no room for would be fatal. */
  do
    err = fallocate (r->fd, FALLOC_FL_KEEP_SIZE, offset, len);
  while (err == -1 && errno == EINTR);
  if (err == -1)
    return errno == ENOSPC ? -ENOMEM : -errno;
  touch (r->base + offset, len);
  return 0;
}

bool
tz_region_release (struct region *r, size_t offset, size_t len)
{
  uint8_t *p = r->base + offset;

  if (r->granule > len)
    return false;
  if (r->fd != -1)
    return fallocate (r->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                      offset, len) == 0;
  return madvise (p, len, MADV_DONTNEED) == 0
         || madvise (p, len, MADV_DONTNEED_LOCKED) == 0;
}

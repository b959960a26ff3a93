/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Loaded before a server, count what its threads that read requests ask of the
 * allocator and of the kernel's memory management.  Other threads may do so as
 * they like.
 */
#include <config.h>

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "count.h"

/* glibc's own names for what is replaced here. */
void *__libc_malloc (size_t size);
void *__libc_calloc (size_t n, size_t size);
void *__libc_realloc (void *p, size_t size);
void *__libc_memalign (size_t align, size_t size);

static struct counts nowhere, *counts = &nowhere;
static __thread int serves; /* this thread reads requests */

static void __attribute__ ((constructor))
start (void)
{
  const char *file = getenv ("COUNT_FILE");
  int fd = file ? open (file, O_RDWR) : -1;
  long p;

  if (fd == -1)
    return;
  p = syscall (SYS_mmap, NULL, sizeof *counts, PROT_READ | PROT_WRITE,
               MAP_SHARED, fd, 0);
  if (p != -1)
    counts = (struct counts *) p;
  close (fd);
}

/* This is how nbdkit reads from a socket; its main thread reads other things
 * before there is a connection.
 */
ssize_t
read (int fd, void *buf, size_t len)
{
  if (!serves)
    serves = syscall (SYS_gettid) != getpid ();
  if (serves)
    counts->reads++;
  return syscall (SYS_read, fd, buf, len);
}

static void
count (const void *caller)
{
  Dl_info info;

  if (!serves)
    return;
  if (dladdr (caller, &info)
      && (strstr (info.dli_fname, "trueno-zram-plugin")
          || strstr (info.dli_fname, "libzstd")))
    counts->plugin++;
  else
    counts->server++;
}
#define COUNT() count (__builtin_return_address (0))

void *
malloc (size_t size)
{
  COUNT ();
  return __libc_malloc (size);
}

void *
calloc (size_t n, size_t size)
{
  COUNT ();
  return __libc_calloc (n, size);
}

void *
realloc (void *p, size_t size)
{
  COUNT ();
  return __libc_realloc (p, size);
}

void *
aligned_alloc (size_t align, size_t size)
{
  COUNT ();
  return __libc_memalign (align, size);
}

int
posix_memalign (void **p, size_t align, size_t size)
{
  COUNT ();
  *p = __libc_memalign (align, size);
  return *p ? 0 : ENOMEM;
}

static void
count_mapping (void)
{
  if (serves)
    counts->mappings++;
}

void *
mmap (void *p, size_t len, int prot, int flags, int fd, off_t offset)
{
  count_mapping ();
  return (void *) syscall (SYS_mmap, p, len, prot, flags, fd, offset);
}

int
munmap (void *p, size_t len)
{
  count_mapping ();
  return syscall (SYS_munmap, p, len);
}

void *
mremap (void *p, size_t old_len, size_t len, int flags, ...)
{
  va_list args;
  void *to;

  count_mapping ();
  va_start (args, flags);
  to = va_arg (args, void *);
  va_end (args);
  return (void *) syscall (SYS_mremap, p, old_len, len, flags, to);
}

int
madvise (void *p, size_t len, int advice)
{
  count_mapping ();
  return syscall (SYS_madvise, p, len, advice);
}

int
mprotect (void *p, size_t len, int prot)
{
  count_mapping ();
  return syscall (SYS_mprotect, p, len, prot);
}

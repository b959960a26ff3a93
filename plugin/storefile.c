/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The file that keeps the pages, see storefile.h. */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

#include "storefile.h"

/* True if the file system the file is on has this mount option. */
static bool
mounted_with (dev_t dev, const char *option)
{
  unsigned major_nr, minor_nr;
  char line[4096];
  bool yes = false;
  FILE *f = fopen ("/proc/self/mountinfo", "re");

  while (f && fgets (line, sizeof line, f))
    if (sscanf (line, "%*d %*d %u:%u", &major_nr, &minor_nr) == 2
        && makedev (major_nr, minor_nr) == dev && strstr (line, option))
      yes = true;
  if (f)
    fclose (f);
  return yes;
}

/* Pages on a disk would be written there, one by one, for nothing. */
static int
check_file_system (const char *path, int fd, dev_t dev)
{
  struct statfs fs;

  if (fstatfs (fd, &fs) == -1) {
    nbdkit_error ("store=%s: %m", path);
    return -1;
  }
  if (fs.f_type == HUGETLBFS_MAGIC)
    return 0;
  if (fs.f_type != TMPFS_MAGIC) {
    nbdkit_error ("store=%s: the file must be on hugetlbfs or on tmpfs, such "
                  "as in /dev/shm", path);
    return -1;
  }
  if (!mounted_with (dev, "noswap"))
    nbdkit_error ("store=%s: warning: this tmpfs may itself be swapped out: "
                  "mount it with noswap, or use hugetlbfs", path);
  return 0;
}

/* 1 if it is ours now, 0 if it is another's, -1 after a message. */
static int
lock (const char *path, int fd)
{
  if (flock (fd, LOCK_EX | LOCK_NB) == 0)
    return 1;
  if (errno == EWOULDBLOCK)
    return 0;
  nbdkit_error ("store=%s: cannot lock the file: %m", path);
  return -1;
}

int
storefile_open (const char *path, bool *attach, bool *standby)
{
  bool existed = access (path, F_OK) == 0;
  int fd = open (path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  struct stat st;
  int locked;

  if (fd == -1) {
    nbdkit_error ("store=%s: %m", path);
    return -1;
  }
  locked = lock (path, fd);
  if (locked == -1)
    ; /* it said why */
  else if (locked == 0 && !*standby)
    nbdkit_error ("store=%s: another server is using this file", path);
  else if (fstat (fd, &st) == -1)
    nbdkit_error ("store=%s: %m", path);
  else if (!S_ISREG (st.st_mode))
    nbdkit_error ("store=%s: this is not a regular file", path);
  else if (check_file_system (path, fd, st.st_dev) == 0) {
    *attach = locked == 0 || st.st_size > 0;
    *standby = locked == 0;
    return fd;
  }
  if (!existed)
    unlink (path);
  close (fd);
  return -1;
}

int
storefile_wait (const char *path, int fd)
{
  int locked;

  while ((locked = lock (path, fd)) == 0)
    if (nbdkit_nanosleep (0, 50000000) == -1)
      return -1;
  return locked == 1 ? 0 : -1;
}

const char *
storefile_error (int r)
{
  switch (r) {
  case -EMEDIUMTYPE:
    return "the file holds no store of this version; if nothing in it is "
           "needed, remove it";
  case -ESTALE:
    return "the file holds a store of another size, memory or checksum; give "
           "the parameters it was made with";
  case -EUCLEAN:
    return "the store in the file is damaged and will not be used; if its "
           "pages are not needed, remove it";
  case -ENOMEM:
  case -ENOSPC:
    return "there is not enough memory behind its file system";
  default:
    return strerror (-r);
  }
}

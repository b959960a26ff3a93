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

static const char *fresh; /* the file, if it held nothing and is ours */

/* True if the file system the file is on has this mount option. */
static bool
mounted_with (dev_t dev, const char *option)
{
  unsigned major_nr, minor_nr;
  char line[4096];
  const char *p;
  bool yes = false;
  FILE *f = fopen ("/proc/self/mountinfo", "re");

  while (f && fgets (line, sizeof line, f))
    if (sscanf (line, "%*d %*d %u:%u", &major_nr, &minor_nr) == 2
        && makedev (major_nr, minor_nr) == dev && (p = strstr (line, " - "))
        && strstr (p, option))
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

/* Only what was made here may be removed again. */
static int
open_or_make (const char *path, bool *made)
{
  int fd = open (path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

  *made = fd != -1;
  if (fd == -1 && errno == EEXIST)
    fd = open (path, O_RDWR | O_CLOEXEC);
  if (fd == -1)
    nbdkit_error ("store=%s: %m", path);
  return fd;
}

/* The pages are whatever programs keep in memory.  In a directory where anybody
 * may make files, somebody may have made this one in time.
 */
static int
keep_others_out (const char *path, int fd, const struct stat *st)
{
  if (st->st_uid != geteuid () && st->st_uid != 0) {
    nbdkit_error ("store=%s: the file belongs to another user (uid %u), who "
                  "could read the pages: remove it, or name another",
                  path, (unsigned) st->st_uid);
    return -1;
  }
  if (st->st_uid == geteuid () && (st->st_mode & 077)
      && fchmod (fd, 0600) == -1) {
    nbdkit_error ("store=%s: cannot keep others from reading the pages: %m",
                  path);
    return -1;
  }
  return 0;
}

int
storefile_open (const char *path, bool *attach, bool *standby)
{
  struct stat st;
  bool made;
  int fd = open_or_make (path, &made), locked;

  if (fd == -1)
    return -1;
  locked = lock (path, fd);
  if (locked == -1)
    ; /* it said why */
  else if (locked == 0 && !*standby)
    nbdkit_error ("store=%s: another server is using this file", path);
  else if (fstat (fd, &st) == -1)
    nbdkit_error ("store=%s: %m", path);
  else if (!S_ISREG (st.st_mode))
    nbdkit_error ("store=%s: this is not a regular file", path);
  else if (check_file_system (path, fd, st.st_dev) == 0
           && keep_others_out (path, fd, &st) == 0) {
    *attach = locked == 0 || st.st_size > 0;
    *standby = locked == 0;
    fresh = *attach ? NULL : path;
    return fd;
  }
  if (made && locked == 1)
    unlink (path);
  close (fd);
  return -1;
}

void
storefile_give_up (void)
{
  if (fresh)
    unlink (fresh);
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

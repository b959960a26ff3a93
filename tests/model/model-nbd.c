/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The model checker on a server, each thread over a connection of its own.
 *
 *   model-nbd [-s SEED] [-n OPERATIONS] [-t THREADS] URI [full]
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libnbd.h>

#include "model.h"

static const char *uri;

static int
failed (void)
{
  int err = nbd_get_errno ();

  if (err != ENOSPC)
    fprintf (stderr, "model: %s\n", nbd_get_error ());
  return err ? -err : -EIO;
}

static void *
connect_nbd (void)
{
  struct nbd_handle *h = nbd_create ();

  if (!h || nbd_add_meta_context (h, LIBNBD_CONTEXT_BASE_ALLOCATION) == -1
      || nbd_connect_uri (h, uri) == -1) {
    fprintf (stderr, "model: %s\n", nbd_get_error ());
    return NULL;
  }
  return h;
}

static void
disconnect_nbd (void *conn)
{
  nbd_shutdown (conn, 0);
  nbd_close (conn);
}

static int
read_nbd (void *conn, void *buf, uint64_t count, uint64_t offset)
{
  return nbd_pread (conn, buf, count, offset, 0) == -1 ? failed () : 0;
}

static int
write_nbd (void *conn, const void *buf, uint64_t count, uint64_t offset)
{
  return nbd_pwrite (conn, buf, count, offset, 0) == -1 ? failed () : 0;
}

static int
zero_nbd (void *conn, uint64_t count, uint64_t offset, unsigned how)
{
  int r;

  switch (how % 4) {
  case 0:
    r = nbd_trim (conn, count, offset, 0);
    break;
  case 1:
    r = nbd_zero (conn, count, offset, 0);
    break;
  case 2:
    r = nbd_zero (conn, count, offset, LIBNBD_CMD_FLAG_FAST_ZERO);
    break;
  default:
    r = nbd_zero (conn, count, offset,
                  LIBNBD_CMD_FLAG_NO_HOLE | LIBNBD_CMD_FLAG_FUA);
  }
  return r == -1 ? failed () : 0;
}

struct status {
  void *opaque;  /* model_extent's */
  uint64_t next; /* where the next extent starts */
  uint64_t end;  /* what was asked for */
  int err;
};

static int
add_extents (void *user_data, const char *context, uint64_t offset,
             uint32_t *entries, size_t n, int *error)
{
  struct status *st = user_data;
  uint64_t count;
  size_t i;

  (void) context;
  (void) offset;
  (void) error;
  for (i = 0; i + 1 < n && st->next < st->end && st->err == 0; i += 2) {
    /* The server may tell of more than it was asked for. */
    count = entries[i];
    if (count > st->end - st->next)
      count = st->end - st->next;
    st->err = model_extent (st->opaque, st->next, count,
                            entries[i + 1] & LIBNBD_STATE_ZERO);
    st->next += count;
  }
  return 0;
}

/* The server may also tell of less; ask on. */
static int
extents_nbd (void *conn, uint64_t count, uint64_t offset, void *opaque)
{
  struct status st = { opaque, offset, offset + count, 0 };
  uint64_t from;

  while (st.next < st.end && st.err == 0) {
    from = st.next;
    if (nbd_block_status (conn, st.end - from, from,
                          (nbd_extent_callback) { .callback = add_extents,
                                                  .user_data = &st },
                          0)
        == -1)
      return failed ();
    if (st.err == 0 && st.next == from)
      return -EPROTO;
  }
  return st.err;
}

int
main (int argc, char **argv)
{
  struct model_disk disk = {
    .connect = connect_nbd,
    .disconnect = disconnect_nbd,
    .read = read_nbd,
    .write = write_nbd,
    .zero = zero_nbd,
    .extents = extents_nbd,
  };
  struct model_options o;
  int i = model_options (&o, argc, argv);
  struct nbd_handle *h;
  char replay[512];

  if (i < 0 || i >= argc)
    return 2;
  uri = argv[i];
  disk.may_fill = i + 1 < argc && strcmp (argv[i + 1], "full") == 0;
  h = connect_nbd ();
  if (!h)
    return 1;
  disk.size = nbd_get_size (h);
  disconnect_nbd (h);
  snprintf (replay, sizeof replay, "%s '%s'%s", argv[0], uri,
            disk.may_fill ? " full" : "");
  return model_run (&disk, &o, replay) ? 0 : 1;
}

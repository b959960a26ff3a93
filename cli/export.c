/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The server: handshakes through libnbd, whose sockets the kernel then uses. */
#include <config.h>

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <libnbd.h>
#include <linux/nbd.h>

#include "cli.h"

#define PATIENCE 5 /* seconds for a server to answer while it is dialled */

#ifndef NBD_FLAG_SEND_WRITE_ZEROES /* Linux 6.12 */
#define NBD_FLAG_SEND_WRITE_ZEROES (1 << 6)
#endif

/* What libnbd said last, without the name of its function. */
static const char *
libnbd_error (void)
{
  const char *text = nbd_get_error () ?: "libnbd does not say what is wrong";
  const char *colon = strstr (text, ": ");

  return colon && strncmp (text, "nbd_", 4) == 0 ? colon + 2 : text;
}

/* A handle for what the kernel understands: no structured replies, nothing
 * that needs them, no encryption.
 */
static struct nbd_handle *
new_handle (void)
{
  struct nbd_handle *h = nbd_create ();

  if (h
      && (nbd_set_request_structured_replies (h, false) == -1
          || nbd_set_full_info (h, true) == -1
          || nbd_set_uri_allow_tls (h, LIBNBD_TLS_DISABLE) == -1)) {
    nbd_close (h);
    h = NULL;
  }
  if (!h)
    complain ("%s", libnbd_error ());
  return h;
}

/* The identity is the end of the description: "id=" and 32 digits. */
static void
read_id (struct nbd_handle *h, char id[33])
{
  char *description = nbd_get_export_description (h);
  size_t length = description ? strlen (description) : 0, i;
  const char *end = description + length;

  id[0] = 0;
  if (length >= 35 && strncmp (end - 35, "id=", 3) == 0) {
    for (i = 0; i < 32 && isxdigit ((unsigned char) end[i - 32]); i++)
      ;
    if (i == 32)
      strcpy (id, end - 32);
  }
  free (description);
}

static uint64_t
read_flags (struct nbd_handle *h)
{
  uint64_t flags = NBD_FLAG_HAS_FLAGS;

  if (nbd_is_read_only (h) > 0)
    flags |= NBD_FLAG_READ_ONLY;
  if (nbd_can_flush (h) > 0)
    flags |= NBD_FLAG_SEND_FLUSH;
  if (nbd_can_fua (h) > 0)
    flags |= NBD_FLAG_SEND_FUA;
  if (nbd_can_trim (h) > 0)
    flags |= NBD_FLAG_SEND_TRIM;
  if (nbd_can_zero (h) > 0)
    flags |= NBD_FLAG_SEND_WRITE_ZEROES;
  if (nbd_can_multi_conn (h) > 0)
    flags |= NBD_FLAG_CAN_MULTI_CONN;
  return flags;
}

/* The handshake, with a server that may never answer.  NULL, or what is wrong.
 */
static const char *
await_ready (struct nbd_handle *h)
{
  const time_t end = seconds () + PATIENCE;

  while (nbd_aio_is_connecting (h)) {
    if (seconds () > end)
      return "the server does not answer";
    if (nbd_poll (h, 1000) == -1)
      /* libnbd takes it for a mistake of ours if a server hangs up before its
       * own connecting is over.
       */
      return nbd_get_errno () == EINVAL ? "server disconnected at once"
                                        : libnbd_error ();
  }
  return nbd_aio_is_ready (h) ? NULL : libnbd_error ();
}

static int
connect_uri (struct nbd_handle *h, const char *uri)
{
  const char *why = nbd_aio_connect_uri (h, uri) == -1 ? libnbd_error ()
                                                       : await_ready (h);

  if (why)
    complain ("%s: %s", uri, why);
  return why ? -1 : 0;
}

static int
shake_hands (struct nbd_handle *h, int fd, const struct export *e)
{
  const char *why = nbd_set_export_name (h, e->name) == -1
                        || nbd_aio_connect_socket (h, fd) == -1
                      ? libnbd_error () : await_ready (h);

  if (why)
    complain ("no handshake with the server: %s", why);
  return why ? -1 : 0;
}

int
export_open (struct export *e, const char *uri)
{
  struct nbd_handle *h = new_handle ();
  int64_t size;
  int r = -1;

  memset (e, 0, sizeof *e);
  e->address_length = sizeof e->address;
  if (!h)
    return -1;
  if (connect_uri (h, uri) == -1)
    ; /* it said why */
  else if ((size = nbd_get_size (h)) == -1
           || !(e->name = nbd_get_export_name (h)))
    complain ("%s: %s", uri, libnbd_error ());
  else if (getpeername (nbd_aio_get_fd (h), (void *) &e->address,
                        &e->address_length)
             == -1
           || (e->address.ss_family != AF_UNIX
               && e->address.ss_family != AF_INET
               && e->address.ss_family != AF_INET6))
    complain ("%s: the kernel can use TCP and unix sockets only", uri);
  else if (size == 0 || size % 512 != 0)
    complain ("%s: a block device cannot have %" PRIi64 " bytes", uri, size);
  else if (nbd_get_block_size (h, LIBNBD_SIZE_MINIMUM) > 4096)
    complain ("%s: the server wants larger blocks than 4096 bytes", uri);
  else {
    e->size = size;
    e->flags = read_flags (h);
    read_id (h, e->id);
    r = 0;
  }
  if (r == 0)
    nbd_shutdown (h, 0);
  nbd_close (h);
  return r;
}

bool
export_multi (const struct export *e)
{
  return e->flags & NBD_FLAG_CAN_MULTI_CONN;
}

/* Plain system calls: this is tried again and again while a server is down,
 * when the machine may have no memory left.
 */
static int
dial (const struct export *e)
{
  int fd = socket (e->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const struct timeval patience = { .tv_sec = PATIENCE };
  const int on = 1;

  if (fd == -1) {
    complain ("socket: %s", strerror (errno));
    return -1;
  }
  setsockopt (fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  if (e->address.ss_family != AF_UNIX)
    setsockopt (fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (connect (fd, (const void *) &e->address, e->address_length) == -1) {
    complain ("the server cannot be reached: %s", strerror (errno));
    close (fd);
    return -1;
  }
  return fd;
}

static bool
same_export (struct nbd_handle *h, const struct export *e)
{
  int64_t size = nbd_get_size (h);
  char id[33];

  read_id (h, id);
  if (size != (int64_t) e->size)
    complain ("refused: this server's export has %" PRIi64
              " bytes, the device %" PRIu64,
              size, e->size);
  else if (strcmp (id, e->id) != 0)
    complain ("refused: this server holds other pages (id=%s) than the device "
              "was connected to (id=%s)",
              id[0] ? id : "none", e->id[0] ? e->id : "none");
  else
    return true;
  return false;
}

int
export_dial (const struct export *e)
{
  int fd = dial (e), own = -1;
  struct nbd_handle *h;

  if (fd == -1)
    return -1;
  h = new_handle ();
  if (!h) {
    close (fd);
    return -1;
  }
  if (shake_hands (h, fd, e) == 0 && same_export (h, e)) {
    own = fcntl (nbd_aio_get_fd (h), F_DUPFD_CLOEXEC, 0);
    if (own != -1) {
      const struct timeval never = { 0 };

      setsockopt (own, SOL_SOCKET, SO_SNDTIMEO, &never, sizeof never);
    }
  }
  /* This closes libnbd's descriptor without a word to the server. */
  nbd_close (h);
  return own;
}

/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The kernel's side of a device, over generic netlink. */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <linux/nbd-netlink.h>
#include <netlink/genl/ctrl.h>
#include <netlink/genl/genl.h>
#include <netlink/netlink.h>

#include "cli.h"

#define ATTR_BACKEND_IDENTIFIER 10 /* Linux 5.14 */

static struct nl_sock *requests, *events;
static int family;
static int reply_index;  /* what the kernel's last answer said */
static bool acknowledged;
static int watched;      /* the device whose dead connections count */
static unsigned deaths;

static struct nl_sock *
new_socket (void)
{
  struct nl_sock *s = nl_socket_alloc ();
  int r = s ? genl_connect (s) : -NLE_NOMEM;

  if (r < 0) {
    complain ("netlink: %s", nl_geterror (r));
    return NULL;
  }
  return s;
}

static int
get_index (struct nl_msg *message, int *command)
{
  struct genlmsghdr *header = nlmsg_data (nlmsg_hdr (message));
  struct nlattr *attrs[NBD_ATTR_MAX + 1];

  *command = header->cmd;
  if (genlmsg_parse (nlmsg_hdr (message), 0, attrs, NBD_ATTR_MAX, NULL) < 0
      || !attrs[NBD_ATTR_INDEX])
    return -1;
  return nla_get_u32 (attrs[NBD_ATTR_INDEX]);
}

static int
on_reply (struct nl_msg *message, void *unused)
{
  int command;

  (void) unused;
  reply_index = get_index (message, &command);
  return NL_OK;
}

static int
on_ack (struct nl_msg *message, void *unused)
{
  (void) message;
  (void) unused;
  acknowledged = true;
  return NL_STOP;
}

static int
open_requests (void)
{
  if (requests)
    return 0;
  requests = new_socket ();
  if (!requests)
    return -1;
  family = genl_ctrl_resolve (requests, NBD_GENL_FAMILY_NAME);
  if (family < 0) {
    complain ("this kernel has no network block devices: "
              "load them with 'modprobe nbd'");
    nl_socket_free (requests);
    requests = NULL;
    return -1;
  }
  nl_socket_modify_cb (requests, NL_CB_VALID, NL_CB_CUSTOM, on_reply, NULL);
  nl_socket_modify_cb (requests, NL_CB_ACK, NL_CB_CUSTOM, on_ack, NULL);
  return 0;
}

static struct nl_msg *
new_request (int command, int index)
{
  struct nl_msg *m = nlmsg_alloc ();

  if (m
      && (!genlmsg_put (m, NL_AUTO_PORT, NL_AUTO_SEQ, family, 0, 0, command,
                        NBD_GENL_VERSION)
          || (index >= 0 && nla_put_u32 (m, NBD_ATTR_INDEX, index) < 0))) {
    nlmsg_free (m);
    m = NULL;
  }
  if (!m)
    complain ("netlink: %s", nl_geterror (-NLE_NOMEM));
  return m;
}

/* Frees the message.  0 or negative, as netlink counts errors.  What the kernel
 * answers comes before its acknowledgement, in a message of its own: whoever
 * takes one for the other has the wrong result of all that follow.
 */
static int
request (struct nl_msg *m)
{
  int r = nl_send_auto (requests, m);

  nlmsg_free (m);
  acknowledged = false;
  while (r >= 0 && !acknowledged)
    r = nl_recvmsgs_default (requests);
  return r < 0 ? r : 0;
}

static void
add_sockets (struct nl_msg *m, const int *sockets, int n)
{
  struct nlattr *list = nla_nest_start (m, NBD_ATTR_SOCKETS), *item;
  int i;

  for (i = 0; list && i < n; i++) {
    item = nla_nest_start (m, NBD_SOCK_ITEM);
    nla_put_u32 (m, NBD_SOCK_FD, sockets[i]);
    nla_nest_end (m, item);
  }
  nla_nest_end (m, list);
}

/* The kernel itself refuses to go on with a server of another identity. */
static void
add_identity (struct nl_msg *m, const struct export *e)
{
  if (e->id[0])
    nla_put_string (m, ATTR_BACKEND_IDENTIFIER, e->id);
}

static int
open_pid (struct device *d)
{
  char path[64];

  snprintf (path, sizeof path, "/sys/block/nbd%d/pid", d->index);
  d->pid_fd = open (path, O_RDONLY | O_CLOEXEC);
  if (d->pid_fd == -1) {
    complain ("%s: %s", path, strerror (errno));
    return -1;
  }
  return 0;
}

int
device_connect (struct device *d, const struct export *e, const int *sockets,
                const struct options *options)
{
  uint64_t block = 4096;
  struct nl_msg *m;
  int r;

  while (e->size % block != 0)
    block /= 2;
  d->index = options->device ? device_index (options->device) : -1;
  if ((options->device && d->index == -1) || open_requests () == -1
      || !(m = new_request (NBD_CMD_CONNECT, d->index)))
    return -1;
  nla_put_u64 (m, NBD_ATTR_SIZE_BYTES, e->size);
  nla_put_u64 (m, NBD_ATTR_BLOCK_SIZE_BYTES, block);
  nla_put_u64 (m, NBD_ATTR_SERVER_FLAGS, e->flags);
  nla_put_u64 (m, NBD_ATTR_TIMEOUT, options->timeout);
  nla_put_u64 (m, NBD_ATTR_DEAD_CONN_TIMEOUT, options->dead_timeout);
  add_identity (m, e);
  add_sockets (m, sockets, options->connections);
  reply_index = d->index;
  r = request (m);
  if (r == -NLE_BUSY) {
    complain ("%s is in use", options->device ?: "every device");
    return -1;
  }
  if (r < 0) {
    complain ("the kernel did not take the connections: %s", nl_geterror (r));
    return -1;
  }
  d->index = reply_index;
  return open_pid (d);
}

int
device_reconfigure (const struct device *d, const struct export *e, int socket)
{
  struct nl_msg *m = new_request (NBD_CMD_RECONFIGURE, d->index);
  int r;

  if (!m)
    return -1;
  add_identity (m, e);
  add_sockets (m, &socket, 1);
  r = request (m);
  if (r < 0) {
    complain ("the kernel did not take the connection: %s", nl_geterror (r));
    return -1;
  }
  return 0;
}

int
device_disconnect (int index)
{
  struct nl_msg *m;
  int r;

  if (open_requests () == -1
      || !(m = new_request (NBD_CMD_DISCONNECT, index)))
    return -1;
  r = request (m);
  if (r < 0) {
    complain ("/dev/nbd%d: disconnect: %s", index, nl_geterror (r));
    return -1;
  }
  return 0;
}

int
device_index (const char *name)
{
  char same[32] = "";
  int index = -1;

  if (sscanf (name, "/dev/nbd%d", &index) == 1)
    snprintf (same, sizeof same, "/dev/nbd%d", index);
  /* A number that is too large, or written otherwise, is another now. */
  if (index < 0 || strcmp (name, same) != 0) {
    complain ("'%s' is not a device such as /dev/nbd0", name);
    return -1;
  }
  return index;
}

bool
device_connected (const struct device *d)
{
  char text[16];

  return pread (d->pid_fd, text, sizeof text, 0) > 0;
}

bool
device_busy (int index)
{
  char path[32];
  int fd;

  snprintf (path, sizeof path, "/dev/nbd%d", index);
  fd = open (path, O_RDONLY | O_EXCL | O_CLOEXEC);
  if (fd == -1)
    return errno == EBUSY;
  close (fd);
  return false;
}

/* ---- Dead connections ---- */

static int
on_event (struct nl_msg *message, void *unused)
{
  int command, index = get_index (message, &command);

  (void) unused;
  if (command == NBD_CMD_LINK_DEAD && index == watched)
    deaths++;
  return NL_OK;
}

int
device_watch (void)
{
  int group, r;

  if (open_requests () == -1 || !(events = new_socket ()))
    return -1;
  group = genl_ctrl_resolve_grp (events, NBD_GENL_FAMILY_NAME,
                                 NBD_GENL_MCAST_GROUP_NAME);
  r = group < 0 ? group : nl_socket_add_memberships (events, group, 0);
  if (r < 0) {
    complain ("netlink: %s", nl_geterror (r));
    return -1;
  }
  nl_socket_disable_seq_check (events);
  nl_socket_set_nonblocking (events);
  nl_socket_modify_cb (events, NL_CB_VALID, NL_CB_CUSTOM, on_event, NULL);
  return nl_socket_get_fd (events);
}

unsigned
device_deaths (int index)
{
  int r;

  watched = index;
  deaths = 0;
  while ((r = nl_recvmsgs_default (events)) >= 0)
    ;
  /* If messages were lost, all connections may have died.  One too many does
   * no harm: the kernel closes it.
   */
  return r == -NLE_NOMEM ? MAX_CONNECTIONS : deaths;
}

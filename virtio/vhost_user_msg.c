/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vhost_user_msg.c - vhost-user messages on a socket; see vhost_user_msg.h. Any thread that holds
 * the device's lock.
 */
#include "virtio/vhost_user_msg.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/fd.h"

#define HEADER_LEN offsetof(struct vhost_user_msg, pad)
#define PAYLOAD	   offsetof(struct vhost_user_msg, u64)

int vhost_user_connect(const char *path, struct err *e)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	size_t len = strlen(path);
	int fd, ret = ENAMETOOLONG;

	if (len < sizeof(a.sun_path)) {
		memcpy(a.sun_path, path, len);
		/* Not blocking: one that does not accept must not hold up the API. */
		fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		if (fd >= 0 && connect(fd, (const struct sockaddr *)&a, sizeof(a)) == 0)
			return fd;
		ret = errno;
		fd_close(&fd);
	}
	err_set(e, 0, "Failed to connect to UDS Unix stream: %s (os error %d) %s", strerror(ret),
		ret, path);
	if (e)
		e->code = ret;
	return -ret;
}

int vhost_user_send(int sock, const struct vhost_user_msg *m, int fd, unsigned int nr)
{
	_Alignas(struct cmsghdr) char room[CMSG_SPACE(MEM_REGIONS_MAX * sizeof(int))] = { 0 };
	struct cmsghdr *c = (struct cmsghdr *)(void *)room;
	struct vhost_user_msg copy = *m;
	struct iovec iov[2] = {
		{ .iov_base = &copy, .iov_len = HEADER_LEN },
		{ .iov_base = (char *)&copy + PAYLOAD, .iov_len = m->size },
	};
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };
	ssize_t n;

	assert(nr <= MEM_REGIONS_MAX);
	if (nr > 0) {
		msg.msg_control = room;
		msg.msg_controllen = (socklen_t)CMSG_SPACE(nr * sizeof(int));
		c->cmsg_len = (socklen_t)CMSG_LEN(nr * sizeof(int));
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		while (nr > 0)
			memcpy(CMSG_DATA(c) + --nr * sizeof(int), &fd, sizeof(int));
	}
	do {
		n = sendmsg(sock, &msg, MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	/* Half a message means a full buffer, and ours are a hundred times smaller than that. */
	return (size_t)n == HEADER_LEN + m->size ? 0 : -EAGAIN;
}

int vhost_user_receive(int sock, struct vhost_user_msg *m, uint32_t *got)
{
	uint32_t end = *got < HEADER_LEN ? (uint32_t)HEADER_LEN : (uint32_t)PAYLOAD + m->size;
	ssize_t n;

	n = read(sock, (char *)m + *got, end - *got);
	if (n == 0)
		return -EPIPE;
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	*got += (uint32_t)n;
	if (*got < end)
		return 0;
	if (end == HEADER_LEN) {
		if (m->flags != (VHOST_USER_VERSION | VHOST_USER_REPLY) ||
		    m->size > sizeof(*m) - PAYLOAD)
			return -EBADMSG;
		*got = PAYLOAD;
		if (m->size)
			return 0;
	}
	*got = 0;
	return 1;
}

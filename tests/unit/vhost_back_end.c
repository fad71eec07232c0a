/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vhost_back_end.c - see vhost_back_end.h.
 */
#include "tests/unit/vhost_back_end.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/byteorder.h"
#include "virtio/vhost_user_talk.h"

#define LATE_US 300000 /* twice that is more than a reset waits */

struct back_end back_end;

static uint8_t *at(uint64_t gpa)
{
	for (int i = 0; i < 2; i++)
		if (b->map[i] && gpa - b->gpa[i] < b->len[i])
			return b->map[i] + (gpa - b->gpa[i]);
	abort();
}

static void forget(void)
{
	for (int i = 0; i < 2; i++) {
		if (b->map[i])
			munmap(b->map[i], b->len[i]);
		b->map[i] = NULL;
	}
	if (b->kick >= 0)
		close(b->kick);
	if (b->call >= 0)
		close(b->call);
	b->kick = b->call = -1;
}

static void take_memory(const struct vhost_user_msg *m, const int *fds)
{
	for (uint32_t i = 0; i < m->mem.nr; i++) {
		b->gpa[i] = m->mem.region[i].gpa;
		b->len[i] = m->mem.region[i].len;
		b->map[i] = mmap(NULL, b->len[i], PROT_READ | PROT_WRITE, MAP_SHARED, fds[i],
				 (off_t)m->mem.region[i].offset);
		cr_assert_neq(b->map[i], MAP_FAILED);
		close(fds[i]);
	}
}

/* One write(2) per piece, as the lie wants it. False: hang up. */
static bool answer(struct vhost_user_msg *m)
{
	bool two = m->request == VHOST_USER_SET_VRING_ENABLE ||
		   m->request == VHOST_USER_GET_VRING_BASE;
	enum lie lie = m->request == b->at || (b->lie == LATE && two) ? b->lie : HONEST;
	char room[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8))) = { 0 };
	uint8_t raw[256], *payload = raw + 12;
	struct iovec iov = { .iov_base = raw };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	m->flags = VHOST_USER_VERSION | VHOST_USER_REPLY;
	if (lie == VALUE)
		m->u64 = b->value;
	if (lie == OTHER_REQUEST)
		m->request++;
	if (lie == NOT_A_REPLY)
		m->flags = VHOST_USER_VERSION;
	if (lie == OTHER_VERSION)
		m->flags = 2 | VHOST_USER_REPLY;
	if (lie == HUGE_SIZE)
		m->size = (uint32_t)b->value;
	if (lie == SHORT_SIZE)
		m->size -= 4;
	if (lie == CONFIG_OFFSET)
		m->config.offset = 4;
	if (lie == CONFIG_LEN)
		m->config.size = 1 << 30;
	if (lie == CONFIG_FIELD)
		le32_put(m->config.bytes + b->offset, (uint32_t)b->value);
	memcpy(raw, m, 12);
	memcpy(payload, &m->u64, 128);
	iov.iov_len = 12 + (lie == HUGE_SIZE ? 200 : m->size);
	if (lie == CUT)
		iov.iov_len = 14;
	if (lie == CLOSE)
		return false;
	if (lie == SILENT)
		return true;
	if (lie == LATE) {
		while (!*(volatile bool *)&b->front->stopping && b->lie == LATE)
			usleep(1000);
		usleep(LATE_US);
	}
	if (lie == WITH_FD) {
		struct cmsghdr *c = (struct cmsghdr *)(void *)room;

		*c = (struct cmsghdr){ CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS };
		memcpy(CMSG_DATA(c), &b->listener, sizeof(int));
		msg.msg_control = room;
		msg.msg_controllen = sizeof(room);
	}
	for (size_t i = 0; lie == DRIBBLE && i < iov.iov_len; i++) {
		send(b->sock, raw + i, 1, MSG_NOSIGNAL);
		usleep(500);
	}
	for (int n = lie == DRIBBLE ? 0 : lie == TWICE ? 2 : 1; n > 0; n--)
		sendmsg(b->sock, &msg, MSG_NOSIGNAL);
	return lie != CUT;
}

static bool handle(struct vhost_user_msg *m, const int *fds)
{
	bool ack = m->flags & VHOST_USER_NEED_REPLY;

	switch (m->request) {
	case VHOST_USER_GET_FEATURES:
		m->u64 = OFFERED;
		m->size = 8;
		return answer(m);
	case VHOST_USER_GET_PROTOCOL_FEATURES:
		m->u64 = BIT(VHOST_USER_PROTOCOL_F_CONFIG) | BIT(VHOST_USER_PROTOCOL_F_REPLY_ACK) |
			 BIT(12);
		m->size = 8;
		return answer(m);
	case VHOST_USER_SET_PROTOCOL_FEATURES:
		/* only what was offered and is understood */
		cr_assert_eq(m->u64 & ~UINT64_C(0x208), 0);
		return true;
	case VHOST_USER_SET_FEATURES:
		cr_assert_eq(m->u64 & ~OFFERED, 0);
		return true;
	case VHOST_USER_GET_CONFIG:
		le64_put(m->config.bytes, b->capacity);
		le32_put(m->config.bytes + offsetof(struct virtio_blk_config, blk_size), 512);
		le16_put(m->config.bytes + offsetof(struct virtio_blk_config, num_queues), 999);
		return answer(m);
	case VHOST_USER_SET_MEM_TABLE:
		take_memory(m, fds);
		break;
	case VHOST_USER_SET_VRING_NUM:
		b->size = m->vring.num;
		break;
	case VHOST_USER_SET_VRING_BASE:
		b->base = m->vring.num;
		b->next = (uint16_t)m->vring.num;
		break;
	case VHOST_USER_SET_VRING_ADDR:
		b->desc = m->addr.desc;
		b->avail = m->addr.avail;
		b->used = m->addr.used;
		break;
	case VHOST_USER_SET_VRING_KICK:
		b->kick = fds[0];
		break;
	case VHOST_USER_SET_VRING_CALL:
		b->call = fds[0];
		break;
	case VHOST_USER_SET_VRING_ENABLE:
		b->nr_enabled++;
		break;
	case VHOST_USER_GET_VRING_BASE:
		forget();
		return answer(m);
	}
	if (!ack)
		return true;
	m->u64 = 0;
	m->size = 8;
	return answer(m);
}

/* Answer what is available, the last first. False: the quota is used up. */
static bool serve(void)
{
	uint16_t end = le16_get(at(b->avail + 2)), i, used = le16_get(at(b->used + 2));
	uint64_t count;

	if (read(b->kick, &count, sizeof(count)) < 0)
		return true;
	for (i = end; i != b->next && b->quota != 0; i--) {
		uint16_t head = le16_get(at(b->avail + 4 + 2ULL * ((i - 1u) % b->size)));
		uint8_t *elem = at(b->used + 4 + 8ULL * (used % b->size));
		uint8_t *data = at(le64_get(at(b->desc + 16ULL * head)));

		*data = (uint8_t) ~*data;
		le32_put(elem, head);
		le32_put(elem + 4, 1);
		atomic_thread_fence(memory_order_seq_cst);
		le16_put(at(b->used + 2), ++used);
		if (b->quota > 0)
			b->quota--;
	}
	b->next = end;
	count = 1;
	/* Dying, it does not even say what it did. */
	return b->quota != 0 && write(b->call, &count, sizeof(count)) == sizeof(count);
}

static bool hear(void)
{
	char room[CMSG_SPACE(4 * sizeof(int))] __attribute__((aligned(8)));
	struct vhost_user_msg m = { .request = 0 };
	struct iovec iov = { .iov_base = &m, .iov_len = 12 };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = room,
			      .msg_controllen = sizeof(room) };
	int fds[4] = { -1, -1, -1, -1 };

	if (recvmsg(b->sock, &msg, MSG_WAITALL | MSG_CMSG_CLOEXEC) != 12)
		return false;
	if (CMSG_FIRSTHDR(&msg))
		memcpy(fds, CMSG_DATA(CMSG_FIRSTHDR(&msg)),
		       CMSG_FIRSTHDR(&msg)->cmsg_len - CMSG_LEN(0));
	if (m.size && recv(b->sock, &m.u64, m.size, MSG_WAITALL) != (ssize_t)m.size)
		return false;
	return handle(&m, fds);
}

static void *back_end_thread(void *arg)
{
	(void)arg;
	b->kick = b->call = -1;
	while ((b->sock = accept(b->listener, NULL, NULL)) >= 0) {
		bool go_on = true;

		b->nr_connections++;
		while (go_on && !b->stop) {
			struct pollfd p[2] = { { .fd = b->sock, .events = POLLIN },
					       { .fd = b->kick, .events = POLLIN } };

			if (poll(p, 2, 20) <= 0)
				continue;
			if (p[0].revents)
				go_on = hear();
			else if (p[1].revents)
				go_on = serve();
		}
		close(b->sock);
		forget();
		if (b->stop)
			break;
	}
	return NULL;
}

void back_end_start(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	b->lie = HONEST;
	b->capacity = SECTORS;
	b->quota = -1;
	snprintf(b->path, sizeof(b->path), "/tmp/vhost-user-test.%d", (int)getpid());
	snprintf(a.sun_path, sizeof(a.sun_path), "%s", b->path);
	unlink(b->path);
	b->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	cr_assert_eq(bind(b->listener, (struct sockaddr *)&a, sizeof(a)), 0);
	cr_assert_eq(listen(b->listener, 1), 0);
	pthread_create(&b->thread, NULL, back_end_thread, NULL);
}

void back_end_stop(void)
{
	b->stop = 1;
	shutdown(b->listener, SHUT_RDWR);
	pthread_join(b->thread, NULL);
	close(b->listener);
	unlink(b->path);
}

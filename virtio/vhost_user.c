/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vhost_user.c - the life of a connection to a vhost-user back end; see vhost_user.h.
 *
 * While the machine is built replies are waited for; afterwards they come through the loop, and a
 * timer gives up on those that do not. Only a reset is in a hurry: when the driver has written 0
 * the rings are its own again, so the vCPU thread waits for the back end to let go of them, for
 * half a second.
 */
#include "virtio/vhost_user.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/text.h"
#include "virtio/vhost_user_talk.h"

#define CREATE_NS    3000000000 /* InstanceStart has a client that waits */
#define UPDATE_NS    100000000	/* the loop stands still for so long at most */
#define RESET_NS     500000000	/* a vCPU does, and the loop if it wants this device meanwhile */
#define REPLY_US     2000000
#define RETRY_MIN_US 100000
#define RETRY_MAX_US 2000000

static struct vhost_user *to_vhost(struct virtio_dev *dev)
{
	_Static_assert(offsetof(struct vhost_user, dev) == 0, "dev is first");
	return (struct vhost_user *)(void *)dev;
}

static void hang_up(struct vhost_user *vu)
{
	loop_del(vu->dev.host.loop, &vu->sock);
	fd_close(&vu->sock.fd);
	vu->in_got = vu->expect = 0;
	vu->ready = vu->live = vu->broken = false;
}

/* After each step on the loop: has it failed, is there a reply to wait for? */
static void check(struct vhost_user *vu, const char *why)
{
	bool was_live = vu->live;

	if (!why) {
		if (vu->ready)
			vu->retry_us = RETRY_MIN_US;
		if (vu->expect)
			timer_arm(&vu->timer, REPLY_US);
		return;
	}
	log_guest("%s: the back end at %s %s; trying again", vu->dev.name, vu->params.path, why);
	hang_up(vu);
	/* What it did in its last moments it may not have told. */
	if (was_live && virtio_active(&vu->dev)) {
		vhost_user_ring_look(&vu->ring, &vu->dev.queue[0].vq);
		virtio_interrupt(&vu->dev);
	}
	timer_arm(&vu->timer, vu->retry_us);
	vu->retry_us = vu->retry_us * 2 < RETRY_MAX_US ? vu->retry_us * 2 : RETRY_MAX_US;
}

static void replied(void *ctx, uint32_t events)
{
	struct vhost_user *vu = ctx;

	(void)events;
	check(vu, vhost_talk_hear(vu));
}

static void timed_out(void *ctx)
{
	struct vhost_user *vu = ctx;
	uint64_t us = (timer_now_ns() - vu->expect_ns) / 1000;
	const char *why = NULL;

	if (vu->sock.fd < 0) {
		vu->sock.fd = vhost_user_connect(vu->params.path, NULL);
		if (vu->sock.fd < 0 || loop_add(vu->dev.host.loop, &vu->sock, NULL))
			why = "cannot be reached";
		else
			why = vhost_talk_begin(vu);
	} else if (vu->expect && us >= REPLY_US) {
		why = "does not answer";
	}
	check(vu, why);
}

/* The driver is ready, or a reset found the back end dead. */
static void woken(void *ctx, uint32_t events)
{
	struct vhost_user *vu = ctx;
	uint64_t count;

	(void)events;
	if (read(vu->dev.queue[0].kick.fd, &count, sizeof(count)) != (ssize_t)sizeof(count))
		return;
	check(vu, vu->broken ? "does not let go of the ring" : vhost_talk_start(vu));
}

/* The back end used buffers. */
static void called(void *ctx, uint32_t events)
{
	struct vhost_user *vu = ctx;

	(void)events;
	if (!vu->live || !virtio_active(&vu->dev))
		return;
	vhost_user_ring_look(&vu->ring, &vu->dev.queue[0].vq);
	virtio_interrupt(&vu->dev);
}

static void vhost_user_reset(struct virtio_dev *dev)
{
	const uint64_t end_ns = timer_now_ns() + RESET_NS;
	struct vhost_user *vu = to_vhost(dev);
	const char *why = NULL;

	vu->resume = false;
	vu->ring = (struct vhost_user_ring){ .lost = false };
	if (!vu->live)
		return;
	vu->live = false;
	vu->stopping = true;
	why = vhost_talk_wait(vu, end_ns);
	if (!why)
		why = vhost_talk_stop(vu);
	if (!why)
		why = vhost_talk_wait(vu, end_ns);
	vu->stopping = false;
	if (why) {
		vu->broken = true;
		virtio_notify(dev, 0);
	}
}

static const struct virtio_class vhost_user_class = {
	.name = "virtio-blk",
	.device_id = VIRTIO_ID_BLOCK,
	.nr_queues = 1,
	.config_len = VHOST_USER_CONFIG_LEN,
	.reset = vhost_user_reset,
};

int vhost_user_dial(const char *path, struct err *e)
{
	return vhost_user_connect(path, e);
}

/* The connection that the configuration made, if it still stands, or another one. */
static int connect_first(struct vhost_user *vu, struct err *e)
{
	struct pollfd p = { .fd = vu->params.fd };

	if (vu->params.fd >= 0 && poll(&p, 1, 0) == 0)
		vu->sock.fd = fcntl(vu->params.fd, F_DUPFD_CLOEXEC, 0);
	else
		return vu->sock.fd = vhost_user_connect(vu->params.path, e);
	return vu->sock.fd < 0 ? err_set(e, errno, "copy a file descriptor") : 0;
}

static int open_device(struct vhost_user *vu, struct err *e)
{
	struct loop *loop = vu->dev.host.loop;
	const char *why;
	int ret;

	ret = timer_init(&vu->timer, loop, timed_out, vu, vu->dev.host.lock, e);
	if (ret)
		return ret;
	vu->call.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (vu->call.fd < 0)
		return err_set(e, errno, "eventfd");
	ret = loop_add(loop, &vu->call, e);
	if (ret == 0)
		ret = connect_first(vu, e);
	if (ret < 0)
		return ret;
	why = vhost_talk_begin(vu);
	if (!why)
		why = vhost_talk_wait(vu, timer_now_ns() + CREATE_NS);
	if (why) {
		/* The copy that the caller has is of no more use: next time we connect anew. */
		shutdown(vu->sock.fd, SHUT_RDWR);
		return err_set(e, 0, "the vhost-user back end at %s %s", vu->params.path, why);
	}
	return loop_add(loop, &vu->sock, e);
}

int vhost_user_create(struct vhost_user **out, const struct vhost_user_params *params,
		      const struct virtio_host *host, struct err *e)
{
	uint64_t start_us = virtio_now_us();
	char name[VIRTIO_NAME_MAX];
	struct vhost_user *vu;
	int ret;

	assert(mem_fd(host->mem) >= 0);
	vu = calloc(1, sizeof(*vu));
	if (!vu)
		return err_set(e, ENOMEM, "drive %s", params->id);
	text_print(name, sizeof(name), "drive %s", params->id);
	ret = virtio_init(&vu->dev, &vhost_user_class, host, 0, name, e);
	if (ret) {
		free(vu);
		return ret;
	}
	vu->params = *params;
	vu->retry_us = RETRY_MIN_US;
	vu->kick_fd = -1;
	vu->timer.watch.fd = -1;
	vu->sock = (struct watch){
		.fd = -1, .events = EPOLLIN, .fn = replied, .ctx = vu, .lock = host->lock
	};
	/* Edges: reading is left to nobody, because the back end could make it wait. */
	vu->call = (struct watch){
		.fd = -1, .events = EPOLLIN | EPOLLET, .fn = called, .ctx = vu, .lock = host->lock
	};
	vu->dev.queue[0].kick.fn = woken;
	vu->dev.queue[0].kick.ctx = vu;
	ret = open_device(vu, e);
	if (ret) {
		vhost_user_destroy(vu);
		return ret;
	}
	metric_set(&vu->metrics.init_time_us, virtio_now_us() - start_us);
	*out = vu;
	return 0;
}

void vhost_user_destroy(struct vhost_user *vu)
{
	if (!vu)
		return;
	hang_up(vu);
	loop_del(vu->dev.host.loop, &vu->call);
	fd_close(&vu->call.fd);
	fd_close(&vu->kick_fd);
	timer_fini(&vu->timer, vu->dev.host.loop);
	virtio_fini(&vu->dev);
	free(vu);
}

int vhost_user_update(struct vhost_user *vu, struct err *e)
{
	const uint64_t end_ns = timer_now_ns() + UPDATE_NS;
	uint64_t start_us = virtio_now_us();
	const char *why;

	if (!vu->ready)
		return err_set(e, ENOTCONN, "the vhost-user back end at %s", vu->params.path);
	why = vhost_talk_wait(vu, end_ns);
	if (!why)
		why = vhost_talk_ask_config(vu);
	if (!why)
		why = vhost_talk_wait(vu, end_ns);
	check(vu, why);
	if (why)
		return err_set(e, EPROTO, "the vhost-user back end at %s %s", vu->params.path, why);
	metric_set(&vu->metrics.config_change_time_us, virtio_now_us() - start_us);
	return 0;
}

struct virtio_dev *vhost_user_virtio(struct vhost_user *vu)
{
	return &vu->dev;
}

int vhost_user_call(const struct vhost_user *vu)
{
	return vu->call.fd;
}

struct vhost_user_metrics *vhost_user_metrics(struct vhost_user *vu)
{
	return &vu->metrics;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vhost_user_talk.c - the conversation with a vhost-user back end; see vhost_user_talk.h.
 *
 * Each reply leads to the next question. Loop thread; a reset on a vCPU thread.
 * QEMU docs/interop/vhost-user.rst: "Communication", "Starting and stopping rings".
 */
#include "virtio/vhost_user_talk.h"

#include <errno.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/byteorder.h"
#include "base/fd.h"

#define BIT(n)	 (UINT64_C(1) << (n))
#define FIELD(m) offsetof(struct virtio_blk_config, m)
#define MS_IN_NS 1000000u

/*
 * What may be passed on from a back end. Not MQ, which would be more than one queue, and not
 * CONFIG_WCE, which would make config space writable.
 */
#define FEATURES                                                                                   \
	(BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_RING_F_INDIRECT_DESC) |                              \
	 BIT(VIRTIO_RING_F_EVENT_IDX) | BIT(VIRTIO_BLK_F_SIZE_MAX) | BIT(VIRTIO_BLK_F_SEG_MAX) |   \
	 BIT(VIRTIO_BLK_F_GEOMETRY) | BIT(VIRTIO_BLK_F_RO) | BIT(VIRTIO_BLK_F_BLK_SIZE) |          \
	 BIT(VIRTIO_BLK_F_FLUSH) | BIT(VIRTIO_BLK_F_TOPOLOGY) | BIT(VIRTIO_BLK_F_DISCARD) |        \
	 BIT(VIRTIO_BLK_F_WRITE_ZEROES))

static const char *tell(struct vhost_user *vu, const struct vhost_user_msg *m, int fd,
			unsigned int nr_fds)
{
	return vhost_user_send(vu->sock.fd, m, fd, nr_fds) ? "does not take messages" : NULL;
}

static const char *tell_u64(struct vhost_user *vu, uint32_t request, uint64_t v, int fd)
{
	struct vhost_user_msg m = {
		.request = request, .flags = VHOST_USER_VERSION, .size = sizeof(v), .u64 = v
	};

	return tell(vu, &m, fd, fd >= 0);
}

static const char *tell_vring(struct vhost_user *vu, uint32_t request, uint32_t v)
{
	struct vhost_user_msg m = {
		.request = request,
		.flags = VHOST_USER_VERSION,
		.size = sizeof(m.vring),
		.vring = { .num = v },
	};

	return tell(vu, &m, -1, 0);
}

static const char *ask(struct vhost_user *vu, const struct vhost_user_msg *m, int fd,
		       unsigned int nr_fds)
{
	vu->expect = m->request;
	vu->expect_ns = timer_now_ns();
	return tell(vu, m, fd, nr_fds);
}

/* A question without payload; or with one, which the reply fills in. */
static const char *ask_for(struct vhost_user *vu, uint32_t request, uint32_t size)
{
	struct vhost_user_msg m = { .request = request, .flags = VHOST_USER_VERSION, .size = size };

	if (request == VHOST_USER_GET_CONFIG)
		m.config.size = VHOST_USER_CONFIG_LEN;
	return ask(vu, &m, -1, 0);
}

const char *vhost_talk_ask_config(struct vhost_user *vu)
{
	return ask_for(vu, VHOST_USER_GET_CONFIG, sizeof(vu->in.config));
}

const char *vhost_talk_begin(struct vhost_user *vu)
{
	return ask_for(vu, VHOST_USER_GET_FEATURES, 0);
}

const char *vhost_talk_stop(struct vhost_user *vu)
{
	return ask_for(vu, VHOST_USER_GET_VRING_BASE, sizeof(vu->in.vring));
}

/* Whether a reply is due to @m, which has none by itself. */
static bool want_ack(const struct vhost_user *vu, struct vhost_user_msg *m)
{
	if (vu->acks)
		m->flags |= VHOST_USER_NEED_REPLY;
	return vu->acks;
}

static const char *give_memory(struct vhost_user *vu)
{
	const struct mem *mem = vu->dev.host.mem;
	struct vhost_user_msg m = {
		.request = VHOST_USER_SET_MEM_TABLE,
		.flags = VHOST_USER_VERSION,
	};
	uint32_t nr = (uint32_t)mem_nr_ranges(mem), i;

	for (i = 0; i < nr; i++) {
		struct mem_range r = mem_range(mem, i);

		/* Addresses of our own are nobody's business: guest addresses serve as well. */
		m.mem.region[i] = (struct vhost_user_region){
			.gpa = r.base.v,
			.len = r.len,
			.user = r.base.v,
			.offset = mem_file_offset(mem, i),
		};
	}
	m.mem.nr = nr;
	m.size = (uint32_t)(offsetof(__typeof__(m.mem), region) + nr * sizeof(m.mem.region[0]));
	return want_ack(vu, &m) ? ask(vu, &m, mem_fd(mem), nr) : tell(vu, &m, mem_fd(mem), nr);
}

/* A fresh eventfd for kicks, between KVM and the next back end. */
static const char *rewire(struct vhost_user *vu)
{
	int fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
	int old = vu->kick_fd >= 0 ? vu->kick_fd : virtio_kick_fd(&vu->dev, 0);

	if (fd < 0 || vu->params.rewire(vu->params.ctx, old, fd)) {
		fd_close(&fd);
		return "cannot get an eventfd for kicks";
	}
	fd_close(&vu->kick_fd);
	vu->kick_fd = fd;
	return NULL;
}

static const char *give_ring(struct vhost_user *vu)
{
	const struct vq *vq = &vu->dev.queue[0].vq;
	struct vhost_user_msg addr = {
		.request = VHOST_USER_SET_VRING_ADDR,
		.flags = VHOST_USER_VERSION,
		.size = sizeof(addr.addr),
		.addr = {
			.desc = vq->ring.desc.v,
			.used = vq->ring.used.v,
			.avail = vq->ring.avail.v,
		},
	}, enable = {
		.request = VHOST_USER_SET_VRING_ENABLE,
		.flags = VHOST_USER_VERSION,
		.size = sizeof(enable.vring),
		.vring = { .num = 1 },
	};
	int base = vu->resume ? vhost_user_ring_rewind(&vu->ring, vq) : 0;
	const char *why;

	if (base < 0) {
		virtio_fail(&vu->dev, "the back end went away with requests that nobody knows");
		return NULL;
	}
	why = rewire(vu);
	if (!why)
		why = tell_vring(vu, VHOST_USER_SET_VRING_NUM, vq->ring.size);
	if (!why)
		why = tell_vring(vu, VHOST_USER_SET_VRING_BASE, (uint32_t)base);
	if (!why)
		why = tell(vu, &addr, -1, 0);
	if (!why)
		why = tell_u64(vu, VHOST_USER_SET_VRING_CALL, 0, vu->call.fd);
	/* From here on the rings belong to the back end, whether it says yes or hangs up. */
	vu->live = vu->resume = true;
	if (!why)
		why = tell_u64(vu, VHOST_USER_SET_VRING_KICK, 0, vu->kick_fd);
	if (!why)
		why = want_ack(vu, &enable) ? ask(vu, &enable, -1, 0) : tell(vu, &enable, -1, 0);
	metric_set(&vu->metrics.activate_time_us, virtio_now_us() - vu->start_us);
	return why;
}

/* The driver runs and nobody works on its ring: hand it over. */
const char *vhost_talk_start(struct vhost_user *vu)
{
	uint64_t features = vu->dev.driver_features | BIT(VHOST_USER_F_PROTOCOL_FEATURES);
	const char *why;

	if (!vu->ready || vu->live || vu->expect || vu->stopping || !virtio_active(&vu->dev) ||
	    !vu->dev.queue[0].vq.ready)
		return NULL;
	vu->start_us = virtio_now_us();
	vu->sent_features = features;
	why = tell_u64(vu, VHOST_USER_SET_FEATURES, features, -1);
	if (!why)
		why = give_memory(vu);
	return why || vu->expect ? why : give_ring(vu);
}

/* It has the memory. Meanwhile the driver may have begun anew. */
static const char *took_memory(struct vhost_user *vu)
{
	uint64_t features = vu->dev.driver_features | BIT(VHOST_USER_F_PROTOCOL_FEATURES);

	if (features != vu->sent_features)
		return vhost_talk_start(vu);
	if (vu->stopping || !virtio_active(&vu->dev) || !vu->dev.queue[0].vq.ready)
		return NULL;
	return give_ring(vu);
}

static const char *take_features(struct vhost_user *vu, uint64_t offered)
{
	uint64_t needed = BIT(VIRTIO_F_VERSION_1) | BIT(VHOST_USER_F_PROTOCOL_FEATURES);
	uint64_t allowed = FEATURES;

	if (!vu->params.writeback)
		allowed &= ~BIT(VIRTIO_BLK_F_FLUSH);
	if (vu->has_features)
		needed |= vu->dev.features;
	if (needed & ~offered)
		return vu->has_features ? "offers less than the one before" :
					  "lacks VERSION_1 or protocol features";
	vu->dev.features = vu->has_features ? vu->dev.features : offered & allowed;
	vu->has_features = true;
	return ask_for(vu, VHOST_USER_GET_PROTOCOL_FEATURES, 0);
}

static const char *take_protocol_features(struct vhost_user *vu, uint64_t offered)
{
	struct vhost_user_msg owner = {
		.request = VHOST_USER_SET_OWNER,
		.flags = VHOST_USER_VERSION,
	};
	const char *why;

	if (!(offered & BIT(VHOST_USER_PROTOCOL_F_CONFIG)))
		return "does not tell the size of its disk (no CONFIG)";
	vu->acks = offered & BIT(VHOST_USER_PROTOCOL_F_REPLY_ACK);
	offered &= BIT(VHOST_USER_PROTOCOL_F_CONFIG) | BIT(VHOST_USER_PROTOCOL_F_REPLY_ACK);
	why = tell_u64(vu, VHOST_USER_SET_PROTOCOL_FEATURES, offered, -1);
	if (!why)
		why = tell(vu, &owner, -1, 0);
	return why ? why : vhost_talk_ask_config(vu);
}

/* Config space as the guest will see it. */
static const char *take_config(struct vhost_user *vu)
{
	uint8_t *c = vu->in.config.bytes;
	uint32_t block = le32_get(c + FIELD(blk_size));

	if (vu->in.size != sizeof(vu->in.config) || vu->in.config.offset != 0 ||
	    vu->in.config.size != VHOST_USER_CONFIG_LEN)
		return "does not tell its configuration";
	if (le64_get(c + FIELD(capacity)) > INT64_MAX / 512)
		return "has a disk of more than 8 EiB";
	if (vu->dev.features & BIT(VIRTIO_BLK_F_BLK_SIZE) &&
	    (block < 512 || block > 65536 || block & (block - 1)))
		return "has blocks that are no power of two from 512 to 65536";
	le16_put(c + FIELD(num_queues), 1);
	if (le32_get(c + FIELD(seg_max)) > VQ_SIZE_MAX - 2)
		le32_put(c + FIELD(seg_max), VQ_SIZE_MAX - 2);
	if (memcmp(vu->dev.config, c, VHOST_USER_CONFIG_LEN) != 0) {
		memcpy(vu->dev.config, c, VHOST_USER_CONFIG_LEN);
		virtio_config_changed(&vu->dev);
	}
	vu->ready = true;
	return vhost_talk_start(vu);
}

/* A whole message is in vu->in. */
static const char *take(struct vhost_user *vu)
{
	uint32_t request = vu->expect;

	if (!request || vu->in.request != request)
		return "answers what was not asked";
	vu->expect = 0;
	if (request == VHOST_USER_GET_CONFIG)
		return take_config(vu);
	if (vu->in.size != sizeof(vu->in.u64))
		return "gives an answer of the wrong size";
	switch (request) {
	case VHOST_USER_GET_FEATURES:
		return take_features(vu, vu->in.u64);
	case VHOST_USER_GET_PROTOCOL_FEATURES:
		return take_protocol_features(vu, vu->in.u64);
	case VHOST_USER_GET_VRING_BASE:
		return NULL;
	}
	if (vu->in.u64)
		return "refuses the guest's memory or ring";
	return request == VHOST_USER_SET_MEM_TABLE ? took_memory(vu) : vhost_talk_start(vu);
}

const char *vhost_talk_hear(struct vhost_user *vu)
{
	int ret = vhost_user_receive(vu->sock.fd, &vu->in, &vu->in_got);

	if (ret == -EPIPE)
		return "has closed the connection";
	if (ret < 0)
		return "breaks the protocol";
	return ret > 0 ? take(vu) : NULL;
}

/* Go on until no reply is open. */
const char *vhost_talk_wait(struct vhost_user *vu, uint64_t end_ns)
{
	const char *why = NULL;
	uint64_t now;

	while (!why && vu->expect) {
		struct pollfd p = { .fd = vu->sock.fd, .events = POLLIN };

		now = timer_now_ns();
		if (now >= end_ns)
			return "does not answer";
		if (poll(&p, 1, (int)((end_ns - now) / MS_IN_NS) + 1) > 0)
			why = vhost_talk_hear(vu);
	}
	return why;
}

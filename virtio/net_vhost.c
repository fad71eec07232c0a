/* SPDX-License-Identifier: Apache-2.0 */
/*
 * net_vhost.c - the host kernel's vhost-net moves the frames between the rings and the tap; mote
 * sets it up and stops it, and keeps the registers and the control queue.
 *
 * KVM's kicks go straight to the kernel's worker, whose interrupts go straight to KVM. It gets
 * guest RAM and nothing else of our address space, and rings only when the driver has made them
 * ready, so after vq_configure has judged where they lie. Descriptors it judges itself.
 *
 * Loop thread; net_vhost_stop also on a vCPU thread, in a reset.
 * virtio 1.2: 2.7, 5.1; linux/vhost.h.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/vhost.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_ring.h>
#include <sys/eventfd.h>

#include "base/fd.h"
#include "virtio/net_device.h"

#define BIT(n) (UINT64_C(1) << (n))

/* Features that decide how rings and headers look; all others are between driver and tap. */
#define RING_FEATURES                                                                              \
	(BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_RING_F_INDIRECT_DESC) |                              \
	 BIT(VIRTIO_RING_F_EVENT_IDX) | BIT(VIRTIO_NET_F_MRG_RXBUF))

int net_vhost_open(int flags, struct err *e)
{
	int fd = open("/dev/vhost-net", flags | O_CLOEXEC);

	if (fd >= 0)
		return fd;
	return err_set(
		e, errno,
		"vhost needs /dev/vhost-net (`modprobe vhost_net`, rights of this user, in a "
		"jail --vhost-net)");
}

/* The kernel met a ring or a buffer that it cannot use. */
static void broken(void *ctx, uint32_t events)
{
	struct net *net = ctx;

	(void)events;
	if (!net->vhost.live)
		return;
	net_vhost_stop(net);
	virtio_fail(&net->dev, "vhost-net met a bad ring or buffer");
}

/* All of guest RAM, and nothing else: what lies outside it the worker refuses. */
static int give_memory(int fd, const struct mem *mem)
{
	struct {
		struct vhost_memory head;
		struct vhost_memory_region region[MEM_REGIONS_MAX];
	} m = { .head.nregions = (uint32_t)mem_nr_ranges(mem) };

	for (uint32_t i = 0; i < m.head.nregions; i++) {
		struct mem_range r = mem_range(mem, i);

		m.region[i] = (struct vhost_memory_region){
			.guest_phys_addr = r.base.v,
			.memory_size = r.len,
			.userspace_addr = mem_host_base(mem, i),
		};
	}
	return fd_ioctl(fd, VHOST_SET_MEM_TABLE, &m);
}

static int give_fd(int vhost, unsigned long request, unsigned int ring, int fd)
{
	struct vhost_vring_file f = { .index = ring, .fd = fd };

	return fd_ioctl(vhost, request, &f);
}

static int open_pair(struct net *net, unsigned int pair, struct err *e)
{
	struct virtio_dev *dev = &net->dev;
	uint64_t features = RING_FEATURES;
	int fd = net->vhost.fd[pair] = net_vhost_open(O_RDWR, e);
	int ret;

	if (fd < 0)
		return fd;
	/* From here on there is a worker, a thread of the kernel's. It has to know all features. */
	ret = fd_ioctl(fd, VHOST_SET_OWNER, NULL);
	if (!ret)
		ret = fd_ioctl(fd, VHOST_SET_FEATURES, &features);
	if (!ret)
		ret = give_memory(fd, dev->host.mem);
	for (unsigned int i = 0; !ret && i < 2; i++) {
		struct virtio_queue *queue = &dev->queue[2 * pair + i];

		queue->direct = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		ret = queue->direct < 0 ? -1 : give_fd(fd, VHOST_SET_VRING_KICK, i, queue->direct);
		if (!ret)
			ret = give_fd(fd, VHOST_SET_VRING_CALL, i, virtio_irq(dev)->fd);
		if (!ret)
			ret = give_fd(fd, VHOST_SET_VRING_ERR, i, net->vhost.broken.fd);
	}
	return ret ? err_set(e, errno, "/dev/vhost-net") : 0;
}

int net_vhost_init(struct net *net, struct err *e)
{
	struct net_vhost *v = &net->vhost;
	int ret;

	v->on = true;
	for (unsigned int i = 0; i < NET_PAIRS_MAX; i++)
		v->fd[i] = -1;
	/* Edges: the kernel's counter is nobody's to read. */
	v->broken = (struct watch){
		.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
		.events = EPOLLIN | EPOLLET,
		.fn = broken,
		.ctx = net,
		.lock = net->dev.host.lock,
	};
	ret = v->broken.fd < 0 ? err_set(e, errno, "eventfd") :
				 loop_add(net->dev.host.loop, &v->broken, e);
	for (unsigned int i = 0; !ret && i < net->nr_pairs; i++)
		ret = open_pair(net, i, e);
	return ret;
}

void net_vhost_fini(struct net *net)
{
	for (unsigned int i = 0; i < net->nr_pairs; i++)
		fd_close(&net->vhost.fd[i]);
	loop_del(net->dev.host.loop, &net->vhost.broken);
	fd_close(&net->vhost.broken.fd);
}

/* One ring, from its start, and the tap's queue as its other end. */
static int start_ring(int fd, unsigned int ring, const struct vq *vq, int tap)
{
	struct vhost_vring_state num = { .index = ring, .num = vq->ring.size };
	struct vhost_vring_state base = { .index = ring };
	struct vhost_vring_addr addr = {
		.index = ring,
		.desc_user_addr = mem_span_base(&vq->desc),
		.avail_user_addr = mem_span_base(&vq->avail),
		.used_user_addr = mem_span_base(&vq->used),
	};
	int ret = fd_ioctl(fd, VHOST_SET_VRING_NUM, &num);

	if (!ret)
		ret = fd_ioctl(fd, VHOST_SET_VRING_BASE, &base);
	if (!ret)
		ret = fd_ioctl(fd, VHOST_SET_VRING_ADDR, &addr);
	return ret ? ret : give_fd(fd, VHOST_NET_SET_BACKEND, ring, tap);
}

int net_vhost_start(struct net *net)
{
	struct virtio_dev *dev = &net->dev;
	uint64_t features = dev->driver_features & RING_FEATURES;
	int ret = 0;

	/* The kernel cannot set it when it interrupts, so it is set all the time. */
	dev->isr_stays = VIRTIO_MMIO_INT_VRING;
	__atomic_fetch_or(dev->isr, htole32(VIRTIO_MMIO_INT_VRING), __ATOMIC_SEQ_CST);
	net->vhost.live = true;
	for (unsigned int q = 0; !ret && q < 2 * net->nr_pairs; q++) {
		int fd = net->vhost.fd[q / 2];

		if (q % 2 == 0)
			ret = fd_ioctl(fd, VHOST_SET_FEATURES, &features);
		if (!ret && dev->queue[q].vq.ready)
			ret = start_ring(fd, q % 2, &dev->queue[q].vq, net->pair[q / 2].tap.fd);
	}
	if (!ret)
		return 0;
	ret = -errno;
	net_vhost_stop(net);
	return ret;
}

void net_vhost_stop(struct net *net)
{
	/* Each call returns when the worker is done with the ring. */
	for (unsigned int q = 0; net->vhost.live && q < 2 * net->nr_pairs; q++)
		give_fd(net->vhost.fd[q / 2], VHOST_NET_SET_BACKEND, q % 2, -1);
	net->vhost.live = false;
}

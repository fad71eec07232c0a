/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_virtio_threads.c - a disk and an interface on a real loop thread, with a guest that writes
 * registers, resets and kicks from a thread of its own, through the bus and its locks. Meant for
 * ThreadSanitizer as well.
 */
#include <criterion/criterion.h>
#include <linux/virtio_blk.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/byteorder.h"
#include "tests/unit/virtio_rig.h"
#include "virtio/blk_device.h"
#include "virtio/net.h"

#define BASE(i)	  (0xd0000000ULL + 0x1000ULL * (i))
#define PATIENCE  20000000000ULL /* ns; only a lost wake-up takes that long */
#define NR_ROUNDS 20
#define NR_REQS	  100

static struct rig rig; /* its memory, loop and helpers for rings */
static struct rig *const r = &rig;
static struct bus bus;
static pthread_mutex_t lock[2] = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER };

static void *loop_thread(void *arg)
{
	loop_run(arg);
	return NULL;
}

static void reg(unsigned int dev, uint64_t offset, uint32_t v)
{
	uint8_t raw[4];

	le32_put(raw, v);
	bus_write(&bus, BASE(dev) + offset, raw, sizeof(raw));
}

static uint32_t reg_get(unsigned int dev, uint64_t offset)
{
	uint8_t raw[4];

	bus_read(&bus, BASE(dev) + offset, raw, sizeof(raw));
	return le32_get(raw);
}

/* Device @dev uses rings @dev and, with two queues, @dev + 1 of the rig's layout. */
static void boot(unsigned int dev, unsigned int nr_queues)
{
	reg(dev, VIRTIO_MMIO_STATUS, 0);
	reg(dev, VIRTIO_MMIO_STATUS, 1);
	reg(dev, VIRTIO_MMIO_STATUS, 3);
	reg(dev, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
	reg(dev, VIRTIO_MMIO_DRIVER_FEATURES, 1);
	reg(dev, VIRTIO_MMIO_STATUS, 11);
	for (unsigned int q = 0; q < nr_queues; q++) {
		uint64_t base = RIG_RING(dev + q);

		mem_zero(r->mem, GPA(base), 0x10000);
		reg(dev, VIRTIO_MMIO_QUEUE_SEL, q);
		reg(dev, VIRTIO_MMIO_QUEUE_NUM, 16);
		reg(dev, VIRTIO_MMIO_QUEUE_DESC_LOW, (uint32_t)base);
		reg(dev, VIRTIO_MMIO_QUEUE_AVAIL_LOW, (uint32_t)base + 0x4000);
		reg(dev, VIRTIO_MMIO_QUEUE_USED_LOW, (uint32_t)base + 0x8000);
		reg(dev, VIRTIO_MMIO_QUEUE_READY, 1);
	}
	reg(dev, VIRTIO_MMIO_STATUS, 15);
}

/* Publish head 0 as entry @nr of a ring and kick; then wait for the used index, if asked to. */
static void offer(unsigned int dev, unsigned int q, uint16_t nr)
{
	uint64_t base = RIG_RING(dev + q);

	rig_put16(r, base + 0x4004 + 2ULL * (nr % 16), 0);
	mem_store16(r->mem, GPA(base + 0x4002), (uint16_t)(nr + 1));
	reg(dev, VIRTIO_MMIO_QUEUE_NOTIFY, q);
}

static bool wait_used(unsigned int ring, uint16_t want)
{
	struct timespec t;
	uint64_t end;
	uint16_t idx;

	clock_gettime(CLOCK_MONOTONIC, &t);
	end = (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec + PATIENCE;
	do {
		cr_assert_eq(mem_load16(r->mem, GPA(RIG_RING(ring) + 0x8002), &idx), 0);
		if (idx == want)
			return true;
		sched_yield();
		clock_gettime(CLOCK_MONOTONIC, &t);
	} while ((uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec < end);
	return false;
}

/* Head 0 of the disk's ring: a read of a page. */
static void prepare_disk(void)
{
	uint8_t header[16] = { VIRTIO_BLK_T_IN };

	rig_put(r, RIG_SMALL, header, sizeof(header));
	rig_desc_at(r, RIG_RING(0), 0, RIG_SMALL, 16, NEXT, 1);
	rig_desc_at(r, RIG_RING(0), 1, RIG_DATA, 4097, WRITE, 0);
}

static void disk_rounds(void)
{
	for (int round = 0; round < NR_ROUNDS; round++) {
		boot(0, 1);
		prepare_disk();
		for (uint16_t i = 0; i < NR_REQS; i++) {
			offer(0, 0, i);
			cr_assert(wait_used(0, (uint16_t)(i + 1)), "round %d, request %d", round,
				  i);
		}
		offer(0, 0, NR_REQS); /* and a reset while it is on its way */
	}
}

static void net_rounds(int wire)
{
	uint8_t message[72] = { 0 };

	for (int round = 0; round < NR_ROUNDS; round++) {
		uint8_t drain[128];

		boot(1, 2);
		rig_desc_at(r, RIG_RING(1), 0, RIG_DATA + 0x10000, 2048, WRITE, 0);
		rig_desc_at(r, RIG_RING(2), 0, RIG_DATA + 0x20000, 72, 0, 0);
		for (uint16_t i = 0; i < NR_REQS; i++) {
			offer(1, 1, i);
			cr_assert(wait_used(2, (uint16_t)(i + 1)), "round %d, sent %d", round, i);
			offer(1, 0, i);
			cr_assert_eq(send(wire, message, sizeof(message), 0), 72);
			cr_assert(wait_used(1, (uint16_t)(i + 1)), "round %d, received %d", round,
				  i);
			while (recv(wire, drain, sizeof(drain), 0) > 0)
				;
		}
		offer(1, 0, NR_REQS);
	}
}

static void on_bus(struct virtio_dev *dev, unsigned int i)
{
	struct bus_range range = {
		.base = BASE(i),
		.len = VIRTIO_MMIO_LEN,
		.ops = &virtio_mmio_bus_ops,
		.dev = dev,
		.lock = &lock[i],
	};

	cr_assert_eq(bus_add(&bus, &range, NULL), 0);
}

/* A disk in the ring whose guest resets it from two vCPUs at once, while it works. */
static void *reset_rounds(void *arg)
{
	(void)arg;
	for (int i = 0; i < NR_ROUNDS * 10; i++) {
		reg(0, VIRTIO_MMIO_STATUS, 0);
		sched_yield();
	}
	return NULL;
}

Test(virtio_threads, ring_and_resets)
{
	struct blk_params bp = { .id = "disk", .engine = BLK_ASYNC };
	struct uring *ring = NULL;
	pthread_t loop, resets;
	struct virtio_host host;
	struct blk *blk;

	rig_init(r);
	host = r->host;
	host.lock = &lock[0];
	bp.ring = &ring;
	bp.fd = memfd_create("disk", MFD_CLOEXEC);
	cr_assert_eq(ftruncate(bp.fd, 65536), 0);
	cr_assert_eq(blk_create(&blk, &bp, &host, NULL), 0);
	blk->eager = true;
	on_bus(blk_virtio(blk), 0);
	cr_assert_eq(pthread_create(&loop, NULL, loop_thread, r->loop), 0);
	cr_assert_eq(pthread_create(&resets, NULL, reset_rounds, NULL), 0);
	for (int round = 0; round < NR_ROUNDS; round++) {
		boot(0, 1);
		prepare_disk();
		for (uint16_t i = 0; i < 20; i++)
			offer(0, 0, i);
	}
	pthread_join(resets, NULL);
	disk_rounds();
	cr_assert_eq(reg_get(0, VIRTIO_MMIO_STATUS), 15);
	loop_stop(r->loop, 0);
	pthread_join(loop, NULL);
	blk_destroy(blk);
	uring_destroy(ring);
	close(bp.fd);
	rig_fini(r);
}

Test(virtio_threads, guest_and_loop)
{
	struct blk_params bp = { .id = "disk" };
	struct net_params np = { .id = "eth0", .backend = NET_DGRAM };
	struct virtio_host host;
	pthread_t thread;
	struct blk *blk;
	struct net *net;
	int sock[2];

	rig_init(r);
	host = r->host;
	bp.fd = memfd_create("disk", MFD_CLOEXEC);
	cr_assert_eq(ftruncate(bp.fd, 65536), 0);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, sock), 0);
	np.fd[0] = sock[0];
	host.lock = &lock[0];
	cr_assert_eq(blk_create(&blk, &bp, &host, NULL), 0);
	host.lock = &lock[1];
	cr_assert_eq(net_create(&net, &np, &host, NULL), 0);
	on_bus(blk_virtio(blk), 0);
	on_bus(net_virtio(net), 1);
	cr_assert_eq(pthread_create(&thread, NULL, loop_thread, r->loop), 0);

	disk_rounds();
	net_rounds(sock[1]);
	cr_assert_eq(reg_get(0, VIRTIO_MMIO_STATUS), 15);
	cr_assert_eq(reg_get(1, VIRTIO_MMIO_STATUS), 15);

	loop_stop(r->loop, 0);
	pthread_join(thread, NULL);
	net_destroy(net);
	blk_destroy(blk);
	close(bp.fd);
	close(sock[0]);
	close(sock[1]);
	rig_fini(r);
}

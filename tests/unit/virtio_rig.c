/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio_rig.c - see virtio_rig.h.
 */
#include "tests/unit/virtio_rig.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/byteorder.h"
#include "base/log.h"

#define MUST(x)                                                                                    \
	do {                                                                                       \
		if (!(x)) {                                                                        \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x);                    \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

static void init(struct rig *r, enum mem_backing backing)
{
	static const struct mem_range ranges[] = {
		{ .base = { 0 }, .len = RIG_RAM0_LEN },
		{ .base = { RIG_RAM1_BASE }, .len = RIG_RAM1_LEN },
	};

	*r = (struct rig){ .dev = NULL };
	log_set_level(LOG_OFF);
	MUST(mem_create(&r->mem, ranges, 2, backing, NULL) == 0);
	MUST(loop_create(&r->loop, NULL) == 0);
	pthread_mutex_init(&r->lock, NULL);
	r->host = (struct virtio_host){
		.loop = r->loop,
		.mem = r->mem,
		.gsi = 5,
		.lock = &r->lock,
	};
	for (unsigned int q = 0; q < RIG_QUEUES; q++)
		rig_ring(&r->q[q], RIG_RING(q), 0);
}

void rig_init(struct rig *r)
{
	init(r, MEM_BACKING_PAGES);
}

void rig_init_shared(struct rig *r)
{
	init(r, MEM_BACKING_PAGES | MEM_SHARED);
}

void rig_fini(struct rig *r)
{
	loop_destroy(r->loop);
	mem_destroy(r->mem);
	pthread_mutex_destroy(&r->lock);
}

uint32_t rig_read(struct rig *r, uint64_t offset)
{
	uint8_t raw[4] = { 0xff, 0xff, 0xff, 0xff };

	virtio_mmio_bus_ops.read(r->dev, offset, raw, sizeof(raw));
	return le32_get(raw);
}

void rig_write(struct rig *r, uint64_t offset, uint32_t v)
{
	uint8_t raw[4];

	le32_put(raw, v);
	virtio_mmio_bus_ops.write(r->dev, offset, raw, sizeof(raw));
}

uint8_t rig_status(struct rig *r)
{
	return (uint8_t)rig_read(r, VIRTIO_MMIO_STATUS);
}

uint64_t rig_features(struct rig *r)
{
	uint64_t lo, hi;

	rig_write(r, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0);
	lo = rig_read(r, VIRTIO_MMIO_DEVICE_FEATURES);
	rig_write(r, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
	hi = rig_read(r, VIRTIO_MMIO_DEVICE_FEATURES);
	return hi << 32 | lo;
}

void rig_negotiate(struct rig *r, uint64_t mask)
{
	uint64_t f = rig_features(r) & mask;

	rig_write(r, VIRTIO_MMIO_STATUS, 0);
	rig_write(r, VIRTIO_MMIO_STATUS, 1);
	rig_write(r, VIRTIO_MMIO_STATUS, 3);
	rig_write(r, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
	rig_write(r, VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)f);
	rig_write(r, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
	rig_write(r, VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)(f >> 32));
	rig_write(r, VIRTIO_MMIO_STATUS, 11);
}

void rig_ring(struct rig_queue *q, uint64_t base, uint32_t size)
{
	*q = (struct rig_queue){
		.desc = base,
		.avail = base + 0x4000,
		.used = base + 0x8000,
		.size = size,
	};
}

void rig_setup_queue(struct rig *r, unsigned int q, uint32_t size)
{
	struct rig_queue *ring = &r->q[q];

	rig_ring(ring, RIG_RING(q), size);
	MUST(mem_zero(r->mem, GPA(RIG_RING(q)), 0x10000) == 0);
	rig_write(r, VIRTIO_MMIO_QUEUE_SEL, q);
	rig_write(r, VIRTIO_MMIO_QUEUE_NUM, size);
	rig_write(r, VIRTIO_MMIO_QUEUE_DESC_LOW, (uint32_t)ring->desc);
	rig_write(r, VIRTIO_MMIO_QUEUE_DESC_HIGH, 0);
	rig_write(r, VIRTIO_MMIO_QUEUE_AVAIL_LOW, (uint32_t)ring->avail);
	rig_write(r, VIRTIO_MMIO_QUEUE_AVAIL_HIGH, 0);
	rig_write(r, VIRTIO_MMIO_QUEUE_USED_LOW, (uint32_t)ring->used);
	rig_write(r, VIRTIO_MMIO_QUEUE_USED_HIGH, 0);
	rig_write(r, VIRTIO_MMIO_QUEUE_READY, 1);
}

void rig_boot(struct rig *r, uint64_t mask, uint32_t size)
{
	rig_negotiate(r, mask);
	for (unsigned int q = 0; q < virtio_nr_queues(r->dev); q++)
		rig_setup_queue(r, q, size);
	rig_write(r, VIRTIO_MMIO_STATUS, 15);
	rig_run(r, 16);
}

void rig_desc_at(struct rig *r, uint64_t table, uint32_t i, uint64_t addr, uint32_t len,
		 uint16_t flags, uint16_t next)
{
	uint8_t raw[16];

	le64_put(raw, addr);
	le32_put(raw + 8, len);
	le16_put(raw + 12, flags);
	le16_put(raw + 14, next);
	rig_put(r, table + 16ULL * i, raw, sizeof(raw));
}

void rig_desc(struct rig *r, unsigned int q, uint32_t i, uint64_t addr, uint32_t len,
	      uint16_t flags, uint16_t next)
{
	rig_desc_at(r, r->q[q].desc, i, addr, len, flags, next);
}

void rig_offer(struct rig *r, unsigned int q, uint16_t head)
{
	struct rig_queue *ring = &r->q[q];

	rig_put16(r, ring->avail + 4 + 2ULL * (ring->avail_idx % ring->size), head);
	rig_put16(r, ring->avail + 2, ++ring->avail_idx);
}

void rig_avail_flags(struct rig *r, unsigned int q, uint16_t flags)
{
	rig_put16(r, r->q[q].avail, flags);
}

void rig_used_event(struct rig *r, unsigned int q, uint16_t v)
{
	rig_put16(r, r->q[q].avail + 4 + 2ULL * r->q[q].size, v);
}

void rig_kick(struct rig *r, unsigned int q)
{
	rig_write(r, VIRTIO_MMIO_QUEUE_NOTIFY, q);
}

bool rig_used(struct rig *r, unsigned int q, uint32_t *id, uint32_t *len)
{
	struct rig_queue *ring = &r->q[q];
	uint8_t raw[8];

	if (rig_get16(r, ring->used + 2) == ring->used_idx)
		return false;
	rig_get(r, ring->used + 4 + 8ULL * (ring->used_idx % ring->size), raw, sizeof(raw));
	ring->used_idx++;
	if (id)
		*id = le32_get(raw);
	if (len)
		*len = le32_get(raw + 4);
	return true;
}

static int run_watch(struct rig *r, struct watch *w)
{
	struct pollfd p = { .fd = w->fd, .events = (short)(w->events & (EPOLLIN | EPOLLOUT)) };
	uint64_t count;

	if (!w->added || poll(&p, 1, 0) <= 0)
		return 0;
	/* epoll tells of each kick once. */
	if (w->events & EPOLLET)
		(void)!read(w->fd, &count, sizeof(count));
	pthread_mutex_lock(&r->lock);
	w->fn(w->ctx, (uint32_t)p.revents);
	pthread_mutex_unlock(&r->lock);
	return 1;
}

int rig_run(struct rig *r, int max)
{
	int total = 0, nr;

	do {
		nr = 0;
		for (unsigned int q = 0; q < virtio_nr_queues(r->dev); q++)
			nr += run_watch(r, &r->dev->queue[q].kick);
		if (r->tap)
			nr += run_watch(r, r->tap);
		total += nr;
	} while (nr > 0 && total < max);
	return total;
}

bool rig_irq(struct rig *r, uint32_t *bits)
{
	uint64_t count;
	uint32_t v = rig_read(r, VIRTIO_MMIO_INTERRUPT_STATUS);
	bool raised = read(r->dev->irq.fd, &count, sizeof(count)) == (ssize_t)sizeof(count);

	rig_write(r, VIRTIO_MMIO_INTERRUPT_ACK, v);
	if (bits)
		*bits = v;
	return raised;
}

bool rig_failed(struct rig *r)
{
	uint32_t bits;

	return rig_status(r) & VIRTIO_CONFIG_S_NEEDS_RESET && rig_irq(r, &bits) &&
	       bits & VIRTIO_MMIO_INT_CONFIG && metric_get(&r->dev->metrics.event_fails) > 0;
}

void rig_put(struct rig *r, uint64_t addr, const void *buf, size_t len)
{
	MUST(mem_write(r->mem, GPA(addr), buf, len) == 0);
}

void rig_get(struct rig *r, uint64_t addr, void *buf, size_t len)
{
	MUST(mem_read(r->mem, GPA(addr), buf, len) == 0);
}

void rig_put16(struct rig *r, uint64_t addr, uint16_t v)
{
	uint8_t raw[2];

	le16_put(raw, v);
	rig_put(r, addr, raw, sizeof(raw));
}

uint16_t rig_get16(struct rig *r, uint64_t addr)
{
	uint8_t raw[2];

	rig_get(r, addr, raw, sizeof(raw));
	return le16_get(raw);
}

uint8_t rig_get8(struct rig *r, uint64_t addr)
{
	uint8_t v;

	rig_get(r, addr, &v, 1);
	return v;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mmio.c - the register window as a table; see mmio.h.
 *
 * vCPU threads, the device's lock held by the bus. virtio 1.2: 4.2.2 (table 4.1), 4.2.3.
 */
#include "virtio/mmio.h"

#include <endian.h>
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <stdbool.h>
#include <string.h>

#include "base/byteorder.h"
#include "base/log.h"
#include "virtio/virtio.h"

#define MMIO_MAGIC   0x74726976 /* "virt" */
#define MMIO_VERSION 2
#define MMIO_VENDOR  0

/* Registers are 32 bits wide and aligned (4.2.2.2); only config space takes other widths. */
#define REG_BYTES 4

struct reg {
	uint16_t offset;
	uint8_t need;	/* status bits that must be set for a write */
	uint8_t forbid; /* status bits that must be clear for a write */
	uint32_t (*read)(struct virtio_dev *dev);
	int (*write)(struct virtio_dev *dev, uint32_t v); /* 0, or -EINVAL: refused */
};

/* The queue that QueueSel names, or NULL: the guest may select any number. */
static struct virtio_queue *selected(struct virtio_dev *dev)
{
	return dev->queue_sel < dev->nr_queues ? &dev->queue[dev->queue_sel] : NULL;
}

static uint32_t magic_read(struct virtio_dev *dev)
{
	(void)dev;
	return MMIO_MAGIC;
}

static uint32_t version_read(struct virtio_dev *dev)
{
	(void)dev;
	return MMIO_VERSION;
}

static uint32_t device_id_read(struct virtio_dev *dev)
{
	return dev->class->device_id;
}

static uint32_t vendor_read(struct virtio_dev *dev)
{
	(void)dev;
	return MMIO_VENDOR;
}

static uint32_t features_read(struct virtio_dev *dev)
{
	if (dev->features_sel > 1)
		return 0;
	return (uint32_t)(dev->features >> 32 * dev->features_sel);
}

static int features_sel_write(struct virtio_dev *dev, uint32_t v)
{
	dev->features_sel = v;
	return 0;
}

static int driver_features_write(struct virtio_dev *dev, uint32_t v)
{
	return virtio_write_features(dev, dev->driver_features_sel, v);
}

static int driver_features_sel_write(struct virtio_dev *dev, uint32_t v)
{
	dev->driver_features_sel = v;
	return 0;
}

static int queue_sel_write(struct virtio_dev *dev, uint32_t v)
{
	dev->queue_sel = v;
	return 0;
}

static uint32_t queue_num_max_read(struct virtio_dev *dev)
{
	return selected(dev) ? VQ_SIZE_MAX : 0;
}

static uint32_t queue_ready_read(struct virtio_dev *dev)
{
	struct virtio_queue *q = selected(dev);

	return q && q->vq.ready;
}

static int queue_ready_write(struct virtio_dev *dev, uint32_t v)
{
	struct virtio_queue *q = selected(dev);

	if (!q || v > 1)
		return -EINVAL;
	/* Drivers clear it again when they let go of a device that they have reset. */
	if (v == q->vq.ready)
		return 0;
	/* A ring may not come, go or move under a running device. */
	if ((dev->status & (VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK |
			    VIRTIO_CONFIG_S_NEEDS_RESET | VIRTIO_CONFIG_S_FAILED)) !=
	    VIRTIO_CONFIG_S_FEATURES_OK)
		return -EINVAL;
	if (v)
		return virtio_queue_enable(dev, q);
	vq_reset(&q->vq);
	return 0;
}

static int queue_num_write(struct virtio_dev *dev, uint32_t v)
{
	struct virtio_queue *q = selected(dev);

	if (!q || q->vq.ready)
		return -EINVAL;
	q->regs.size = v; /* judged with the rest by QueueReady */
	return 0;
}

/* One half of a ring address of the selected queue. */
static int ring_addr_write(struct virtio_dev *dev, size_t field, bool high, uint32_t v)
{
	struct virtio_queue *q = selected(dev);
	gpa_t *a;

	/* What is used is the checked copy in vq.ring; this keeps what we show true. */
	if (!q || q->vq.ready)
		return -EINVAL;
	a = (gpa_t *)(void *)((char *)&q->regs + field);
	a->v = high ? (a->v & UINT32_MAX) | (uint64_t)v << 32 : (a->v & ~(uint64_t)UINT32_MAX) | v;
	return 0;
}

static int desc_low_write(struct virtio_dev *dev, uint32_t v)
{
	return ring_addr_write(dev, offsetof(struct vq_ring, desc), false, v);
}

static int desc_high_write(struct virtio_dev *dev, uint32_t v)
{
	return ring_addr_write(dev, offsetof(struct vq_ring, desc), true, v);
}

static int avail_low_write(struct virtio_dev *dev, uint32_t v)
{
	return ring_addr_write(dev, offsetof(struct vq_ring, avail), false, v);
}

static int avail_high_write(struct virtio_dev *dev, uint32_t v)
{
	return ring_addr_write(dev, offsetof(struct vq_ring, avail), true, v);
}

static int used_low_write(struct virtio_dev *dev, uint32_t v)
{
	return ring_addr_write(dev, offsetof(struct vq_ring, used), false, v);
}

static int used_high_write(struct virtio_dev *dev, uint32_t v)
{
	return ring_addr_write(dev, offsetof(struct vq_ring, used), true, v);
}

static int notify_write(struct virtio_dev *dev, uint32_t v)
{
	return virtio_notify(dev, v);
}

static uint32_t interrupt_status_read(struct virtio_dev *dev)
{
	return le32toh(__atomic_load_n(dev->isr, __ATOMIC_SEQ_CST));
}

static int interrupt_ack_write(struct virtio_dev *dev, uint32_t v)
{
	__atomic_fetch_and(dev->isr, htole32(~v | dev->isr_stays), __ATOMIC_SEQ_CST);
	return 0;
}

static uint32_t status_read(struct virtio_dev *dev)
{
	return dev->status;
}

static uint32_t generation_read(struct virtio_dev *dev)
{
	return dev->config_generation;
}

/* Queue registers: after FEATURES_OK, and never once the device runs or has failed. */
#define QUEUE_SETUP                                                                                \
	.need = VIRTIO_CONFIG_S_FEATURES_OK,                                                       \
	.forbid = VIRTIO_CONFIG_S_DRIVER_OK | VIRTIO_CONFIG_S_NEEDS_RESET | VIRTIO_CONFIG_S_FAILED

#define RUNNING .need = VIRTIO_CONFIG_S_DRIVER_OK

/*
 * Table 4.1. What is not here reads as all ones, which for SHMLen also says "no such region"
 * (4.2.2.1), and takes no writes. clang-format would break single rows.
 */
/* clang-format off */
static const struct reg regs[] = {
	{ .offset = VIRTIO_MMIO_MAGIC_VALUE, .read = magic_read },
	{ .offset = VIRTIO_MMIO_VERSION, .read = version_read },
	{ .offset = VIRTIO_MMIO_DEVICE_ID, .read = device_id_read },
	{ .offset = VIRTIO_MMIO_VENDOR_ID, .read = vendor_read },
	{ .offset = VIRTIO_MMIO_DEVICE_FEATURES, .read = features_read },
	{ .offset = VIRTIO_MMIO_DEVICE_FEATURES_SEL, .write = features_sel_write },
	{ .offset = VIRTIO_MMIO_DRIVER_FEATURES, .write = driver_features_write },
	{ .offset = VIRTIO_MMIO_DRIVER_FEATURES_SEL, .write = driver_features_sel_write },
	{ .offset = VIRTIO_MMIO_QUEUE_SEL, .write = queue_sel_write },
	{ .offset = VIRTIO_MMIO_QUEUE_NUM_MAX, .read = queue_num_max_read },
	{ .offset = VIRTIO_MMIO_QUEUE_NUM, QUEUE_SETUP, .write = queue_num_write },
	{ .offset = VIRTIO_MMIO_QUEUE_READY, .read = queue_ready_read, .write = queue_ready_write },
	{ .offset = VIRTIO_MMIO_QUEUE_NOTIFY, RUNNING, .write = notify_write },
	{ .offset = VIRTIO_MMIO_INTERRUPT_STATUS, .read = interrupt_status_read },
	{ .offset = VIRTIO_MMIO_INTERRUPT_ACK, .write = interrupt_ack_write },
	{ .offset = VIRTIO_MMIO_STATUS, .read = status_read, .write = virtio_write_status },
	{ .offset = VIRTIO_MMIO_QUEUE_DESC_LOW, QUEUE_SETUP, .write = desc_low_write },
	{ .offset = VIRTIO_MMIO_QUEUE_DESC_HIGH, QUEUE_SETUP, .write = desc_high_write },
	{ .offset = VIRTIO_MMIO_QUEUE_AVAIL_LOW, QUEUE_SETUP, .write = avail_low_write },
	{ .offset = VIRTIO_MMIO_QUEUE_AVAIL_HIGH, QUEUE_SETUP, .write = avail_high_write },
	{ .offset = VIRTIO_MMIO_QUEUE_USED_LOW, QUEUE_SETUP, .write = used_low_write },
	{ .offset = VIRTIO_MMIO_QUEUE_USED_HIGH, QUEUE_SETUP, .write = used_high_write },
	{ .offset = VIRTIO_MMIO_CONFIG_GENERATION, .read = generation_read },
};
/* clang-format on */

/* The row of a register, or NULL; a wrong width or alignment hits no row. */
static const struct reg *reg_find(uint64_t offset, size_t len)
{
	if (len != REG_BYTES)
		return NULL;
	for (size_t i = 0; i < sizeof(regs) / sizeof(regs[0]); i++)
		if (regs[i].offset == offset)
			return &regs[i];
	return NULL;
}

static void mmio_read(void *ctx, uint64_t offset, void *data, size_t len)
{
	struct virtio_dev *dev = ctx;
	const struct reg *r;

	if (offset >= VIRTIO_MMIO_CONFIG) {
		virtio_config_read(dev, offset - VIRTIO_MMIO_CONFIG, data, len);
		return;
	}
	r = reg_find(offset, len);
	if (r && r->read)
		le32_put(data, r->read(dev));
	else
		metric_inc(&dev->metrics.cfg_fails);
}

static void mmio_write(void *ctx, uint64_t offset, const void *data, size_t len)
{
	struct virtio_dev *dev = ctx;
	const struct reg *r;

	if (offset >= VIRTIO_MMIO_CONFIG) {
		virtio_config_write(dev, offset - VIRTIO_MMIO_CONFIG, data, len);
		return;
	}
	r = reg_find(offset, len);
	if (r && r->write && (dev->status & r->need) == r->need && !(dev->status & r->forbid) &&
	    r->write(dev, le32_get(data)) == 0) {
		if (dev->show)
			dev->show(dev);
		return;
	}
	metric_inc(&dev->metrics.cfg_fails);
	log_guest("%s: refused a write of %zu bytes to register 0x%llx in status 0x%x", dev->name,
		  len, (unsigned long long)offset, dev->status);
}

/*
 * Registers and config space as the guest finds them in its window. InterruptStatus lives there.
 * A driver that reads config space meanwhile must see the generation change (2.5.1), so it has a
 * value of its own until the bytes are there.
 */
static void window_show(struct virtio_dev *dev)
{
	uint8_t *w = dev->window;
	uint32_t *generation = (uint32_t *)(void *)(w + VIRTIO_MMIO_CONFIG_GENERATION);

	for (size_t i = 0; i < sizeof(regs) / sizeof(regs[0]); i++)
		if (regs[i].read && regs[i].offset < VIRTIO_MMIO_CONFIG_GENERATION &&
		    regs[i].offset != VIRTIO_MMIO_INTERRUPT_STATUS)
			le32_put(w + regs[i].offset, regs[i].read(dev));
	if (le32toh(*generation) == dev->config_generation &&
	    !memcmp(w + VIRTIO_MMIO_CONFIG, dev->config, dev->class->config_len))
		return;
	__atomic_store_n(generation, htole32(~dev->config_generation), __ATOMIC_SEQ_CST);
	memcpy(w + VIRTIO_MMIO_CONFIG, dev->config, dev->class->config_len);
	__atomic_store_n(generation, htole32(dev->config_generation), __ATOMIC_SEQ_CST);
}

void virtio_mmio_show_at(struct virtio_dev *dev, uint8_t *window)
{
	memset(window, 0xff, VIRTIO_MMIO_LEN);
	dev->window = window;
	dev->isr = (uint32_t *)(void *)(window + VIRTIO_MMIO_INTERRUPT_STATUS);
	*dev->isr = 0;
	dev->show = window_show;
	window_show(dev);
}

const struct bus_ops virtio_mmio_bus_ops = { .read = mmio_read, .write = mmio_write };

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio.c - what all devices share: status machine, features, config space, kicks, interrupts.
 *
 * Threads and locks: see virtio.h. virtio 1.2: 2.1, 2.2, 2.3, 2.4, 2.5, 3.1.
 */
#include "virtio/virtio.h"

#include <endian.h>
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_ring.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/text.h"

#define BIT(n) (UINT64_C(1) << (n))

/* Offered by every device; the queue code implements them. */
#define RING_FEATURES                                                                              \
	(BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_RING_F_INDIRECT_DESC) | BIT(VIRTIO_RING_F_EVENT_IDX))

/* Steps of the driver in their order (3.1.1); each needs all bits before it. */
static const uint8_t status_order[] = {
	VIRTIO_CONFIG_S_ACKNOWLEDGE,
	VIRTIO_CONFIG_S_DRIVER,
	VIRTIO_CONFIG_S_FEATURES_OK,
	VIRTIO_CONFIG_S_DRIVER_OK,
};

static void kick(struct virtio_queue *queue)
{
	static const uint64_t one = 1;

	/* EAGAIN: the counter is full, so the loop has been told often enough. */
	while (write(queue->kick.fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

/* Let the device work on a queue: it was kicked, or its limits allow more. */
static void run_queue(void *ctx)
{
	struct virtio_queue *queue = ctx;
	struct virtio_dev *dev = queue->dev;
	int ret;

	/* Kicks and timers may come at any time, also after a reset or before DRIVER_OK. */
	if (!virtio_active(dev) || !queue->vq.ready)
		return;
	ret = dev->class->queue_work(dev, (unsigned int)(queue - dev->queue));
	if (ret > 0)
		kick(queue);
	else if (ret < 0)
		virtio_queue_failed(dev, (unsigned int)(queue - dev->queue), ret);
}

/* A queue was kicked: by ioeventfd, by virtio_notify, or by ourselves because work was left. */
static void kicked(void *ctx, uint32_t events)
{
	struct virtio_queue *queue = ctx;

	(void)events;
	/* While the queue has to wait its timer looks after it. */
	if (!throttle_refuses(&queue->throttle))
		run_queue(queue);
}

int virtio_init(struct virtio_dev *dev, const struct virtio_class *class,
		const struct virtio_host *host, uint64_t features, const char *name, struct err *e)
{
	int ret;

	dev->class = class;
	if (!dev->nr_queues)
		dev->nr_queues = class->nr_queues;
	assert(dev->nr_queues <= VIRTIO_QUEUES_MAX);
	dev->host = *host;
	dev->features = features | RING_FEATURES;
	text_print(dev->name, sizeof(dev->name), "%s", name);
	dev->irq.fd = -1;
	dev->isr = &dev->interrupt_status;
	for (unsigned int q = 0; q < VIRTIO_QUEUES_MAX; q++) {
		struct virtio_queue *queue = &dev->queue[q];

		vq_init(&queue->vq, host->mem);
		queue->dev = dev;
		queue->kick = (struct watch){
			.fd = -1,
			.events = EPOLLIN | EPOLLET, /* each kick once: nobody reads the eventfd */
			.fn = kicked,
			.ctx = queue,
			.lock = host->lock,
		};
		queue->direct = -1;
		queue->throttle.timer.watch.fd = -1;
	}
	ret = irq_init(&dev->irq, host->gsi, e);
	for (unsigned int q = 0; !ret && q < dev->nr_queues; q++) {
		struct virtio_queue *queue = &dev->queue[q];
		struct watch *w = &queue->kick;

		w->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		ret = w->fd < 0 ? err_set(e, errno, "eventfd") : loop_add(host->loop, w, e);
		if (!ret)
			ret = throttle_init(&queue->throttle, host->loop, host->lock, run_queue,
					    queue, e);
	}
	if (ret) {
		virtio_fini(dev);
		return err_wrap(e, "%s", dev->name);
	}
	return 0;
}

void virtio_fini(struct virtio_dev *dev)
{
	for (unsigned int q = 0; q < dev->nr_queues; q++) {
		throttle_fini(&dev->queue[q].throttle, dev->host.loop);
		loop_del(dev->host.loop, &dev->queue[q].kick);
		fd_close(&dev->queue[q].kick.fd);
		fd_close(&dev->queue[q].direct);
	}
	irq_fini(&dev->irq);
}

bool virtio_active(const struct virtio_dev *dev)
{
	return (dev->status & (VIRTIO_CONFIG_S_DRIVER_OK | VIRTIO_CONFIG_S_NEEDS_RESET |
			       VIRTIO_CONFIG_S_FAILED)) == VIRTIO_CONFIG_S_DRIVER_OK;
}

bool virtio_has(const struct virtio_dev *dev, unsigned int bit)
{
	return dev->status & VIRTIO_CONFIG_S_FEATURES_OK && dev->driver_features & BIT(bit);
}

static void show(struct virtio_dev *dev)
{
	if (dev->show)
		dev->show(dev);
}

/* The status bit first: the guest's handler looks at it when the edge arrives (4.2.2). */
static void interrupt(struct virtio_dev *dev, uint32_t bit)
{
	__atomic_fetch_or(dev->isr, htole32(bit), __ATOMIC_SEQ_CST);
	if (bit == VIRTIO_MMIO_INT_VRING)
		irq_raise_now(&dev->irq);
	else
		irq_raise(&dev->irq); /* vCPU threads, too */
}

void virtio_interrupt(struct virtio_dev *dev)
{
	metric_inc(&dev->metrics.irq_triggers);
	interrupt(dev, VIRTIO_MMIO_INT_VRING);
}

int virtio_signal(struct virtio_dev *dev, unsigned int q)
{
	struct vq *vq = &dev->queue[q].vq;
	int ret = vq_publish(vq);

	if (ret)
		return ret;
	if (vq_should_notify(vq))
		virtio_interrupt(dev);
	return 0;
}

void virtio_set_limits(struct virtio_dev *dev, unsigned int q, const struct bucket_params *bytes,
		       const struct bucket_params *ops)
{
	/* What waits goes on from the loop, not from inside a request of the API. */
	if (throttle_set(&dev->queue[q].throttle, bytes, ops))
		kick(&dev->queue[q]);
}

void virtio_config_changed(struct virtio_dev *dev)
{
	dev->config_generation++;
	show(dev);
	if (!(dev->status & VIRTIO_CONFIG_S_DRIVER_OK))
		return;
	metric_inc(&dev->metrics.config_updates);
	interrupt(dev, VIRTIO_MMIO_INT_CONFIG);
}

void virtio_fail(struct virtio_dev *dev, const char *why)
{
	/* Once is enough until the driver resets; a guest cannot make us repeat it. */
	if (dev->status & VIRTIO_CONFIG_S_NEEDS_RESET)
		return;
	dev->status |= VIRTIO_CONFIG_S_NEEDS_RESET;
	show(dev);
	metric_inc(&dev->metrics.event_fails);
	log_guest("%s: %s; the device needs a reset", dev->name, why);
	if (dev->status & VIRTIO_CONFIG_S_DRIVER_OK)
		interrupt(dev, VIRTIO_MMIO_INT_CONFIG);
}

void virtio_queue_failed(struct virtio_dev *dev, unsigned int q, int ret)
{
	const char *fault = dev->queue[q].vq.fault;

	virtio_fail(dev, ret == -EBADMSG && fault ? fault : strerror(-ret));
}

void virtio_reset(struct virtio_dev *dev)
{
	if (dev->class->reset)
		dev->class->reset(dev);
	for (unsigned int q = 0; q < dev->nr_queues; q++) {
		vq_reset(&dev->queue[q].vq);
		dev->queue[q].regs = (struct vq_ring){ .size = 0 };
	}
	dev->status = 0;
	dev->driver_features = 0;
	dev->driver_features_bad = false;
	dev->features_sel = 0;
	dev->driver_features_sel = 0;
	dev->queue_sel = 0;
	__atomic_store_n(dev->isr, 0, __ATOMIC_SEQ_CST);
}

/* Whether we can live with what the driver accepted (2.2.2, 6.1). */
static bool features_acceptable(const struct virtio_dev *dev)
{
	uint64_t f = dev->driver_features;

	if (dev->driver_features_bad || f & ~dev->features || !(f & BIT(VIRTIO_F_VERSION_1)))
		return false;
	for (const struct virtio_need *n = dev->class->needs; n && (n->feature || n->needs); n++)
		if (f & BIT(n->feature) && !(f & BIT(n->needs)))
			return false;
	return true;
}

static void activate(struct virtio_dev *dev)
{
	int ret = dev->class->activate ? dev->class->activate(dev) : 0;

	dev->status |= VIRTIO_CONFIG_S_DRIVER_OK;
	if (ret) {
		metric_inc(&dev->metrics.activate_fails);
		virtio_fail(dev, strerror(-ret));
		return;
	}
	/* Devices start their work on the loop; also covers a driver that kicked too early. */
	for (unsigned int q = 0; q < dev->nr_queues; q++)
		kick(&dev->queue[q]);
}

/* Add the one bit @bit if the steps before it are done. */
static int status_step(struct virtio_dev *dev, uint8_t bit)
{
	uint8_t before = 0;

	if (bit == VIRTIO_CONFIG_S_FAILED) {
		dev->status |= bit;
		return 0;
	}
	for (size_t i = 0; i < sizeof(status_order); i++) {
		if (status_order[i] != bit) {
			before |= status_order[i];
			continue;
		}
		/* Also refuses to go on after FAILED or DEVICE_NEEDS_RESET. */
		if (dev->status != before)
			return -EINVAL;
		if (bit == VIRTIO_CONFIG_S_DRIVER_OK) {
			activate(dev);
		} else if (bit != VIRTIO_CONFIG_S_FEATURES_OK || features_acceptable(dev)) {
			dev->status |= bit;
		} else {
			metric_inc(&dev->metrics.activate_fails);
			log_guest("%s: cannot accept features 0x%llx of 0x%llx", dev->name,
				  (unsigned long long)dev->driver_features,
				  (unsigned long long)dev->features);
		}
		return 0;
	}
	return -EINVAL; /* not a bit that drivers set */
}

int virtio_write_status(struct virtio_dev *dev, uint32_t value)
{
	/* The driver may or may not carry our own bit along. */
	uint32_t had = dev->status & ~(uint32_t)VIRTIO_CONFIG_S_NEEDS_RESET;
	uint32_t added;

	if (value == 0) {
		virtio_reset(dev);
		return 0;
	}
	if (dev->status & VIRTIO_CONFIG_S_NEEDS_RESET)
		value &= ~(uint32_t)VIRTIO_CONFIG_S_NEEDS_RESET;
	if (value > UINT8_MAX || had & ~value)
		return -EINVAL;
	added = value & ~had;
	if (added == 0)
		return 0;
	return status_step(dev, (uint8_t)added);
}

int virtio_write_features(struct virtio_dev *dev, uint32_t sel, uint32_t value)
{
	/* Frozen by FEATURES_OK: what activate() saw must stay true. */
	if ((dev->status & (VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK)) !=
	    VIRTIO_CONFIG_S_DRIVER)
		return -EINVAL;
	if (sel == 0)
		dev->driver_features = (dev->driver_features & ~(uint64_t)UINT32_MAX) | value;
	else if (sel == 1)
		dev->driver_features = (dev->driver_features & UINT32_MAX) | (uint64_t)value << 32;
	else if (value)
		dev->driver_features_bad = true;
	return 0;
}

int virtio_queue_enable(struct virtio_dev *dev, struct virtio_queue *queue)
{
	int ret;

	queue->regs.indirect = virtio_has(dev, VIRTIO_RING_F_INDIRECT_DESC);
	queue->regs.event_idx = virtio_has(dev, VIRTIO_RING_F_EVENT_IDX);
	ret = vq_configure(&queue->vq, &queue->regs);
	if (ret)
		virtio_fail(dev, queue->vq.fault);
	return ret;
}

int virtio_notify(struct virtio_dev *dev, uint32_t q)
{
	if (q >= dev->nr_queues)
		return -EINVAL;
	kick(&dev->queue[q]);
	return 0;
}

void virtio_config_read(struct virtio_dev *dev, uint64_t offset, void *data, size_t len)
{
	uint64_t end = dev->class->config_len;

	if (offset >= end)
		return;
	if (len > end - offset)
		len = (size_t)(end - offset);
	memcpy(data, dev->config + offset, len);
}

void virtio_config_write(struct virtio_dev *dev, uint64_t offset, const void *data, size_t len)
{
	if (len == 1 && dev->class->config_write &&
	    dev->class->config_write(dev, offset, *(const uint8_t *)data)) {
		show(dev);
		return;
	}
	metric_inc(&dev->metrics.cfg_fails);
	log_guest("%s: refused a write of %zu bytes to config space at 0x%llx", dev->name, len,
		  (unsigned long long)offset);
}

void virtio_agg_add(struct virtio_agg *agg, uint64_t us)
{
	uint64_t min = metric_get(&agg->min_us);

	if (min == 0 || us < min)
		__atomic_store_n(&agg->min_us.v, us, __ATOMIC_RELAXED);
	if (us > metric_get(&agg->max_us))
		__atomic_store_n(&agg->max_us.v, us, __ATOMIC_RELAXED);
	metric_add(&agg->sum_us, us);
}

uint64_t virtio_now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

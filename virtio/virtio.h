/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio.h - a virtio device: its constants, its state, and what all devices have in common.
 *
 * A device (blk, net) is a static const struct virtio_class plus a struct that embeds a struct
 * virtio_dev. A transport (mmio) turns register accesses into the calls of the second half of this
 * file.
 *
 * Threads: register accesses come on vCPU threads, everything else on the loop thread. Both hold
 * the device's lock (bus_range.lock, watch.lock), so there are no locks here. Only the loop thread
 * touches watches and back ends: a register access changes state and kicks, the rest follows from
 * the kick. virtio 1.2: 2.1 (status), 2.2 (features), 2.3, 2.4 (reset), 2.5 (config space), 3.1.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/irq.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "virtio/queue.h"
#include "virtio/throttle.h"

/* The most queues of one device; each that is not used costs some hundred bytes. */
#define VIRTIO_QUEUES_MAX 9
#define VIRTIO_CONFIG_MAX 64 /* the largest config space we have is blk's */
#define VIRTIO_NAME_MAX	  80 /* "drive " and an id of at most 64 characters */

struct virtio_dev;

/* Feature bit @feature may only be accepted together with @needs (for example 5.1.3.1). */
struct virtio_need {
	uint8_t feature;
	uint8_t needs;
};

/*
 * What kind of device it is: constants and a few callbacks. All callbacks run with the lock held.
 */
struct virtio_class {
	const char *name;		 /* "virtio-blk", for log lines */
	uint32_t device_id;		 /* VIRTIO_ID_* */
	uint16_t nr_queues;		 /* of a device that did not set its own number */
	uint16_t config_len;		 /* bytes in use of VIRTIO_CONFIG_MAX */
	const struct virtio_need *needs; /* ends with a row of two zeroes; NULL: none */

	/*
	 * vCPU thread, DRIVER_OK was just written: note what was negotiated; do no I/O. NULL
	 * allowed. A negative return makes the device need a reset.
	 */
	int (*activate)(struct virtio_dev *dev);

	/* vCPU thread: forget everything in flight; queues are reset by the caller. */
	void (*reset)(struct virtio_dev *dev);

	/*
	 * vCPU thread: the driver writes byte @offset of config space. Returns whether it may;
	 * NULL: never.
	 */
	bool (*config_write)(struct virtio_dev *dev, uint64_t offset, uint8_t v);

	/*
	 * Loop thread: queue @q was kicked and is ready. Do a bounded amount of work.
	 * 0: nothing left and kicks are enabled. 1: more to do, call again after other watches had
	 * their turn. -EBADMSG: the guest broke a rule (vq->fault); any other -errno: the host
	 * failed. Negative makes the device need a reset.
	 */
	int (*queue_work)(struct virtio_dev *dev, unsigned int q);
};

/* What the machine gives to each device. */
struct virtio_host {
	struct loop *loop;
	struct mem *mem;
	unsigned int gsi;
	pthread_mutex_t *lock; /* not owned; also given to bus_add by the machine */
};

/* Counters that every device has; named as in the metrics output where it has them. */
struct virtio_metrics {
	metric_t activate_fails;
	metric_t cfg_fails;	 /* refused config space and register accesses */
	metric_t event_fails;	 /* times the device needed a reset, whoever's fault it was */
	metric_t irq_triggers;	 /* interrupts raised for used buffers */
	metric_t config_updates; /* interrupts raised for configuration changes */
};

/* Latency of one kind of operation: metrics output {min_us, max_us, sum_us}. Loop thread writes. */
struct virtio_agg {
	metric_t min_us;
	metric_t max_us;
	metric_t sum_us;
};

/* A queue with its kick and its limits. A reset of the device does not touch the limits. */
struct virtio_queue {
	struct vq vq;
	struct throttle throttle;
	struct vq_ring regs; /* as the driver writes them, not yet judged */
	struct watch kick;   /* fd: the eventfd, owned */
	int direct;	     /* eventfd for kicks that go past us, owned; -1: they come to .kick */
	struct virtio_dev *dev;
};

/* Embedded in each device. Plain fields: a snapshot will carry them one by one. */
struct virtio_dev {
	const struct virtio_class *class;
	char name[VIRTIO_NAME_MAX];
	struct virtio_host host;
	struct irq irq;
	unsigned int nr_queues; /* 1..VIRTIO_QUEUES_MAX; set before virtio_init, or left to it */
	struct virtio_queue queue[VIRTIO_QUEUES_MAX];
	struct virtio_metrics metrics;

	uint64_t features;	   /* offered, fixed at creation */
	uint64_t driver_features;  /* as the driver writes them; frozen by FEATURES_OK */
	bool driver_features_bad;  /* bits beyond 63 were asked for */
	uint8_t status;		   /* VIRTIO_CONFIG_S_* */
	uint32_t interrupt_status; /* VIRTIO_MMIO_INT_*; here unless the transport shows it */
	uint32_t *isr;		   /* where they are; atomic, little endian */
	uint32_t isr_stays;	   /* bits that an acknowledgement leaves, as they mean nothing */
	uint32_t config_generation;
	uint8_t config[VIRTIO_CONFIG_MAX];

	/* selectors of the mmio transport */
	uint32_t features_sel;
	uint32_t driver_features_sel;
	uint32_t queue_sel;
	uint8_t *window;		      /* what the guest reads without an exit, or NULL */
	void (*show)(struct virtio_dev *dev); /* brings @window up to date */
};

/*
 * virtio_init - common part of a device's create: open the interrupt and the kicks, watch the
 * kicks.
 * @name: for log lines ("drive rootfs"), copied. @features: device features; the ring features and
 * VERSION_1 are added here. Loop thread, build time. On failure nothing stays open.
 */
int virtio_init(struct virtio_dev *dev, const struct virtio_class *class,
		const struct virtio_host *host, uint64_t features, const char *name, struct err *e);

/* virtio_fini - mirror of virtio_init. No vCPU runs any more. */
void virtio_fini(struct virtio_dev *dev);

/* For the machine: what to wire. The fds stay owned by the device. */
static inline unsigned int virtio_nr_queues(const struct virtio_dev *dev)
{
	return dev->nr_queues;
}

/*
 * virtio_kick_fd - eventfd of queue @q, for KVM_IOEVENTFD at QueueNotify (datamatch @q, 4 bytes).
 */
static inline int virtio_kick_fd(const struct virtio_dev *dev, unsigned int q)
{
	const struct virtio_queue *queue = &dev->queue[q];

	return queue->direct >= 0 ? queue->direct : queue->kick.fd;
}

/* virtio_irq - the interrupt, for KVM_IRQFD. */
static inline const struct irq *virtio_irq(const struct virtio_dev *dev)
{
	return &dev->irq;
}

/* ---- for devices (loop thread) ---- */

/* virtio_active - DRIVER_OK, and neither FAILED nor DEVICE_NEEDS_RESET: queues may be used. */
bool virtio_active(const struct virtio_dev *dev);

/* virtio_has - whether feature bit @bit was offered and accepted. */
bool virtio_has(const struct virtio_dev *dev, unsigned int bit);

/*
 * virtio_signal - publish what was completed on queue @q and interrupt the guest if it wants that.
 * 0 or -EBADMSG.
 */
int virtio_signal(struct virtio_dev *dev, unsigned int q);

/*
 * virtio_interrupt - interrupt the guest because buffers were used. Any thread with the lock held.
 */
void virtio_interrupt(struct virtio_dev *dev);

/*
 * virtio_config_changed - the device changed its config space: new generation, interrupt (2.5.1).
 * Loop thread with the lock held.
 */
void virtio_config_changed(struct virtio_dev *dev);

/*
 * virtio_fail - the device cannot go on: DEVICE_NEEDS_RESET, a counter, one rate-limited line, and
 * a configuration interrupt when the driver is running (2.1.2). Any thread with the lock held.
 */
void virtio_fail(struct virtio_dev *dev, const char *why);

/* virtio_queue_failed - virtio_fail for a negative result of work on queue @q. */
void virtio_queue_failed(struct virtio_dev *dev, unsigned int q, int ret);

/*
 * virtio_admit - may one more operation with @nr_bytes of data pass on queue @q? When false, put
 * back what was taken (vq_unpop), leave the kicks disabled and return 0 from queue_work, which is
 * called again when the time has come.
 */
static inline bool virtio_admit(struct virtio_dev *dev, unsigned int q, uint64_t nr_bytes)
{
	struct throttle *t = &dev->queue[q].throttle;

	return !limiter_on(&t->limiter) || throttle_take(t, nr_bytes);
}

/* virtio_idle - queue @q has nothing more to do; from here on its limits save up nothing. */
static inline void virtio_idle(struct virtio_dev *dev, unsigned int q)
{
	if (dev->queue[q].throttle.limiter.waiting)
		limiter_idle(&dev->queue[q].throttle.limiter);
}

/*
 * virtio_set_limits - new, full buckets for queue @q, in force at once; NULL leaves the one there
 * is. Loop thread with the lock held.
 */
void virtio_set_limits(struct virtio_dev *dev, unsigned int q, const struct bucket_params *bytes,
		       const struct bucket_params *ops);

/* virtio_agg_add - one more operation that took @us microseconds. Loop thread. */
void virtio_agg_add(struct virtio_agg *agg, uint64_t us);

/* virtio_now_us - CLOCK_MONOTONIC, for virtio_agg_add. */
uint64_t virtio_now_us(void);

/* ---- for transports (vCPU thread, lock held) ---- */

/*
 * virtio_reset - as after creation (2.4.1): queues stopped, nothing accepted, no interrupt
 * pending.
 */
void virtio_reset(struct virtio_dev *dev);

/*
 * virtio_write_status - the driver writes the status field (2.1, 3.1.1). 0 resets. Otherwise
 * exactly one bit may be added, in the order ACKNOWLEDGE, DRIVER, FEATURES_OK, DRIVER_OK; FAILED
 * at any time. Clearing bits, or any other step, is refused with -EINVAL and changes nothing.
 * FEATURES_OK stays clear (and the call succeeds) when the accepted features are not acceptable
 * (2.2.2).
 */
int virtio_write_status(struct virtio_dev *dev, uint32_t value);

/*
 * virtio_write_features - accept features 32*sel..32*sel+31. Only between DRIVER and FEATURES_OK.
 */
int virtio_write_features(struct virtio_dev *dev, uint32_t sel, uint32_t value);

/*
 * virtio_queue_enable - the driver says that the ring in queue->regs is complete. A ring that
 * breaks a rule makes the device need a reset. 0 or -EINVAL, -EFAULT.
 */
int virtio_queue_enable(struct virtio_dev *dev, struct virtio_queue *queue);

/* virtio_notify - a kick that came as a register write: wake the loop. -EINVAL: no such queue. */
int virtio_notify(struct virtio_dev *dev, uint32_t q);

/*
 * virtio_config_read - bytes of config space; those beyond its end stay as @data had them.
 * @offset and @len are not trusted.
 */
void virtio_config_read(struct virtio_dev *dev, uint64_t offset, void *data, size_t len);

/* virtio_config_write - what the device does not take is counted and ignored. */
void virtio_config_write(struct virtio_dev *dev, uint64_t offset, const void *data, size_t len);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio_rig.h - the guest's side of virtio for unit tests and fuzz targets: RAM, rings, registers,
 * and a loop that runs only when it is told to.
 *
 * RAM has two regions with a hole between them, so that "outside" exists on both sides.
 */
#pragma once

#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_ring.h>
#include <stdbool.h>
#include <stdint.h>

#include "virtio/mmio.h"
#include "virtio/virtio.h"

#define RIG_RAM0_LEN  0x800000ULL  /* 0 .. 8 MiB */
#define RIG_RAM1_BASE 0x1000000ULL /* 16 MiB .. 18 MiB */
#define RIG_RAM1_LEN  0x200000ULL
#define RIG_HOLE      0xc00000ULL

/* Where the rig puts things: rings per queue, indirect tables, small buffers, data. */
#define RIG_RING(q)  (0x10000ULL + 0x10000ULL * (q))
#define RIG_QUEUES   5 /* from the fourth on, rings lie where indirect tables would */
#define RIG_INDIRECT 0x40000ULL
#define RIG_SMALL    0x80000ULL
#define RIG_DATA     0x100000ULL

#define NEXT  VRING_DESC_F_NEXT
#define WRITE VRING_DESC_F_WRITE
#define IND   VRING_DESC_F_INDIRECT

struct rig_queue {
	uint64_t desc, avail, used;
	uint32_t size;
	uint16_t avail_idx; /* as the guest published it */
	uint16_t used_idx;  /* as far as the guest has looked */
};

struct rig {
	struct mem *mem;
	struct loop *loop;
	pthread_mutex_t lock;
	struct virtio_host host;
	struct virtio_dev *dev; /* set by the test */
	struct watch *tap;	/* set by the test for network devices */
	struct rig_queue q[RIG_QUEUES];
};

void rig_init(struct rig *r);
void rig_init_shared(struct rig *r); /* RAM in a memfd */
void rig_fini(struct rig *r);

/* Registers. */
uint32_t rig_read(struct rig *r, uint64_t offset);
void rig_write(struct rig *r, uint64_t offset, uint32_t v);
uint8_t rig_status(struct rig *r);

/*
 * Steps of a driver: rig_boot does them all with queues of @size and all offered features & @mask.
 */
void rig_negotiate(struct rig *r, uint64_t mask);
void rig_setup_queue(struct rig *r, unsigned int q, uint32_t size);
void rig_boot(struct rig *r, uint64_t mask, uint32_t size);
uint64_t rig_features(struct rig *r);

/* Rings. */
void rig_ring(struct rig_queue *q, uint64_t base, uint32_t size);
void rig_desc_at(struct rig *r, uint64_t table, uint32_t i, uint64_t addr, uint32_t len,
		 uint16_t flags, uint16_t next);
void rig_desc(struct rig *r, unsigned int q, uint32_t i, uint64_t addr, uint32_t len,
	      uint16_t flags, uint16_t next);
void rig_offer(struct rig *r, unsigned int q, uint16_t head); /* publishes, does not kick */
void rig_avail_flags(struct rig *r, unsigned int q, uint16_t flags);
void rig_used_event(struct rig *r, unsigned int q, uint16_t v);
void rig_kick(struct rig *r, unsigned int q);

/* The next used element; false when there is none. */
bool rig_used(struct rig *r, unsigned int q, uint32_t *id, uint32_t *len);

/* Call the handlers of all watches that are ready, until none is or @max calls were made. */
int rig_run(struct rig *r, int max);

/* Take the interrupt: whether one was raised; *bits gets InterruptStatus, which is acknowledged. */
bool rig_irq(struct rig *r, uint32_t *bits);

/* Whether the device needs a reset and said so by a configuration interrupt. */
bool rig_failed(struct rig *r);

/* RAM. Aborts when the test itself is wrong. */
void rig_put(struct rig *r, uint64_t addr, const void *buf, size_t len);
void rig_get(struct rig *r, uint64_t addr, void *buf, size_t len);
void rig_put16(struct rig *r, uint64_t addr, uint16_t v);
uint16_t rig_get16(struct rig *r, uint64_t addr);
uint8_t rig_get8(struct rig *r, uint64_t addr);

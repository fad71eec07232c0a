/* SPDX-License-Identifier: Apache-2.0 */
/* Waits for a key, discards sectors 2048 to 10239 of the first virtio device, a disk, by hand, and says how it went. */
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_ring.h>

#include "guest_x86.h"

#define DEVICE 0xc0001000u /* where x86_64 has it, see boot/layout_x86.h */
#define SIZE   4

static struct virtio_blk_outhdr header = { .type = VIRTIO_BLK_T_DISCARD };
static struct virtio_blk_discard_write_zeroes range = { .sector = 2048, .num_sectors = 8192 };
static volatile uint8_t answer = 0xff;
static struct vring_desc desc[SIZE] __attribute__((aligned(16))) = {
	{ .len = sizeof(header), .flags = VRING_DESC_F_NEXT, .next = 1 },
	{ .len = sizeof(range), .flags = VRING_DESC_F_NEXT, .next = 2 },
	{ .len = 1, .flags = VRING_DESC_F_WRITE },
};
static volatile struct {
	uint16_t flags, idx, ring[SIZE], event;
} avail __attribute__((aligned(2)));
static volatile struct {
	uint16_t flags, idx;
	struct vring_used_elem ring[SIZE];
	uint16_t event;
} used __attribute__((aligned(4)));

static void reg_write(uint32_t reg, uint32_t v)
{
	*(volatile uint32_t *)(DEVICE + reg) = v;
}

void guest_main(const struct hvm_start_info *info)
{
	(void)info;
	desc[0].addr = (uint32_t)&header;
	desc[1].addr = (uint32_t)&range;
	desc[2].addr = (uint32_t)&answer;
	reg_write(VIRTIO_MMIO_STATUS, 0);
	reg_write(VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	reg_write(VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
	reg_write(VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
	reg_write(VIRTIO_MMIO_DRIVER_FEATURES, 1u << VIRTIO_BLK_F_DISCARD);
	reg_write(VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
	reg_write(VIRTIO_MMIO_DRIVER_FEATURES, 1u << (VIRTIO_F_VERSION_1 - 32));
	reg_write(VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER |
					      VIRTIO_CONFIG_S_FEATURES_OK);
	reg_write(VIRTIO_MMIO_QUEUE_SEL, 0);
	reg_write(VIRTIO_MMIO_QUEUE_NUM, SIZE);
	reg_write(VIRTIO_MMIO_QUEUE_DESC_LOW, (uint32_t)desc);
	reg_write(VIRTIO_MMIO_QUEUE_AVAIL_LOW, (uint32_t)&avail);
	reg_write(VIRTIO_MMIO_QUEUE_USED_LOW, (uint32_t)&used);
	reg_write(VIRTIO_MMIO_QUEUE_READY, 1);
	reg_write(VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER |
					      VIRTIO_CONFIG_S_FEATURES_OK |
					      VIRTIO_CONFIG_S_DRIVER_OK);
	put("ready\r\n");
	while (!(in8(COM1_LSR) & 1))
		;
	avail.idx = 1;
	__sync_synchronize();
	reg_write(VIRTIO_MMIO_QUEUE_NOTIFY, 0);
	put("asked\r\n");
	while (!used.idx)
		;
	put(answer ? "failed\r\n" : "trimmed\r\n");
}

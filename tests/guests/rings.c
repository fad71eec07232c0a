/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Drives the first virtio device, an interface, by hand: a ring outside RAM, frames outside RAM and good ones, with a reset
 * between them. Says how each ended.
 */
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_ring.h>

#include "guest_x86.h"

#define DEVICE	0xc0001000u /* where x86_64 has it, see boot/layout_x86.h */
#define OUTSIDE 0x20000000u /* the tests give less RAM than that */
#define SIZE	4
#define TX	1

static struct vring_desc desc[SIZE] __attribute__((aligned(16)));
static volatile struct {
	uint16_t flags, idx, ring[SIZE], event;
} avail __attribute__((aligned(2)));
static volatile struct {
	uint16_t flags, idx;
	struct vring_used_elem ring[SIZE];
	uint16_t event;
} used __attribute__((aligned(4)));
static uint8_t frame[12 + 60];

static void reg_write(uint32_t reg, uint32_t v)
{
	*(volatile uint32_t *)(DEVICE + reg) = v;
}

static uint32_t status(void)
{
	return *(volatile uint32_t *)(DEVICE + VIRTIO_MMIO_STATUS);
}

/* From the reset up to a ring that is ready. */
static void begin(uint32_t table)
{
	static const uint8_t steps[] = { 0, VIRTIO_CONFIG_S_ACKNOWLEDGE, VIRTIO_CONFIG_S_DRIVER };
	uint32_t i, bits = 0;

	for (i = 0; i < sizeof(steps); i++)
		reg_write(VIRTIO_MMIO_STATUS, bits |= steps[i]);
	reg_write(VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
	reg_write(VIRTIO_MMIO_DRIVER_FEATURES, 1u << (VIRTIO_F_VERSION_1 - 32));
	reg_write(VIRTIO_MMIO_STATUS, bits | VIRTIO_CONFIG_S_FEATURES_OK);
	avail.idx = used.idx = 0;
	reg_write(VIRTIO_MMIO_QUEUE_SEL, TX);
	reg_write(VIRTIO_MMIO_QUEUE_NUM, SIZE);
	reg_write(VIRTIO_MMIO_QUEUE_DESC_LOW, table);
	reg_write(VIRTIO_MMIO_QUEUE_AVAIL_LOW, (uint32_t)&avail);
	reg_write(VIRTIO_MMIO_QUEUE_USED_LOW, (uint32_t)&used);
	reg_write(VIRTIO_MMIO_QUEUE_READY, 1);
}

static void send(uint32_t addr)
{
	reg_write(VIRTIO_MMIO_STATUS, status() | VIRTIO_CONFIG_S_DRIVER_OK);
	desc[0] = (struct vring_desc){ .addr = addr, .len = sizeof(frame) };
	avail.ring[0] = 0;
	__sync_synchronize();
	avail.idx = 1;
	__sync_synchronize();
	reg_write(VIRTIO_MMIO_QUEUE_NOTIFY, TX);
	while (!used.idx && !(status() & VIRTIO_CONFIG_S_NEEDS_RESET))
		;
	put(used.idx ? "frame sent\r\n" : "frame refused\r\n");
}

void guest_main(const struct hvm_start_info *info)
{
	uint32_t i;

	(void)info;
	begin(OUTSIDE);
	put(status() & VIRTIO_CONFIG_S_NEEDS_RESET ? "ring refused\r\n" : "ring taken\r\n");
	for (i = 0; i < 5; i++) {
		begin((uint32_t)desc);
		send(i % 3 ? (uint32_t)frame : OUTSIDE);
	}
}

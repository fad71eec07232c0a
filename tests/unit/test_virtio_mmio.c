/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_virtio_mmio.c - the register window: status machine, frozen registers, selectors, widths.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_ids.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/byteorder.h"
#include "tests/unit/virtio_rig.h"
#include "virtio/blk.h"

#define ALL UINT64_MAX

static struct rig rig;
static struct rig *const r = &rig;
static struct blk *blk;
static int fd;

static void setup(void)
{
	struct blk_params p = { .id = "disk", .writeback = true };

	rig_init(r);
	fd = memfd_create("disk", MFD_CLOEXEC);
	cr_assert_eq(ftruncate(fd, 1 << 20), 0);
	p.fd = fd;
	cr_assert_eq(blk_create(&blk, &p, &r->host, NULL), 0);
	r->dev = blk_virtio(blk);
}

static void teardown(void)
{
	blk_destroy(blk);
	close(fd);
	rig_fini(r);
}

TestSuite(virtio_mmio, .init = setup, .fini = teardown);

/* Number of accesses that were refused so far. */
static uint64_t nr_refused(void)
{
	return metric_get(&r->dev->metrics.cfg_fails);
}

/* A write that must be refused. */
static void refused(uint64_t offset, uint32_t v)
{
	uint64_t before = nr_refused();

	rig_write(r, offset, v);
	cr_assert_eq(nr_refused(), before + 1, "0x%x to 0x%lx in status 0x%x", v, offset,
		     rig_status(r));
}

static void accepted(uint64_t offset, uint32_t v)
{
	uint64_t before = nr_refused();

	rig_write(r, offset, v);
	cr_assert_eq(nr_refused(), before, "0x%x to 0x%lx in status 0x%x", v, offset,
		     rig_status(r));
}

Test(virtio_mmio, identity)
{
	cr_assert_eq(rig_read(r, VIRTIO_MMIO_MAGIC_VALUE), 0x74726976);
	cr_assert_eq(rig_read(r, VIRTIO_MMIO_VERSION), 2);
	cr_assert_eq(rig_read(r, VIRTIO_MMIO_DEVICE_ID), VIRTIO_ID_BLOCK);
	cr_assert_eq(rig_read(r, VIRTIO_MMIO_VENDOR_ID), 0);
	cr_assert_eq(rig_read(r, VIRTIO_MMIO_CONFIG_GENERATION), 0);
	cr_assert_eq(rig_read(r, VIRTIO_MMIO_QUEUE_NUM_MAX), VQ_SIZE_MAX);
	cr_assert_eq(rig_read(r, VIRTIO_MMIO_SHM_LEN_LOW), UINT32_MAX, "no shared memory region");
	cr_assert_eq(rig_status(r), 0);
}

Test(virtio_mmio, features_by_halves)
{
	uint64_t f = rig_features(r);

	cr_assert(f & 1ULL << VIRTIO_F_VERSION_1);
	cr_assert(f & 1ULL << VIRTIO_RING_F_EVENT_IDX);
	cr_assert(f & 1ULL << VIRTIO_RING_F_INDIRECT_DESC);
	cr_assert(f & 1ULL << VIRTIO_BLK_F_FLUSH);
	cr_assert(f & 1ULL << VIRTIO_BLK_F_SEG_MAX);
	cr_assert_not(f & 1ULL << VIRTIO_BLK_F_RO);
	for (uint32_t sel = 2; sel != 0; sel <<= 1) {
		rig_write(r, VIRTIO_MMIO_DEVICE_FEATURES_SEL, sel);
		cr_assert_eq(rig_read(r, VIRTIO_MMIO_DEVICE_FEATURES), 0, "page %u", sel);
	}
}

Test(virtio_mmio, boots)
{
	rig_boot(r, ALL, 256);
	cr_assert_eq(rig_status(r), 15);
	cr_assert_eq(rig_read(r, VIRTIO_MMIO_QUEUE_READY), 1);
	cr_assert(virtio_active(r->dev));
	cr_assert_eq(nr_refused(), 0);
}

/*
 * Every status value from every legal state: only one step forward, FAILED, or 0 changes anything.
 */
Test(virtio_mmio, status_steps)
{
	static const uint8_t path[] = { 0, 1, 3, 11, 15 };

	for (size_t state = 0; state < sizeof(path); state++)
		for (uint32_t v = 1; v < 256; v++) {
			uint8_t now = path[state];
			uint8_t next = state + 1 < sizeof(path) ? path[state + 1] : now;
			bool ok = v == now || v == next || v == (now | VIRTIO_CONFIG_S_FAILED);

			rig_write(r, VIRTIO_MMIO_STATUS, 0);
			if (state >= 2)
				rig_negotiate(r, state == 2 ? 0 : ALL);
			if (state == 1)
				rig_write(r, VIRTIO_MMIO_STATUS, 1);
			if (state == 4)
				rig_write(r, VIRTIO_MMIO_STATUS, 15);
			cr_assert_eq(rig_status(r), now);
			if (state == 2) { /* let FEATURES_OK succeed */
				rig_write(r, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
				rig_write(r, VIRTIO_MMIO_DRIVER_FEATURES, 1);
			}
			if (ok)
				accepted(VIRTIO_MMIO_STATUS, v);
			else
				refused(VIRTIO_MMIO_STATUS, v);
			cr_assert_eq(rig_status(r), ok ? v : now, "0x%x in status 0x%x", v, now);
		}
}

Test(virtio_mmio, status_beyond_a_byte)
{
	refused(VIRTIO_MMIO_STATUS, 0x101);
	refused(VIRTIO_MMIO_STATUS, 0x100);
	cr_assert_eq(rig_status(r), 0);
}

Test(virtio_mmio, failed_is_final)
{
	rig_boot(r, ALL, 16);
	accepted(VIRTIO_MMIO_STATUS, 15 | VIRTIO_CONFIG_S_FAILED);
	cr_assert_not(virtio_active(r->dev));
	rig_write(r, VIRTIO_MMIO_STATUS, 0);
	accepted(VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_FAILED);
	refused(VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_FAILED | 1);
	rig_write(r, VIRTIO_MMIO_STATUS, 0);
	cr_assert_eq(rig_status(r), 0);
}

Test(virtio_mmio, features_need_version_1)
{
	rig_negotiate(r, ~(1ULL << VIRTIO_F_VERSION_1));
	cr_assert_eq(rig_status(r), 3);
	refused(VIRTIO_MMIO_STATUS, 7);
}

Test(virtio_mmio, features_not_offered)
{
	for (uint32_t bit = 0; bit < 96; bit++) {
		uint64_t offered = rig_features(r);

		if (bit < 64 && offered & 1ULL << bit)
			continue;
		rig_negotiate(r, 0);
		rig_write(r, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
		rig_write(r, VIRTIO_MMIO_DRIVER_FEATURES, 1);
		rig_write(r, VIRTIO_MMIO_DRIVER_FEATURES_SEL, bit / 32);
		rig_write(r, VIRTIO_MMIO_DRIVER_FEATURES, 1U << bit % 32 | (bit / 32 == 1));
		rig_write(r, VIRTIO_MMIO_STATUS, 11);
		cr_assert_eq(rig_status(r), 3, "feature %u", bit);
	}
	rig_boot(r, ALL, 16);
	cr_assert_eq(rig_status(r), 15, "forgotten by the reset");
}

Test(virtio_mmio, features_frozen)
{
	refused(VIRTIO_MMIO_DRIVER_FEATURES, 0);
	rig_write(r, VIRTIO_MMIO_STATUS, 1);
	refused(VIRTIO_MMIO_DRIVER_FEATURES, 0);
	rig_write(r, VIRTIO_MMIO_STATUS, 3);
	accepted(VIRTIO_MMIO_DRIVER_FEATURES, UINT32_MAX);
	cr_assert_not(virtio_has(r->dev, VIRTIO_BLK_F_FLUSH), "not before FEATURES_OK");
	rig_boot(r, ~(1ULL << VIRTIO_BLK_F_FLUSH), 16);
	rig_write(r, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
	refused(VIRTIO_MMIO_DRIVER_FEATURES, UINT32_MAX);
	cr_assert_not(virtio_has(r->dev, VIRTIO_BLK_F_FLUSH));
}

/* Registers of the queue and a value that would be fine at the right time. */
static const uint32_t queue_regs[] = {
	VIRTIO_MMIO_QUEUE_NUM,	     VIRTIO_MMIO_QUEUE_DESC_LOW,   VIRTIO_MMIO_QUEUE_DESC_HIGH,
	VIRTIO_MMIO_QUEUE_AVAIL_LOW, VIRTIO_MMIO_QUEUE_AVAIL_HIGH, VIRTIO_MMIO_QUEUE_USED_LOW,
	VIRTIO_MMIO_QUEUE_USED_HIGH,
};

static void queue_regs_refused(void)
{
	struct vq_ring before = r->dev->queue[0].regs;

	for (size_t i = 0; i < sizeof(queue_regs) / sizeof(queue_regs[0]); i++)
		refused(queue_regs[i], 32);
	cr_assert_eq(memcmp(&before, &r->dev->queue[0].regs, sizeof(before)), 0);
}

Test(virtio_mmio, queue_registers_by_status)
{
	queue_regs_refused();
	refused(VIRTIO_MMIO_QUEUE_READY, 1);
	rig_write(r, VIRTIO_MMIO_STATUS, 1);
	queue_regs_refused();
	rig_write(r, VIRTIO_MMIO_STATUS, 3);
	queue_regs_refused();
	refused(VIRTIO_MMIO_QUEUE_READY, 1);
	cr_assert_eq(rig_status(r), 3, "not even judged");

	rig_negotiate(r, ALL);
	for (size_t i = 0; i < sizeof(queue_regs) / sizeof(queue_regs[0]); i++)
		accepted(queue_regs[i], 0);
	rig_setup_queue(r, 0, 16);
	queue_regs_refused(); /* ready */
	refused(VIRTIO_MMIO_QUEUE_READY, 2);
	cr_assert_eq(rig_read(r, VIRTIO_MMIO_QUEUE_READY), 1);
	accepted(VIRTIO_MMIO_QUEUE_READY, 0);
	for (size_t i = 0; i < sizeof(queue_regs) / sizeof(queue_regs[0]); i++)
		accepted(queue_regs[i], 0);
	rig_setup_queue(r, 0, 16);
	rig_write(r, VIRTIO_MMIO_STATUS, 15);
	queue_regs_refused();

	rig_negotiate(r, ALL);
	rig_setup_queue(r, 0, 16);
	rig_write(r, VIRTIO_MMIO_QUEUE_READY, 0);
	rig_write(r, VIRTIO_MMIO_STATUS, 11 | VIRTIO_CONFIG_S_FAILED);
	queue_regs_refused();
	refused(VIRTIO_MMIO_QUEUE_READY, 1);
}

Test(virtio_mmio, queue_ready_after_driver_ok)
{
	uint64_t events;

	rig_boot(r, ALL, 16);
	events = metric_get(&blk_metrics(blk)->queue_event_count);
	refused(VIRTIO_MMIO_QUEUE_READY, 0);
	cr_assert_eq(rig_read(r, VIRTIO_MMIO_QUEUE_READY), 1);
	accepted(VIRTIO_MMIO_QUEUE_READY, 1);

	/* and a queue that was never set up cannot be added */
	rig_negotiate(r, ALL);
	rig_write(r, VIRTIO_MMIO_STATUS, 15);
	refused(VIRTIO_MMIO_QUEUE_READY, 1);
	queue_regs_refused();

	/* nor worked on */
	rig_kick(r, 0);
	rig_run(r, 16);
	cr_assert_eq(metric_get(&blk_metrics(blk)->queue_event_count), events);
}

Test(virtio_mmio, queue_ready_zero_after_reset)
{
	/* What Linux does when it lets go of a device. */
	rig_boot(r, ALL, 16);
	rig_write(r, VIRTIO_MMIO_STATUS, 0);
	cr_assert_eq(rig_read(r, VIRTIO_MMIO_QUEUE_READY), 0);
	accepted(VIRTIO_MMIO_QUEUE_READY, 0);
	refused(VIRTIO_MMIO_QUEUE_READY, 2);
}

/* Set up queue 0 with one bad value; the device must need a reset and stay stopped. */
static void bad_ring(uint32_t size, uint32_t reg, uint32_t v)
{
	rig_negotiate(r, ALL);
	rig_setup_queue(r, 0, 16);
	rig_write(r, VIRTIO_MMIO_QUEUE_READY, 0);
	rig_write(r, VIRTIO_MMIO_QUEUE_NUM, size);
	if (reg)
		rig_write(r, reg, v);
	refused(VIRTIO_MMIO_QUEUE_READY, 1);
	cr_assert_eq(rig_status(r), 11 | VIRTIO_CONFIG_S_NEEDS_RESET, "size %u, 0x%x = 0x%x", size,
		     reg, v);
	cr_assert_eq(rig_read(r, VIRTIO_MMIO_QUEUE_READY), 0);
	cr_assert_not(rig_irq(r, NULL), "no interrupt before DRIVER_OK");
	refused(VIRTIO_MMIO_STATUS, 15);
	queue_regs_refused();
	refused(VIRTIO_MMIO_QUEUE_READY, 1);
	rig_boot(r, ALL, 16);
	cr_assert_eq(rig_status(r), 15, "works again after a reset");
}

Test(virtio_mmio, bad_rings)
{
	static const uint32_t size[] = {
		0, 3, 255, 257, 512, 65536, 65552, UINT32_MAX, 0x80000000
	};

	for (size_t i = 0; i < sizeof(size) / sizeof(size[0]); i++)
		bad_ring(size[i], 0, 0);
	bad_ring(16, VIRTIO_MMIO_QUEUE_DESC_LOW, 0x10008);
	bad_ring(16, VIRTIO_MMIO_QUEUE_AVAIL_LOW, 0x10001);
	bad_ring(16, VIRTIO_MMIO_QUEUE_USED_LOW, 0x10002);
	bad_ring(16, VIRTIO_MMIO_QUEUE_DESC_LOW, (uint32_t)RIG_HOLE);
	bad_ring(16, VIRTIO_MMIO_QUEUE_AVAIL_LOW, (uint32_t)RIG_HOLE);
	bad_ring(16, VIRTIO_MMIO_QUEUE_USED_LOW, (uint32_t)RIG_HOLE);
	bad_ring(16, VIRTIO_MMIO_QUEUE_DESC_HIGH, 1);
	bad_ring(16, VIRTIO_MMIO_QUEUE_AVAIL_HIGH, 0x80000000);
	bad_ring(16, VIRTIO_MMIO_QUEUE_USED_HIGH, UINT32_MAX);
}

Test(virtio_mmio, failure_after_driver_ok_interrupts)
{
	rig_boot(r, ALL, 16);
	rig_put16(r, r->q[0].avail + 2, 1000);
	rig_kick(r, 0);
	rig_run(r, 16);
	cr_assert(rig_failed(r));
	cr_assert_not(virtio_active(r->dev));
	/* Quiet from now on, whatever is kicked and whatever else goes wrong. */
	virtio_fail(r->dev, "again");
	rig_kick(r, 0);
	rig_run(r, 16);
	cr_assert_not(rig_irq(r, NULL));
	cr_assert_eq(metric_get(&r->dev->metrics.event_fails), 1);
	/* The driver may carry the bit along or not; nothing but a reset helps. */
	accepted(VIRTIO_MMIO_STATUS, 15);
	accepted(VIRTIO_MMIO_STATUS, 15 | VIRTIO_CONFIG_S_NEEDS_RESET);
	cr_assert_eq(rig_status(r), 15 | VIRTIO_CONFIG_S_NEEDS_RESET);
	rig_boot(r, ALL, 16);
	cr_assert(virtio_active(r->dev));
}

Test(virtio_mmio, queue_select_out_of_range)
{
	static const uint32_t sel[] = { 1,	2,	 3,	     255,	 256,
					0xffff, 0x10000, 0x7fffffff, 0x80000000, UINT32_MAX };

	rig_negotiate(r, ALL);
	for (size_t i = 0; i < sizeof(sel) / sizeof(sel[0]); i++) {
		rig_write(r, VIRTIO_MMIO_QUEUE_SEL, sel[i]);
		cr_assert_eq(rig_read(r, VIRTIO_MMIO_QUEUE_NUM_MAX), 0);
		cr_assert_eq(rig_read(r, VIRTIO_MMIO_QUEUE_READY), 0);
		queue_regs_refused();
		refused(VIRTIO_MMIO_QUEUE_READY, 1);
		refused(VIRTIO_MMIO_QUEUE_READY, 0);
	}
}

Test(virtio_mmio, notify)
{
	static const uint32_t q[] = { 1, 2, 0xffff, 0x10000, 0x80000000, UINT32_MAX };

	refused(VIRTIO_MMIO_QUEUE_NOTIFY, 0);
	rig_boot(r, ALL, 16);
	accepted(VIRTIO_MMIO_QUEUE_NOTIFY, 0);
	cr_assert_eq(rig_run(r, 16), 1);
	for (size_t i = 0; i < sizeof(q) / sizeof(q[0]); i++)
		refused(VIRTIO_MMIO_QUEUE_NOTIFY, q[i]);
	cr_assert_eq(rig_run(r, 16), 0);
	cr_assert_eq(rig_status(r), 15);
}

Test(virtio_mmio, kick_before_driver_ok_is_not_lost)
{
	/* An ioeventfd does not know the status. */
	uint64_t one = 1;

	rig_negotiate(r, ALL);
	rig_setup_queue(r, 0, 16);
	rig_desc(r, 0, 0, RIG_SMALL, 16, NEXT, 1);
	rig_desc(r, 0, 1, RIG_SMALL + 16, 1, WRITE, 0);
	rig_put(r, RIG_SMALL, "\4\0\0\0", 4);
	rig_offer(r, 0, 0);
	cr_assert_eq(write(virtio_kick_fd(r->dev, 0), &one, 8), 8);
	rig_run(r, 16);
	cr_assert_not(rig_used(r, 0, NULL, NULL), "nothing happens before DRIVER_OK");
	rig_write(r, VIRTIO_MMIO_STATUS, 15);
	rig_run(r, 16);
	cr_assert(rig_used(r, 0, NULL, NULL));
}

Test(virtio_mmio, interrupt_status)
{
	uint32_t bits;

	rig_boot(r, ALL, 16);
	virtio_config_changed(r->dev);
	cr_assert_eq(rig_read(r, VIRTIO_MMIO_CONFIG_GENERATION), 1);
	cr_assert_eq(rig_read(r, VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_MMIO_INT_CONFIG);
	rig_write(r, VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_INT_VRING);
	cr_assert_eq(rig_read(r, VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_MMIO_INT_CONFIG);
	cr_assert(rig_irq(r, &bits));
	cr_assert_eq(rig_read(r, VIRTIO_MMIO_INTERRUPT_STATUS), 0);
	virtio_config_changed(r->dev);
	rig_write(r, VIRTIO_MMIO_STATUS, 0);
	cr_assert_eq(rig_read(r, VIRTIO_MMIO_INTERRUPT_STATUS), 0, "reset takes it back");
}

/* Whoever interrupts past us cannot set the bit, so no acknowledgement takes it away. */
Test(virtio_mmio, interrupt_status_that_stays)
{
	rig_boot(r, ALL, 16);
	r->dev->isr_stays = *r->dev->isr = VIRTIO_MMIO_INT_VRING;
	virtio_config_changed(r->dev);
	rig_write(r, VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_INT_VRING | VIRTIO_MMIO_INT_CONFIG);
	cr_assert_eq(rig_read(r, VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_MMIO_INT_VRING);
	rig_write(r, VIRTIO_MMIO_STATUS, 0);
	cr_assert_eq(rig_read(r, VIRTIO_MMIO_INTERRUPT_STATUS), 0);
}

Test(virtio_mmio, config_changed_before_driver_ok)
{
	virtio_config_changed(r->dev);
	cr_assert_eq(rig_read(r, VIRTIO_MMIO_CONFIG_GENERATION), 1);
	cr_assert_not(rig_irq(r, NULL));
}

/* Every offset of the window below config space, every width that is not a register access. */
Test(virtio_mmio, widths)
{
	static const size_t len[] = { 1, 2, 4, 8 };

	rig_negotiate(r, ALL);
	for (uint64_t offset = 0; offset < VIRTIO_MMIO_CONFIG; offset++)
		for (size_t i = 0; i < 4; i++) {
			uint8_t data[8];
			uint64_t before = nr_refused();

			if (len[i] == 4 && offset % 4 == 0)
				continue;
			memset(data, 0xff, sizeof(data));
			virtio_mmio_bus_ops.read(r->dev, offset, data, len[i]);
			for (size_t j = 0; j < sizeof(data); j++)
				cr_assert_eq(data[j], 0xff);
			memset(data, 0, sizeof(data));
			virtio_mmio_bus_ops.write(r->dev, offset, data, len[i]);
			cr_assert_eq(nr_refused(), before + 2);
			cr_assert_eq(rig_status(r), 11);
		}
}

/* All aligned registers, all states: reads and writes of anything leave us alive and consistent. */
Test(virtio_mmio, unknown_registers)
{
	for (uint64_t offset = 0; offset < VIRTIO_MMIO_CONFIG; offset += 4)
		rig_read(r, offset);
	refused(0x0c, 1);
	refused(0x4c, 1);
	refused(0xc0, 1); /* QueueReset */
	refused(0xf8, 1);
	cr_assert_eq(rig_read(r, 0xf8), UINT32_MAX);
	refused(VIRTIO_MMIO_MAGIC_VALUE, 0);
	refused(VIRTIO_MMIO_QUEUE_NUM_MAX, 0);
	refused(VIRTIO_MMIO_INTERRUPT_STATUS, 0);
	cr_assert_eq(rig_read(r, VIRTIO_MMIO_QUEUE_NUM), UINT32_MAX, "write-only");
}

Test(virtio_mmio, config_space)
{
	static const size_t len[] = { 1, 2, 4, 8 };
	static const uint64_t end = offsetof(struct virtio_blk_config, max_secure_erase_sectors);
	uint8_t truth[VIRTIO_CONFIG_MAX];

	memcpy(truth, r->dev->config, sizeof(truth));
	cr_assert_eq(le64_get(truth), 2048, "capacity");
	/* Behind the end of what this device has: never answered, whatever lies there. */
	memset(r->dev->config + end, 0x55, sizeof(truth) - end);
	for (uint64_t offset = 0; offset < VIRTIO_MMIO_LEN - VIRTIO_MMIO_CONFIG; offset++)
		for (size_t i = 0; i < 4; i++) {
			uint8_t data[8];

			memset(data, 0xff, sizeof(data));
			virtio_mmio_bus_ops.read(r->dev, VIRTIO_MMIO_CONFIG + offset, data, len[i]);
			for (size_t j = 0; j < sizeof(data); j++)
				cr_assert_eq(data[j],
					     j < len[i] && offset + j < end ? truth[offset + j] :
									      0xff,
					     "offset %lu + %zu, width %zu", offset, j, len[i]);
		}
}

Test(virtio_mmio, config_space_is_read_only)
{
	static const size_t len[] = { 1, 2, 4, 8 };
	uint8_t truth[VIRTIO_CONFIG_MAX], junk[8];

	memcpy(truth, r->dev->config, sizeof(truth));
	memset(junk, 0xaa, sizeof(junk));
	for (uint64_t offset = 0; offset < 0x100; offset++)
		for (size_t i = 0; i < 4; i++) {
			uint64_t before = nr_refused();

			virtio_mmio_bus_ops.write(r->dev, VIRTIO_MMIO_CONFIG + offset, junk,
						  len[i]);
			cr_assert_eq(nr_refused(), before + 1);
		}
	cr_assert_eq(memcmp(truth, r->dev->config, sizeof(truth)), 0);
}

Test(virtio_mmio, reset_forgets_everything)
{
	rig_boot(r, ALL, 16);
	rig_desc(r, 0, 0, RIG_HOLE, 1, 0, 0);
	rig_offer(r, 0, 0);
	rig_kick(r, 0);
	rig_write(r, VIRTIO_MMIO_QUEUE_SEL, 7);
	rig_write(r, VIRTIO_MMIO_STATUS, 0); /* the kick is still pending */
	rig_run(r, 16);
	cr_assert_eq(rig_status(r), 0);
	cr_assert_not(rig_irq(r, NULL));
	cr_assert_eq(rig_read(r, VIRTIO_MMIO_QUEUE_READY), 0);
	cr_assert_eq(rig_read(r, VIRTIO_MMIO_QUEUE_NUM_MAX), VQ_SIZE_MAX);
	cr_assert_eq(r->dev->driver_features, 0);
	cr_assert_eq(r->dev->queue[0].regs.desc.v, 0);
	for (int i = 0; i < 100; i++) {
		rig_boot(r, ALL, 16);
		cr_assert_eq(rig_status(r), 15);
	}
}

/* What a guest reads in the window is what an access to the register would answer. */
static void same(const uint8_t *window, const char *when)
{
	for (uint64_t offset = 0; offset < VIRTIO_MMIO_CONFIG + VIRTIO_CONFIG_MAX; offset += 4)
		cr_assert_eq(le32_get(window + offset), rig_read(r, offset), "0x%lx, %s", offset,
			     when);
}

Test(virtio_mmio, window)
{
	static _Alignas(4) uint8_t window[VIRTIO_MMIO_LEN];

	virtio_mmio_show_at(r->dev, window);
	same(window, "at first");
	rig_write(r, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
	same(window, "selected");
	cr_assert_eq(le32_get(window + VIRTIO_MMIO_DEVICE_FEATURES), 1);
	rig_write(r, VIRTIO_MMIO_QUEUE_SEL, 9);
	same(window, "no such queue");
	rig_boot(r, ALL, 16);
	same(window, "running");
	cr_assert_eq(le32_get(window + VIRTIO_MMIO_STATUS), 15);
	rig_desc(r, 0, 0, RIG_HOLE, 1, 0, 0);
	rig_offer(r, 0, 0);
	rig_kick(r, 0);
	rig_run(r, 16);
	same(window, "failed");
	cr_assert(le32_get(window + VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET);
	cr_assert_eq(le32_get(window + VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_MMIO_INT_CONFIG);
	rig_write(r, VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_INT_CONFIG);
	same(window, "acknowledged");
	r->dev->config[0]++;
	virtio_config_changed(r->dev);
	same(window, "config changed");
	cr_assert_eq(window[VIRTIO_MMIO_CONFIG], r->dev->config[0]);
	rig_write(r, VIRTIO_MMIO_STATUS, 0);
	same(window, "reset");
	cr_assert_eq(le32_get(window + VIRTIO_MMIO_INTERRUPT_STATUS), 0);
	/* the rest answers as registers that do not exist */
	for (size_t i = VIRTIO_MMIO_CONFIG + r->dev->class->config_len; i < sizeof(window); i++)
		cr_assert_eq(window[i], 0xff);
}

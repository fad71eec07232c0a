/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_virtio_blk.c - disk requests over a real file: what good ones of any shape move and answer,
 * what bad ones are told, and the configuration space. virtio 1.2, 5.2.4 and 5.2.6.
 */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/byteorder.h"
#include "tests/unit/blk_rig.h"

TestSuite(virtio_blk, .init = blk_rig_setup, .fini = blk_rig_teardown);

Test(virtio_blk, identity)
{
	cr_assert_eq(blk_nr_sectors(blk), NR_SECTORS);
	cr_assert_eq(le64_get(r->dev->config), NR_SECTORS);
	cr_assert_eq(le32_get(r->dev->config + 12), 254, "seg_max");
}

Test(virtio_blk, read_a_sector)
{
	uint32_t used;

	cr_assert_eq(request(VIRTIO_BLK_T_IN, 5, 512, &used), VIRTIO_BLK_S_OK);
	cr_assert_eq(used, 513);
	cr_assert_eq(rig_get8(r, RIG_DATA), 6);
	cr_assert_eq(rig_get8(r, RIG_DATA + 511), 6);
	cr_assert_eq(rig_get8(r, RIG_DATA + 512), 0);
	cr_assert_eq(metric_get(&blk_metrics(blk)->read_count), 1);
	cr_assert_eq(metric_get(&blk_metrics(blk)->read_bytes), 512);
	cr_assert(rig_irq(r, NULL));
}

Test(virtio_blk, write_a_sector)
{
	uint8_t data[512];
	uint32_t used;

	memset(data, 0xab, sizeof(data));
	rig_put(r, RIG_DATA, data, sizeof(data));
	cr_assert_eq(request(VIRTIO_BLK_T_OUT, 7, 512, &used), VIRTIO_BLK_S_OK);
	cr_assert_eq(used, 1);
	cr_assert_eq(file_byte(7 * 512 - 1), 7);
	cr_assert_eq(file_byte(7 * 512), 0xab);
	cr_assert_eq(file_byte(8 * 512 - 1), 0xab);
	cr_assert_eq(file_byte(8 * 512), 9);
	cr_assert_eq(metric_get(&blk_metrics(blk)->write_bytes), 512);
}

Test(virtio_blk, whole_disk_in_one_request)
{
	cr_assert_eq(request(VIRTIO_BLK_T_IN, 0, NR_SECTORS * 512, NULL), VIRTIO_BLK_S_OK);
	cr_assert_eq(rig_get8(r, RIG_DATA + NR_SECTORS * 512 - 1), NR_SECTORS);
}

Test(virtio_blk, odd_segments)
{
	/*
	 * 1 + 1000 + 23 bytes are two sectors; header and status in pieces, status with data
	 * (5.2.6).
	 */
	header(VIRTIO_BLK_T_IN, 10);
	rig_desc(r, 0, 0, RIG_SMALL, 3, NEXT, 1);
	rig_desc(r, 0, 1, RIG_SMALL + 3, 13, NEXT, 2);
	rig_desc(r, 0, 2, RIG_DATA, 1, NEXT | WRITE, 3);
	rig_desc(r, 0, 3, RIG_DATA + 0x1000, 1000, NEXT | WRITE, 4);
	rig_desc(r, 0, 4, STATUS - 23, 24, WRITE, 0);
	cr_assert_eq(run(NULL), VIRTIO_BLK_S_OK);
	cr_assert_eq(rig_get8(r, RIG_DATA), 11);
	cr_assert_eq(rig_get8(r, RIG_DATA + 1), 0);
	cr_assert_eq(rig_get8(r, RIG_DATA + 0x1000 + 510), 11);
	cr_assert_eq(rig_get8(r, RIG_DATA + 0x1000 + 511), 12);
	cr_assert_eq(rig_get8(r, STATUS - 1), 12);
}

Test(virtio_blk, indirect)
{
	header(VIRTIO_BLK_T_IN, 1);
	rig_desc(r, 0, 0, RIG_INDIRECT, 48, IND, 0);
	rig_desc_at(r, RIG_INDIRECT, 0, RIG_SMALL, 16, NEXT, 1);
	rig_desc_at(r, RIG_INDIRECT, 1, RIG_DATA, 1024, NEXT | WRITE, 2);
	rig_desc_at(r, RIG_INDIRECT, 2, STATUS, 1, WRITE, 0);
	cr_assert_eq(run(NULL), VIRTIO_BLK_S_OK);
	cr_assert_eq(rig_get8(r, RIG_DATA + 1023), 3);
}

Test(virtio_blk, indirect_not_accepted)
{
	rig_boot(r, ~(1ULL << VIRTIO_RING_F_INDIRECT_DESC), 16);
	header(VIRTIO_BLK_T_IN, 1);
	rig_desc(r, 0, 0, RIG_INDIRECT, 48, IND, 0);
	rig_desc_at(r, RIG_INDIRECT, 0, RIG_SMALL, 16, NEXT, 1);
	rig_desc_at(r, RIG_INDIRECT, 1, RIG_DATA, 513, WRITE, 0);
	rig_offer(r, 0, 0);
	rig_kick(r, 0);
	rig_run(r, 100);
	cr_assert(rig_failed(r));
}

/* Sector and length at and behind the end. */
static const struct {
	uint64_t sector;
	uint32_t len;
	uint8_t status;
} bounds[] = {
	{ NR_SECTORS - 1, 512, VIRTIO_BLK_S_OK },
	{ NR_SECTORS - 1, 1024, VIRTIO_BLK_S_IOERR },
	{ NR_SECTORS, 512, VIRTIO_BLK_S_IOERR },
	{ NR_SECTORS + 1, 512, VIRTIO_BLK_S_IOERR },
	{ 0, (NR_SECTORS + 1) * 512, VIRTIO_BLK_S_IOERR },
	{ UINT64_MAX, 512, VIRTIO_BLK_S_IOERR },
	{ UINT64_MAX, 1024, VIRTIO_BLK_S_IOERR },
	{ UINT64_MAX / 512, 512, VIRTIO_BLK_S_IOERR },
	{ UINT64_MAX / 512 + 1, 512, VIRTIO_BLK_S_IOERR }, /* times 512 wraps to 0 */
	{ 1ULL << 63, 512, VIRTIO_BLK_S_IOERR },
	{ 0, 511, VIRTIO_BLK_S_IOERR },
	{ 0, 513, VIRTIO_BLK_S_IOERR },
	{ 0, 1, VIRTIO_BLK_S_IOERR },
};

Test(virtio_blk, bounds)
{
	for (size_t i = 0; i < sizeof(bounds) / sizeof(bounds[0]); i++)
		for (uint32_t type = VIRTIO_BLK_T_IN; type <= VIRTIO_BLK_T_OUT; type++) {
			struct stat st;

			cr_assert_eq(request(type, bounds[i].sector, bounds[i].len, NULL),
				     bounds[i].status, "sector %lu, %u bytes", bounds[i].sector,
				     bounds[i].len);
			cr_assert_eq(fstat(fd, &st), 0);
			cr_assert_eq(st.st_size, NR_SECTORS * 512, "the file must not grow");
		}
	cr_assert_eq(file_byte(0), 1, "a wrapped offset wrote to the start");
	cr_assert_eq(rig_status(r), 15, "errors of requests do not stop the device");
}

/* N buffers of one sector at the last sector: each fits, all together do not. */
Test(virtio_blk, cumulative_length)
{
	for (uint16_t n = 1; n <= 8; n++)
		for (uint32_t type = VIRTIO_BLK_T_IN; type <= VIRTIO_BLK_T_OUT; type++) {
			uint16_t dir = type == VIRTIO_BLK_T_OUT ? 0 : WRITE;
			struct stat st;

			header(type, NR_SECTORS - 1);
			rig_desc(r, 0, 0, RIG_SMALL, 16, NEXT, 1);
			for (uint16_t i = 1; i <= n; i++)
				rig_desc(r, 0, i, RIG_DATA + 512ULL * i, 512, dir | NEXT,
					 (uint16_t)(i + 1));
			rig_desc(r, 0, n + 1u, STATUS, 1, WRITE, 0);
			cr_assert_eq(run(NULL), n == 1 ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR);
			cr_assert_eq(fstat(fd, &st), 0);
			cr_assert_eq(st.st_size, NR_SECTORS * 512);
		}
}

Test(virtio_blk, error_length)
{
	uint32_t used;

	request(VIRTIO_BLK_T_IN, NR_SECTORS, 512, &used);
	cr_assert_eq(used, 0, "nothing was written before the status");
	request(VIRTIO_BLK_T_OUT, NR_SECTORS, 512, &used);
	cr_assert_eq(used, 1);
	cr_assert_eq(metric_get(&blk_metrics(blk)->execute_fails), 2);
}

Test(virtio_blk, empty_data)
{
	cr_assert_eq(request(VIRTIO_BLK_T_IN, 0, 0, NULL), VIRTIO_BLK_S_OK);
	cr_assert_eq(request(VIRTIO_BLK_T_OUT, NR_SECTORS, 0, NULL), VIRTIO_BLK_S_OK);
	cr_assert_eq(request(VIRTIO_BLK_T_OUT, NR_SECTORS + 1, 0, NULL), VIRTIO_BLK_S_IOERR);
}

Test(virtio_blk, read_only)
{
	disk(true, true, NULL);
	cr_assert(rig_features(r) & 1ULL << VIRTIO_BLK_F_RO);
	cr_assert_eq(request(VIRTIO_BLK_T_OUT, 3, 512, NULL), VIRTIO_BLK_S_IOERR);
	cr_assert_eq(file_byte(3 * 512), 4);
	cr_assert_eq(request(VIRTIO_BLK_T_IN, 3, 512, NULL), VIRTIO_BLK_S_OK);
	/* also for a driver that did not accept the feature */
	rig_boot(r, ~(1ULL << VIRTIO_BLK_F_RO), 16);
	cr_assert_eq(request(VIRTIO_BLK_T_OUT, 3, 512, NULL), VIRTIO_BLK_S_IOERR);
	cr_assert_eq(file_byte(3 * 512), 4);
}

Test(virtio_blk, flush)
{
	cr_assert_eq(request(VIRTIO_BLK_T_FLUSH, 0, 0, NULL), VIRTIO_BLK_S_OK);
	cr_assert_eq(metric_get(&blk_metrics(blk)->flush_count), 1);
	disk(false, false, NULL);
	cr_assert_not(rig_features(r) & 1ULL << VIRTIO_BLK_F_FLUSH);
	cr_assert_eq(request(VIRTIO_BLK_T_FLUSH, 0, 0, NULL), VIRTIO_BLK_S_UNSUPP);
}

Test(virtio_blk, get_id)
{
	char id[64] = "", want[64];
	uint32_t used;
	struct stat st;

	cr_assert_eq(fstat(fd, &st), 0);
	snprintf(want, sizeof(want), "%lu%lu%lu", st.st_dev, st.st_rdev, st.st_ino);
	want[BLK_ID_LEN] = 0;
	cr_assert_eq(request(VIRTIO_BLK_T_GET_ID, 0, BLK_ID_LEN, &used), VIRTIO_BLK_S_OK);
	cr_assert_eq(used, BLK_ID_LEN + 1);
	rig_get(r, RIG_DATA, id, BLK_ID_LEN);
	cr_assert_str_eq(id, want);

	disk(false, false, "a serial that is longer than twenty bytes");
	cr_assert_eq(request(VIRTIO_BLK_T_GET_ID, 0, 40, &used), VIRTIO_BLK_S_OK);
	cr_assert_eq(used, BLK_ID_LEN, "the status is not next to the id");
	rig_get(r, RIG_DATA, id, 40);
	cr_assert_eq(memcmp(id, "a serial that is lon\0\0", 22), 0);
	disk(false, false, "short");
	cr_assert_eq(request(VIRTIO_BLK_T_GET_ID, 0, 3, &used), VIRTIO_BLK_S_OK);
	cr_assert_eq(used, 4);
	cr_assert_eq(request(VIRTIO_BLK_T_GET_ID, 0, 0, NULL), VIRTIO_BLK_S_OK);
}

Test(virtio_blk, unsupported)
{
	static const uint32_t type[] = { 2, 3, 5, 9, 10, 12, 14, 15, 0x80000000, UINT32_MAX };

	for (size_t i = 0; i < sizeof(type) / sizeof(type[0]); i++)
		cr_assert_eq(request(type[i], 0, 512, NULL), VIRTIO_BLK_S_UNSUPP, "type %u",
			     type[i]);
	cr_assert_eq(rig_get8(r, RIG_DATA), 0);
	cr_assert_eq(file_byte(0), 1);
}

static void breaks_device(void)
{
	rig_offer(r, 0, 0);
	rig_kick(r, 0);
	rig_run(r, 100);
	cr_assert(rig_failed(r));
	cr_assert_eq(metric_get(&blk_metrics(blk)->invalid_reqs_count), 1);
	cr_assert_eq(file_byte(0), 1);
}

Test(virtio_blk, short_header)
{
	header(VIRTIO_BLK_T_IN, 0);
	rig_desc(r, 0, 0, RIG_SMALL, 15, NEXT, 1);
	rig_desc(r, 0, 1, RIG_DATA, 513, WRITE, 0);
	breaks_device();
}

Test(virtio_blk, no_header)
{
	rig_desc(r, 0, 0, RIG_DATA, 513, WRITE, 0);
	breaks_device();
}

Test(virtio_blk, status_in_read_only_descriptor)
{
	header(VIRTIO_BLK_T_OUT, 0);
	rig_desc(r, 0, 0, RIG_SMALL, 16, NEXT, 1);
	rig_desc(r, 0, 1, RIG_DATA, 512, NEXT, 2);
	rig_desc(r, 0, 2, STATUS, 1, 0, 0);
	breaks_device();
}

Test(virtio_blk, what_was_done_before_a_broken_ring_counts)
{
	header(VIRTIO_BLK_T_IN, 0);
	rig_desc(r, 0, 0, RIG_SMALL, 16, NEXT, 1);
	rig_desc(r, 0, 1, RIG_DATA, 513, WRITE, 0);
	rig_desc(r, 0, 2, RIG_HOLE, 16, 0, 0);
	rig_offer(r, 0, 0);
	rig_offer(r, 0, 2);
	rig_kick(r, 0);
	rig_run(r, 100);
	cr_assert(rig_failed(r));
	cr_assert(rig_used(r, 0, NULL, NULL));
	cr_assert_not(rig_used(r, 0, NULL, NULL));
}

/* Config space: what is offered, and that it fits the file. */
Test(virtio_blk, limits)
{
	const struct virtio_blk_config *c = (const void *)r->dev->config;
	struct stat st;

	cr_assert_eq(fstat(fd, &st), 0);
	cr_assert_eq(c->blk_size, 512);
	cr_assert_eq(512 << c->physical_block_exp, st.st_blksize);
	cr_assert_eq(c->min_io_size * 512, st.st_blksize);
	cr_assert_eq(c->alignment_offset, 0);
	cr_assert_eq(c->wce, 1);
	cr_assert_eq(c->num_queues, 1);
	cr_assert_gt(c->max_discard_sectors, 0);
	cr_assert_gt(c->max_discard_seg, 0);
	cr_assert_gt(c->max_write_zeroes_sectors, 0);
	cr_assert_eq(c->write_zeroes_may_unmap, 1);
	cr_assert_eq(rig_features(r) & 0x7fff, 0x6e44,
		     "SEG_MAX, BLK_SIZE, FLUSH, TOPOLOGY, CONFIG_WCE, DISCARD, WRITE_ZEROES");
	disk(true, false, NULL);
	cr_assert_eq(rig_features(r) & 0x7fff, 0x0464, "SEG_MAX, RO, BLK_SIZE, TOPOLOGY");
}

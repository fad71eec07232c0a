/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_virtio_blk_file.c - a disk's file that is cut, refuses, fails or does less than it was asked,
 * and writes that go through its cache. virtio 1.2, 5.2.5.2.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/blk_rig.h"

TestSuite(virtio_blk_file, .init = blk_rig_setup, .fini = blk_rig_teardown);

Test(virtio_blk_file, file_cut_under_us)
{
	cr_assert_eq(ftruncate(fd, 10 * 512 + 100), 0);
	cr_assert_eq(request(VIRTIO_BLK_T_IN, 9, 512, NULL), VIRTIO_BLK_S_OK);
	cr_assert_eq(request(VIRTIO_BLK_T_IN, 9, 1024, NULL), VIRTIO_BLK_S_IOERR);
	cr_assert_eq(request(VIRTIO_BLK_T_IN, 20, 512, NULL), VIRTIO_BLK_S_IOERR);
	cr_assert_eq(rig_status(r), 15);
}

Test(virtio_blk_file, host_refuses_writes)
{
	int rw = fd;

	fd = open("/proc/self/exe", O_RDONLY);
	disk(false, true, NULL);
	cr_assert_eq(request(VIRTIO_BLK_T_OUT, 0, 512, NULL), VIRTIO_BLK_S_IOERR);
	cr_assert_eq(metric_get(&blk_metrics(blk)->execute_fails), 1);
	cr_assert_eq(rig_status(r), 15);
	close(rw);
}

/* Short transfers that end inside of buffers, and a signal in between. */
Test(virtio_blk_file, short_and_interrupted_transfers)
{
	uint8_t data[2048], got[2048];

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i / 3);
	for (uint32_t type = VIRTIO_BLK_T_IN; type <= VIRTIO_BLK_T_OUT; type++) {
		uint16_t dir = (uint16_t)(type == VIRTIO_BLK_T_OUT ? NEXT : NEXT | WRITE);

		/* four buffers, apart from each other */
		for (uint32_t i = 0; i < 4; i++) {
			if (type == VIRTIO_BLK_T_OUT)
				rig_put(r, RIG_DATA + 4096 * i, data + 512 * i, 512);
			rig_desc(r, 0, 1 + i, RIG_DATA + 4096 * i, 512, dir, (uint16_t)(i + 2));
		}
		if (type == VIRTIO_BLK_T_IN)
			cr_assert_eq(pwrite(fd, data, sizeof(data), 20 * 512), sizeof(data));
		header(type, 20 + 4 * type);
		rig_desc(r, 0, 0, RIG_SMALL, 16, NEXT, 1);
		rig_desc(r, 0, 5, STATUS, 1, WRITE, 0);
		host = (struct host){ .max = 300, .err = EINTR };
		cr_assert_eq(run(NULL), VIRTIO_BLK_S_OK);
		cr_assert_eq(host.nr_calls, 16,
			     "300 and 212 of each buffer, each at the second try");
		for (uint32_t i = 0; type == VIRTIO_BLK_T_IN && i < 4; i++)
			rig_get(r, RIG_DATA + 4096 * i, got + 512 * i, 512);
		if (type == VIRTIO_BLK_T_OUT)
			cr_assert_eq(pread(fd, got, sizeof(got), 24 * 512), sizeof(got));
		cr_assert_eq(memcmp(got, data, sizeof(got)), 0);
	}
}

Test(virtio_blk_file, host_errors)
{
	static const int err[] = { EIO, ENOSPC, EAGAIN, EBADF };

	for (size_t i = 0; i < sizeof(err) / sizeof(err[0]); i++)
		for (uint32_t type = VIRTIO_BLK_T_IN; type <= VIRTIO_BLK_T_OUT; type++) {
			host = (struct host){ .err = err[i] };
			cr_assert_eq(request(type, 0, 512, NULL), VIRTIO_BLK_S_IOERR);
			cr_assert_eq(host.nr_calls, 1, "no retry");
			host = (struct host){ .err = 0 };
			cr_assert_eq(request(type, 0, 512, NULL), VIRTIO_BLK_S_OK);
		}
	cr_assert_eq(rig_status(r), 15);
}

Test(virtio_blk_file, partial_last_sector_is_not_visible)
{
	cr_assert_eq(ftruncate(fd, 10 * 512 + 511), 0);
	disk(false, true, NULL);
	cr_assert_eq(blk_nr_sectors(blk), 10);
	cr_assert_eq(request(VIRTIO_BLK_T_IN, 10, 512, NULL), VIRTIO_BLK_S_IOERR);
}

Test(virtio_blk_file, refuses_what_is_no_disk)
{
	struct blk_params p = { .id = "disk", .fd = open("/dev/null", O_RDWR) };
	struct blk *other = NULL;
	struct err e;

	cr_assert_eq(blk_create(&other, &p, &r->host, &e), -EINVAL);
	cr_assert_not_null(strstr(e.msg, "drive disk"));
	close(p.fd);
	p.fd = -1;
	cr_assert_eq(blk_create(&other, &p, &r->host, &e), -EBADF);
	cr_assert_null(other);
	blk_destroy(NULL);
}

/* The driver turns the cache off and on; only where that was offered and accepted. */
Test(virtio_blk_file, write_cache)
{
	const uint64_t wce = VIRTIO_MMIO_CONFIG + 32;
	uint8_t off = 0, two = 2;

	virtio_mmio_bus_ops.write(r->dev, wce, &two, 1);
	cr_assert_eq(r->dev->config[32], 1);
	virtio_mmio_bus_ops.write(r->dev, wce + 1, &off, 1);
	virtio_mmio_bus_ops.write(r->dev, wce, &off, 1);
	cr_assert_eq(r->dev->config[32], 0);
	cr_assert_eq(metric_get(&r->dev->metrics.cfg_fails), 2);
	cr_assert_eq(request(VIRTIO_BLK_T_OUT, 0, 512, NULL), VIRTIO_BLK_S_OK);
	cr_assert_eq(file_byte(0), 0);
	rig_boot(r, ~(1ULL << VIRTIO_BLK_F_CONFIG_WCE), 16);
	cr_assert_eq(r->dev->config[32], 1, "a reset turns it on");
	virtio_mmio_bus_ops.write(r->dev, wce, &off, 1);
	cr_assert_eq(r->dev->config[32], 1);
}

/* Writes that go through reach pwritev2 with RWF_DSYNC: what our pwritev does not see. */
Test(virtio_blk_file, writes_through)
{
	uint8_t off = 0;

	host = (struct host){ .err = EIO };
	virtio_mmio_bus_ops.write(r->dev, VIRTIO_MMIO_CONFIG + 32, &off, 1);
	cr_assert_eq(request(VIRTIO_BLK_T_OUT, 0, 512, NULL), VIRTIO_BLK_S_OK);
	rig_boot(r, ~(1ULL << VIRTIO_BLK_F_CONFIG_WCE | 1ULL << VIRTIO_BLK_F_FLUSH), 16);
	cr_assert_eq(request(VIRTIO_BLK_T_OUT, 0, 512, NULL), VIRTIO_BLK_S_OK);
	rig_boot(r, ~(1ULL << VIRTIO_BLK_F_CONFIG_WCE), 16);
	cr_assert_eq(request(VIRTIO_BLK_T_OUT, 0, 512, NULL), VIRTIO_BLK_S_IOERR);
	/* who chose Unsafe does not pay for it */
	disk(false, false, NULL);
	host = (struct host){ .err = EIO };
	cr_assert_eq(request(VIRTIO_BLK_T_OUT, 0, 512, NULL), VIRTIO_BLK_S_IOERR);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_virtio_blk.c - disk requests over a real file, good ones and bad ones.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/byteorder.h"
#include "tests/unit/virtio_rig.h"
#include "virtio/blk.h"

#define ALL	   UINT64_MAX
#define NR_SECTORS 64u
#define STATUS	   (RIG_SMALL + 0x100)
#define UNTOUCHED  0x77

/*
 * The host's side of a transfer: these take the place of libc's functions in this program. With err
 * every other call fails, starting with the first; no call moves more than max bytes (0: no limit).
 */
static struct host {
	int err;
	size_t max;
	int nr_calls;
} host;

static ssize_t transfer(long nr, int to, const struct iovec *iov, int nr_iov, off_t offset)
{
	struct iovec first = iov[0];

	if (host.err && host.nr_calls++ % 2 == 0) {
		errno = host.err;
		return -1;
	}
	if (!host.max)
		return syscall(nr, to, iov, nr_iov, offset, 0);
	if (first.iov_len > host.max)
		first.iov_len = host.max;
	return syscall(nr, to, &first, 1, offset, 0);
}

ssize_t preadv(int from, const struct iovec *iov, int nr_iov, off_t offset)
{
	return transfer(SYS_preadv, from, iov, nr_iov, offset);
}

ssize_t pwritev(int to, const struct iovec *iov, int nr_iov, off_t offset)
{
	return transfer(SYS_pwritev, to, iov, nr_iov, offset);
}

static struct rig rig;
static struct rig *const r = &rig;
static struct blk *blk;
static int fd = -1;

static unsigned int nr_queues;

static void disk(bool read_only, bool writeback, const char *serial)
{
	struct blk_params p = {
		.nr_queues = nr_queues,
		.id = "disk",
		.fd = fd,
		.read_only = read_only,
		.writeback = writeback,
		.serial = serial,
	};

	blk_destroy(blk);
	cr_assert_eq(blk_create(&blk, &p, &r->host, NULL), 0);
	r->dev = blk_virtio(blk);
	rig_boot(r, ALL, 256);
}

static void setup(void)
{
	char path[] = "/tmp/mote-blk-XXXXXX";
	uint8_t sector[512];

	rig_init(r);
	fd = mkstemp(path);
	cr_assert_geq(fd, 0);
	unlink(path);
	for (unsigned int i = 0; i < NR_SECTORS; i++) {
		memset(sector, (int)i + 1, sizeof(sector));
		cr_assert_eq(pwrite(fd, sector, 512, i * 512), 512);
	}
	disk(false, true, NULL);
}

static void teardown(void)
{
	blk_destroy(blk);
	close(fd);
	rig_fini(r);
}

TestSuite(virtio_blk, .init = setup, .fini = teardown);

static uint8_t file_byte(uint64_t offset)
{
	uint8_t v = 0;

	cr_assert_eq(pread(fd, &v, 1, (off_t)offset), 1);
	return v;
}

static void header(uint32_t type, uint64_t sector)
{
	uint8_t raw[16] = { 0 };

	le32_put(raw, type);
	le64_put(raw + 8, sector);
	rig_put(r, RIG_SMALL, raw, sizeof(raw));
}

/* Kick, run, and return the status byte; *len gets the used length. */
static uint8_t run(uint32_t *len)
{
	uint8_t mark = UNTOUCHED;
	uint32_t id;

	rig_put(r, STATUS, &mark, 1);
	rig_offer(r, 0, 0);
	rig_kick(r, 0);
	rig_run(r, 1000);
	cr_assert(rig_used(r, 0, &id, len), "not completed");
	cr_assert_eq(id, 0);
	cr_assert_not(rig_used(r, 0, NULL, NULL), "completed twice");
	return rig_get8(r, STATUS);
}

/* One request with one data buffer of @len bytes (none when 0) at RIG_DATA. */
static uint8_t request(uint32_t type, uint64_t sector, uint32_t len, uint32_t *used)
{
	uint16_t dir = type == VIRTIO_BLK_T_OUT ? 0 : WRITE;

	header(type, sector);
	rig_desc(r, 0, 0, RIG_SMALL, 16, NEXT, 1);
	rig_desc(r, 0, 1, RIG_DATA, len, dir | NEXT, 2);
	rig_desc(r, 0, 2, STATUS, 1, WRITE, 0);
	return run(used);
}

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

Test(virtio_blk, file_cut_under_us)
{
	cr_assert_eq(ftruncate(fd, 10 * 512 + 100), 0);
	cr_assert_eq(request(VIRTIO_BLK_T_IN, 9, 512, NULL), VIRTIO_BLK_S_OK);
	cr_assert_eq(request(VIRTIO_BLK_T_IN, 9, 1024, NULL), VIRTIO_BLK_S_IOERR);
	cr_assert_eq(request(VIRTIO_BLK_T_IN, 20, 512, NULL), VIRTIO_BLK_S_IOERR);
	cr_assert_eq(rig_status(r), 15);
}

Test(virtio_blk, host_refuses_writes)
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
Test(virtio_blk, short_and_interrupted_transfers)
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

Test(virtio_blk, host_errors)
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

Test(virtio_blk, partial_last_sector_is_not_visible)
{
	cr_assert_eq(ftruncate(fd, 10 * 512 + 511), 0);
	disk(false, true, NULL);
	cr_assert_eq(blk_nr_sectors(blk), 10);
	cr_assert_eq(request(VIRTIO_BLK_T_IN, 10, 512, NULL), VIRTIO_BLK_S_IOERR);
}

Test(virtio_blk, refuses_what_is_no_disk)
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

/* 256 requests of one sector: one handler call may not do them all. */
Test(virtio_blk, bounded_number_per_event)
{
	int n = 0;

	header(VIRTIO_BLK_T_IN, 0);
	rig_desc(r, 0, 0, RIG_SMALL, 16, NEXT, 1);
	for (uint16_t i = 0; i < 100; i++) {
		rig_desc(r, 0, 2u * i, RIG_SMALL, 16, NEXT, (uint16_t)(2 * i + 1));
		rig_desc(r, 0, 2u * i + 1, RIG_DATA, 513, WRITE, 0);
		rig_offer(r, 0, (uint16_t)(2 * i));
	}
	rig_kick(r, 0);
	cr_assert_eq(rig_run(r, 1), 1);
	while (rig_used(r, 0, NULL, NULL))
		n++;
	cr_assert_gt(n, 0);
	cr_assert_lt(n, 100);
	rig_run(r, 100);
	while (rig_used(r, 0, NULL, NULL))
		n++;
	cr_assert_eq(n, 100, "and none may be left behind");
}

/* A request of several MiB is done in slices; a reset between two of them forgets it. */
static void big_request(void)
{
	cr_assert_eq(ftruncate(fd, 8 << 20), 0);
	disk(false, true, NULL);
	header(VIRTIO_BLK_T_IN, 0);
	rig_desc(r, 0, 0, RIG_SMALL, 16, NEXT, 1);
	rig_desc(r, 0, 1, RIG_DATA, 4 << 20, WRITE | NEXT, 2);
	rig_desc(r, 0, 2, STATUS, 1, WRITE, 0);
	rig_offer(r, 0, 0);
	rig_kick(r, 0);
	cr_assert_eq(rig_run(r, 1), 1);
	cr_assert_not(rig_used(r, 0, NULL, NULL));
}

Test(virtio_blk, bounded_bytes_per_event)
{
	uint32_t len;

	big_request();
	cr_assert_gt(rig_run(r, 100), 1);
	cr_assert(rig_used(r, 0, NULL, &len));
	cr_assert_eq(len, (4 << 20) + 1);
	cr_assert_eq(rig_get8(r, STATUS), VIRTIO_BLK_S_OK);
}

Test(virtio_blk, reset_in_mid_request)
{
	uint8_t mark = UNTOUCHED;

	big_request();
	rig_put(r, STATUS, &mark, 1);
	rig_boot(r, ALL, 16);
	rig_run(r, 100);
	cr_assert_not(rig_used(r, 0, NULL, NULL));
	cr_assert_eq(rig_get8(r, STATUS), UNTOUCHED);
	cr_assert_eq(request(VIRTIO_BLK_T_GET_ID, 0, 20, NULL), VIRTIO_BLK_S_OK);
}

/* EVENT_IDX as drivers use it: no interrupt for what was not asked, none lost. */
Test(virtio_blk, event_index)
{
	request(VIRTIO_BLK_T_GET_ID, 0, 20, NULL);
	cr_assert(rig_irq(r, NULL));
	rig_used_event(r, 0, 2);
	request(VIRTIO_BLK_T_GET_ID, 0, 20, NULL);
	cr_assert_not(rig_irq(r, NULL));
	request(VIRTIO_BLK_T_GET_ID, 0, 20, NULL);
	cr_assert(rig_irq(r, NULL));
	cr_assert_eq(rig_get16(r, r->q[0].used + 4 + 8 * 256), 3, "avail_event follows");
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

/* A trim of @nr ranges, which lie at RIG_DATA. */
static uint8_t trim(uint32_t type, uint32_t len)
{
	header(type, 0);
	rig_desc(r, 0, 0, RIG_SMALL, 16, NEXT, 1);
	rig_desc(r, 0, 1, RIG_DATA, len, NEXT, 2);
	rig_desc(r, 0, 2, STATUS, 1, WRITE, 0);
	return run(NULL);
}

static void range(uint32_t i, uint64_t sector, uint32_t nr, uint32_t flags)
{
	uint8_t raw[16];

	le64_put(raw, sector);
	le32_put(raw + 8, nr);
	le32_put(raw + 12, flags);
	rig_put(r, RIG_DATA + 16 * i, raw, sizeof(raw));
}

static void is_zero(uint64_t sector, uint64_t nr)
{
	for (uint64_t i = 0; i < NR_SECTORS; i++)
		cr_assert_eq(file_byte(i * 512 + 511), i >= sector && i < sector + nr ? 0 : i + 1,
			     "sector %lu", i);
}

Test(virtio_blk, discard)
{
	struct stat before, after;

	cr_assert_eq(fstat(fd, &before), 0);
	range(0, 8, 16, 0);
	cr_assert_eq(trim(VIRTIO_BLK_T_DISCARD, 16), VIRTIO_BLK_S_OK);
	is_zero(8, 16);
	cr_assert_eq(fstat(fd, &after), 0);
	cr_assert_eq(after.st_size, before.st_size);
	cr_assert_lt(after.st_blocks, before.st_blocks, "there is a hole");
	/* the end of the disk, in two ranges of which one is empty */
	range(0, NR_SECTORS - 8, 8, 0);
	range(1, 3, 0, 0);
	cr_assert_eq(trim(VIRTIO_BLK_T_DISCARD, 32), VIRTIO_BLK_S_OK);
	cr_assert_eq(file_byte((NR_SECTORS - 8) * 512), 0);
	cr_assert_eq(file_byte(3 * 512), 4);
	cr_assert_eq(fstat(fd, &after), 0);
	cr_assert_eq(after.st_size, before.st_size);
}

Test(virtio_blk, write_zeroes)
{
	struct stat before, after;

	/* in the middle of a block, so that no hole can do it alone */
	range(0, 3, 9, 0);
	range(1, 12, 1, VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP);
	cr_assert_eq(trim(VIRTIO_BLK_T_WRITE_ZEROES, 32), VIRTIO_BLK_S_OK);
	is_zero(3, 10);
	cr_assert_eq(fstat(fd, &before), 0);
	range(0, 16, 32, VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP);
	cr_assert_eq(trim(VIRTIO_BLK_T_WRITE_ZEROES, 16), VIRTIO_BLK_S_OK);
	cr_assert_eq(fstat(fd, &after), 0);
	cr_assert_lt(after.st_blocks, before.st_blocks, "there is a hole");
	cr_assert_eq(after.st_size, NR_SECTORS * 512);
}

/* A file in memory: the host has no zeroes for it, so they are written. */
Test(virtio_blk, write_zeroes_by_hand)
{
	uint8_t data[512];
	int rw = fd;

	memset(data, 9, sizeof(data));
	fd = memfd_create("disk", MFD_CLOEXEC);
	cr_assert_eq(ftruncate(fd, 1 << 20), 0);
	for (off_t i = 0; i < 2048; i++)
		cr_assert_eq(pwrite(fd, data, 512, i * 512), 512);
	disk(false, true, NULL);
	range(0, 1, 2046, 0);
	cr_assert_eq(trim(VIRTIO_BLK_T_WRITE_ZEROES, 16), VIRTIO_BLK_S_OK);
	for (uint64_t i = 0; i < 2048; i++)
		cr_assert_eq(file_byte(i * 512 + 100), i == 0 || i == 2047 ? 9 : 0);
	close(rw);
}

static const struct {
	uint32_t type;
	uint64_t sector;
	uint32_t nr;
	uint32_t flags;
	uint8_t status;
} trims[] = {
	{ VIRTIO_BLK_T_DISCARD, 0, NR_SECTORS + 1, 0, VIRTIO_BLK_S_IOERR },
	{ VIRTIO_BLK_T_DISCARD, NR_SECTORS, 1, 0, VIRTIO_BLK_S_IOERR },
	{ VIRTIO_BLK_T_DISCARD, UINT64_MAX, 2, 0, VIRTIO_BLK_S_IOERR },
	{ VIRTIO_BLK_T_DISCARD, UINT64_MAX / 512 + 1, 1, 0, VIRTIO_BLK_S_IOERR },
	{ VIRTIO_BLK_T_DISCARD, 1ULL << 55, 1, 0, VIRTIO_BLK_S_IOERR }, /* times 512 wraps to 0 */
	{ VIRTIO_BLK_T_DISCARD, 0, 1, 1, VIRTIO_BLK_S_UNSUPP },
	{ VIRTIO_BLK_T_DISCARD, 0, 1, 2, VIRTIO_BLK_S_UNSUPP },
	{ VIRTIO_BLK_T_WRITE_ZEROES, 0, 1, 2, VIRTIO_BLK_S_UNSUPP },
	{ VIRTIO_BLK_T_WRITE_ZEROES, 0, 1, 1U << 31, VIRTIO_BLK_S_UNSUPP },
	{ VIRTIO_BLK_T_WRITE_ZEROES, NR_SECTORS - 1, 2, 0, VIRTIO_BLK_S_IOERR },
	{ VIRTIO_BLK_T_WRITE_ZEROES, 0, UINT32_MAX, 0, VIRTIO_BLK_S_IOERR },
};

/* A bad range, alone and as the last of many: nothing is done for any. */
Test(virtio_blk, trim_bounds)
{
	for (size_t i = 0; i < sizeof(trims) / sizeof(trims[0]); i++)
		for (uint32_t nr = 1; nr <= 16; nr += 15) {
			for (uint32_t k = 0; k + 1 < nr; k++)
				range(k, k, 1, 0);
			range(nr - 1, trims[i].sector, trims[i].nr, trims[i].flags);
			cr_assert_eq(trim(trims[i].type, 16 * nr), trims[i].status, "case %zu", i);
			is_zero(0, 0);
		}
	cr_assert_eq(rig_status(r), 15);
}

Test(virtio_blk, trim_shapes)
{
	static const uint32_t len[] = { 0, 1, 15, 17, 31, 16 * 17, 16 * 255 };

	for (uint32_t i = 0; i < 255; i++)
		range(i, 0, 1, 0);
	for (size_t i = 0; i < sizeof(len) / sizeof(len[0]); i++)
		for (uint32_t type = VIRTIO_BLK_T_DISCARD; type <= VIRTIO_BLK_T_WRITE_ZEROES;
		     type += 2)
			cr_assert_eq(trim(type, len[i]), VIRTIO_BLK_S_IOERR, "%u bytes", len[i]);
	is_zero(0, 0);
}

/* More sectors than a range may have, on a disk that has them. */
Test(virtio_blk, trim_limits)
{
	const struct virtio_blk_config *c;

	cr_assert_eq(ftruncate(fd, 1LL << 30), 0);
	disk(false, true, NULL);
	c = (const void *)r->dev->config;
	range(0, 1, c->max_discard_sectors + 1, 0);
	cr_assert_eq(trim(VIRTIO_BLK_T_DISCARD, 16), VIRTIO_BLK_S_IOERR);
	range(0, 1, c->max_write_zeroes_sectors + 1, 1);
	cr_assert_eq(trim(VIRTIO_BLK_T_WRITE_ZEROES, 16), VIRTIO_BLK_S_IOERR);
	is_zero(0, 0);
	for (uint32_t i = 0; i < c->max_discard_seg; i++)
		range(i, i * c->max_discard_sectors, c->max_discard_sectors, 0);
	cr_assert_eq(trim(VIRTIO_BLK_T_DISCARD, 16 * c->max_discard_seg), VIRTIO_BLK_S_OK);
	cr_assert_eq(file_byte(63 * 512), 0);
}

/* One range per event: others have their turn between two. */
Test(virtio_blk, trim_is_bounded)
{
	for (uint32_t i = 0; i < 4; i++)
		range(i, i, 1, 0);
	header(VIRTIO_BLK_T_DISCARD, 0);
	rig_desc(r, 0, 0, RIG_SMALL, 16, NEXT, 1);
	rig_desc(r, 0, 1, RIG_DATA, 64, NEXT, 2);
	rig_desc(r, 0, 2, STATUS, 1, WRITE, 0);
	rig_offer(r, 0, 0);
	rig_kick(r, 0);
	for (int i = 0; i < 3; i++) {
		cr_assert_eq(rig_run(r, 1), 1);
		cr_assert_not(rig_used(r, 0, NULL, NULL));
	}
	rig_run(r, 10);
	cr_assert(rig_used(r, 0, NULL, NULL));
	cr_assert_eq(rig_get8(r, STATUS), VIRTIO_BLK_S_OK);
}

Test(virtio_blk, trim_not_accepted)
{
	uint64_t both = 1ULL << VIRTIO_BLK_F_DISCARD | 1ULL << VIRTIO_BLK_F_WRITE_ZEROES;

	rig_boot(r, ~both, 16);
	range(0, 0, 1, 0);
	cr_assert_eq(trim(VIRTIO_BLK_T_DISCARD, 16), VIRTIO_BLK_S_UNSUPP);
	cr_assert_eq(trim(VIRTIO_BLK_T_WRITE_ZEROES, 16), VIRTIO_BLK_S_UNSUPP);
	disk(true, true, NULL);
	cr_assert_eq(trim(VIRTIO_BLK_T_DISCARD, 16), VIRTIO_BLK_S_UNSUPP);
	cr_assert_eq(trim(VIRTIO_BLK_T_WRITE_ZEROES, 16), VIRTIO_BLK_S_UNSUPP);
	is_zero(0, 0);
}

/* The driver turns the cache off and on; only where that was offered and accepted. */
Test(virtio_blk, write_cache)
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
Test(virtio_blk, writes_through)
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

/* Three queues: each is served and signalled, also when one began what another one ends. */
Test(virtio_blk, queues)
{
	uint32_t len;

	cr_assert_eq(ftruncate(fd, 8 << 20), 0);
	nr_queues = 3;
	disk(false, true, NULL);
	cr_assert(rig_features(r) & 1ULL << VIRTIO_BLK_F_MQ);
	cr_assert_eq(le16_get(r->dev->config + 34), 3);
	header(VIRTIO_BLK_T_IN, 0);
	for (unsigned int q = 0; q < 3; q++) {
		rig_desc(r, q, 0, RIG_SMALL, 16, NEXT, 1);
		rig_desc(r, q, 1, RIG_DATA + q, q == 2 ? (2 << 20) + 1 : 513, WRITE, 0);
		rig_offer(r, q, 0);
	}
	rig_kick(r, 2);
	cr_assert_eq(rig_run(r, 1), 1);
	cr_assert_not(rig_used(r, 2, NULL, NULL));
	rig_kick(r, 1);
	rig_kick(r, 0);
	rig_run(r, 100);
	for (unsigned int q = 0; q < 3; q++) {
		cr_assert(rig_used(r, q, NULL, &len), "queue %u", q);
		cr_assert_eq(len, q == 2 ? (2 << 20) + 1 : 513);
		cr_assert_not(rig_used(r, q, NULL, NULL));
	}
}

Test(virtio_blk, as_many_queues_as_help)
{
	struct blk_params p = { .id = "disk", .fd = fd, .nr_queues = 32 };
	struct blk *other;

	cr_assert_eq(blk_create(&other, &p, &r->host, NULL), 0);
	cr_assert_eq(virtio_nr_queues(blk_virtio(other)), 4, "more would only cost memory");
	blk_destroy(other);
}

/* The limits are the disk's: what one queue uses up the others have to wait for. */
Test(virtio_blk, queues_share_limits)
{
	struct bucket_params ops = { .size = 1, .refill_time_ms = 50 };
	int done = 0;

	nr_queues = 3;
	disk(false, true, NULL);
	virtio_set_limits(r->dev, 0, NULL, &ops);
	header(VIRTIO_BLK_T_IN, 0);
	for (unsigned int q = 0; q < 3; q++) {
		rig_desc(r, q, 0, RIG_SMALL, 16, NEXT, 1);
		rig_desc(r, q, 1, RIG_DATA, 513, WRITE, 0);
		rig_offer(r, q, 0);
		rig_kick(r, q);
	}
	rig_run(r, 100);
	for (unsigned int q = 0; q < 3; q++)
		done += rig_used(r, q, NULL, NULL);
	cr_assert_eq(done, 1);
	/* the end of the limits wakes all */
	ops.size = 0;
	virtio_set_limits(r->dev, 0, NULL, &ops);
	rig_run(r, 100);
	for (unsigned int q = 0; q < 3; q++)
		done += rig_used(r, q, NULL, NULL);
	cr_assert_eq(done, 3);
}

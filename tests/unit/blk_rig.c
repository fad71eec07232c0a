/* SPDX-License-Identifier: Apache-2.0 */
/*
 * blk_rig.c - see blk_rig.h.
 */
#include "tests/unit/blk_rig.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/byteorder.h"

struct rig blk_rig;
struct blk *blk;
int fd = -1;
unsigned int nr_queues;
struct host host;

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

void disk(bool read_only, bool writeback, const char *serial)
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

void blk_rig_setup(void)
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

void blk_rig_teardown(void)
{
	blk_destroy(blk);
	close(fd);
	rig_fini(r);
}

uint8_t file_byte(uint64_t offset)
{
	uint8_t v = 0;

	cr_assert_eq(pread(fd, &v, 1, (off_t)offset), 1);
	return v;
}

void header(uint32_t type, uint64_t sector)
{
	uint8_t raw[16] = { 0 };

	le32_put(raw, type);
	le64_put(raw + 8, sector);
	rig_put(r, RIG_SMALL, raw, sizeof(raw));
}

uint8_t run(uint32_t *len)
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

uint8_t request(uint32_t type, uint64_t sector, uint32_t len, uint32_t *used)
{
	uint16_t dir = type == VIRTIO_BLK_T_OUT ? 0 : WRITE;

	header(type, sector);
	rig_desc(r, 0, 0, RIG_SMALL, 16, NEXT, 1);
	rig_desc(r, 0, 1, RIG_DATA, len, dir | NEXT, 2);
	rig_desc(r, 0, 2, STATUS, 1, WRITE, 0);
	return run(used);
}

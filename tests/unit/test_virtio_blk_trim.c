/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_virtio_blk_trim.c - discard and write zeroes: what becomes of the file, and ranges that are
 * refused before anything was done for any. virtio 1.2, 5.2.6.
 */
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/byteorder.h"
#include "tests/unit/blk_rig.h"

TestSuite(virtio_blk_trim, .init = blk_rig_setup, .fini = blk_rig_teardown);

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

Test(virtio_blk_trim, discard)
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

Test(virtio_blk_trim, write_zeroes)
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
Test(virtio_blk_trim, write_zeroes_by_hand)
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
Test(virtio_blk_trim, trim_bounds)
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

Test(virtio_blk_trim, trim_shapes)
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
Test(virtio_blk_trim, trim_limits)
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
Test(virtio_blk_trim, trim_is_bounded)
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

Test(virtio_blk_trim, trim_not_accepted)
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

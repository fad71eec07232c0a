/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_mem.c - guest RAM: what a range may be, what leaves RAM, files placed in it.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"

#define PAGE UINT64_C(4096)
#define MIB  UINT64_C(0x100000)
#define HIGH UINT64_C(0x100000000)

static struct mem *m;
static struct err e;

/* Two regions with a hole between them, as a PC has around 4 GiB. */
static void setup(void)
{
	const struct mem_range ranges[] = { { GPA(0), MIB }, { GPA(HIGH), 2 * MIB } };

	cr_assert_eq(mem_create(&m, ranges, 2, MEM_BACKING_PAGES, &e), 0, "%s", e.msg);
}

static void teardown(void)
{
	mem_destroy(m);
}

TestSuite(mem, .init = setup, .fini = teardown);

/* What another process maps from the memfd, region by region, is what we and a kernel file wrote. */
Test(mem, shared)
{
	const struct mem_range ranges[] = { { GPA(0), MIB }, { GPA(HIGH), 2 * MIB } };
	struct mem *s;
	char name[] = "/tmp/test_mem.XXXXXX";
	static uint8_t raw[PAGE];
	int fd = mkstemp(name);

	unlink(name);
	cr_assert_eq(ftruncate(fd, 4 * (off_t)PAGE), 0);
	cr_assert_eq(pwrite(fd, "kernel", 6, PAGE), 6);
	cr_expect_eq(mem_fd(m), -1);
	cr_assert_eq(mem_create(&s, ranges, 2, MEM_BACKING_PAGES | MEM_SHARED, &e), 0, "%s", e.msg);
	cr_assert_eq(mem_write(s, GPA(7), "low", 3), 0);
	cr_assert_eq(mem_write(s, GPA(HIGH + PAGE), "high", 4), 0);
	cr_assert_eq(mem_map_file(s, GPA(HIGH + 2 * PAGE), fd, 0, 4 * PAGE, &e), 0);
	cr_expect_eq(mem_file_offset(s, 0), 0);
	cr_assert_eq(mem_file_offset(s, 1), MIB);
	cr_assert_eq(pread(mem_fd(s), raw, PAGE, 0), PAGE);
	cr_expect_eq(memcmp(raw + 7, "low", 3), 0);
	cr_assert_eq(pread(mem_fd(s), raw, PAGE, (off_t)(MIB + PAGE)), PAGE);
	cr_expect_eq(memcmp(raw, "high", 4), 0);
	cr_assert_eq(pread(mem_fd(s), raw, PAGE, (off_t)(MIB + 3 * PAGE)), PAGE);
	cr_expect_eq(memcmp(raw, "kernel", 6), 0);
	/* whoever has it can make neither end of it go away */
	cr_expect_neq(ftruncate(mem_fd(s), 0), 0);
	cr_expect_neq(ftruncate(mem_fd(s), 4 * (off_t)MIB), 0);
	close(fd);
	mem_destroy(s);
}

static int create(const struct mem_range *ranges, size_t nr)
{
	struct mem *other = NULL;
	int ret = mem_create(&other, ranges, nr, MEM_BACKING_PAGES, &e);

	mem_destroy(other);
	return ret;
}

Test(mem, refuses_ranges_that_make_no_ram)
{
	const struct mem_range empty[] = { { GPA(0), 0 } };
	const struct mem_range odd_base[] = { { GPA(1), PAGE } };
	const struct mem_range odd_len[] = { { GPA(0), PAGE + 1 } };
	const struct mem_range overlap[] = { { GPA(0), 2 * PAGE }, { GPA(PAGE), PAGE } };
	const struct mem_range backwards[] = { { GPA(HIGH), PAGE }, { GPA(0), PAGE } };
	const struct mem_range wraps[] = { { GPA(UINT64_MAX - PAGE + 1), 2 * PAGE } };
	const struct mem_range touching[] = { { GPA(0), PAGE }, { GPA(PAGE), PAGE } };

	cr_expect_eq(create(empty, 1), -EINVAL);
	cr_expect_eq(create(odd_base, 1), -EINVAL);
	cr_expect_eq(create(odd_len, 1), -EINVAL);
	cr_expect_eq(create(overlap, 2), -EINVAL);
	cr_expect_eq(create(backwards, 2), -EINVAL);
	cr_expect_eq(create(wraps, 1), -EINVAL);
	cr_expect_eq(create(touching, 2), 0);
}

Test(mem, more_ram_than_an_address_space_is_an_error)
{
	const struct mem_range huge[] = { { GPA(0), UINT64_C(1) << 62 } };

	cr_assert_eq(create(huge, 1), -ENOMEM);
	cr_assert_not_null(strstr(e.msg, "MiB of guest RAM"), "%s", e.msg);
}

Test(mem, tells_what_there_is)
{
	cr_assert_eq(mem_nr_ranges(m), 2);
	cr_assert_eq(mem_range(m, 1).base.v, HIGH);
	cr_assert_eq(mem_range(m, 1).len, 2 * MIB);
	cr_assert_eq(mem_size(m), 3 * MIB);
	cr_assert_eq(mem_host_base(m, 0) % (2 * MIB), 0, "aligned for the host's 2 MiB pages");
}

/* Every way for a range to leave RAM; each access function asks the same question. */
static const struct {
	uint64_t addr, len;
	bool valid;
} places[] = {
	{ 0, 0, true },
	{ 0, MIB, true },
	{ MIB - 1, 1, true },
	{ HIGH + 2 * MIB - 8, 8, true },
	{ 0, MIB + 1, false },
	{ MIB - 1, 2, false },
	{ MIB, 1, false },
	{ MIB, 0, false },
	{ HIGH - 1, 2, false },
	{ MIB - 8, HIGH, false },
	{ HIGH + 2 * MIB - 1, 2, false },
	{ HIGH + 2 * MIB, 1, false },
	{ 16, UINT64_MAX, false },
	{ 16, UINT64_MAX - 15, false },
	{ UINT64_MAX, 1, false },
	{ UINT64_MAX, 2, false },
	{ UINT64_MAX - 7, 16, false },
};

Test(mem, refuses_whatever_leaves_ram)
{
	static uint8_t buf[MIB + 1];
	struct iovec iov;

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		gpa_t a = GPA(places[i].addr);
		uint64_t len = places[i].len;
		int want = places[i].valid ? 0 : -EFAULT;

		cr_expect_eq(mem_valid(m, a, len), places[i].valid, "row %zu", i);
		cr_expect_eq(mem_iov(m, a, len, &iov), want, "row %zu", i);
		if (len > sizeof(buf) && places[i].valid)
			continue;
		cr_expect_eq(mem_read(m, a, buf, len), want, "row %zu", i);
		cr_expect_eq(mem_write(m, a, buf, len), want, "row %zu", i);
		cr_expect_eq(mem_zero(m, a, len), want, "row %zu", i);
	}
}

Test(mem, starts_zeroed_and_keeps_what_is_written)
{
	uint8_t buf[16];
	static const uint8_t zero[16];

	cr_assert_eq(mem_read(m, GPA(HIGH), buf, 16), 0);
	cr_assert_arr_eq(buf, zero, 16);
	cr_assert_eq(mem_write(m, GPA(HIGH + 3), "guest", 5), 0);
	cr_assert_eq(mem_read(m, GPA(HIGH), buf, 16), 0);
	cr_assert_arr_eq(buf, "\0\0\0guest\0\0\0\0\0\0\0\0", 16);
	cr_assert_eq(mem_zero(m, GPA(HIGH + 4), 2), 0);
	cr_assert_eq(mem_read(m, GPA(HIGH), buf, 16), 0);
	cr_assert_arr_eq(buf, "\0\0\0g\0\0st\0\0\0\0\0\0\0\0", 16);
}

Test(mem, shared_fields_are_little_endian_and_aligned)
{
	uint16_t v = 0;

	cr_assert_eq(mem_write(m, GPA(10), "\x34\x12", 2), 0);
	cr_assert_eq(mem_load16(m, GPA(10), &v), 0);
	cr_assert_eq(v, 0x1234);
	cr_assert_eq(mem_store16(m, GPA(12), 0xabcd), 0);
	cr_assert_eq(mem_load16(m, GPA(12), &v), 0);
	cr_assert_eq(v, 0xabcd);
	cr_expect_eq(mem_load16(m, GPA(11), &v), -EINVAL);
	cr_expect_eq(mem_store16(m, GPA(11), 1), -EINVAL);
	cr_expect_eq(mem_load16(m, GPA(MIB), &v), -EFAULT);
	cr_expect_eq(mem_store16(m, GPA(MIB), 1), -EFAULT);
	cr_expect_eq(mem_load16(m, GPA(MIB - 2), &v), 0);
}

Test(mem, iov_describes_ram_or_nothing)
{
	struct iovec iov;

	cr_assert_eq(mem_iov(m, GPA(512), 8, &iov), 0);
	cr_assert_eq((uintptr_t)iov.iov_base, mem_host_base(m, 0) + 512);
	cr_assert_eq(iov.iov_len, 8);
	cr_assert_eq(mem_iov(m, GPA(HIGH), 1, &iov), 0);
	cr_assert_eq((uintptr_t)iov.iov_base, mem_host_base(m, 1));
	cr_assert_eq(mem_iov(m, GPA(MIB - 1), 2, &iov), -EFAULT);
	cr_assert_eq(iov.iov_len, 0);
}

static int file_with_pages(unsigned int nr)
{
	char name[] = "/tmp/mote-test-mem-XXXXXX";
	int fd = mkstemp(name);
	uint8_t page[PAGE];

	cr_assert_geq(fd, 0);
	unlink(name);
	for (unsigned int i = 0; i < nr; i++) {
		memset(page, (int)('A' + i), sizeof(page));
		cr_assert_eq(write(fd, page, sizeof(page)), (ssize_t)sizeof(page));
	}
	return fd;
}

static char at(uint64_t addr)
{
	char c = 0;

	cr_assert_eq(mem_read(m, GPA(addr), &c, 1), 0);
	return c;
}

Test(mem, maps_whole_pages_of_a_file_and_copies_the_ends)
{
	int fd = file_with_pages(4);

	/* from the last 16 bytes of page A to the first 8 of page D */
	cr_assert_eq(mem_map_file(m, GPA(5 * PAGE - 16), fd, PAGE - 16, 2 * PAGE + 24, &e), 0, "%s",
		     e.msg);
	cr_expect_eq(at(5 * PAGE - 17), 0);
	cr_expect_eq(at(5 * PAGE - 16), 'A');
	cr_expect_eq(at(5 * PAGE), 'B');
	cr_expect_eq(at(7 * PAGE - 1), 'C');
	cr_expect_eq(at(7 * PAGE + 7), 'D');
	cr_expect_eq(at(7 * PAGE + 8), 0);

	/* What is mapped follows the file until the guest writes; what was copied does not. */
	cr_assert_eq(pwrite(fd, "x", 1, PAGE - 16), 1);
	cr_assert_eq(pwrite(fd, "y", 1, PAGE), 1);
	cr_expect_eq(at(5 * PAGE - 16), 'A', "the ragged end is a copy");
	cr_expect_eq(at(5 * PAGE), 'y', "whole pages share the page cache");
	close(fd);
}

Test(mem, the_guest_never_writes_into_the_file)
{
	int fd = file_with_pages(2);
	char c;

	cr_assert_eq(mem_map_file(m, GPA(0), fd, 0, 2 * PAGE, &e), 0);
	cr_assert_eq(mem_write(m, GPA(PAGE + 1), "guest", 5), 0);
	cr_assert_eq(pread(fd, &c, 1, PAGE + 1), 1);
	cr_assert_eq(c, 'B');
	close(fd);
}

Test(mem, copies_where_alignment_differs)
{
	int fd = file_with_pages(3);

	cr_assert_eq(mem_map_file(m, GPA(100), fd, PAGE, 2 * PAGE, &e), 0);
	cr_expect_eq(at(99), 0);
	cr_expect_eq(at(100), 'B');
	cr_expect_eq(at(100 + PAGE), 'C');
	cr_expect_eq(at(100 + 2 * PAGE), 0);
	cr_assert_eq(pwrite(fd, "y", 1, PAGE), 1);
	cr_expect_eq(at(100), 'B');
	close(fd);
}

Test(mem, refuses_files_that_leave_ram_or_end_early)
{
	int fd = file_with_pages(1);

	cr_expect_eq(mem_map_file(m, GPA(MIB - PAGE), fd, 0, PAGE + 1, &e), -EFAULT);
	cr_expect_eq(mem_map_file(m, GPA(2 * MIB), fd, 0, 1, &e), -EFAULT);
	cr_expect_eq(mem_map_file(m, GPA(3), fd, 0, PAGE + 1, &e), -EIO, "a copy ends early");
	cr_expect_eq(mem_map_file(m, GPA(0), -1, 0, PAGE, &e), -EBADF);
	close(fd);
}

Test(mem, knows_its_own_addresses)
{
	const uint8_t *host = (const uint8_t *)(uintptr_t)mem_host_base(m, 1);
	gpa_t a = GPA(1);
	int local;

	cr_assert(mem_owns(m, host + 17, &a));
	cr_assert_eq(a.v, HIGH + 17);
	cr_assert(mem_owns(m, host + 2 * MIB - 1, &a));
	cr_assert_not(mem_owns(m, host + 2 * MIB, &a));
	cr_assert_not(mem_owns(m, &local, &a));
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_boot_kernel_x86.c - what holds for kernel files of every kind: cut or corrupted anywhere they
 * do no harm, other files are named. And initrds: where they go.
 */
#include "boot_util_x86.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

/* What a load that succeeded may claim. */
static void expect_sane(const struct kernel_image *k, uint64_t ram_end)
{
	cr_assert(k->start.v >= LAYOUT_HIGH_RAM);
	cr_assert(k->end.v <= ram_end && k->start.v < k->end.v);
	cr_assert(k->entry.v >= k->start.v && k->entry.v < k->end.v);
}

/* Cut a good file, whose last byte is loaded, at every length: an error each time. */
static void cut(const struct file *good)
{
	struct mem *m = ram(64 * MIB);

	for (size_t len = 0; len < good->len; len++) {
		int fd = file_fd(good->b, len);
		struct kernel_image k;
		struct err e = { 0 };
		int r = kernel_load(m, fd, &k, &e);

		close(fd);
		cr_assert(r < 0 && e.msg[0], "cut at 0x%zx", len);
	}
	mem_destroy(m);
}

/* Set each of the first @len bytes to several values: an error with a text, or a sane result. */
static void corrupt(const struct file *good, size_t from, size_t to)
{
	static const uint8_t value[] = { 0x00, 0xff, 0x01, 0x7f, 0x80, 0xf0, 0x40 };
	struct mem *m = ram(64 * MIB);

	for (size_t at = from; at < to; at++)
		for (size_t v = 0; v < 2 * sizeof(value); v++) {
			struct kernel_image k;
			struct err e = { 0 };
			struct file f = *good;
			int fd, r;

			if (v < sizeof(value))
				f.b[at] = value[v];
			else
				f.b[at] ^= value[v - sizeof(value)];
			fd = file_fd(f.b, f.len);
			r = kernel_load(m, fd, &k, &e);
			close(fd);
			if (r)
				cr_assert(e.msg[0] && e.code == -r, "byte 0x%zx", at);
			else
				expect_sane(&k, 64 * MIB);
		}
	mem_destroy(m);
}

Test(boot_elf, cut_at_every_length)
{
	struct file f;

	elf_make(&f);
	cut(&f);
}

Test(boot_elf, every_header_byte_corrupted)
{
	struct file f;

	elf_make(&f);
	corrupt(&f, 0, 64 + 3 * 56);
	corrupt(&f, ELF_NOTE, ELF_NOTE + 48);
}

Test(boot_bzimage, cut_at_every_length)
{
	struct file f;

	bz_make(&f);
	cut(&f);
}

Test(boot_bzimage, every_header_byte_corrupted)
{
	struct file f;

	bz_make(&f);
	corrupt(&f, 0, 4);
	corrupt(&f, 0x1f1, 0x280);
}

Test(boot_kernel, other_files_are_named)
{
	static const struct {
		size_t offset, len;
		const char *bytes, *text;
	} row[] = {
		{ 0, 2, "\x1f\x8b", "gunzip" },
		{ 0, 6,
		  "\xfd"
		  "7zXZ\0",
		  "unxz" },
		{ 0, 4, "\x28\xb5\x2f\xfd", "unzstd" },
		{ 0, 4, "\x02\x21\x4c\x18", "unlz4" },
		{ 0, 3, "BZh", "bunzip2" },
		{ 56, 4, "ARM\x64", "arm64 Image" },
		{ 0, 8, "!<arch>\n", "archive" },
		{ 0, 2, "#!", "neither ELF nor bzImage (4096 bytes, first four 23 21 00 00)" },
	};

	for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		struct file f = { .len = 4096 };
		struct kernel_image k;
		struct err e = { 0 };

		memcpy(f.b + row[i].offset, row[i].bytes, row[i].len);
		cr_assert(load(&f, 64 * MIB, &k, NULL, &e) == -EINVAL);
		cr_assert(strstr(e.msg, row[i].text), "%s", e.msg);
	}
}

Test(boot_kernel, what_is_no_file)
{
	struct mem *m = ram(64 * MIB);
	struct initrd_image initrd;
	struct kernel_image k = { .end = GPA(2 * MIB), .initrd_end = GPA(3 * GIB) };
	struct err e = { 0 };
	int p[2], fd;

	fd = open("/", O_RDONLY | O_CLOEXEC);
	cr_assert(kernel_load(m, fd, &k, &e) == -EINVAL);
	cr_assert(strstr(e.msg, "kernel file is a directory"), "%s", e.msg);
	close(fd);

	fd = file_fd("", 0);
	cr_assert(kernel_load(m, fd, &k, &e) == -EINVAL);
	cr_assert(strstr(e.msg, "kernel file is empty"), "%s", e.msg);
	cr_assert(initrd_load(m, fd, &k, &initrd, &e) == -EINVAL);
	cr_assert(strstr(e.msg, "initrd file is empty"), "%s", e.msg);
	close(fd);

	cr_assert(pipe(p) == 0);
	cr_assert(kernel_load(m, p[0], &k, &e) == -EINVAL);
	cr_assert(strstr(e.msg, "not a regular file"), "%s", e.msg);
	cr_assert(initrd_load(m, p[0], &k, &initrd, &e) == -EINVAL);

	cr_assert(kernel_load(m, -1, &k, &e) == -EBADF);
	mem_destroy(m);
}

static int put_initrd(struct mem *m, size_t len, const struct kernel_image *k,
		      struct initrd_image *out, struct err *e)
{
	uint8_t *bytes = malloc(len);
	int fd, r;

	cr_assert(bytes);
	memset(bytes, 0x5a, len);
	fd = file_fd(bytes, len);
	r = initrd_load(m, fd, k, out, e);
	close(fd);
	free(bytes);
	return r;
}

Test(boot_initrd, at_the_top_of_the_first_region)
{
	static const struct {
		uint64_t ram, initrd_end, top;
	} row[] = {
		{ 128 * MIB, 3 * GIB, 128 * MIB },	     { 128 * MIB, 0x80000000, 128 * MIB },
		{ 3 * GIB - 4096, 3 * GIB, 3 * GIB - 4096 }, { 6 * GIB, 3 * GIB, 3 * GIB },
		{ 6 * GIB, 0x80000000, 0x80000000 },	     { 6 * GIB, 0x7fffffff, 0x7ffff000 },
	};

	for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		struct kernel_image k = { .start = GPA(MIB),
					  .end = GPA(40 * MIB),
					  .initrd_end = GPA(row[i].initrd_end) };
		struct mem *m = ram(row[i].ram);
		struct initrd_image out;
		struct err e = { 0 };
		uint8_t last[2];
		char name[256];

		cr_assert(put_initrd(m, 0x2345, &k, &out, &e) == 0, "%s", e.msg);
		cr_assert(out.addr.v == row[i].top - 0x3000 && out.len == 0x2345, "row %zu", i);
		cr_assert(mem_read(m, gpa_add(out.addr, 0x2344), last, 2) == 0);
		cr_assert(last[0] == 0x5a && last[1] == 0);
		cr_assert(mapped_at(m, out.addr.v + 0x1000, name, sizeof(name)) == 0x1000);
		cr_assert(strstr(name, "memfd:kernel"), "%s", name);
		mem_destroy(m);
	}
}

Test(boot_initrd, never_over_the_kernel)
{
	struct kernel_image k = { .start = GPA(MIB),
				  .end = GPA(40 * MIB),
				  .initrd_end = GPA(3 * GIB) };
	struct mem *m = ram(64 * MIB);
	struct initrd_image out;
	struct err e = { 0 };

	cr_assert(put_initrd(m, 24 * MIB, &k, &out, &e) == 0, "%s", e.msg);
	cr_assert(out.addr.v == k.end.v);
	cr_assert(put_initrd(m, 24 * MIB + 1, &k, &out, &e) == -ENOMEM);
	cr_assert(strstr(e.msg, "does not fit between the kernel's end 0x2800000 and 0x4000000"),
		  "%s", e.msg);

	/* What a bzImage can reach ends below its own end: nowhere. */
	k.initrd_end = GPA(39 * MIB);
	cr_assert(put_initrd(m, 1, &k, &out, &e) == -ENOMEM);
	mem_destroy(m);
}

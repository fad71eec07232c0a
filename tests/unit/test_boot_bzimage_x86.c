/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_boot_bzimage_x86.c - bzImages: where relocatable and fixed ones go, and the sentence for each
 * field of the setup header that is wrong.
 */
#include "boot_util_x86.h"

#include <errno.h>

Test(boot_bzimage, relocatable_is_mapped_at_a_congruent_address)
{
	struct kernel_image k;
	struct err e = { 0 };
	char name[256];
	struct file f;
	struct mem *m;

	bz_make(&f);
	f.len += 0x100; /* a signature behind it, as signed kernels have; not loaded */
	cr_assert(load(&f, 64 * MIB, &k, &m, &e) == 0, "%s", e.msg);
	cr_assert(k.protocol == BOOT_PROTOCOL_LINUX64);
	cr_assert(k.entry.v == 0x100800 + 0x200);
	cr_assert(k.setup.code32_start == 0x100800);
	cr_assert(k.start.v == 0x100000);
	cr_assert(k.end.v == BZ_PREF + BZ_INIT);
	cr_assert(k.initrd_end.v == 0x80000000);
	expect_zero(m, 0x100000, 0x800);
	expect_bytes(m, 0x100800, f.b + BZ_OFFSET, BZ_SIZE);
	expect_zero(m, 0x100800 + BZ_SIZE, 0x1000);
	cr_assert(mapped_at(m, 0x101000, name, sizeof(name)) == 0x1000);
	cr_assert(strstr(name, "memfd:kernel"), "%s", name);
	mem_destroy(m);
}

Test(boot_bzimage, fixed_is_copied_to_its_address)
{
	struct kernel_image k;
	struct err e = { 0 };
	struct file f;
	struct mem *m;

	bz_make(&f);
	f.b[BZ(relocatable_kernel)] = 0;
	le32_put(f.b + BZ(kernel_alignment), 0);
	cr_assert(load(&f, 64 * MIB, &k, &m, &e) == 0, "%s", e.msg);
	cr_assert(k.entry.v == BZ_PREF + 0x200);
	cr_assert(k.start.v == BZ_PREF && k.end.v == BZ_PREF + BZ_INIT);
	expect_bytes(m, BZ_PREF, f.b + BZ_OFFSET, BZ_SIZE);
	mem_destroy(m);
}

Test(boot_bzimage, runs_at_the_next_multiple_of_its_alignment)
{
	struct kernel_image k;
	struct err e = { 0 };
	struct file f;

	bz_make(&f);
	le64_put(f.b + BZ(pref_address), 0);
	cr_assert(load(&f, 64 * MIB, &k, NULL, &e) == 0, "%s", e.msg);
	cr_assert(k.end.v == 0x200000 + BZ_INIT);
}

Test(boot_bzimage, setup_sects_0_means_4)
{
	struct kernel_image k;
	struct err e = { 0 };
	struct file f;
	struct mem *m;

	bz_make(&f);
	f.b[BZ(setup_sects)] = 0;
	f.len = 0xa00 + BZ_SIZE;
	cr_assert(load(&f, 64 * MIB, &k, &m, &e) == 0, "%s", e.msg);
	cr_assert(k.entry.v == 0x100a00 + 0x200);
	expect_bytes(m, 0x100a00, f.b + 0xa00, BZ_SIZE);
	mem_destroy(m);
}

static const struct bad bad_bz[] = {
	{ BZ(version), 2, 0x020b, "boot protocol is 2.11, must be at least 2.12" },
	{ BZ(loadflags), 1, 0, "zImage" },
	{ BZ(xloadflags), 2, 0, "XLF_KERNEL_64" },
	{ BZ(kernel_alignment), 4, 0, "kernel_alignment 0x0 is not a power of two" },
	{ BZ(kernel_alignment), 4, 0x300000, "kernel_alignment 0x300000" },
	{ BZ(init_size), 4, 0, "init_size is 0" },
	{ BZ(init_size), 4, 0x3000001, "beyond RAM of 64 MiB; the kernel needs at least 65 MiB" },
	{ BZ(init_size), 4, 0xffffffff, "place to unpack" },
	{ BZ(pref_address), 8, UINT64_MAX - 5, "wraps around" },
	{ BZ(pref_address), 8, 0x100000000, "place to unpack" },
	{ BZ(setup_sects), 1, 255, "lie beyond the end of the file" },
	{ BZ(setup_sects), 1, 4, "lie beyond the end of the file" },
	{ BZ(syssize), 4, 0xffffffff, "lie beyond the end of the file" },
	{ BZ(syssize), 4, BZ_SIZE / 16 + 1, "lie beyond the end of the file" },
	{ BZ(syssize), 4, 0x20, "too small to hold a 64-bit entry" },
	{ BZ(payload_length), 4, BZ_SIZE - 0x300 + 1, "payload of 0x2d11 bytes at 0x300" },
	{ BZ(payload_offset), 4, 0xffffffff, "payload" },
	{ 0x201, 1, 0x40, "setup header ends at 0x242" },
	{ BZ(boot_flag), 2, 0, "neither ELF nor bzImage" },
	{ BZ(header), 4, 0, "neither ELF nor bzImage" },
};

Test(boot_bzimage, each_bad_field_has_its_sentence)
{
	expect_sentences(bz_make, 64 * MIB, bad_bz, sizeof(bad_bz) / sizeof(bad_bz[0]));
}

Test(boot_bzimage, fixed_below_1_mib_is_refused)
{
	struct kernel_image k;
	struct err e = { 0 };
	struct file f;

	bz_make(&f);
	f.b[BZ(relocatable_kernel)] = 0;
	le64_put(f.b + BZ(pref_address), 0x9000);
	cr_assert(load(&f, 64 * MIB, &k, NULL, &e) == -EINVAL);
	cr_assert(strstr(e.msg, "below 1 MiB"), "%s", e.msg);
}

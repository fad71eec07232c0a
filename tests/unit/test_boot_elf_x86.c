/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_boot_elf_x86.c - ELF kernels: where segments go, which pages are mapped and which copied, how
 * the entry is found, and the sentence for each field that is wrong.
 */
#include "boot_util_x86.h"

#include <errno.h>

Test(boot_elf, pvh_is_preferred_and_segments_are_placed)
{
	struct kernel_image k;
	struct err e = { 0 };
	struct file f;
	struct mem *m;

	elf_make(&f);
	cr_assert(load(&f, 128 * MIB, &k, &m, &e) == 0, "%s", e.msg);
	cr_assert(k.protocol == BOOT_PROTOCOL_PVH);
	cr_assert(k.entry.v == ELF_PVH);
	cr_assert(k.start.v == ELF_BASE);
	cr_assert(k.end.v == ELF_BASE + 0x12000);
	expect_bytes(m, ELF_BASE, f.b + 0x1000, 0x1800);
	expect_bytes(m, ELF_SEG1, f.b + 0x3400, 0x1000);
	/* bss: what follows the segment in the file must not show. */
	expect_zero(m, ELF_BASE + 0x1800, 0x1800);
	expect_zero(m, ELF_SEG1 - 0x100, 0x100);
	expect_zero(m, ELF_SEG1 + 0x1000, 0x1000);
	expect_zero(m, ELF_BASE - 0x1000, 0x1000);
	expect_zero(m, 0, MIB);
	mem_destroy(m);
}

Test(boot_elf, whole_pages_are_mapped_not_copied)
{
	struct kernel_image k;
	struct err e = { 0 };
	char name[256];
	struct file f;
	struct mem *m;

	elf_make(&f);
	cr_assert(load(&f, 128 * MIB, &k, &m, &e) == 0, "%s", e.msg);
	cr_assert(mapped_at(m, ELF_BASE, name, sizeof(name)) == 0x1000);
	cr_assert(strstr(name, "memfd:kernel"), "%s", name);
	mapped_at(m, ELF_BASE + 0x1000, name, sizeof(name)); /* the page with the bss */
	cr_assert(!strstr(name, "memfd"));
	mapped_at(m, ELF_SEG1, name, sizeof(name)); /* not congruent */
	cr_assert(!strstr(name, "memfd"));
	mem_destroy(m);
}

/*
 * One segment of 4 MiB: code, read-only data, bss that has room in the file, a little more code.
 * The section table lies behind the program headers. Each page of the file starts with its number.
 */
#define SECTIONS 0x400U
#define SEG_SIZE UINT64_C(0x400000)

static int sections_fd(uint8_t head[0x1000])
{
	const Elf64_Shdr sh[] = {
		{ .sh_type = SHT_NULL },
		{ .sh_type = SHT_PROGBITS,
		  .sh_flags = SHF_ALLOC | SHF_EXECINSTR,
		  .sh_addr = ELF_BASE,
		  .sh_size = 0x100100 },
		{ .sh_type = SHT_PROGBITS,
		  .sh_flags = SHF_ALLOC,
		  .sh_addr = ELF_BASE + 0x100100,
		  .sh_size = 0xfff00 },
		{ .sh_type = SHT_NOBITS,
		  .sh_flags = SHF_ALLOC | SHF_WRITE,
		  .sh_addr = ELF_BASE + 0x200000,
		  .sh_size = 0x180000 },
		{ .sh_type = SHT_PROGBITS,
		  .sh_flags = SHF_ALLOC | SHF_EXECINSTR,
		  .sh_addr = ELF_BASE + 0x380000,
		  .sh_size = 0x80000 },
	};
	struct file f;
	int fd;

	elf_make(&f);
	le16_put(f.b + offsetof(Elf64_Ehdr, e_phnum), 1);
	phdr_put(&f, 0, PT_LOAD, 0x1000, ELF_BASE, SEG_SIZE, SEG_SIZE);
	le64_put(f.b + offsetof(Elf64_Ehdr, e_shoff), SECTIONS);
	le16_put(f.b + offsetof(Elf64_Ehdr, e_shentsize), sizeof(sh[0]));
	le16_put(f.b + offsetof(Elf64_Ehdr, e_shnum), 5);
	memcpy(f.b + SECTIONS, sh, sizeof(sh));
	memcpy(head, f.b, 0x1000);
	fd = file_fd(head, 0x1000);
	cr_assert(ftruncate(fd, 0x1000 + SEG_SIZE) == 0);
	for (uint64_t page = 0; page < SEG_SIZE / 0x1000; page++) {
		uint8_t mark[4];

		le32_put(mark, (uint32_t)page + 1);
		cr_assert(pwrite(fd, mark, 4, (off_t)(0x1000 * (page + 1))) == 4);
	}
	return fd;
}

static uint32_t mark_at(const struct mem *m, uint64_t addr)
{
	uint8_t mark[4];

	cr_assert(mem_read(m, GPA(addr), mark, sizeof(mark)) == 0);
	return le32_get(mark);
}

Test(boot_elf, code_is_copied_and_bss_left_alone)
{
	struct mem *m = ram(64 * MIB);
	uint8_t head[0x1000];
	int fd = sections_fd(head);
	struct kernel_image k;
	struct err e = { 0 };
	char name[256];

	cr_assert(kernel_load(m, fd, &k, &e) == 0, "%s", e.msg);
	cr_assert(k.end.v == ELF_BASE + SEG_SIZE);
	for (uint64_t page = 0; page < SEG_SIZE / 0x1000; page++) {
		bool bss = page >= 0x200 && page < 0x380;
		bool mapped = page >= 0x200 && !bss; /* the code fills half a huge page */
		uint64_t addr = ELF_BASE + page * 0x1000;

		cr_assert(mark_at(m, addr) == (bss ? 0 : page + 1), "page 0x%lx",
			  (unsigned long)page);
		if (page % 0x20 > 1) /* the borders are at multiples of it, and the page behind */
			continue;
		cr_assert((mapped_at(m, addr, name, sizeof(name)) == addr - ELF_BASE + 0x1000) ==
				  mapped,
			  "page 0x%lx", (unsigned long)page);
		cr_assert(!strstr(name, "memfd") == !mapped);
	}
	close(fd);
	mem_destroy(m);
}

/* A large piece that ends early in a huge page: what lies behind is the guest's to use. */
Test(boot_elf, last_part_of_a_large_piece)
{
	static const struct {
		uint64_t len, mapped;
	} row[] = { { 0x280000, 0x200000 }, { 0x300000, 0x200000 }, { 0x301000, 0x301000 } };
	struct kernel_image k;
	struct err e = { 0 };

	for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		struct mem *m = ram(64 * MIB);
		uint8_t head[0x1000];
		int fd = sections_fd(head);
		char name[256];

		le16_put(head + offsetof(Elf64_Ehdr, e_shnum), 0);
		le64_put(head + sizeof(Elf64_Ehdr) + offsetof(Elf64_Phdr, p_filesz), row[i].len);
		cr_assert(pwrite(fd, head, sizeof(head), 0) == sizeof(head));
		cr_assert(kernel_load(m, fd, &k, &e) == 0, "%s", e.msg);
		for (uint64_t at = 0; at < row[i].len; at += 0x1000) {
			cr_assert(mark_at(m, ELF_BASE + at) == at / 0x1000 + 1);
			if (at % 0x40000)
				continue;
			mapped_at(m, ELF_BASE + at, name, sizeof(name));
			cr_assert(!strstr(name, "memfd") == (at >= row[i].mapped), "case %zu", i);
		}
		cr_assert(mark_at(m, ELF_BASE + row[i].len) == 0);
		close(fd);
		mem_destroy(m);
	}
}

/* Whatever the section table says, each byte of the segment is its byte of the file, or zero. */
Test(boot_elf, section_table_is_advice)
{
	static const uint8_t value[] = { 0x00, 0xff, 0x10, 0x08 };
	const size_t end = SECTIONS + 5 * sizeof(Elf64_Shdr);
	uint8_t head[0x1000];
	int fd = sections_fd(head);

	/* e_shoff, then e_shentsize to e_shstrndx, then the table. */
	for (size_t at = 40; at < end; at = at == 47 ? 58 : at == 63 ? SECTIONS : at + 1)
		for (size_t v = 0; v < sizeof(value); v++) {
			struct mem *m = ram(32 * MIB);
			struct kernel_image k;
			struct err e = { 0 };
			bool good = true;

			cr_assert(pwrite(fd, &value[v], 1, (off_t)at) == 1);
			cr_assert(kernel_load(m, fd, &k, &e) == 0, "%zu: %s", at, e.msg);
			for (uint64_t page = 0; page < SEG_SIZE / 0x1000; page++) {
				uint32_t mark = mark_at(m, ELF_BASE + page * 0x1000);

				good &= mark == 0 || mark == page + 1;
			}
			cr_assert(good, "byte 0x%zx set to 0x%02x", at, value[v]);
			expect_zero(m, ELF_BASE - 0x1000, 0x1000);
			expect_zero(m, ELF_BASE + SEG_SIZE, 0x1000);
			mem_destroy(m);
			cr_assert(pwrite(fd, head + at, 1, (off_t)at) == 1);
		}
	close(fd);
}

Test(boot_elf, without_note_the_64_bit_protocol)
{
	struct kernel_image k;
	struct err e = { 0 };
	struct file f;

	elf_make(&f);
	le32_put(f.b + PH(2), PT_NULL);
	cr_assert(load(&f, 128 * MIB, &k, NULL, &e) == 0, "%s", e.msg);
	cr_assert(k.protocol == BOOT_PROTOCOL_LINUX64);
	cr_assert(k.entry.v == ELF_ENTRY);
	cr_assert(k.setup.header == 0x53726448 && k.setup.boot_flag == 0xaa55);

	/* A note of another owner or type is no entry. */
	elf_make(&f);
	le32_put(f.b + ELF_NOTE + 24 + 8, 17);
	cr_assert(load(&f, 128 * MIB, &k, NULL, &e) == 0, "%s", e.msg);
	cr_assert(k.protocol == BOOT_PROTOCOL_LINUX64);
	elf_make(&f);
	f.b[ELF_NOTE + 24 + 12] = 'Y';
	cr_assert(load(&f, 128 * MIB, &k, NULL, &e) == 0, "%s", e.msg);
	cr_assert(k.protocol == BOOT_PROTOCOL_LINUX64);
}

Test(boot_elf, pvh_entry_of_four_bytes)
{
	struct kernel_image k;
	struct err e = { 0 };
	struct file f;
	uint8_t entry[4];
	size_t n;

	elf_make(&f);
	le32_put(entry, (uint32_t)ELF_PVH);
	n = note_put(f.b + ELF_NOTE, "Xen", 18, entry, 4);
	phdr_put(&f, 2, PT_NOTE, ELF_NOTE, 0, n, n);
	cr_assert(load(&f, 128 * MIB, &k, NULL, &e) == 0, "%s", e.msg);
	cr_assert(k.protocol == BOOT_PROTOCOL_PVH && k.entry.v == ELF_PVH);
}

Test(boot_elf, segment_above_4_gib)
{
	struct kernel_image k;
	struct err e = { 0 };
	struct file f;
	struct mem *m;

	elf_make(&f);
	phdr_put(&f, 1, PT_LOAD, 0x3000, 4 * GIB + 0x5000, 0x1400, 0x1400);
	cr_assert(load(&f, 6 * GIB, &k, &m, &e) == 0, "%s", e.msg);
	expect_bytes(m, 4 * GIB + 0x5000, f.b + 0x3000, 0x1400);
	mem_destroy(m);

	/* The 64-bit protocol's page tables do not reach it. */
	le32_put(f.b + PH(2), PT_NULL);
	cr_assert(load(&f, 6 * GIB, &k, NULL, &e) == -EINVAL);
	cr_assert(strstr(e.msg, "beyond the first GiB"), "%s", e.msg);
}

#define EH(field)   ((unsigned int)offsetof(Elf64_Ehdr, field))
#define P(i, field) (PH(i) + (unsigned int)offsetof(Elf64_Phdr, field))

static const struct bad bad_elf[] = {
	{ 4, 1, 1, "class is 1, must be 2 (64-bit); 32-bit kernels" },
	{ 4, 1, 7, "class is 7" },
	{ 5, 1, 2, "data encoding is 2, must be 1 (little-endian)" },
	{ 6, 1, 0, "version is 0/1" },
	{ EH(e_version), 4, 2, "version is 1/2" },
	{ EH(e_machine), 2, 183, "this is an arm64 kernel" },
	{ EH(e_machine), 2, 3, "machine is 3, must be 62" },
	{ EH(e_type), 2, ET_REL, "object file or kernel module" },
	{ EH(e_type), 2, ET_CORE, "type is 4" },
	{ EH(e_phentsize), 2, 32, "phentsize is 32, must be 56" },
	{ EH(e_phnum), 2, 0, "phnum is 0" },
	{ EH(e_phnum), 2, 33, "phnum is 33, must be 1 to 32" },
	{ EH(e_phnum), 2, 0xffff, "phnum is 65535" },
	{ EH(e_phoff), 8, 0x4400 - 3 * 56 + 1, "program headers at offset 0x4359" },
	{ EH(e_phoff), 8, UINT64_MAX, "lie beyond the end of the file" },
	{ EH(e_phoff), 8, INT64_MAX, "lie beyond the end of the file" },
	{ P(0, p_offset), 8, 0x4000, "segment 0: 0x1800 bytes at file offset 0x4000" },
	{ P(0, p_offset), 8, UINT64_MAX - 0x100, "beyond the end of the file" },
	{ P(0, p_filesz), 8, UINT64_MAX, "beyond the end of the file" },
	{ P(0, p_memsz), 8, 0x17ff, "filesz 0x1800 is larger than memsz 0x17ff" },
	{ P(0, p_memsz), 8, 0x10200, "segments 0 and 1 overlap at physical address 0x1010100" },
	{ P(0, p_memsz), 8, UINT64_MAX, "wraps around" },
	{ P(0, p_memsz), 8, 0x7000001,
	  "segment 0 ends at 0x8000001, beyond RAM of 128 MiB; the "
	  "kernel needs at least 129 MiB" },
	{ P(0, p_memsz), 8, 3 * GIB, "not in RAM" },
	{ P(0, p_paddr), 8, 0xff000, "below 1 MiB" },
	{ P(0, p_paddr), 8, 0, "below 1 MiB" },
	{ P(0, p_paddr), 8, ELF_BASE + 0x40000, "PVH entry 0x1000040 lies in no loaded segment" },
	{ P(1, p_paddr), 8, ELF_BASE + 0x2fff, "segments 0 and 1 overlap" },
	{ P(1, p_paddr), 8, UINT64_MAX - 0xff, "wraps around" },
	{ P(2, p_offset), 8, 0x43ff, "ELF notes:" },
	{ P(2, p_offset), 8, UINT64_MAX - 7, "ELF notes:" },
	{ P(2, p_filesz), 8, 8193, "at most 0x2000 are read" },
	{ P(2, p_filesz), 8, UINT64_MAX, "at most 0x2000 are read" },
	{ P(2, p_filesz), 8, 47, "desc of 8 bytes lie beyond" },
	{ ELF_NOTE, 4, 0xffffffff, "note at 0x0 of its segment" },
	{ ELF_NOTE + 4, 4, 0xfffffff0, "note at 0x0 of its segment" },
	{ ELF_NOTE + 24 + 4, 4, 5, "PVH entry has 5 bytes" },
	{ ELF_NOTE + 24 + 16, 8, 0x101000040, "is not a 32-bit address" },
	{ ELF_NOTE + 24 + 16, 8, 0, "is not a 32-bit address" },
	{ ELF_NOTE + 24 + 16, 8, ELF_BASE + 0x1800, "lies in no loaded segment" }, /* bss */
	{ ELF_NOTE + 24 + 16, 8, ELF_BASE - 1, "lies in no loaded segment" },
};

Test(boot_elf, each_bad_field_has_its_sentence)
{
	expect_sentences(elf_make, 128 * MIB, bad_elf, sizeof(bad_elf) / sizeof(bad_elf[0]));
}

Test(boot_elf, nothing_to_load_and_entry_of_the_64_bit_protocol)
{
	struct kernel_image k;
	struct err e = { 0 };
	struct file f;

	elf_make(&f);
	le32_put(f.b + PH(0), PT_DYNAMIC);
	le32_put(f.b + PH(1), PT_NULL);
	cr_assert(load(&f, 128 * MIB, &k, NULL, &e) == -EINVAL);
	cr_assert(strstr(e.msg, "none of 3 program headers is a PT_LOAD"), "%s", e.msg);

	elf_make(&f);
	le32_put(f.b + PH(2), PT_NULL);
	le64_put(f.b + EH(e_entry), 0xffffffff81000000);
	cr_assert(load(&f, 128 * MIB, &k, NULL, &e) == -EINVAL);
	cr_assert(strstr(e.msg, "entry 0xffffffff81000000 lies in no loaded segment"), "%s", e.msg);
}

Test(boot_elf, segment_across_the_hole)
{
	struct kernel_image k;
	struct err e = { 0 };
	struct file f;

	elf_make(&f);
	phdr_put(&f, 1, PT_LOAD, 0x3400, 3 * GIB - 0x800, 0x1000, 0x1000);
	cr_assert(load(&f, 6 * GIB, &k, NULL, &e) == -EINVAL);
	cr_assert(strstr(e.msg, "device hole"), "%s", e.msg);
}

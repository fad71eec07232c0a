/* SPDX-License-Identifier: Apache-2.0 */
/*
 * boot_util_x86.h - kernel files for the boot tests, made in memory and put into a memfd.
 *
 * Each starts as a small good file; tests then change one thing. File bytes that nobody may load
 * are FILLER, so that a leak shows.
 */
#pragma once

#include <asm/bootparam.h>
#include <criterion/criterion.h>
#include <elf.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/byteorder.h"
#include "boot/kernel_x86.h"
#include "boot/layout_x86.h"

#define FILLER	 0xcc
#define MIB	 UINT64_C(0x100000)
#define GIB	 UINT64_C(0x40000000)
#define FILE_MAX 0x6000

struct file {
	uint8_t b[FILE_MAX];
	size_t len;
};

static inline int file_fd(const void *bytes, size_t len)
{
	int fd = memfd_create("kernel", MFD_CLOEXEC);

	cr_assert(fd >= 0);
	cr_assert(write(fd, bytes, len) == (ssize_t)len);
	return fd;
}

static inline struct mem *ram(uint64_t bytes)
{
	struct mem_range range[MEM_REGIONS_MAX];
	struct err e = { 0 };
	struct mem *m = NULL;
	size_t nr;

	cr_assert(layout_x86_ram(bytes, range, &nr) == 0);
	cr_assert(mem_create(&m, range, nr, MEM_BACKING_PAGES, &e) == 0, "%s", e.msg);
	return m;
}

/*
 * ELF: header, three program headers (two PT_LOAD, one PT_NOTE), notes at 0x200.
 * Segment 0: offset 0x1000, 0x1800 bytes at 16 MiB, with bss up to 0x3000: page-congruent.
 * Segment 1: offset 0x3400, 0x1000 bytes at 16 MiB + 0x10100: not congruent.
 */
#define ELF_BASE  UINT64_C(0x1000000)
#define ELF_ENTRY (ELF_BASE + 0x100)
#define ELF_PVH	  (ELF_BASE + 0x40)
#define ELF_NOTE  0x200U
#define ELF_SEG1  (ELF_BASE + 0x10100)
#define PH(i)	  (64U + 56U * (i))

static inline size_t note_put(uint8_t *p, const char *name, uint32_t type, const void *desc,
			      uint32_t len)
{
	uint32_t namesz = (uint32_t)strlen(name) + 1;
	size_t at = 12;

	le32_put(p, namesz);
	le32_put(p + 4, len);
	le32_put(p + 8, type);
	memset(p + at, 0, 8);
	memcpy(p + at, name, namesz);
	at += (namesz + 3U) & ~3U;
	memcpy(p + at, desc, len);
	return at + ((len + 3U) & ~3U);
}

static inline void phdr_put(struct file *f, unsigned int i, uint32_t type, uint64_t offset,
			    uint64_t paddr, uint64_t filesz, uint64_t memsz)
{
	Elf64_Phdr ph = { .p_type = type,
			  .p_offset = offset,
			  .p_vaddr = paddr,
			  .p_paddr = paddr,
			  .p_filesz = filesz,
			  .p_memsz = memsz,
			  .p_align = type == PT_NOTE ? 4 : 0x1000 };

	memcpy(f->b + PH(i), &ph, sizeof(ph));
}

static inline void elf_make(struct file *f)
{
	Elf64_Ehdr eh = { .e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
			  .e_type = ET_EXEC,
			  .e_machine = EM_X86_64,
			  .e_version = EV_CURRENT,
			  .e_entry = ELF_ENTRY,
			  .e_phoff = 64,
			  .e_ehsize = 64,
			  .e_phentsize = 56,
			  .e_phnum = 3 };
	uint8_t entry[8];
	size_t n;

	memset(f->b, FILLER, sizeof(f->b));
	f->len = 0x4400;
	memset(f->b, 0, 0x400);
	memcpy(f->b, &eh, sizeof(eh));
	for (size_t i = 0; i < 0x1800; i++)
		f->b[0x1000 + i] = (uint8_t)(i * 7 + 1) | 1;
	for (size_t i = 0; i < 0x1000; i++)
		f->b[0x3400 + i] = (uint8_t)(i * 5 + 3) | 1;

	n = note_put(f->b + ELF_NOTE, "Linux", 0x100, "abc", 3);
	le64_put(entry, ELF_PVH);
	n += note_put(f->b + ELF_NOTE + n, "Xen", 18, entry, 8);
	phdr_put(f, 0, PT_LOAD, 0x1000, ELF_BASE, 0x1800, 0x3000);
	phdr_put(f, 1, PT_LOAD, 0x3400, ELF_SEG1, 0x1000, 0x1000);
	phdr_put(f, 2, PT_NOTE, ELF_NOTE, 0, n, n);
}

/*
 * bzImage: 3 setup sectors, so the protected-mode part starts at 0x800; 0x3010 bytes of it.
 */
#define BZ_OFFSET 0x800U
#define BZ_SIZE	  0x3010U
#define BZ_PREF	  UINT64_C(0x1000000)
#define BZ_INIT	  0x200000U
#define BZ(field) (0x1f1U + (unsigned int)offsetof(struct setup_header, field))

static inline void bz_make(struct file *f)
{
	struct setup_header h = { .setup_sects = 3,
				  .syssize = BZ_SIZE / 16,
				  .boot_flag = 0xaa55,
				  .jump = 0x6aeb, /* to 0x26c, behind the header */
				  .header = 0x53726448,
				  .version = 0x020f,
				  .loadflags = LOADED_HIGH,
				  .code32_start = 0x100000,
				  .initrd_addr_max = 0x7fffffff,
				  .kernel_alignment = 0x200000,
				  .relocatable_kernel = 1,
				  .min_alignment = 21,
				  .xloadflags = XLF_KERNEL_64,
				  .cmdline_size = 2047,
				  .payload_offset = 0x300,
				  .payload_length = 0x1000,
				  .pref_address = BZ_PREF,
				  .init_size = BZ_INIT };

	memset(f->b, FILLER, sizeof(f->b));
	memset(f->b, 0, BZ_OFFSET);
	memcpy(f->b, "MZ", 2);
	memcpy(f->b + 0x1f1, &h, sizeof(h));
	for (size_t i = 0; i < BZ_SIZE; i++)
		f->b[BZ_OFFSET + i] = (uint8_t)(i * 3 + 1) | 1;
	f->len = BZ_OFFSET + BZ_SIZE;
}

/* Load a file into fresh RAM; the RAM is handed out when @m is not NULL. */
static inline int load(const struct file *f, uint64_t ram_bytes, struct kernel_image *k,
		       struct mem **m, struct err *e)
{
	struct mem *fresh = ram(ram_bytes);
	int fd = file_fd(f->b, f->len);
	int r = kernel_load(fresh, fd, k, e);

	close(fd);
	if (m)
		*m = fresh;
	else
		mem_destroy(fresh);
	return r;
}

/* Whether guest RAM holds these bytes, or only zeroes, there. */
void expect_bytes(const struct mem *m, uint64_t addr, const uint8_t *want, size_t len);
void expect_zero(const struct mem *m, uint64_t addr, size_t len);

/* The name of what the host has mapped at a guest address below 3 GiB, and its file offset. */
uint64_t mapped_at(const struct mem *m, uint64_t addr, char *name, size_t max);

/* One field of the good file changed: what the operator reads. */
struct bad {
	unsigned int offset;
	unsigned int width;
	uint64_t value;
	const char *text;
};

/* Each row's change in a file that @make makes is refused with its text. */
void expect_sentences(void (*make)(struct file *f), uint64_t ram_bytes, const struct bad *row,
		      size_t nr);

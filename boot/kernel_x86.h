/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kernel_x86.h - a kernel file and an initrd become guest RAM; the result says where to start.
 *
 * A kernel file is untrusted input: every offset, length and count in it is checked against the
 * size of the file and against RAM before it is used. Nothing is kept after return: the fd may be
 * closed, pages that were mapped stay mapped. Runs on the thread that builds the machine.
 * ELF-64 (System V gABI), x86 boot protocol (Documentation/arch/x86/boot.rst), Xen PVH start info.
 */
#pragma once

#include <asm/bootparam.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"

enum boot_protocol {
	BOOT_PROTOCOL_LINUX64, /* 64-bit entry, long mode, rsi = zero page */
	BOOT_PROTOCOL_PVH,     /* 32-bit entry, paging off, ebx = hvm_start_info */
};

struct kernel_image {
	enum boot_protocol protocol;
	gpa_t entry; /* first instruction */
	/*
	 * All that the kernel uses before it reads its memory map, page-aligned outwards: the file,
	 * bss, and for a bzImage the place it decompresses itself to. Nothing else may lie here.
	 */
	gpa_t start;
	gpa_t end;
	gpa_t initrd_end; /* an initrd must end at or below this (bzImage: initrd_addr_max + 1) */
	/* For the zero page: the file's setup header (bzImage), or one made up (ELF). */
	struct setup_header setup;
};

/*
 * kernel_load - put the kernel of @fd into guest RAM.
 * @fd: a regular file open for reading; ELF64 or bzImage, recognised by its magic numbers. Pages
 * are mapped (mem_map_file) where the format allows. RAM must still be zero, as bss is not cleared.
 * Errors: EINVAL and one sentence that names the field, its value and what would be right; errno
 * of fstat, pread or mmap. After an error RAM may be partly filled.
 */
int kernel_load(struct mem *m, int fd, struct kernel_image *out, struct err *e);

struct initrd_image {
	gpa_t addr;   /* page-aligned */
	uint64_t len; /* bytes in the file; the rest of the last page is zero */
};

/*
 * initrd_load - map the file at the page-aligned top of the first RAM region, or below what the
 * kernel can reach, clear of the kernel and of the low structures.
 * Errors: EINVAL (empty, not a regular file), ENOMEM (no room, says how much is missing), errno of
 * fstat or mmap.
 */
int initrd_load(struct mem *m, int fd, const struct kernel_image *kernel, struct initrd_image *out,
		struct err *e);

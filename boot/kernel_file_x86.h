/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kernel_file_x86.h - what kernel_x86.c shares with the two parsers; private to boot/.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"
#include "boot/kernel_x86.h"

/* Enough for an ELF header, and for the boot sector plus setup header of a bzImage. */
#define KERNEL_HEAD_MAX 1024U

/*
 * A kernel file, with its first bytes copied once: the file may be written to while we look, so
 * what was checked and what is used must be the same copy.
 */
struct kernel_file {
	int fd;
	uint64_t size;		       /* as fstat saw it */
	size_t head_len;	       /* bytes of head that the file has */
	uint8_t head[KERNEL_HEAD_MAX]; /* zero beyond head_len */
};

/* kernel_file_has - whether [offset, offset+len) lies inside the file; cannot overflow. */
static inline bool kernel_file_has(const struct kernel_file *f, uint64_t offset, uint64_t len)
{
	return offset <= f->size && len <= f->size - offset;
}

/*
 * kernel_range - check that guest memory [start, start+len) is RAM at or above 1 MiB.
 * @what names the range in the message, for example "ELF segment 2". 0 or -EINVAL.
 */
int kernel_range(const struct mem *m, const char *what, uint64_t start, uint64_t len,
		 struct err *e);

/* elf_load / bzimage_load - kernel_load() for a file whose magic number was recognised. */
int elf_load(struct mem *m, const struct kernel_file *f, struct kernel_image *out, struct err *e);
int bzimage_load(struct mem *m, const struct kernel_file *f, struct kernel_image *out,
		 struct err *e);

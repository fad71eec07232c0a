/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kernel_x86.c - recognises the kernel format and places the initrd. See kernel_x86.h.
 *
 * Runs on the thread that builds the machine. The formats themselves: elf_x86.c, bzimage_x86.c.
 */
#include "boot/kernel_x86.h"

#include <elf.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "base/byteorder.h"
#include "base/fd.h"
#include "boot/kernel_file_x86.h"
#include "boot/layout_x86.h"

#define MIB UINT64_C(0x100000)

/* The 64-bit protocol starts on page tables of ours that map this much (boot.rst). */
#define IDENTITY_MAP_END UINT64_C(0x40000000)

static uint64_t page_down(uint64_t v)
{
	return v & ~(LAYOUT_PAGE_SIZE - 1);
}

static uint64_t page_up(uint64_t v)
{
	return page_down(v + LAYOUT_PAGE_SIZE - 1);
}

/*
 * A pipe or socket has no size to check against and cannot be mapped; a directory opens but never
 * reads. Both would otherwise give an errno that says nothing.
 */
static int file_size(int fd, const char *what, uint64_t *size, struct err *e)
{
	struct stat st;

	if (fstat(fd, &st))
		return err_set(e, errno, "%s: fstat", what);
	if (S_ISDIR(st.st_mode))
		return err_set(e, 0, "%s is a directory, not a file", what);
	if (!S_ISREG(st.st_mode))
		return err_set(e, 0, "%s is not a regular file", what);
	if (st.st_size <= 0)
		return err_set(e, 0, "%s is empty (0 bytes)", what);
	*size = (uint64_t)st.st_size;
	return 0;
}

int kernel_range(const struct mem *m, const char *what, uint64_t start, uint64_t len, struct err *e)
{
	uint64_t end;

	if (__builtin_add_overflow(start, len, &end))
		return err_set(e, 0,
			       "%s: start 0x%" PRIx64 " plus length 0x%" PRIx64
			       " wraps around the address space",
			       what, start, len);
	if (start < LAYOUT_HIGH_RAM)
		return err_set(e, 0,
			       "%s starts at 0x%" PRIx64
			       ", below 1 MiB where the boot structures lie",
			       what, start);
	if (mem_valid(m, GPA(start), len))
		return 0;
	if (end <= LAYOUT_GAP_START)
		return err_set(e, 0,
			       "%s ends at 0x%" PRIx64 ", beyond RAM of %" PRIu64
			       " MiB; the kernel needs at least %" PRIu64 " MiB",
			       what, end, mem_size(m) / MIB, (end + MIB - 1) / MIB);
	return err_set(e, 0,
		       "%s at 0x%" PRIx64 "-0x%" PRIx64
		       " is not in RAM (or spans the device hole at 3-4 GiB); RAM is %" PRIu64
		       " MiB",
		       what, start, end, mem_size(m) / MIB);
}

/* Files that people do hand over instead of a bootable kernel, and what helps. */
static const struct {
	size_t offset;
	uint8_t len;
	char magic[9];
	const char *hint;
} wrong_format[] = {
	{ 0, 2, "\x1f\x8b", "gzip-compressed; gunzip it first" },
	{ 1, 5, "7zXZ\0", "xz-compressed; unxz it first" },
	{ 0, 4, "\x28\xb5\x2f\xfd", "zstd-compressed; unzstd it first" },
	{ 0, 4, "\x02\x21\x4c\x18", "lz4-compressed; unlz4 it first" },
	{ 0, 3, "BZh", "bzip2-compressed; bunzip2 it first" },
	{ 56, 4, "ARM\x64", "an arm64 Image; x86_64 guests need an x86_64 vmlinux or bzImage" },
	{ 0, 8, "!<arch>\n", "an archive, perhaps a package; take the kernel out of it" },
};

static int refuse_format(const struct kernel_file *f, struct err *e)
{
	const uint8_t *h = f->head;

	for (size_t i = 0; i < sizeof(wrong_format) / sizeof(wrong_format[0]); i++) {
		const char *magic = wrong_format[i].magic;

		if (!memcmp(h + wrong_format[i].offset, magic, wrong_format[i].len))
			return err_set(e, 0, "kernel file is %s", wrong_format[i].hint);
	}
	return err_set(e, 0,
		       "kernel file is neither ELF nor bzImage (%" PRIu64
		       " bytes, first four %02x %02x %02x %02x)",
		       f->size, h[0], h[1], h[2], h[3]);
}

int kernel_load(struct mem *m, int fd, struct kernel_image *out, struct err *e)
{
	struct kernel_file f = { .fd = fd };
	int r = file_size(fd, "kernel file", &f.size, e);

	if (r)
		return r;
	f.head_len = f.size < sizeof(f.head) ? (size_t)f.size : sizeof(f.head);
	r = fd_pread_all(fd, f.head, f.head_len, 0);
	if (r)
		return err_set(e, -r, "read the first %zu bytes of the kernel file", f.head_len);

	*out = (struct kernel_image){ 0 };
	if (!memcmp(f.head, ELFMAG, SELFMAG))
		r = elf_load(m, &f, out, e);
	else if (!memcmp(f.head + 0x202, "HdrS", 4) && le16_get(f.head + 0x1fe) == 0xaa55)
		r = bzimage_load(m, &f, out, e);
	else
		r = refuse_format(&f, e);
	if (r)
		return r;

	out->start = GPA(page_down(out->start.v));
	out->end = GPA(page_up(out->end.v));
	if (out->protocol == BOOT_PROTOCOL_LINUX64 && out->end.v > IDENTITY_MAP_END)
		return err_set(e, 0,
			       "kernel ends at 0x%" PRIx64
			       ", beyond the first GiB that the 64-bit boot protocol starts with",
			       out->end.v);
	return 0;
}

int initrd_load(struct mem *m, int fd, const struct kernel_image *kernel, struct initrd_image *out,
		struct err *e)
{
	struct mem_range low = mem_range(m, 0);
	uint64_t top = low.base.v + low.len;
	uint64_t size = 0;
	int r;

	r = file_size(fd, "initrd file", &size, e);
	if (r)
		return r;
	if (top > kernel->initrd_end.v)
		top = kernel->initrd_end.v;
	top = page_down(top);
	/*
	 * Above the kernel or nowhere: kernel->end includes bss and the place of decompression, so
	 * neither can grow into the initrd; the boot structures are below the kernel.
	 */
	if (top < kernel->end.v || size > top - kernel->end.v)
		return err_set(e, ENOMEM,
			       "initrd of %" PRIu64 " bytes does not fit between the kernel's end "
			       "0x%" PRIx64 " and 0x%" PRIx64 "; give the guest more memory",
			       size, kernel->end.v, top);

	*out = (struct initrd_image){ .addr = GPA(page_down(top - size)), .len = size };
	r = mem_map_file(m, out->addr, fd, 0, size, e);
	return r ? err_wrap(e, "initrd") : 0;
}

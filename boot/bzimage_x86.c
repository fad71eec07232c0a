/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bzimage_x86.c - a compressed Linux kernel, entered at its 64-bit entry; it unpacks itself.
 *
 * Runs on the thread that builds the machine. The file is untrusted: each field is bounded before
 * it is computed with. Documentation/arch/x86/boot.rst: "The Real-Mode Kernel Header", "Loading The
 * Rest of The Kernel", "64-bit Boot Protocol".
 */
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <string.h>

#include "base/fd.h"
#include "boot/kernel_file_x86.h"
#include "boot/layout_x86.h"

#define SECTOR 512U

/* Where struct setup_header starts in the file, and the first byte behind the fields we need. */
#define SETUP_OFFSET 0x1f1U
#define SETUP_NEEDED (SETUP_OFFSET + offsetof(struct setup_header, handover_offset))

#define VERSION_MIN 0x020c /* xloadflags, i.e. a way to know that there is a 64-bit entry */
#define ENTRY_64    0x200U /* startup_64, from the start of the protected-mode part */

struct bzimage {
	struct setup_header h;
	uint64_t offset; /* of the protected-mode part in the file */
	uint64_t size;	 /* of it */
};

/* Copy as much of the setup header as the file says it has: the jump over it ends where it ends. */
static int read_header(const struct kernel_file *f, struct setup_header *h, struct err *e)
{
	size_t end = 0x202U + f->head[0x201];

	if (end < SETUP_NEEDED)
		return err_set(e, 0,
			       "bzImage: setup header ends at 0x%zx, a 64-bit entry needs it to "
			       "reach 0x%zx (boot protocol 2.12)",
			       end, SETUP_NEEDED);
	if (end > f->head_len)
		return err_set(e, 0,
			       "bzImage: file of %" PRIu64 " bytes is cut inside the setup header",
			       f->size);
	if (end > SETUP_OFFSET + sizeof(*h))
		end = SETUP_OFFSET + sizeof(*h);
	memcpy(h, f->head + SETUP_OFFSET, end - SETUP_OFFSET);
	return 0;
}

static int check_flags(const struct setup_header *h, struct err *e)
{
	if (h->version < VERSION_MIN)
		return err_set(e, 0, "bzImage: boot protocol is %u.%02u, must be at least 2.12",
			       h->version >> 8, h->version & 0xffU);
	if (!(h->loadflags & LOADED_HIGH))
		return err_set(e, 0, "bzImage: loadflags 0x%02x lack LOADED_HIGH; this is a zImage",
			       h->loadflags);
	if (!(h->xloadflags & XLF_KERNEL_64))
		return err_set(e, 0,
			       "bzImage: xloadflags 0x%04x lack XLF_KERNEL_64; 32-bit kernels are "
			       "not supported",
			       h->xloadflags);
	if (h->relocatable_kernel &&
	    (!h->kernel_alignment || h->kernel_alignment & (h->kernel_alignment - 1)))
		return err_set(e, 0, "bzImage: kernel_alignment 0x%x is not a power of two",
			       h->kernel_alignment);
	if (!h->init_size)
		return err_set(e, 0, "bzImage: init_size is 0");
	return 0;
}

/* Where the protected-mode part lies in the file. setup_sects 0 means 4, for history's sake. */
static int check_file(const struct kernel_file *f, struct bzimage *bz, struct err *e)
{
	const struct setup_header *h = &bz->h;
	uint64_t sects = h->setup_sects ? h->setup_sects : 4;

	bz->offset = (sects + 1) * SECTOR;
	bz->size = (uint64_t)h->syssize * 16;
	if (bz->size <= ENTRY_64)
		return err_set(e, 0, "bzImage: syssize %u is too small to hold a 64-bit entry",
			       h->syssize);
	if (!kernel_file_has(f, bz->offset, bz->size))
		return err_set(e, 0,
			       "bzImage: 0x%" PRIx64 " bytes (syssize) at offset 0x%" PRIx64
			       " lie beyond the end of the file (%" PRIu64
			       " bytes); the file is cut or damaged",
			       bz->size, bz->offset, f->size);
	if ((uint64_t)h->payload_offset + h->payload_length > bz->size)
		return err_set(e, 0,
			       "bzImage: payload of 0x%x bytes at 0x%x lies beyond the kernel's "
			       "0x%" PRIx64 " bytes",
			       h->payload_length, h->payload_offset, bz->size);
	return 0;
}

/*
 * Choose the load address and find out what the kernel will use.
 *
 * A relocatable kernel may be loaded anywhere and moves itself to the next multiple of
 * kernel_alignment, but not below pref_address (boot.rst, kernel_alignment and init_size). So the
 * lowest address that is congruent with the file offset modulo the page size is good, and the file
 * can be mapped instead of copied. A fixed kernel must be at pref_address and is copied.
 */
static int place(const struct mem *m, const struct bzimage *bz, struct kernel_image *out,
		 struct err *e)
{
	const struct setup_header *h = &bz->h;
	uint64_t load = LAYOUT_HIGH_RAM + bz->offset % LAYOUT_PAGE_SIZE;
	uint64_t run = h->pref_address;
	int r;

	if (!h->relocatable_kernel) {
		load = h->pref_address;
	} else {
		uint64_t mask = (uint64_t)h->kernel_alignment - 1;
		uint64_t aligned = (load + mask) & ~mask;

		if (run < aligned)
			run = aligned;
	}
	r = kernel_range(m, "bzImage", load, bz->size, e);
	if (!r)
		r = kernel_range(m, "bzImage: place to unpack (pref_address, init_size)", run,
				 h->init_size, e);
	if (r)
		return r;

	out->protocol = BOOT_PROTOCOL_LINUX64;
	out->entry = GPA(load + ENTRY_64);
	out->start = GPA(load < run ? load : run);
	out->end = GPA(load + bz->size > run + h->init_size ? load + bz->size : run + h->init_size);
	return 0;
}

int bzimage_load(struct mem *m, const struct kernel_file *f, struct kernel_image *out,
		 struct err *e)
{
	struct bzimage bz = { 0 };
	uint64_t load;
	int r;

	r = read_header(f, &bz.h, e);
	if (!r)
		r = check_flags(&bz.h, e);
	if (!r)
		r = check_file(f, &bz, e);
	if (!r)
		r = place(m, &bz, out, e);
	if (r)
		return r;

	load = out->entry.v - ENTRY_64;
	r = mem_map_file(m, GPA(load), f->fd, bz.offset, bz.size, e);
	if (r)
		return err_wrap(e, "bzImage");

	/* initrd_addr_max is the highest byte; 32 bits, so + 1 cannot wrap. */
	out->initrd_end = GPA((uint64_t)bz.h.initrd_addr_max + 1);
	out->setup = bz.h;
	out->setup.code32_start = (uint32_t)load;
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * boot_fuzz_x86.h - one kernel file of any bytes, loaded into small RAM, then set up to boot.
 *
 * What is judged besides crashes: a load that succeeds must have put the entry inside the kernel
 * and the kernel inside RAM, above the boot structures; and an error must say something.
 */
#pragma once

#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "boot/setup_x86.h"

#define FUZZ_RAM  (UINT64_C(32) << 20)
#define FUZZ_FILE (UINT64_C(1) << 20)

static inline void fuzz_require(int ok)
{
	if (!ok)
		abort();
}

static inline void fuzz_kernel(const uint8_t *data, size_t size)
{
	struct boot_info info = { .cmdline = "quiet", .nr_vcpus = 1 };
	struct mem_range range[MEM_REGIONS_MAX];
	struct kernel_image kernel;
	struct boot_start start;
	struct err e = { 0 };
	struct mem *m = NULL;
	size_t nr;
	int fd, r;

	if (size > FUZZ_FILE)
		return;
	fd = memfd_create("kernel", MFD_CLOEXEC);
	fuzz_require(fd >= 0 && write(fd, data, size) == (ssize_t)size);
	fuzz_require(layout_x86_ram(FUZZ_RAM, range, &nr) == 0);
	fuzz_require(mem_create(&m, range, nr, MEM_BACKING_PAGES, &e) == 0);

	r = kernel_load(m, fd, &kernel, &e);
	close(fd);
	if (r) {
		fuzz_require(e.msg[0] && r == -e.code);
	} else {
		fuzz_require(kernel.start.v >= LAYOUT_HIGH_RAM && kernel.end.v <= FUZZ_RAM);
		fuzz_require(kernel.entry.v >= kernel.start.v && kernel.entry.v < kernel.end.v);
		info.kernel = &kernel;
		(void)boot_setup(m, &info, &start, &e);
	}
	mem_destroy(m);
}

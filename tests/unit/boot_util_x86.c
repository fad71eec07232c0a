/* SPDX-License-Identifier: Apache-2.0 */
/*
 * boot_util_x86.c - see boot_util_x86.h.
 */
#include "boot_util_x86.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

void expect_bytes(const struct mem *m, uint64_t addr, const uint8_t *want, size_t len)
{
	uint8_t *got = malloc(len);

	cr_assert(got);
	cr_assert(mem_read(m, GPA(addr), got, len) == 0);
	cr_assert(!memcmp(got, want, len), "bytes at guest 0x%lx", (unsigned long)addr);
	free(got);
}

void expect_zero(const struct mem *m, uint64_t addr, size_t len)
{
	uint8_t *zero = calloc(1, len);

	cr_assert(zero);
	expect_bytes(m, addr, zero, len);
	free(zero);
}

uint64_t mapped_at(const struct mem *m, uint64_t addr, char *name, size_t max)
{
	uint64_t host = mem_host_base(m, 0) + addr;
	char line[512], path[256];
	FILE *f = fopen("/proc/self/maps", "r");
	unsigned long start, end, offset;

	cr_assert(f);
	name[0] = 0;
	while (fgets(line, sizeof(line), f)) {
		path[0] = 0;
		if (sscanf(line, "%lx-%lx %*s %lx %*s %*s %255s", &start, &end, &offset, path) < 3)
			continue;
		if (host >= start && host < end) {
			(void)snprintf(name, max, "%s", path);
			fclose(f);
			return offset + (host - start);
		}
	}
	fclose(f);
	return UINT64_MAX;
}

void expect_sentences(void (*make)(struct file *f), uint64_t ram_bytes, const struct bad *row,
		      size_t nr)
{
	for (size_t i = 0; i < nr; i++) {
		struct kernel_image k;
		struct err e = { 0 };
		struct file f;
		uint8_t v[8];

		make(&f);
		le64_put(v, row[i].value);
		memcpy(f.b + row[i].offset, v, row[i].width);
		cr_assert(load(&f, ram_bytes, &k, NULL, &e) == -EINVAL, "row %zu", i);
		cr_assert(strstr(e.msg, row[i].text), "row %zu: %s", i, e.msg);
	}
}

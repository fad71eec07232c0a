/* SPDX-License-Identifier: Apache-2.0 */
/*
 * layout_x86.c - cuts the memory size into ranges around the two holes. Pure; any thread.
 */
#include "boot/layout_x86.h"

#include <errno.h>

/* Where RAM may be, in the order in which it is filled. */
static const struct {
	uint64_t start, end;
} window[] = {
	{ 0, LAYOUT_GAP_START },
	{ LAYOUT_GAP_END, LAYOUT_GAP64_START },
	{ LAYOUT_GAP64_END, LAYOUT_RAM_END },
};

#define NR_WINDOWS (sizeof(window) / sizeof(window[0]))

_Static_assert(NR_WINDOWS <= MEM_REGIONS_MAX, "struct mem holds every range of the layout");
_Static_assert(LAYOUT_VIRTIO_MMIO + LAYOUT_NR_GSIS * LAYOUT_VIRTIO_MMIO_SIZE <= LAYOUT_IOAPIC,
	       "the device windows end below the interrupt controllers");

int layout_x86_ram(uint64_t mem_bytes, struct mem_range *out, size_t *nr)
{
	uint64_t left = mem_bytes;

	*nr = 0;
	if (mem_bytes % LAYOUT_PAGE_SIZE || mem_bytes <= LAYOUT_HIGH_RAM ||
	    mem_bytes > LAYOUT_RAM_MAX)
		return -EINVAL;

	for (size_t i = 0; i < NR_WINDOWS && left; i++) {
		uint64_t room = window[i].end - window[i].start;
		uint64_t len = left < room ? left : room;

		out[(*nr)++] = (struct mem_range){ .base = GPA(window[i].start), .len = len };
		left -= len;
	}
	return 0;
}

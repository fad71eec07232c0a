/* SPDX-License-Identifier: Apache-2.0 */
/* Prints the command line and the memory map that PVH hands over, one `map ADDRESS SIZE TYPE` a line. */
#include "guest_x86.h"

void guest_main(const struct hvm_start_info *info)
{
	const struct hvm_memmap_entry *entry = (const void *)(uintptr_t)info->memmap_paddr;
	uint32_t i;

	put("magic ");
	put_hex(info->magic);
	put("\r\ncmdline ");
	put((const char *)(uintptr_t)info->cmdline_paddr);
	put("\r\n");
	for (i = 0; i < info->memmap_entries; i++) {
		put("map ");
		put_hex(entry[i].addr);
		put(" ");
		put_hex(entry[i].size);
		put(" ");
		put_hex(entry[i].type);
		put("\r\n");
	}
	put("end\r\n");
}

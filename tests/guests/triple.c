/* SPDX-License-Identifier: Apache-2.0 */
/* Triple fault: an interrupt while the interrupt descriptor table is empty. */
#include "guest_x86.h"

void guest_main(const struct hvm_start_info *info)
{
	static const struct {
		uint16_t limit;
		uint32_t base;
	} __attribute__((packed)) empty;

	(void)info;
	put("about to fault\r\n");
	__asm__ volatile("lidt %0; int3" : : "m"(empty));
	put("still here\r\n");
}

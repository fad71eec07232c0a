/* SPDX-License-Identifier: Apache-2.0 */
/* Waits for a byte on its serial port, then looks at the middle of its initrd for the first time. */
#include "guest_x86.h"

/* Xen's public/arch-x86/hvm/start_info.h. */
struct hvm_modlist_entry {
	uint64_t paddr, size, cmdline_paddr, reserved;
};

void guest_main(const struct hvm_start_info *info)
{
	const struct hvm_modlist_entry *initrd = (void *)(uintptr_t)info->modlist_paddr;
	const volatile char *middle = (void *)(uintptr_t)(initrd->paddr + initrd->size / 2);

	put("late is ready\r\n");
	while (!(in8(COM1_LSR) & 1))
		;
	put("byte ");
	put_char(*middle);
	put("\r\n");
}

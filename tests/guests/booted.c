/* SPDX-License-Identifier: Apache-2.0 */
/* Tells the boot timer that it has booted, then prints a line and ends through the i8042. */
#include "guest_x86.h"

#define BOOT_TIMER    0xc0000000u
#define BOOT_COMPLETE 123

void guest_main(const struct hvm_start_info *info)
{
	(void)info;
	*(volatile uint8_t *)BOOT_TIMER = BOOT_COMPLETE;
	put("booted\r\n");
}

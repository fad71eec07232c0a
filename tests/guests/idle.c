/* SPDX-License-Identifier: Apache-2.0 */
/* Says so and sleeps for ever: a guest that costs nothing while something else is tested. */
#include "guest_x86.h"

void guest_main(const struct hvm_start_info *info)
{
	(void)info;
	put("idle\r\n");
	for (;;)
		__asm__ volatile("cli; hlt");
}

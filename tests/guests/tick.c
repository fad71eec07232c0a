/* SPDX-License-Identifier: Apache-2.0 */
/* Prints a dot now and then, for ever. */
#include "guest_x86.h"

void guest_main(const struct hvm_start_info *info)
{
	volatile uint32_t i;

	(void)info;
	put("ticking\r\n");
	for (;;) {
		for (i = 0; i < 20000; i++)
			;
		put_char('.');
	}
}

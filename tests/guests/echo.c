/* SPDX-License-Identifier: Apache-2.0 */
/* Answers each byte of its serial port with the byte after it; ends at `q`. */
#include "guest_x86.h"

void guest_main(const struct hvm_start_info *info)
{
	char c;

	(void)info;
	put("echo is ready\r\n");
	for (;;) {
		while (!(in8(COM1_LSR) & 1))
			;
		c = (char)in8(COM1);
		if (c == 'q')
			break;
		put_char((char)(c + 1));
	}
	put("bye\r\n");
}

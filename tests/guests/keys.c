/* SPDX-License-Identifier: Apache-2.0 */
/* Prints every byte that the keyboard sends, untranslated, and ends after Delete (0x71). */
#include "guest_x86.h"

#define I8042_DATA 0x60
#define WRITE_CTR  0x60

void guest_main(const struct hvm_start_info *info)
{
	uint8_t key = 0;

	(void)info;
	out8(I8042_COMMAND, WRITE_CTR);
	out8(I8042_DATA, 0);
	put("waiting for keys\r\n");
	while (key != 0x71) {
		if (!(in8(I8042_COMMAND) & 1))
			continue;
		key = in8(I8042_DATA);
		put("key ");
		put_hex(key);
		put("\r\n");
	}
}

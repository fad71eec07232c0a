/* SPDX-License-Identifier: Apache-2.0 */
/* Writes 200 000 bytes to its serial port without ever looking whether they can leave, then ends. */
#include "guest_x86.h"

void guest_main(const struct hvm_start_info *info)
{
	uint32_t i;

	(void)info;
	for (i = 0; i < 200000; i++)
		put_char((char)('a' + i % 26));
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Prints a line and ends through the i8042. */
#include "guest_x86.h"

void guest_main(const struct hvm_start_info *info)
{
	(void)info;
	put("hello from the guest\r\n");
}

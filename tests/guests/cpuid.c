/* SPDX-License-Identifier: Apache-2.0 */
/* Prints the CPU's signature (leaf 1, EAX) and EBX of KVM's leaf 0x40000000, and ends through the i8042. */
#include "guest_x86.h"

static void cpuid(uint32_t *a, uint32_t *b)
{
	uint32_t c = 0, d;

	__asm__ volatile("cpuid" : "+a"(*a), "=b"(*b), "+c"(c), "=d"(d));
}

void guest_main(const struct hvm_start_info *info)
{
	uint32_t signature = 1, kvm = 0x40000000, name, ignored;

	(void)info;
	cpuid(&signature, &ignored);
	cpuid(&kvm, &name);
	put("cpuid: ");
	put_hex(signature);
	put(" ");
	put_hex(name);
	put("\r\n");
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Prints the CPU's signature (leaf 1, EAX), EBX of KVM's leaf 0x40000000 and EAX of 0x40000001 (KVM's features), and
 * ends through the i8042.
 */
#include "guest_x86.h"

static void cpuid(uint32_t *a, uint32_t *b)
{
	uint32_t c = 0, d;

	__asm__ volatile("cpuid" : "+a"(*a), "=b"(*b), "+c"(c), "=d"(d));
}

void guest_main(const struct hvm_start_info *info)
{
	uint32_t signature = 1, kvm = 0x40000000, features = 0x40000001, name, ignored;

	(void)info;
	cpuid(&signature, &ignored);
	cpuid(&kvm, &name);
	cpuid(&features, &ignored);
	put("cpuid: ");
	put_hex(signature);
	put(" ");
	put_hex(name);
	put(" ");
	put_hex(features);
	put("\r\n");
}

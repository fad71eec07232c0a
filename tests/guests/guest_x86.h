/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tiny 32-bit guests have in common: they are entered by the PVH protocol (flat 32-bit segments, paging off,
 * the address of hvm_start_info in EBX), write to COM1 and end through the i8042's reset line.  They need neither
 * interrupts nor a FPU, so that a KVM which only interprets guests runs them as well.
 *
 * A guest is one file that defines guest_main(); include this header in exactly one place.
 */
#pragma once

#include <stdint.h>

#define COM1	      0x3f8
#define COM1_LSR      (COM1 + 5)
#define I8042_COMMAND 0x64

/* Xen's public/arch-x86/hvm/start_info.h, version 1. */
struct hvm_start_info {
	uint32_t magic, version, flags, nr_modules;
	uint64_t modlist_paddr, cmdline_paddr, rsdp_paddr, memmap_paddr;
	uint32_t memmap_entries, reserved;
};

struct hvm_memmap_entry {
	uint64_t addr, size;
	uint32_t type, reserved;
};

void guest_main(const struct hvm_start_info *info);
void guest_entry(const struct hvm_start_info *info);

/* Note XEN_ELFNOTE_PHYS32_ENTRY (18), and an entry that makes a stack before any C runs. */
__asm__(".section .note.Xen, \"a\", @note\n"
	".align 4\n"
	".long 4, 4, 18\n"
	".asciz \"Xen\"\n"
	".long _start\n"
	".section .text.start, \"ax\"\n"
	".globl _start\n"
	"_start: mov $stack_end, %esp\n"
	"push %ebx\n"
	"call guest_entry\n"
	".bss\n"
	".align 16\n"
	".skip 8192\n"
	"stack_end:\n"
	".text\n");

static inline void out8(uint16_t port, uint8_t v)
{
	__asm__ volatile("outb %0, %1" : : "a"(v), "Nd"(port));
}

static inline uint8_t in8(uint16_t port)
{
	uint8_t v;

	__asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port));
	return v;
}

static inline void put_char(char c)
{
	out8(COM1, (uint8_t)c);
}

static inline void put(const char *s)
{
	while (*s)
		put_char(*s++);
}

static inline void put_hex(uint64_t v)
{
	int shift;

	for (shift = 60; shift >= 0; shift -= 4)
		put_char("0123456789abcdef"[(v >> shift) & 15]);
}

/* The end that a Linux guest takes with reboot=k. */
static inline void guest_end(void)
{
	for (;;)
		out8(I8042_COMMAND, 0xfe);
}

void guest_entry(const struct hvm_start_info *info)
{
	guest_main(info);
	guest_end();
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The smallest PVH guest: its first instructions write READY to COM1, then it asks the i8042 for a
 * reset. What lies between exec of a VMM and the R is the VMM's own price, nothing of it the guest's.
 * PAD is the size of a data segment that nobody touches: it gives the file the size of a real kernel
 * (a VMM that copies kernels pays for it, one that maps them does not). With STAY it does not reset.
 */
#define COM1		0x3f8
#define I8042_COMMAND	0x64
#define I8042_RESET	0xfe
#define XEN_ELFNOTE_PHYS32_ENTRY 18

	.section .note.pvh, "a", @note
	.balign 4
	.long	4			/* bytes of the name */
	.long	4			/* bytes of the value */
	.long	XEN_ELFNOTE_PHYS32_ENTRY
	.asciz	"Xen"
	.long	start

	.text
	.code32
	.globl start
start:
	mov	$COM1, %dx
	/* Immediate operands: the guest reads no memory, so no page but this one is faulted in. */
	.irp	letter, 'R', 'E', 'A', 'D', 'Y', '\n'
	mov	$\letter, %al
	out	%al, %dx
	.endr
#ifndef STAY
	mov	$I8042_RESET, %al
	out	%al, $I8042_COMMAND
#endif
halt:
	hlt
	jmp	halt

	.data
	.fill	PAD, 1, 0x5a

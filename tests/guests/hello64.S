/* SPDX-License-Identifier: Apache-2.0 */
/* ELF without a PVH note: entered by Linux' 64-bit boot protocol, prints a line and ends through the i8042. */
	.section .text.start, "ax"
	.globl _start
_start:
	/* The zero page must be in RSI: its boot flag and magic are what we check. */
	cmpw	$0xaa55, 0x1fe(%rsi)
	jne	1f
	cmpl	$0x53726448, 0x202(%rsi)
	jne	1f
	lea	hello(%rip), %rsi
	jmp	2f
1:	lea	wrong(%rip), %rsi
2:	mov	$0x3f8, %dx
3:	lodsb
	test	%al, %al
	jz	4f
	out	%al, %dx
	jmp	3b
4:	mov	$0xfe, %al
	out	%al, $0x64
	jmp	4b
	.section .rodata
hello:	.asciz	"hello in 64-bit mode\r\n"
wrong:	.asciz	"no zero page\r\n"

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first program of the benchmark guests. Its first action is to print READY on the console, so that
 * the time until then is the kernel's and the VMM's. Then it restarts the machine, which ends a microVM;
 * with the argument "hold" (kernel command line: "-- hold") it sleeps instead, so that the VMM's memory
 * can be looked at. It is linked without a C library: loading a larger file would be measured as well.
 */
#include <linux/reboot.h>
#include <sys/syscall.h>

static long call(long number, long a, long b, long c, long d)
{
	register long r10 __asm__("r10") = d;
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10)
			 : "rcx", "r11", "memory");
	return ret;
}

/* Entered from _start with the stack as the kernel leaves it: argc, argv[0] ... argv[argc - 1], NULL. */
__attribute__((used)) static void init_main(const long *stack)
{
	static const char ready[] = "READY\n";
	long argc = stack[0];
	const char *last = (const char *)stack[argc];

	call(SYS_write, 1, (long)ready, sizeof(ready) - 1, 0);
	if (argc < 2 || last[0] != 'h') {
		call(SYS_sync, 0, 0, 0, 0);
		call(SYS_reboot, (long)LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2,
		     LINUX_REBOOT_CMD_RESTART, 0);
	}
	for (;;)
		call(SYS_pause, 0, 0, 0, 0);
}

__asm__(".globl _start\n"
	"_start:\n"
	"	mov	%rsp, %rdi\n"
	"	and	$-16, %rsp\n"
	"	call	init_main\n");

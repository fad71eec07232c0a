/* SPDX-License-Identifier: Apache-2.0 */
/*
 * start_x86.c - the program's first instructions, in the place of libc's rcrt1.o. Main thread,
 * before libc is there: no TLS, hence no stack protector and no errno.
 *
 * A position independent program without a loader relocates itself. The linker says where in
 * DT_RELR (System V gABI, "Relocation"), which takes a fortieth of the DT_RELA that libc's code
 * knows. What has been relocated, tables of functions above all, is read-only from then on
 * (PT_GNU_RELRO): libc's code does that for shared objects only.
 */
#include <elf.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>

/* The System V gABI's; musl's elf.h is older. */
#ifndef DT_RELR
#define DT_RELRSZ 35
#define DT_RELR	  36
#endif

/* The smallest unit of protection. */
#define PAGE 4096u

#define HIDDEN __attribute__((visibility("hidden")))
#define EARLY  __attribute__((no_stack_protector))

/* The linker's and libc's. NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */
extern HIDDEN char __ehdr_start[];
extern const HIDDEN Elf64_Dyn _DYNAMIC[];
_Noreturn void __libc_start_main(int (*fn)(int, char **), int argc, char **argv);
_Noreturn void _start(void);
/* NOLINTEND(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */
int main(int argc, char **argv);
_Noreturn void start_c(size_t *stack);

/* @list: an even entry is the offset of a word, an odd one a bit for each of 63 words behind. */
static EARLY void relocate(char *base, const uint64_t *list, size_t nr)
{
	uint64_t *word = (uint64_t *)base, bits;
	size_t i;

	for (; nr; nr--, list++) {
		if (*list % 2 == 0) {
			word = (uint64_t *)(base + *list);
			*word++ += (uint64_t)base;
			continue;
		}
		for (i = 0, bits = *list; bits >>= 1; i++)
			if (bits % 2)
				word[i] += (uint64_t)base;
		word += 63;
	}
}

/* Not libc's mprotect(), which would write errno. What cannot be made safe does not start. */
static EARLY void make_read_only(uint64_t start, uint64_t end)
{
	long ret;

	start -= start % PAGE;
	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(SYS_mprotect), "D"(start), "S"(end - start), "d"(PROT_READ)
			 : "rcx", "r11", "memory");
	if (ret)
		__builtin_trap();
}

/* @stack: argc and the arguments (System V ABI for x86-64, 3.4.1). */
EARLY __attribute__((used)) void start_c(size_t *stack)
{
	char *base = __ehdr_start, *list = base;
	const Elf64_Ehdr *header = (const Elf64_Ehdr *)base;
	const Elf64_Phdr *ph = (const Elf64_Phdr *)(base + header->e_phoff);
	const Elf64_Dyn *dyn;
	size_t len = 0;

	for (dyn = _DYNAMIC; dyn->d_tag != DT_NULL; dyn++) {
		if (dyn->d_tag == DT_RELR)
			list = base + dyn->d_un.d_ptr;
		if (dyn->d_tag == DT_RELRSZ)
			len = dyn->d_un.d_val;
	}
	relocate(base, (const uint64_t *)list, len / sizeof(uint64_t));

	while (ph->p_type != PT_GNU_RELRO)
		ph++;
	make_read_only((uint64_t)base + ph->p_vaddr, (uint64_t)base + ph->p_vaddr + ph->p_memsz);
	__libc_start_main(main, (int)*stack, (char **)(stack + 1));
}

__attribute__((naked, used)) void _start(void)
{
	__asm__ volatile("xor %%ebp, %%ebp\n\t"
			 "mov %%rsp, %%rdi\n\t"
			 "and $-16, %%rsp\n\t"
			 "call start_c" ::
				 : "memory");
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sandbox_filter.h - system call filters as they are stored, in a file and in this program: what
 * vmm/sandbox.c and the compiler in resources/seccomp agree on.
 *
 * A file is a struct sandbox_file, then for each step a struct sandbox_category and its
 * instructions (struct sock_filter), in the byte order of the machine.
 */
#pragma once

#include <linux/filter.h>
#include <stddef.h>
#include <stdint.h>

#define SANDBOX_MAGIC "motebpf1"

/*
 * The steps at which a thread loses rights, in the order of the file. Each filter answers
 * prctl(PR_GET_SECCOMP) with the error SANDBOX_ANSWER + step, so that a thread can read back which
 * one it is under: the kernel itself would say "filtered" from the first one on.
 */
enum sandbox_step { SANDBOX_SETUP, SANDBOX_RUNNING, SANDBOX_VCPU, SANDBOX_STEPS };
#define SANDBOX_ANSWER 4000

/* Compared with an argument, it stands for our process number; see resources/seccomp/policy.h. */
#define SANDBOX_PID 0x70696421u

struct sandbox_file {
	char magic[8];
	uint32_t arch; /* AUDIT_ARCH_* of linux/audit.h */
	uint32_t nr_categories;
};

struct sandbox_category {
	char name[12]; /* "setup", "running" or "vcpu", padded with NUL */
	uint32_t nr;   /* instructions that follow */
};

/* What the policies of resources/seccomp became when this program was built. */
extern unsigned char sandbox_builtin[]; /* aligned to 8 */
extern const size_t sandbox_builtin_len;

/* The names of all calls in the order of their numbers, each with its NUL; holes are empty. */
extern const char sandbox_call_names[];
extern const unsigned int sandbox_nr_call_names;

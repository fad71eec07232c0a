/* SPDX-License-Identifier: Apache-2.0 */
/*
 * policy.h - a policy file as rules: which calls, with which arguments. README.md has the syntax.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/sandbox_filter.h"

#define POLICY_ARGS	 6
#define POLICY_RULES_MAX 512

/*
 * PID: the number of the process, which is known only when the filter is installed; mote
 * replaces it there. Beyond what Linux gives to processes (2^22).
 */
#define POLICY_PID SANDBOX_PID

enum cond_op {
	COND_ANY,
	COND_EQ,  /* the low 32 bits are @value */
	COND_IN,  /* no bit of them is set outside @value */
	COND_NOT, /* no bit of @value is set */
	COND_LE,  /* all 64 bits, at most @value */
};

struct cond {
	enum cond_op op;
	uint32_t value;
};

/* One line makes as many rules as its sets have members. */
struct rule {
	const char *call;
	int nr;
	struct cond arg[POLICY_ARGS];
	unsigned int line;
};

struct policy {
	const char *path;
	char name[12]; /* the file's, up to its first dot */
	struct rule rule[POLICY_RULES_MAX];
	size_t nr_rules;
	unsigned int limit; /* calls; 0: none */
};

/* policy_read - @arch as libseccomp has it (SCMP_ARCH_*). Says what is wrong and exits. */
struct policy *policy_read(const char *path, uint32_t arch);

/* policy_nr_calls - how many different calls are allowed, whatever their arguments. */
unsigned int policy_nr_calls(const struct policy *p);

/* rule_covers - whether @a allows everything that @b allows. */
bool rule_covers(const struct rule *a, const struct rule *b);

/* policy_constant - value of a name from the kernel's headers. */
bool policy_constant(const char *name, size_t len, uint32_t *value);

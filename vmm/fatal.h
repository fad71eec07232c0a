/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fatal.h - signals that end the process at once: one sentence in the log, one last line of
 * metrics, the documented exit code, a clean terminal, no socket left behind.
 *
 * Handlers run on whichever thread was hit and use only async-signal-safe calls. Exit codes as in
 * Firecracker: SIGSYS 148, SIGBUS 149, SIGSEGV 150, SIGXFSZ 151, SIGXCPU 154, SIGHUP 156, SIGILL
 * 157. SIGABRT, which is how an assertion ends us, does the same and then stays SIGABRT. SIGPIPE is
 * counted.
 */
#pragma once

#include "base/err.h"
#include "base/mem.h"

/* Exit codes that are decided outside of signal handlers too. */
enum exit_code {
	EXIT_CODE_OK = 0,
	EXIT_CODE_ERROR = 1,
	EXIT_CODE_SIGSYS = 148,
	EXIT_CODE_SIGBUS = 149,
	EXIT_CODE_SIGSEGV = 150,
	EXIT_CODE_SIGXFSZ = 151,
	EXIT_CODE_BAD_CONFIG = 152,
	EXIT_CODE_BAD_ARGUMENTS = 153,
	EXIT_CODE_SIGXCPU = 154,
	EXIT_CODE_SIGPIPE = 155,
	EXIT_CODE_SIGHUP = 156,
	EXIT_CODE_SIGILL = 157,
	EXIT_CODE_ABORT = 256, /* never seen: the process ends by SIGABRT */
};

/* fatal_init - install the handlers. Errors: errno of sigaction. */
int fatal_init(struct err *e);

/* fatal_set_name - what the last line of the log calls this program; not copied. */
void fatal_set_name(const char *name);

/*
 * fatal_die_by - end by @signo as if we had never caught it, so that a supervisor sees the signal
 * and not an exit code. Async-signal-safe.
 */
void fatal_die_by(int signo);

/* fatal_set_socket - path to unlink on the way out; copied; NULL forgets it. */
void fatal_set_socket(const char *path);

/*
 * fatal_set_mem - guest RAM, to tell a kernel file that shrank from a bug of ours; NULL forgets it.
 */
void fatal_set_mem(const struct mem *m);

/*
 * fatal_guest_memory_lost - the guest touched RAM whose file is gone (KVM_RUN failed with EFAULT):
 * says so and exits as SIGBUS does. Any thread.
 */
_Noreturn void fatal_guest_memory_lost(void);

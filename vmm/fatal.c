/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fatal.c - the last words of a dying process; see fatal.h.
 */
#include "vmm/fatal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "vmm/terminal.h"

#define FATAL_LINE_MAX 256

static char socket_path[sizeof(((struct sockaddr_un *)0)->sun_path) + 1];
static const struct mem *_Atomic guest_mem;

static const struct {
	int signal;
	int code;
} fatal_signal[] = {
	{ SIGSYS, EXIT_CODE_SIGSYS },	{ SIGBUS, EXIT_CODE_SIGBUS },
	{ SIGSEGV, EXIT_CODE_SIGSEGV }, { SIGXFSZ, EXIT_CODE_SIGXFSZ },
	{ SIGXCPU, EXIT_CODE_SIGXCPU }, { SIGHUP, EXIT_CODE_SIGHUP },
	{ SIGILL, EXIT_CODE_SIGILL },
};

/* One line in a fixed buffer: stdio and the log are not async-signal-safe. */
struct line {
	char buf[FATAL_LINE_MAX];
	size_t len;
};

static void line_str(struct line *l, const char *s)
{
	while (*s && l->len < sizeof(l->buf) - 1)
		l->buf[l->len++] = *s++;
}

static void line_num(struct line *l, uint64_t v, unsigned int base)
{
	char digits[24];
	size_t n = 0;

	do {
		digits[n++] = "0123456789abcdef"[v % base];
		v /= base;
	} while (v);
	while (n > 0 && l->len < sizeof(l->buf) - 1)
		l->buf[l->len++] = digits[--n];
}

static _Noreturn void fatal_exit(struct line *l, int code)
{
	terminal_restore();
	if (socket_path[0])
		unlink(socket_path);
	l->buf[l->len++] = '\n';
	/* Nothing can be done about a line that cannot be written. */
	if (write(STDERR_FILENO, l->buf, l->len) < 0)
		_exit(code);
	_exit(code);
}

static void line_lost_ram(struct line *l)
{
	line_str(l, "a file mapped into guest RAM (kernel or initrd) was cut or could not be read; "
		    "keep such files unchanged while VMs use them");
}

static void fatal_handler(int sig, siginfo_t *info, void *context)
{
	const struct mem *m = atomic_load(&guest_mem);
	struct line l = { .len = 0 };
	gpa_t a;
	int code = EXIT_CODE_ERROR;

	(void)context;
	for (size_t i = 0; i < sizeof(fatal_signal) / sizeof(fatal_signal[0]); i++)
		if (fatal_signal[i].signal == sig)
			code = fatal_signal[i].code;

	line_str(&l, "Shutting down VM after intercepting signal ");
	line_num(&l, (uint64_t)sig, 10);
	line_str(&l, ", code ");
	if (info->si_code < 0)
		line_str(&l, "-");
	line_num(&l, (uint64_t)(info->si_code < 0 ? -info->si_code : info->si_code), 10);
	if (sig == SIGSYS) {
		line_str(&l, ", system call ");
		line_num(&l, (uint64_t)info->si_syscall, 10);
	}
	if (sig == SIGBUS && m && mem_owns(m, info->si_addr, &a)) {
		line_str(&l, ", guest address 0x");
		line_num(&l, a.v, 16);
		line_str(&l, ": ");
		line_lost_ram(&l);
	}
	fatal_exit(&l, code);
}

int fatal_init(struct err *e)
{
	struct sigaction action = { .sa_sigaction = fatal_handler,
				    .sa_flags = SA_SIGINFO | (int)SA_RESETHAND };

	/* Everything else waits: two dying threads must not mix their lines. */
	sigfillset(&action.sa_mask);
	for (size_t i = 0; i < sizeof(fatal_signal) / sizeof(fatal_signal[0]); i++)
		if (sigaction(fatal_signal[i].signal, &action, NULL) < 0)
			return err_set(e, errno, "handler for signal %d", fatal_signal[i].signal);
	return 0;
}

void fatal_set_socket(const char *path)
{
	size_t len = path ? strnlen(path, sizeof(socket_path) - 1) : 0;

	memcpy(socket_path, path ? path : "", len);
	socket_path[len] = '\0';
}

void fatal_set_mem(const struct mem *m)
{
	atomic_store(&guest_mem, m);
}

_Noreturn void fatal_guest_memory_lost(void)
{
	struct line l = { .len = 0 };

	line_str(&l, "Shutting down VM: ");
	line_lost_ram(&l);
	fatal_exit(&l, EXIT_CODE_SIGBUS);
}

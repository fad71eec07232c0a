/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fatal.c - the last words of a dying process; see fatal.h.
 */
#include "vmm/fatal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "base/text.h"
#include "vmm/metrics.h"
#include "vmm/sandbox.h"
#include "vmm/terminal.h"

#define FATAL_LINE_MAX 512

/* asm-generic/siginfo.h, which no libc lets us include; some have this name and some have not. */
#ifndef SYS_SECCOMP
#define SYS_SECCOMP 1
#endif

static char socket_path[sizeof(((struct sockaddr_un *)0)->sun_path) + 1];
static const struct mem *_Atomic guest_mem;
static atomic_flag dying = ATOMIC_FLAG_INIT;

/* The loop thread, which alone has the right to tidy up. 0 before fatal_init: whoever dies does. */
static pid_t process;
static pthread_t loop_thread;

/* What a vCPU thread that dies leaves to the loop thread. */
static struct line *_Atomic handed_line;
static int handed_code;

/* It has no other use, so nobody blocks it. The one before interrupts KVM_RUN, see vcpu.c. */
#define HAND_OVER_SIGNAL (SIGRTMIN + 1)

static const struct {
	int signal;
	int code;
	metric_t *metric;
} fatal_signal[] = {
	{ SIGSYS, EXIT_CODE_SIGSYS, &metrics.seccomp_faults },
	{ SIGBUS, EXIT_CODE_SIGBUS, &metrics.signal[METRICS_SIGBUS] },
	{ SIGSEGV, EXIT_CODE_SIGSEGV, &metrics.signal[METRICS_SIGSEGV] },
	{ SIGXFSZ, EXIT_CODE_SIGXFSZ, &metrics.signal[METRICS_SIGXFSZ] },
	{ SIGXCPU, EXIT_CODE_SIGXCPU, &metrics.signal[METRICS_SIGXCPU] },
	{ SIGHUP, EXIT_CODE_SIGHUP, &metrics.signal[METRICS_SIGHUP] },
	{ SIGILL, EXIT_CODE_SIGILL, &metrics.signal[METRICS_SIGILL] },
	{ SIGABRT, EXIT_CODE_ABORT, &metrics.panics },
};

/* A sentence in a fixed buffer: stdio is not async-signal-safe. */
struct line {
	struct text text;
	char buf[FATAL_LINE_MAX];
};

static void line_init(struct line *l)
{
	l->text = text_init(l->buf, sizeof(l->buf) - 1);
}

void fatal_die_by(int signo)
{
	sigset_t set;

	signal(signo, SIG_DFL);
	sigemptyset(&set);
	sigaddset(&set, signo);
	/*
	 * To this thread: another one would take its time, and we could reach an exit before it
	 * does. Not raise(), which uses a call with which one reaches other processes too.
	 */
	syscall(SYS_tgkill, process, process, signo);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

/* For the last line of the log. */
static const char *app_name = "mote";

void fatal_set_name(const char *name)
{
	app_name = name;
}

/*
 * A vCPU thread may not touch files, terminal or metrics' target: the loop thread does it for it,
 * in a handler, so wherever it is. Of several vCPU threads the first one speaks; all wait here.
 */
static _Noreturn void hand_over(struct line *l, int code)
{
	static const int never;

	if (!atomic_flag_test_and_set(&dying)) {
		handed_code = code;
		atomic_store(&handed_line, l);
		syscall(SYS_tgkill, process, process, HAND_OVER_SIGNAL);
	}
	for (;;)
		syscall(SYS_futex, &never, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
}

static _Noreturn void fatal_exit(struct line *l, int code)
{
	struct pollfd err_fd = { .fd = STDERR_FILENO, .events = POLLOUT };
	struct line last, *first;

	if (process && !pthread_equal(pthread_self(), loop_thread))
		hand_over(l, code);
	/* Two threads were hit at once: the words of the one that was first. */
	first = atomic_load(&handed_line);
	if (first) {
		l = first;
		code = handed_code;
	}
	log_signal(LOG_AT(LOG_ERROR), __FILE__, l->buf, l->text.len);
	/* Also where a supervisor looks; one that has stopped reading does not make us wait. */
	l->buf[l->text.len] = '\n';
	if (poll(&err_fd, 1, 0) == 1 && write(STDERR_FILENO, l->buf, l->text.len + 1) < 0)
		l->text.len = 0;
	metrics_dying();
	terminal_restore();
	if (socket_path[0])
		unlink(socket_path);
	if (code == EXIT_CODE_ABORT)
		fatal_die_by(SIGABRT);
	line_init(&last);
	text_str(&last.text, app_name);
	text_str(&last.text, " exiting with error. exit_code=");
	text_i64(&last.text, code);
	log_signal(LOG_AT(LOG_ERROR), __FILE__, last.buf, last.text.len);
	_exit(code);
}

static void line_lost_ram(struct line *l)
{
	text_str(&l->text,
		 "a file mapped into guest RAM (kernel or initrd) was cut or could not be read; "
		 "keep such files unchanged while VMs use them");
}

static void fatal_handler(int sig, siginfo_t *info, void *context)
{
	const struct mem *m = atomic_load(&guest_mem);
	int code = EXIT_CODE_ERROR;
	struct line l;
	gpa_t a;

	(void)context;
	for (size_t i = 0; i < sizeof(fatal_signal) / sizeof(fatal_signal[0]); i++) {
		if (fatal_signal[i].signal != sig)
			continue;
		code = fatal_signal[i].code;
		metric_set(fatal_signal[i].metric, 1);
	}
	line_init(&l);
	text_str(&l.text, "Shutting down VM after intercepting signal ");
	text_i64(&l.text, sig);
	text_str(&l.text, ", code ");
	text_i64(&l.text, info->si_code);
	if (sig == SIGSYS && info->si_code == SYS_SECCOMP) {
		text_str(&l.text, ", bad syscall (");
		text_i64(&l.text, info->si_syscall);
		text_char(&l.text, ')');
		text_char(&l.text, ' ');
		/* Of another architecture the same number is another call. */
		if (info->si_arch == ((const struct sandbox_file *)(void *)sandbox_builtin)->arch)
			text_str(&l.text, sandbox_call_name((unsigned int)info->si_syscall));
	}
	if (sig == SIGBUS && m && mem_owns(m, info->si_addr, &a)) {
		text_str(&l.text, ", guest address 0x");
		text_hex(&l.text, a.v);
		text_str(&l.text, ": ");
		line_lost_ram(&l);
	}
	text_char(&l.text, '.');
	fatal_exit(&l, code);
}

/*
 * A reader of ours went away, which the writer learns from EPIPE; here it is only counted. A line
 * is for the signal that somebody sent: about our own pipes it could be written into the broken
 * one, and so on for ever.
 */
static void sigpipe_handler(int sig, siginfo_t *info, void *context)
{
	static const char text[] = "Received signal 13, code 0.";
	int saved = errno;

	(void)sig;
	(void)context;
	metric_inc(&metrics.signal[METRICS_SIGPIPE]);
	if (info->si_pid != process)
		log_signal(LOG_AT(LOG_ERROR), __FILE__, text, sizeof(text) - 1);
	errno = saved;
}

/* From hand_over; also from anybody who may send us signals, which then means nothing. */
static void handed_over(int sig, siginfo_t *info, void *context)
{
	struct line *l = atomic_load(&handed_line);

	(void)sig;
	(void)info;
	(void)context;
	if (l && pthread_equal(pthread_self(), loop_thread))
		fatal_exit(l, handed_code);
}

/* An invariant of ours is broken, as the log says already. Not abort(): see fatal_die_by. */
static _Noreturn void fatal_abort(void)
{
	struct line l;

	line_init(&l);
	text_str(&l.text, "Shutting down VM after a failed assertion.");
	metric_set(&metrics.panics, 1);
	fatal_exit(&l, EXIT_CODE_ABORT);
}

int fatal_init(struct err *e)
{
	struct sigaction action = { .sa_sigaction = fatal_handler, .sa_flags = SA_SIGINFO };

	/*
	 * Everything else waits: two dying threads must not mix their lines. A fault of the
	 * handler itself ends us at once, since its signal is blocked; with SA_RESETHAND the same
	 * fault on a second thread would do so too.
	 */
	sigfillset(&action.sa_mask);
	for (size_t i = 0; i < sizeof(fatal_signal) / sizeof(fatal_signal[0]); i++)
		if (sigaction(fatal_signal[i].signal, &action, NULL) < 0)
			return err_set(e, errno, "handler for signal %d", fatal_signal[i].signal);
	process = getpid();
	loop_thread = pthread_self();
	log_set_abort(fatal_abort);
	action.sa_sigaction = handed_over;
	if (sigaction(HAND_OVER_SIGNAL, &action, NULL) < 0)
		return err_set(e, errno, "handler for signal %d", HAND_OVER_SIGNAL);
	action.sa_sigaction = sigpipe_handler;
	action.sa_flags = SA_SIGINFO | SA_RESTART;
	if (sigaction(SIGPIPE, &action, NULL) < 0)
		return err_set(e, errno, "handler for signal %d", SIGPIPE);
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
	struct line l;

	line_init(&l);
	text_str(&l.text, "Shutting down VM: ");
	line_lost_ram(&l);
	metric_set(&metrics.signal[METRICS_SIGBUS], 1);
	fatal_exit(&l, EXIT_CODE_SIGBUS);
}

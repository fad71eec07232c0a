/* SPDX-License-Identifier: Apache-2.0 */
/*
 * terminal.c - raw mode and non-blocking output, and the way back; see terminal.h.
 */
#include "vmm/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "base/fd.h"

static struct termios saved_termios;
static volatile bool termios_changed;
static volatile bool stdout_changed;
static int saved_stdout_flags;
static int output_fd = -1;

int terminal_output(void)
{
	struct stat st;

	if (output_fd >= 0)
		return output_fd;
	output_fd = STDOUT_FILENO;
	if (fstat(STDOUT_FILENO, &st) < 0 || S_ISREG(st.st_mode))
		return output_fd; /* a file never makes us wait for a reader */
	if (S_ISCHR(st.st_mode) || S_ISFIFO(st.st_mode)) {
		int fd = open("/proc/self/fd/1", O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);

		if (fd >= 0) {
			output_fd = fd;
			return fd;
		}
	}
	/* In a jail without /proc, or a socket. */
	saved_stdout_flags = fcntl(STDOUT_FILENO, F_GETFL);
	if (saved_stdout_flags >= 0 && !(saved_stdout_flags & O_NONBLOCK) &&
	    fd_set_nonblock(STDOUT_FILENO, 1) == 0)
		stdout_changed = true;
	return output_fd;
}

int terminal_input(void)
{
	struct termios raw;
	struct stat st;

	if (tcgetattr(STDIN_FILENO, &saved_termios) == 0) {
		pid_t foreground = tcgetpgrp(STDIN_FILENO);

		/*
		 * In the background the terminal is somebody else's: touching it would stop us
		 * (SIGTTOU). Without job control (-1) there is no background.
		 */
		if (foreground >= 0 && foreground != getpgrp())
			return -1;
		raw = saved_termios;
		cfmakeraw(&raw);
		termios_changed = true;
		if (tcsetattr(STDIN_FILENO, TCSANOW, &raw) < 0)
			termios_changed = false;
		return STDIN_FILENO;
	}
	if (fstat(STDIN_FILENO, &st) == 0 && S_ISFIFO(st.st_mode))
		return STDIN_FILENO;
	return -1;
}

void terminal_restore(void)
{
	if (termios_changed) {
		termios_changed = false;
		tcsetattr(STDIN_FILENO, TCSANOW, &saved_termios);
	}
	if (stdout_changed) {
		stdout_changed = false;
		fcntl(STDOUT_FILENO, F_SETFL, saved_stdout_flags);
	}
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * main.c - mote-jailer: make a jail, then become (or leave behind) the VMM inside it.
 *
 * Ends with 0 when the VMM was executed in a process of its own, and with 1 and one sentence on
 * standard error when a step failed; what the start had made is then gone again.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/args.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/version.h"
#include "jailer/jail.h"

static struct jail jail; /* too large for a stack */
static struct err err;

static uint64_t clock_us(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* A client that calls `jailer` by its name is told what it knows. */
static const char *version_line(const char *argv0)
{
	const char *slash = argv0 ? strrchr(argv0, '/') : NULL;
	const char *name = slash ? slash + 1 : argv0;

	if (name && !strcmp(name, "jailer"))
		return "Jailer v" FIRECRACKER_VERSION;
	return "mote-jailer v" MOTE_VERSION;
}

/* For base/assert.h in this program, which has no log. */
_Noreturn void log_assert(unsigned int at, const char *file, const char *what)
{
	fd_print(STDERR_FILENO, "Error: broken invariant in %s:%u: %s\n", file, at & 0xffff, what);
	abort();
}

static int run(struct jail *j, struct err *e)
{
	static int (*const steps[])(struct jail *, struct err *) = {
		jail_close_fds, jail_open,	 jail_separate_mounts, jail_make_dirs,
		jail_new_user,	jail_make_nodes, jail_make_cgroups,    jail_launch,
	};
	size_t i;
	int ret = 0;

	for (i = 0; !ret && i < sizeof(steps) / sizeof(steps[0]); i++)
		ret = steps[i](j, e);
	if (ret)
		jail_undo(j);
	return ret;
}

int main(int argc, char **argv)
{
	int ret;

	jail_init(&jail);
	jail.start_us = clock_us(CLOCK_MONOTONIC);
	jail.start_cpu_us = clock_us(CLOCK_PROCESS_CPUTIME_ID);
	ret = jail_options(&jail, argc, argv, &err);
	if (ret == ARGS_HELP || ret == ARGS_VERSION) {
		fd_print(STDOUT_FILENO, "%s\n", version_line(argc > 0 ? argv[0] : NULL));
		if (ret == ARGS_HELP)
			jail_options_help();
		return 0;
	}
	if (!ret)
		ret = run(&jail, &err);
	if (!ret)
		return 0;
	fd_print(STDERR_FILENO, "Error: %s\n", err.msg);
	return 1;
}

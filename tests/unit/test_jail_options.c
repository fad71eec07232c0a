/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_jail_options.c - the jailer's command line: what it fills, and options that may be repeated.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/args.h"
#include "jailer/jail.h"

#define NEEDED "--id a --exec-file /bin/mote --uid 1 --gid 2 "

static struct jail j;
static struct err e;

/* @line: arguments parted by single spaces. */
static int parse(const char *line)
{
	static char buf[4096];
	static char program[] = "mote-jailer";
	static char *argv[256];
	int argc = 1;

	memset(&j, 0, sizeof(j));
	memset(&e, 0, sizeof(e));
	snprintf(buf, sizeof(buf), "%s", line);
	argv[0] = program;
	for (char *s = strtok(buf, " "); s; s = strtok(NULL, " "))
		argv[argc++] = s;
	argv[argc] = NULL;
	return jail_options(&j, argc, argv, &e);
}

Test(jail_options, defaults)
{
	cr_assert(parse(NEEDED) == 0, "%s", e.msg);
	cr_assert_str_eq(j.id, "a");
	cr_assert_str_eq(j.exec_name, "mote");
	cr_assert_str_eq(j.base, "/srv/jailer");
	cr_assert_str_eq(j.parent_cgroup, "mote");
	cr_assert(j.uid == 1 && j.gid == 2 && j.no_file == 2048 && !j.has_fsize);
	cr_assert(!j.nr_cgroups && !j.parent_only && !j.nr_keep && !j.nr_args);
}

Test(jail_options, repeated)
{
	cr_assert(parse(NEEDED
			"--cgroup io.max=8:0=x --cgroup cpu.weight=5 --resource-limit fsize=7 "
			"--resource-limit no-file=8 --keep-fd 9 --keep-fd 3 --keep-fd 5 "
			"-- --id b") == 0,
		  "%s", e.msg);
	cr_assert(j.nr_cgroups == 2);
	cr_assert_str_eq(j.cgroups[0].file, "io.max");
	cr_assert_str_eq(j.cgroups[0].value, "8:0=x");
	cr_assert_str_eq(j.cgroups[1].file, "cpu.weight");
	cr_assert(j.has_fsize && j.fsize == 7 && j.no_file == 8);
	cr_assert(j.nr_keep == 3 && j.keep[0] == 3 && j.keep[1] == 5 && j.keep[2] == 9);
	cr_assert(j.nr_args == 2);
	cr_assert_str_eq(j.args[0], "--id");
	cr_assert(parse(NEEDED) == 0 && !j.nr_cgroups && !j.nr_keep, "nothing is left behind");
}

Test(jail_options, too_many)
{
	char line[4096] = NEEDED;

	for (int i = 0; i <= JAIL_KEEP_MAX; i++)
		strcat(line, "--keep-fd 7 ");
	cr_assert(parse(line) < 0);
	cr_assert_str_eq(e.msg, "Arguments parsing error: The argument 'keep-fd' was provided more "
				"than 32 times.");
}

Test(jail_options, when_a_parent_alone_counts)
{
	cr_assert(parse(NEEDED "--parent-cgroup p") == 0 && j.parent_only);
	cr_assert(parse(NEEDED "--cgroup-version 2") == 0 && j.parent_only);
	cr_assert(parse(NEEDED "--cgroup-version 1 --parent-cgroup p") == 0 && !j.parent_only);
	cr_assert(parse(NEEDED "--parent-cgroup p --cgroup cpu.weight=1") == 0 && !j.parent_only);
}

Test(jail_options, a_parent_as_the_kernel_names_it)
{
	char line[4096] = NEEDED "--parent-cgroup ";

	cr_assert(parse(NEEDED "--parent-cgroup a//b/c//") == 0);
	cr_assert_str_eq(j.parent_cgroup, "a/b/c");
	cr_assert(parse(NEEDED "--parent-cgroup //a") < 0 && parse(NEEDED "--parent-cgroup /") < 0);
	memset(line + strlen(line), 'a', 1024);
	cr_assert(parse(line) < 0);
	cr_assert(e.code == ENAMETOOLONG);
}

Test(jail_options, names_that_lead_elsewhere)
{
	cr_assert(parse(NEEDED "--parent-cgroup a/./b") < 0);
	cr_assert(parse(NEEDED "--parent-cgroup a/..b") == 0);
	cr_assert(parse("--id a --uid 1 --gid 1 --exec-file /bin/..") < 0);
	cr_assert(parse("--id a --uid 1 --gid 1 --exec-file /bin/") < 0);
	cr_assert(parse("--id .. --uid 1 --gid 1 --exec-file /bin/mote") < 0);
}

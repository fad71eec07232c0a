/* SPDX-License-Identifier: Apache-2.0 */
/*
 * options.c - the jailer's command line, as Firecracker's jailer has it, plus our additions.
 *
 * Everything that can be judged without looking at the host is judged here. One thread, start-up.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/args.h"
#include "jailer/jail.h"

/* Firecracker's, whose documents name 4096 in one place: programs and tests rely on this one. */
#define NO_FILE_DEFAULT 2048

#define LIMITS_MAX 8

/* Deeper than JAIL_CGROUP_DEPTH_MAX names of a usual length. */
#define PARENT_MAX 1024

static char parent_cgroup[PARENT_MAX];
static const char *cgroup_values[JAIL_CGROUPS_MAX];
static char cgroup_files[JAIL_CGROUPS_MAX][64];
static const char *limit_values[LIMITS_MAX];
static const char *keep_values[JAIL_KEEP_MAX];

static struct arg args[] = {
	{ .name = "id",
	  .takes_value = true,
	  .help = "name of the jail: 1 to 64 letters, digits and '-'" },
	{ .name = "exec-file", .takes_value = true, .help = "program to run in the jail, static" },
	{ .name = "uid", .takes_value = true, .help = "user to run it as, a number" },
	{ .name = "gid", .takes_value = true, .help = "group to run it as, a number" },
	{ .name = "chroot-base-dir",
	  .takes_value = true,
	  .def = "/srv/jailer",
	  .help = "where jails are: <this>/<name of the program>/<id>/root" },
	{ .name = "netns", .takes_value = true, .help = "file of the network namespace to join" },
	{ .name = "daemonize", .help = "a session of its own, and /dev/null as standard streams" },
	{ .name = "new-pid-ns", .help = "run it as process 1 of a new pid namespace" },
	{ .name = "new-mount-ns",
	  .help = "a private copy of the mount table too (costs more with each mount)" },
	{ .name = "rootless",
	  .help = "as an ordinary user, in namespaces of its own; --uid and --gid may be left out" },
	{ .name = "new-net-ns",
	  .requires = "rootless",
	  .forbids = "netns",
	  .help = "an empty network namespace (costs milliseconds)" },
	{ .name = "vhost-net", .help = "give it /dev/vhost-net, for interfaces with `vhost`" },
	{ .name = "cgroup",
	  .takes_value = true,
	  .values = cgroup_values,
	  .values_max = JAIL_CGROUPS_MAX,
	  .help = "file=value to set in a cgroup of its own (repeatable)" },
	{ .name = "cgroup-version",
	  .takes_value = true,
	  .help = "1 or 2; not given: whichever has the controller" },
	{ .name = "parent-cgroup",
	  .takes_value = true,
	  .help = "cgroup above the jail's; not given: name of the program" },
	{ .name = "resource-limit",
	  .takes_value = true,
	  .values = limit_values,
	  .values_max = LIMITS_MAX,
	  .help = "fsize=bytes or no-file=number (repeatable; no-file is 2048 otherwise)" },
	{ .name = "keep-fd",
	  .takes_value = true,
	  .values = keep_values,
	  .values_max = JAIL_KEEP_MAX,
	  .help = "leave this file descriptor open (repeatable); others from 3 up are closed" },
	/* Understood by the parser itself; rows so that --help shows them. */
	{ .name = "version", .help = "print the version" },
	{ .name = "help", .help = "print this table (also -h)" },
};

#define NR_ARGS (sizeof(args) / sizeof(args[0]))

static int check_id(const char *id, struct err *e)
{
	size_t i;

	for (i = 0; id[i]; i++) {
		const char c = id[i];

		if (c != '-' && !(c >= '0' && c <= '9') &&
		    !((c | 0x20) >= 'a' && (c | 0x20) <= 'z'))
			return err_set(
				e, 0,
				"Invalid instance ID: Invalid char (%c) at position %zu; only "
				"letters, digits and '-' are allowed",
				c, i);
	}
	if (i >= 1 && i <= JAIL_ID_MAX)
		return 0;
	return err_set(
		e, 0, "Invalid instance ID: Invalid len (%zu); the length must be between 1 and %d",
		i, JAIL_ID_MAX);
}

/* Names below a cgroup's root: no way up or out. */
static bool stays_below(const char *path)
{
	const char *end;
	size_t len;

	if (*path == '/' || !*path)
		return false;
	for (;; path = end + 1) {
		end = strchrnul(path, '/');
		len = (size_t)(end - path);
		if ((len == 1 && path[0] == '.') || (len == 2 && path[0] == '.' && path[1] == '.'))
			return false;
		if (!*end)
			return true;
	}
}

/* As the kernel will show it: one slash between names and none behind. False: too long. */
static bool copy_path(char *to, size_t cap, const char *from)
{
	size_t n = 0;

	for (; *from && n < cap; from++)
		if (*from != '/' || (from[1] && from[1] != '/'))
			to[n++] = *from;
	if (n == cap)
		return false;
	to[n] = '\0';
	return true;
}

static int parse_cgroups(struct jail *j, struct err *e)
{
	const char *version = args_value(args, NR_ARGS, "cgroup-version");
	const char *parent = args_value(args, NR_ARGS, "parent-cgroup");
	size_t i;

	if (version) {
		if (strcmp(version, "1") && strcmp(version, "2"))
			return err_set(e, 0, "%s is an invalid cgroup version specifier", version);
		j->cgroup_version = (unsigned int)(*version - '0');
	}
	j->parent_cgroup = parent_cgroup;
	if (!copy_path(parent_cgroup, sizeof(parent_cgroup), parent ? parent : j->exec_name))
		return err_set(e, ENAMETOOLONG, "Parent cgroup path is invalid");
	if (!stays_below(parent_cgroup))
		return err_set(e, 0,
			       "Parent cgroup path is invalid. Path should not be absolute or "
			       "contain '..' or '.'");
	j->nr_cgroups = args_nr_values(args, NR_ARGS, "cgroup");
	for (i = 0; i < j->nr_cgroups; i++) {
		const char *text = cgroup_values[i];
		const size_t len = strcspn(text, "=");

		if (!text[len] || !text[len + 1] || len >= sizeof(cgroup_files[i]))
			return err_set(e, 0, "Invalid format for cgroups: %s; it is file=value",
				       text);
		memcpy(cgroup_files[i], text, len);
		cgroup_files[i][len] = '\0';
		if (!strchr(cgroup_files[i], '.') || *text == '.' || strchr(cgroup_files[i], '/'))
			return err_set(e, 0, "Cgroup invalid file: %s", text);
		j->cgroups[i] =
			(struct jail_cgroup){ .file = cgroup_files[i], .value = text + len + 1 };
	}
	/* Without --cgroup something is to be done only if a parent or version 2 was named. */
	j->parent_only =
		!j->nr_cgroups && j->cgroup_version != 1 && (parent || j->cgroup_version == 2);
	return 0;
}

static int parse_limits(struct jail *j, struct err *e)
{
	size_t i, nr = args_nr_values(args, NR_ARGS, "resource-limit");

	j->no_file = NO_FILE_DEFAULT;
	for (i = 0; i < nr; i++) {
		const char *text = limit_values[i];
		const char *equals = strchr(text, '=');
		uint64_t n;

		if (!equals)
			return err_set(e, 0, "Invalid format for resources limits: %s", text);
		if (!args_u64(equals + 1, UINT64_MAX, &n))
			return err_set(e, 0,
				       "Invalid limit value for resource: %s: not a whole number",
				       equals + 1);
		if (!strncmp(text, "fsize=", 6)) {
			j->has_fsize = true;
			j->fsize = n;
		} else if (!strncmp(text, "no-file=", 8)) {
			j->no_file = n;
		} else {
			return err_set(e, 0, "Invalid resource argument: %.*s",
				       (int)(equals - text), text);
		}
	}
	return 0;
}

static int parse_keep(struct jail *j, struct err *e)
{
	size_t i, at, nr = args_nr_values(args, NR_ARGS, "keep-fd");
	uint64_t n;

	for (i = 0; i < nr; i++) {
		if (!args_u64(keep_values[i], INT_MAX, &n) || n < 3)
			return err_set(e, 0,
				       "Invalid file descriptor to keep: %s; it is a number from 3",
				       keep_values[i]);
		for (at = j->nr_keep; at > 0 && j->keep[at - 1] > (int)n; at--)
			j->keep[at] = j->keep[at - 1];
		j->keep[at] = (int)n;
		j->nr_keep++;
	}
	return 0;
}

/* An id of the command line; without root it can only be @own. */
static int parse_id(const struct jail *j, const char *name, uint32_t own, uint32_t *id,
		    struct err *e)
{
	const char *value = args_value(args, NR_ARGS, name);
	uint64_t n = own;

	/* The largest number means "leave it" to the kernel. */
	if (value && !args_u64(value, UINT32_MAX - 1, &n))
		return err_set(e, 0, "Invalid %s: %s", name, value);
	if (j->rootless && n != own)
		return err_set(e, 0, "Invalid %s: %s: with --rootless it can only be your own, %u",
			       name, value, own);
	*id = (uint32_t)n;
	return 0;
}

static int parse_ids(struct jail *j, struct err *e)
{
	int ret = parse_id(j, "uid", geteuid(), &j->uid, e);

	return ret ? ret : parse_id(j, "gid", getegid(), &j->gid, e);
}

/* Where an ordinary user may make directories: that of its session, which goes with it. */
static int parse_base(struct jail *j, struct err *e)
{
	j->base = args_value(args, NR_ARGS, "chroot-base-dir");
	if (j->rootless && !args_given(args, NR_ARGS, "chroot-base-dir"))
		j->base = getenv("XDG_RUNTIME_DIR");
	if (!j->base || !*j->base)
		return err_set(
			e, 0,
			"--rootless needs --chroot-base-dir where XDG_RUNTIME_DIR is not set");
	return 0;
}

static int check_required(const struct jail *j, struct err *e)
{
	static const char *const names[] = { "id", "exec-file", "uid", "gid" };
	size_t i;

	for (i = 0; i < (j->rootless ? 2 : sizeof(names) / sizeof(names[0])); i++)
		if (!args_given(args, NR_ARGS, names[i]))
			return err_set(e, 0,
				       "Arguments parsing error: Argument '%s' required, but not "
				       "found. For more information try --help.",
				       names[i]);
	return 0;
}

int jail_options(struct jail *j, int argc, char *const *argv, struct err *e)
{
	const char *slash;
	int rest, ret;

	ret = args_parse(args, NR_ARGS, argc, argv, &rest, e);
	if (ret == ARGS_HELP || ret == ARGS_VERSION)
		return ret;
	if (ret < 0)
		return err_wrap(e, "Arguments parsing error");
	j->rootless = args_given(args, NR_ARGS, "rootless");
	j->vhost_net = args_given(args, NR_ARGS, "vhost-net");
	ret = check_required(j, e);
	if (!ret)
		ret = parse_base(j, e);
	if (ret)
		return ret;
	j->id = args_value(args, NR_ARGS, "id");
	j->exec_file = args_value(args, NR_ARGS, "exec-file");
	j->netns = args_value(args, NR_ARGS, "netns");
	j->daemonize = args_given(args, NR_ARGS, "daemonize");
	j->new_pid_ns = args_given(args, NR_ARGS, "new-pid-ns");
	j->new_mount_ns = j->rootless || args_given(args, NR_ARGS, "new-mount-ns");
	j->new_net_ns = args_given(args, NR_ARGS, "new-net-ns");
	/* The name as given, not that of the file behind a link: clients build paths from it. */
	slash = strrchr(j->exec_file, '/');
	j->exec_name = slash ? slash + 1 : j->exec_file;
	j->args = argv + rest;
	j->nr_args = (size_t)(argc - rest);
	if (j->nr_args > JAIL_ARGS_MAX)
		return err_set(e, 0, "At most %d arguments may follow '--'", JAIL_ARGS_MAX);
	ret = check_id(j->id, e);
	if (!ret && (!*j->exec_name || !stays_below(j->exec_name)))
		ret = err_set(e, 0, "%s is not a file", j->exec_file);
	if (!ret)
		ret = parse_ids(j, e);
	if (!ret)
		ret = parse_cgroups(j, e);
	if (!ret)
		ret = parse_limits(j, e);
	if (!ret)
		ret = parse_keep(j, e);
	return ret;
}

void jail_options_help(void)
{
	args_print_help(args, NR_ARGS);
}

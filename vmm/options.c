/* SPDX-License-Identifier: Apache-2.0 */
/*
 * options.c - see options.h. Each option is a row; what is not a row is refused. Main thread.
 */
#include "vmm/options.h"

#include <string.h>
#include <strings.h>

#include "base/args.h"
#include "base/log.h"
#include "vmm/fatal.h"

#define ID_MAX 64

/* The most that is worth reserving per connection. */
#define PAYLOAD_LIMIT (1u << 30)

static struct arg args[] = {
	{ .name = "api-sock",
	  .takes_value = true,
	  .def = "/run/firecracker.socket",
	  .help = "Unix socket to create for the API" },
	{ .name = "no-api", .requires = "config-file", .help = "run without the API socket" },
	{ .name = "config-file",
	  .takes_value = true,
	  .help = "configure and start the VM from this JSON file" },
	{ .name = "id",
	  .takes_value = true,
	  .def = "anonymous-instance",
	  .help = "name of this VM: 1 to 64 letters, digits and '-'" },
	{ .name = "log-path", .takes_value = true, .help = "file or FIFO for the log" },
	{ .name = "level",
	  .takes_value = true,
	  .def = "Info",
	  .help = "Off, Error, Warning, Info, Debug or Trace" },
	{ .name = "module",
	  .takes_value = true,
	  .help = "log only what comes from sources whose module path begins like this" },
	{ .name = "show-level", .help = "show the level in each line of the log" },
	{ .name = "show-log-origin", .help = "show file and line of the source in the log" },
	{ .name = "metrics-path", .takes_value = true, .help = "file or FIFO for metrics" },
	{ .name = "boot-timer", .help = "log how long the guest took to boot, when it says so" },
	{ .name = "http-api-max-payload-size",
	  .takes_value = true,
	  .def = "51200",
	  .help = "largest request body in bytes" },
	{ .name = "no-seccomp", .help = "run without system call filters" },
	{ .name = "seccomp-filter",
	  .takes_value = true,
	  .forbids = "no-seccomp",
	  .help = "system call filters made by mote-seccomp-compile" },
	{ .name = "landlock",
	  .takes_value = true,
	  .def = "actions",
	  .help = "what is given up at the start: off, actions, or files: all files but the drives" },
	/* From a jailer of Firecracker, for its start-up metrics. */
	{ .name = "start-time-us",
	  .takes_value = true,
	  .help = "when the jailer started, by the monotonic clock" },
	{ .name = "start-time-cpu-us", .takes_value = true, .help = "the same in CPU time" },
	{ .name = "parent-cpu-time-us",
	  .takes_value = true,
	  .help = "CPU time used by the jailer" },
	/* What others have and mote has not: rows so that each is refused with its reason. */
	{ .name = "metadata",
	  .takes_value = true,
	  .help = "not supported yet: contents of the metadata service" },
	{ .name = "mmds-size-limit",
	  .takes_value = true,
	  .help = "without effect: there is no metadata service yet" },
	{ .name = "enable-pci", .help = "without effect: devices are on virtio-mmio" },
	{ .name = "snapshot-version", .help = "not supported yet: version of snapshot files" },
	{ .name = "describe-snapshot",
	  .takes_value = true,
	  .help = "not supported yet: version of this snapshot file" },
	/* Understood by the parser itself; rows so that --help shows them. */
	{ .name = "version", .help = "print the version" },
	{ .name = "help", .help = "print this table (also -h)" },
};

#define NR_ARGS (sizeof(args) / sizeof(args[0]))

static const struct {
	const char *name;
	enum log_level level;
} levels[] = {
	{ "off", LOG_OFF },	 { "error", LOG_ERROR }, { "warn", LOG_WARN },
	{ "warning", LOG_WARN }, { "info", LOG_INFO },	 { "debug", LOG_DEBUG },
	{ "trace", LOG_TRACE },
};

/* Refusals that are not slips of the hand: what is asked for exists, elsewhere. */
static const struct {
	const char *name;
	const char *why;
} refused[] = {
	{ "metadata", "there is no metadata service yet" },
	{ "snapshot-version", "snapshots are not available yet, so they have no version" },
	{ "describe-snapshot", "snapshots are not available yet, so none can be described" },
};

static int check_refused(struct err *e)
{
	size_t i;

	for (i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		if (!args_given(args, NR_ARGS, refused[i].name))
			continue;
		err_set(e, 0, "The argument '%s' is not supported by this version of mote: %s.",
			refused[i].name, refused[i].why);
		return -EXIT_CODE_BAD_ARGUMENTS;
	}
	return 0;
}

/* What platforms pass as a matter of course, and what a guest can do without. */
static const struct {
	const char *name;
	const char *why;
} without_effect[] = {
	{ "mmds-size-limit", "there is no metadata service yet" },
	{ "enable-pci", "there is no PCI bus, the same drivers find devices on virtio-mmio" },
};

void options_warn(void)
{
	for (size_t i = 0; i < sizeof(without_effect) / sizeof(without_effect[0]); i++) {
		if (args_given(args, NR_ARGS, without_effect[i].name))
			log_warn("The argument '%s' has no effect: %s.", without_effect[i].name,
				 without_effect[i].why);
	}
}

static int parse_number(const char *name, bool *has, uint64_t *out, struct err *e)
{
	const char *value = args_value(args, NR_ARGS, name);

	*has = value != NULL;
	*out = 0;
	if (!value || args_u64(value, UINT64_MAX, out))
		return 0;
	err_set(e, 0, "The argument '%s' must be a whole number, not '%s'.", name, value);
	return -EXIT_CODE_BAD_ARGUMENTS;
}

static int check_id(const char *id, struct err *e)
{
	size_t i;

	for (i = 0; id[i]; i++) {
		const char c = id[i];

		if (c != '-' && !(c >= '0' && c <= '9') &&
		    !((c | 0x20) >= 'a' && (c | 0x20) <= 'z')) {
			err_set(e, 0,
				"Invalid instance ID: '%s' has a character at position %zu that "
				"is no letter, digit or '-'.",
				id, i);
			return -EXIT_CODE_BAD_ARGUMENTS;
		}
	}
	if (i >= 1 && i <= ID_MAX)
		return 0;
	err_set(e, 0, "Invalid instance ID: it has %zu characters, it must have 1 to %d.", i,
		ID_MAX);
	return -EXIT_CODE_BAD_ARGUMENTS;
}

static int parse_level(enum log_level *level, struct err *e)
{
	const char *value = args_value(args, NR_ARGS, "level");
	size_t i;

	for (i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
		if (!strcasecmp(value, levels[i].name)) {
			*level = levels[i].level;
			return 0;
		}
	}
	err_set(e, 0,
		"Invalid value for logger level: %s. Possible values: [Off, Error, Warning, Info, "
		"Debug, Trace]",
		value);
	return -EXIT_CODE_BAD_CONFIG;
}

static int parse_landlock(enum landlock_level *level, struct err *e)
{
	static const char names[][8] = { "off", "actions", "files" };
	const char *value = args_value(args, NR_ARGS, "landlock");
	unsigned int i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (!strcmp(value, names[i])) {
			*level = (enum landlock_level)i;
			return 0;
		}
	}
	err_set(e, 0, "The argument 'landlock' must be off, actions or files, not '%s'.", value);
	return -EXIT_CODE_BAD_ARGUMENTS;
}

static int parse_payload(size_t *out, struct err *e)
{
	uint64_t n;
	bool has;
	int ret = parse_number("http-api-max-payload-size", &has, &n, e);

	if (ret)
		return ret;
	if (n < 1 || n > PAYLOAD_LIMIT) {
		err_set(e, 0, "The argument 'http-api-max-payload-size' must be 1 to %u.",
			PAYLOAD_LIMIT);
		return -EXIT_CODE_BAD_ARGUMENTS;
	}
	*out = (size_t)n;
	return 0;
}

int options_parse(struct options *o, int argc, char *const *argv, struct err *e)
{
	int rest, ret;

	ret = args_parse(args, NR_ARGS, argc, argv, &rest, e);
	if (ret == ARGS_HELP)
		return OPTIONS_HELP;
	if (ret == ARGS_VERSION)
		return OPTIONS_VERSION;
	if (ret < 0) {
		err_wrap(e, "Arguments parsing error");
		return -EXIT_CODE_BAD_ARGUMENTS;
	}
	*o = (struct options){
		.id = args_value(args, NR_ARGS, "id"),
		.config_file = args_value(args, NR_ARGS, "config-file"),
		.log_path = args_value(args, NR_ARGS, "log-path"),
		.module = args_value(args, NR_ARGS, "module"),
		.metrics_path = args_value(args, NR_ARGS, "metrics-path"),
		.show_level = args_given(args, NR_ARGS, "show-level"),
		.show_log_origin = args_given(args, NR_ARGS, "show-log-origin"),
		.boot_timer = args_given(args, NR_ARGS, "boot-timer"),
		.no_seccomp = args_given(args, NR_ARGS, "no-seccomp"),
		.seccomp_filter = args_value(args, NR_ARGS, "seccomp-filter"),
	};
	if (!args_given(args, NR_ARGS, "no-api"))
		o->api_sock = args_value(args, NR_ARGS, "api-sock");
	ret = check_id(o->id, e);
	if (!ret)
		ret = check_refused(e);
	if (!ret)
		ret = parse_number("start-time-us", &o->has_start_time_us, &o->start_time_us, e);
	if (!ret)
		ret = parse_number("start-time-cpu-us", &o->has_start_time_cpu_us,
				   &o->start_time_cpu_us, e);
	if (!ret)
		ret = parse_number("parent-cpu-time-us", &o->has_parent_cpu_time_us,
				   &o->parent_cpu_time_us, e);
	if (!ret)
		ret = parse_payload(&o->payload_max, e);
	if (!ret)
		ret = parse_landlock(&o->landlock, e);
	if (!ret)
		ret = parse_level(&o->level, e);
	return ret;
}

void options_help(void)
{
	args_print_help(args, NR_ARGS);
}

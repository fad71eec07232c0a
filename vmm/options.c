/* SPDX-License-Identifier: Apache-2.0 */
/*
 * options.c - see options.h. Each option is a row; what is not a row is refused. Main thread.
 */
#include "vmm/options.h"

#include <string.h>
#include <strings.h>

#include "base/args.h"
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
	{ .name = "http-api-max-payload-size",
	  .takes_value = true,
	  .def = "51200",
	  .help = "largest request body in bytes" },
	{ .name = "no-seccomp", .help = "run without system call filters" },
	/* From a jailer of Firecracker, for its start-up metrics. */
	{ .name = "start-time-us",
	  .takes_value = true,
	  .help = "when the jailer started, wall clock" },
	{ .name = "start-time-cpu-us", .takes_value = true, .help = "the same in CPU time" },
	{ .name = "parent-cpu-time-us",
	  .takes_value = true,
	  .help = "CPU time used by the jailer" },
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

/* Digits only, at least one; false beyond 64 bits. */
static bool parse_u64(const char *s, uint64_t *out)
{
	uint64_t n = 0;

	if (!*s)
		return false;
	for (; *s; s++) {
		if (*s < '0' || *s > '9' || __builtin_mul_overflow(n, 10, &n) ||
		    __builtin_add_overflow(n, (uint64_t)(*s - '0'), &n))
			return false;
	}
	*out = n;
	return true;
}

static int parse_number(const char *name, uint64_t *out, struct err *e)
{
	const char *value = args_value(args, NR_ARGS, name);

	*out = 0;
	if (!value || parse_u64(value, out))
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

static int parse_payload(size_t *out, struct err *e)
{
	uint64_t n;
	int ret = parse_number("http-api-max-payload-size", &n, e);

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
	/* What a jailer passes is checked, so that a slip is found, and not used yet. */
	static const char *const numbers[] = { "start-time-us", "start-time-cpu-us",
					       "parent-cpu-time-us" };
	uint64_t n;
	size_t i;
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
	};
	if (!args_given(args, NR_ARGS, "no-api"))
		o->api_sock = args_value(args, NR_ARGS, "api-sock");
	ret = check_id(o->id, e);
	for (i = 0; !ret && i < sizeof(numbers) / sizeof(numbers[0]); i++)
		ret = parse_number(numbers[i], &n, e);
	if (!ret)
		ret = parse_payload(&o->payload_max, e);
	if (!ret)
		ret = parse_level(&o->level, e);
	return ret;
}

void options_help(void)
{
	args_print_help(args, NR_ARGS);
}

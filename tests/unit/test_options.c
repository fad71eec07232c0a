/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_options.c - the command line: grammar, defaults, every refusal with its sentence.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "base/args.h"
#include "vmm/fatal.h"
#include "vmm/options.h"

static struct options o;
static struct err e;

/* @line: arguments parted by single spaces; "@" stands for an empty one. */
static int parse(const char *line)
{
	static char buf[1024];
	static char empty[] = "", program[] = "mote";
	char *argv[32] = { program };
	int argc = 1;

	memset(&e, 0, sizeof(e));
	strcpy(buf, line);
	for (char *s = strtok(buf, " "); s; s = strtok(NULL, " "))
		argv[argc++] = strcmp(s, "@") ? s : empty;
	return options_parse(&o, argc, argv, &e);
}

Test(options, defaults)
{
	cr_assert(parse("") == OPTIONS_RUN);
	cr_assert_str_eq(o.api_sock, "/run/firecracker.socket");
	cr_assert_str_eq(o.id, "anonymous-instance");
	cr_assert(!o.config_file && !o.log_path);
	cr_assert(o.payload_max == 51200 && o.level == LOG_INFO);
	cr_assert(o.landlock == LANDLOCK_ACTIONS);
}

Test(options, landlock_levels)
{
	cr_assert(parse("--landlock off") == OPTIONS_RUN && o.landlock == LANDLOCK_OFF);
	cr_assert(parse("--landlock actions") == OPTIONS_RUN && o.landlock == LANDLOCK_ACTIONS);
	cr_assert(parse("--landlock files") == OPTIONS_RUN && o.landlock == LANDLOCK_FILES);
	cr_assert(parse("--landlock Files") == -EXIT_CODE_BAD_ARGUMENTS);
	cr_assert_str_eq(e.msg,
			 "The argument 'landlock' must be off, actions or files, not 'Files'.");
}

Test(options, values)
{
	cr_assert(parse("--id a-1 --api-sock -odd --config-file f --level dEbug --no-seccomp "
			"--http-api-max-payload-size 70000 --start-time-us 1 --log-path l") ==
			  OPTIONS_RUN,
		  "%s", e.msg);
	cr_assert_str_eq(o.id, "a-1");
	cr_assert_str_eq(o.api_sock, "-odd");
	cr_assert_str_eq(o.config_file, "f");
	cr_assert_str_eq(o.log_path, "l");
	cr_assert(o.payload_max == 70000 && o.level == LOG_DEBUG);

	/* the parse before leaves nothing behind */
	cr_assert(parse("--config-file f --no-api") == OPTIONS_RUN);
	cr_assert(!o.api_sock && !o.log_path);
	cr_assert_str_eq(o.id, "anonymous-instance");
}

Test(options, what_follows_two_dashes_is_not_ours)
{
	cr_assert(parse("--id a -- --id b --bogus --help") == OPTIONS_RUN);
	cr_assert_str_eq(o.id, "a");
}

Test(options, help_and_version_win_over_all)
{
	cr_assert(parse("--bogus --help") == OPTIONS_HELP);
	cr_assert(parse("bogus -h") == OPTIONS_HELP);
	cr_assert(parse("--bogus --version") == OPTIONS_VERSION);
	cr_assert(parse("--version --help") == OPTIONS_HELP);
}

static const struct {
	const char *line;
	int code;
	const char *msg;
} bad[] = {
#define BAD(text) EXIT_CODE_BAD_ARGUMENTS, "Arguments parsing error: " text
	{ "--bogus",
	  BAD("Found argument 'bogus' which wasn't expected, or isn't valid in this context.") },
	{ "stray",
	  BAD("Found argument 'stray' which wasn't expected, or isn't valid in this context.") },
	{ "-x", BAD("Found argument '-x' which wasn't expected, or isn't valid in this context.") },
	{ "--id=x",
	  BAD("Found argument 'id=x' which wasn't expected, or isn't valid in this context.") },
	{ "--id", BAD("The argument 'id' requires a value, but none was supplied.") },
	{ "--id --no-seccomp", BAD("The argument 'id' requires a value, but none was supplied.") },
	{ "--id -- x", BAD("The argument 'id' requires a value, but none was supplied.") },
	{ "--id a --id b", BAD("The argument 'id' was provided more than once.") },
	{ "--no-seccomp --no-seccomp",
	  BAD("The argument 'no-seccomp' was provided more than once.") },
	{ "--no-api", BAD("Argument 'config-file' required, but not found.") },
	{ "--id a_b", EXIT_CODE_BAD_ARGUMENTS,
	  "Invalid instance ID: 'a_b' has a character at position 1 that is no letter, digit or '-'." },
	{ "--id @", EXIT_CODE_BAD_ARGUMENTS,
	  "Invalid instance ID: it has 0 characters, it must have 1 to 64." },
	{ "--id 12345678901234567890123456789012345678901234567890123456789012345",
	  EXIT_CODE_BAD_ARGUMENTS,
	  "Invalid instance ID: it has 65 characters, it must have 1 to 64." },
	{ "--http-api-max-payload-size many", EXIT_CODE_BAD_ARGUMENTS,
	  "The argument 'http-api-max-payload-size' must be a whole number, not 'many'." },
	{ "--http-api-max-payload-size 18446744073709551616", EXIT_CODE_BAD_ARGUMENTS,
	  "The argument 'http-api-max-payload-size' must be a whole number, not '18446744073709551616'." },
	{ "--http-api-max-payload-size 0", EXIT_CODE_BAD_ARGUMENTS,
	  "The argument 'http-api-max-payload-size' must be 1 to 1073741824." },
	{ "--start-time-us -1", EXIT_CODE_BAD_ARGUMENTS,
	  "The argument 'start-time-us' must be a whole number, not '-1'." },
	{ "--level loud", EXIT_CODE_BAD_CONFIG,
	  "Invalid value for logger level: loud. Possible values: [Off, Error, Warning, Info, Debug, Trace]" },
};

Test(options, refusals)
{
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		int ret = parse(bad[i].line);

		cr_assert(ret == -bad[i].code, "%s: %d", bad[i].line, ret);
		cr_assert_str_eq(e.msg, bad[i].msg, "%s: %s", bad[i].line, e.msg);
	}
}

Test(args, company)
{
	struct arg args[] = {
		{ .name = "a", .takes_value = true, .forbids = "b" },
		{ .name = "b" },
		{ .name = "c", .requires = "a" },
	};
	char p[] = "p", a[] = "--a", v[] = "v", b[] = "--b", c[] = "--c", end[] = "--";
	char *both[] = { p, b, a, v }, *alone[] = { p, c }, *fine[] = { p, c, a, v, end, b };
	int rest;

	cr_assert(args_parse(args, 3, 4, both, &rest, &e) < 0);
	cr_assert_str_eq(e.msg, "Argument 'b' cannot be used together with argument 'a'.");
	cr_assert(args_parse(args, 3, 2, alone, &rest, &e) < 0);
	cr_assert_str_eq(e.msg, "Argument 'a' required, but not found.");
	cr_assert(args_parse(args, 3, 6, fine, &rest, &e) == ARGS_RUN);
	cr_assert(rest == 5 && args_given(args, 3, "c") && !args_given(args, 3, "b"));
	cr_assert_str_eq(args_value(args, 3, "a"), "v");
}

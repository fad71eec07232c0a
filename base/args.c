/* SPDX-License-Identifier: Apache-2.0 */
/*
 * args.c - see args.h. Main thread.
 */
#include "base/args.h"

#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/fd.h"
#include "base/text.h"

/* Where the sentences of --help begin. */
#define HELP_COLUMN 61

static struct arg *find(struct arg *args, size_t nr, const char *name)
{
	size_t i;

	for (i = 0; i < nr; i++)
		if (!strcmp(args[i].name, name))
			return &args[i];
	return NULL;
}

static const struct arg *lookup(const struct arg *args, size_t nr, const char *name)
{
	size_t i;

	for (i = 0; i < nr && strcmp(args[i].name, name); i++)
		;
	assert(i < nr);
	return &args[i];
}

const char *args_value(const struct arg *args, size_t nr, const char *name)
{
	return lookup(args, nr, name)->value;
}

size_t args_nr_values(const struct arg *args, size_t nr, const char *name)
{
	return lookup(args, nr, name)->nr_values;
}

bool args_given(const struct arg *args, size_t nr, const char *name)
{
	return lookup(args, nr, name)->given;
}

static bool contains(char *const *argv, int end, const char *text)
{
	int i;

	for (i = 1; i < end; i++)
		if (!strcmp(argv[i], text))
			return true;
	return false;
}

/* One option at argv[*i]; steps over its value. */
static int parse_one(struct arg *args, size_t nr, int end, char *const *argv, int *i, struct err *e)
{
	const char *text = argv[*i];
	const bool dashed = !strncmp(text, "--", 2);
	struct arg *a = dashed ? find(args, nr, text + 2) : NULL;

	if (!a)
		return err_set(
			e, 0,
			"Found argument '%s' which wasn't expected, or isn't valid in this context.",
			dashed ? text + 2 : text);
	if (a->given && !a->values_max)
		return err_set(e, 0, "The argument '%s' was provided more than once.", a->name);
	if (a->values_max && a->nr_values == a->values_max)
		return err_set(e, 0, "The argument '%s' was provided more than %zu times.", a->name,
			       a->values_max);
	a->given = true;
	if (!a->takes_value)
		return 0;
	/* `--id --no-api` is a forgotten value, not an instance called "--no-api". */
	if (*i + 1 >= end || !strncmp(argv[*i + 1], "--", 2))
		return err_set(e, 0, "The argument '%s' requires a value, but none was supplied.",
			       a->name);
	a->value = argv[++*i];
	if (a->values_max)
		a->values[a->nr_values++] = a->value;
	return 0;
}

static int check_company(struct arg *args, size_t nr, struct err *e)
{
	size_t i;

	for (i = 0; i < nr; i++) {
		const struct arg *a = &args[i];

		if (a->given && a->requires && !lookup(args, nr, a->requires)->given)
			return err_set(e, 0, "Argument '%s' required, but not found.", a->requires);
		if (a->given && a->forbids && lookup(args, nr, a->forbids)->given)
			return err_set(e, 0,
				       "Argument '%s' cannot be used together with argument '%s'.",
				       a->forbids, a->name);
	}
	return 0;
}

int args_parse(struct arg *args, size_t nr, int argc, char *const *argv, int *rest, struct err *e)
{
	size_t a;
	int end, i, ret;

	for (a = 0; a < nr; a++) {
		args[a].given = false;
		args[a].value = args[a].def;
		args[a].nr_values = 0;
	}
	for (end = 1; end < argc && strcmp(argv[end], "--"); end++)
		;
	*rest = end < argc ? end + 1 : argc;
	if (contains(argv, end, "--help") || contains(argv, end, "-h"))
		return ARGS_HELP;
	if (contains(argv, end, "--version"))
		return ARGS_VERSION;
	for (i = 1; i < end; i++) {
		ret = parse_one(args, nr, end, argv, &i, e);
		if (ret)
			return ret;
	}
	ret = check_company(args, nr, e);
	return ret ? ret : ARGS_RUN;
}

bool args_u64(const char *value, uint64_t max, uint64_t *out)
{
	uint64_t n = 0;

	if (!*value)
		return false;
	for (; *value; value++) {
		if (*value < '0' || *value > '9' || __builtin_mul_overflow(n, 10, &n) ||
		    __builtin_add_overflow(n, (uint64_t)(*value - '0'), &n))
			return false;
	}
	*out = n;
	return n <= max;
}

void args_print_help(const struct arg *args, size_t nr)
{
	size_t i;

	fd_print(STDOUT_FILENO, "options:\n");
	for (i = 0; i < nr; i++) {
		const struct arg *a = &args[i];
		char name[HELP_COLUMN + 1];
		struct text t = text_init(name, HELP_COLUMN);

		text_format(&t, "  --%s", a->name);
		if (a->takes_value)
			text_format(&t, " <%s>", a->name);
		while (!t.cut)
			text_char(&t, ' ');
		name[t.len] = '\0';
		fd_print(STDOUT_FILENO, "%s%s", name, a->help);
		if (a->def)
			fd_print(STDOUT_FILENO, " [default: %s]", a->def);
		fd_print(STDOUT_FILENO, "\n");
	}
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * args.h - the command-line grammar that mote and mote-jailer share: `--name value` and `--flag`.
 *
 * Options are rows of a table that the caller owns. There is no `--name=value`, a value may not
 * begin with `--`, an option may come once unless its row has room for more, `--` ends the
 * options. Same rules and error texts as the programs whose command lines these replace. Main
 * thread, start-up.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct arg {
	const char *name; /* without dashes */
	bool takes_value;
	const char *help;     /* one line */
	const char *def;      /* value when not given; NULL: none */
	const char *requires; /* name of an option that must be given too; NULL: none */
	const char *forbids;  /* name of an option that must not be given with it; NULL: none */
	const char **values;  /* room for each value of an option that may be repeated */
	size_t values_max;    /* how much room; 0: the option may come once */

	/* filled by args_parse */
	bool given;
	const char *value; /* points into argv, or def; the last one of a repeated option */
	size_t nr_values;  /* in @values */
};

enum args_wish {
	ARGS_RUN,
	ARGS_HELP,    /* --help or -h stood anywhere: nothing else was looked at */
	ARGS_VERSION, /* --version likewise */
};

/*
 * args_parse - fill the @nr rows of @args from the command line.
 * *@rest: index in @argv of what follows `--`, or @argc. Returns an enum args_wish, or -EINVAL with
 * one sentence.
 */
int args_parse(struct arg *args, size_t nr, int argc, char *const *argv, int *rest, struct err *e);

/* args_value - value of the row called @name, which must exist; NULL without value and default. */
const char *args_value(const struct arg *args, size_t nr, const char *name);

/* args_nr_values - how many values the row called @name was given, for repeated options. */
size_t args_nr_values(const struct arg *args, size_t nr, const char *name);

/* args_given - whether the row called @name was on the command line. */
bool args_given(const struct arg *args, size_t nr, const char *name);

/* args_u64 - a value that is a number: digits only, at least one. False also beyond @max. */
bool args_u64(const char *value, uint64_t max, uint64_t *out);

/* args_print_help - the table for people, on standard output. */
void args_print_help(const struct arg *args, size_t nr);

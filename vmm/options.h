/* SPDX-License-Identifier: Apache-2.0 */
/*
 * options.h - the command line of mote: its options as a table, and their values checked.
 *
 * Main thread, start-up.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/log.h"
#include "vmm/landlock.h"

struct options {
	const char *api_sock;	  /* NULL with --no-api */
	const char *id;		  /* 1 to 64 letters, digits, '-' */
	const char *config_file;  /* NULL: none */
	const char *log_path;	  /* NULL: standard output */
	const char *module;	  /* log filter; NULL: none */
	const char *metrics_path; /* NULL: none, or later by the API */
	enum log_level level;
	bool show_level;
	bool show_log_origin;
	bool boot_timer;
	bool no_seccomp;
	const char *seccomp_filter; /* file; NULL: those built in */
	enum landlock_level landlock;
	size_t payload_max; /* bytes */
	/*
	 * When and how long the jailer ran, for the start-up metrics; as metrics_startup has them.
	 */
	bool has_start_time_us;
	bool has_start_time_cpu_us;
	bool has_parent_cpu_time_us;
	uint64_t start_time_us;
	uint64_t start_time_cpu_us;
	uint64_t parent_cpu_time_us;
};

enum options_wish { OPTIONS_RUN, OPTIONS_HELP, OPTIONS_VERSION };

/*
 * options_parse - returns an enum options_wish; or a negative exit code of enum exit_code,
 * with one sentence. Strings point into @argv or are static.
 */
int options_parse(struct options *o, int argc, char *const *argv, struct err *e);

/*
 * options_warn - logs which arguments of the command line that was parsed last do nothing in mote.
 */
void options_warn(void);

/* options_help - the table for people, on standard output. */
void options_help(void);

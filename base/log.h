/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log.h - the log: one line per event, written with one write(2).
 *
 * The only process-wide state in base/: the target, level and instance name. log_open and the
 * setters run on the loop thread; writing lines may happen on any thread. A line that cannot be
 * written (full pipe, full disk) is dropped and counted, never waited for.
 * Line: YYYY-MM-DDTHH:MM:SS.nnnnnnnnn [id:thread[:LEVEL]] message
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_OFF, LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG, LOG_TRACE };

/* log_set_id - the instance name in each line; copied, cut at 64 characters. */
void log_set_id(const char *id);

/* log_set_level - lines above @level are dropped. */
void log_set_level(enum log_level level);

/* log_set_fd - where lines go (not owned). Default: standard output. */
void log_set_fd(int fd);

/* log_thread - name the calling thread in its lines; a string that stays valid. */
void log_thread(const char *name);

void log_line(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)
#define log_warn(...)  log_line(LOG_WARN, __VA_ARGS__)
#define log_info(...)  log_line(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)

/* log_nr_dropped - lines lost so far. */
uint64_t log_nr_dropped(void);

/*
 * What a guest can make us say is bounded per call site: 10 lines in 5 seconds, the rest counted.
 * One static struct per site; zero-initialised.
 */
struct log_limit {
	uint64_t next_ns;	/* relaxed atomics: an approximate count is good enough */
	uint64_t nr_suppressed;
};

bool log_limit_pass(struct log_limit *l);

/* log_guest - a warning that a guest can cause. */
#define log_guest(...)                                  \
	do {                                            \
		static struct log_limit limit_;         \
		if (log_limit_pass(&limit_))            \
			log_line(LOG_WARN, __VA_ARGS__);\
	} while (0)

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log.h - the log: one line per event, written with one write(2).
 *
 * The only process-wide state in base/: target, level, filter and instance name. The setters run on
 * the loop thread before other threads exist; writing lines may happen on any thread. A line that
 * cannot be written (full pipe, full disk) is dropped and counted, never waited for.
 * Line: YYYY-MM-DDTHH:MM:SS.nnnnnnnnn [id:thread[:LEVEL][:file:line]] message
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/metrics.h"

enum log_level { LOG_OFF, LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG, LOG_TRACE };

/* Longest module filter that is looked at. */
#define LOG_MODULE_MAX 128

/* log_set_id - the instance name in each line; copied, cut at 64 characters. */
void log_set_id(const char *id);

/* log_set_level - lines above @level are dropped. */
void log_set_level(enum log_level level);

/* log_set_format - whether lines show their level, and the place in the source they come from. */
void log_set_format(bool show_level, bool show_origin);

/*
 * log_set_module - only lines of sources whose module path begins with @module; copied; "" passes
 * all. A source is known by its path ("virtio/blk") and by the path that clients of Firecracker
 * use for what it does ("vmm::devices::virtio::blk", "api_server::routes").
 */
void log_set_module(const char *module);

/* log_set_fd - where lines go (not owned). Default: standard output. */
void log_set_fd(int fd);

/* log_thread - name the calling thread in its lines; a string that stays valid. */
void log_thread(const char *name);

/*
 * log_write - one line. @at: level and line of the source, LOG_AT; @file: its path from the root.
 * One number for two keeps the many call sites short.
 */
void log_write(unsigned int at, const char *file, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#define LOG_AT(level)	     ((unsigned int)(level) << 16 | __LINE__)
#define log_line(level, ...) log_write(LOG_AT(level), __FILE__, __VA_ARGS__)

#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)
#define log_warn(...)  log_line(LOG_WARN, __VA_ARGS__)
#define log_info(...)  log_line(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)

/*
 * log_signal - an error line from inside a signal handler: @len bytes at @text. Async-signal-safe.
 */
void log_signal(unsigned int at, const char *file, const char *text, size_t len);

/* log_set_abort - what ends the process in log_assert, in abort's place; does not return. */
void log_set_abort(void (*fn)(void));

/* log_assert - what base/assert.h says about a broken invariant; ends the process by SIGABRT. */
_Noreturn void log_assert(unsigned int at, const char *file, const char *what);

/* Published with the other metrics, group "logger". */
struct log_metrics {
	/* lines of metrics that their reader did not take in time */
	metric_t missed_metrics_count;
	metric_t metrics_fails;		 /* lines of metrics that could not be written at all */
	metric_t missed_log_count;	 /* lines lost */
	metric_t rate_limited_log_count; /* lines not even made: log_guest */
};

extern struct log_metrics log_metrics;

/*
 * What a guest can make us say is bounded per call site: 10 lines in 5 seconds, the rest counted.
 * When a site may speak again it first says how much was left out. One static struct per site;
 * zero-initialised.
 */
struct log_limit {
	uint64_t next_ns; /* relaxed atomics: an approximate count is good enough */
	uint64_t nr_suppressed;
};

bool log_limit_pass(struct log_limit *l, unsigned int at, const char *file);

#define LOG_LIMITED(level, ...)                                                                    \
	do {                                                                                       \
		static struct log_limit limit_;                                                    \
		if (log_limit_pass(&limit_, LOG_AT(level), __FILE__))                              \
			log_line(level, __VA_ARGS__);                                              \
	} while (0)

/* log_guest - a warning that a guest can cause; log_guest_info - what it tells us. */
#define log_guest(...)	    LOG_LIMITED(LOG_WARN, __VA_ARGS__)
#define log_guest_info(...) LOG_LIMITED(LOG_INFO, __VA_ARGS__)

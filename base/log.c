/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log.c - one line, one write; see log.h. Any thread.
 */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Longer lines are cut: a request body must not grow the stack of the thread that logs it. */
#define LOG_LINE_MAX 2048
#define LOG_ID_MAX   64

/* Guest-caused lines: a bucket of 10, one more every 500 ms (10 in 5 s), as Firecracker has it. */
#define LIMIT_STEP_NS  500000000ULL
#define LIMIT_BURST_NS (10 * LIMIT_STEP_NS)

static char log_id[LOG_ID_MAX + 1] = "anonymous-instance";
static enum log_level log_level = LOG_INFO;
static int log_fd = STDOUT_FILENO;
static uint64_t nr_dropped;
static __thread const char *thread_name = "main";

void log_set_id(const char *id)
{
	size_t len = strnlen(id, LOG_ID_MAX);

	memcpy(log_id, id, len);
	log_id[len] = '\0';
}

void log_set_level(enum log_level level)
{
	log_level = level;
}

void log_set_fd(int fd)
{
	log_fd = fd;
}

void log_thread(const char *name)
{
	thread_name = name;
}

static size_t log_prefix(char *buf, size_t max)
{
	struct timespec now;
	struct tm tm;
	size_t len;

	clock_gettime(CLOCK_REALTIME, &now);
	localtime_r(&now.tv_sec, &tm);
	len = strftime(buf, max, "%Y-%m-%dT%H:%M:%S", &tm);
	return len + (size_t)snprintf(buf + len, max - len, ".%09ld [%s:%s] ", now.tv_nsec, log_id,
				      thread_name);
}

void log_line(enum log_level level, const char *fmt, ...)
{
	char line[LOG_LINE_MAX];
	va_list ap;
	size_t len;
	int n;

	if (level > log_level)
		return;
	len = log_prefix(line, sizeof(line));
	va_start(ap, fmt);
	n = vsnprintf(line + len, sizeof(line) - len, fmt, ap);
	va_end(ap);
	if (n > 0)
		len += (size_t)n;
	if (len > sizeof(line) - 1)
		len = sizeof(line) - 1;
	line[len++] = '\n';
	if (write(log_fd, line, len) != (ssize_t)len)
		__atomic_fetch_add(&nr_dropped, 1, __ATOMIC_RELAXED);
}

uint64_t log_nr_dropped(void)
{
	return __atomic_load_n(&nr_dropped, __ATOMIC_RELAXED);
}

bool log_limit_pass(struct log_limit *l)
{
	struct timespec t;
	uint64_t now, next;

	clock_gettime(CLOCK_MONOTONIC, &t);
	now = (uint64_t)t.tv_sec * 1000000000ULL + (uint64_t)t.tv_nsec;
	next = __atomic_load_n(&l->next_ns, __ATOMIC_RELAXED);
	if (next < now)
		next = now;
	if (next - now > LIMIT_BURST_NS - LIMIT_STEP_NS) {
		__atomic_fetch_add(&l->nr_suppressed, 1, __ATOMIC_RELAXED);
		return false;
	}
	__atomic_store_n(&l->next_ns, next + LIMIT_STEP_NS, __ATOMIC_RELAXED);
	return true;
}

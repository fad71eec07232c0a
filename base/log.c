/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log.c - one line, one write; see log.h. Any thread.
 *
 * Dates are computed here and not by strftime, so that a dying process can write the same lines.
 */
#include "base/log.h"

#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/text.h"

/* Longer lines are cut: a request body must not grow the stack of the thread that logs it. */
#define LOG_LINE_MAX 2048
#define LOG_ID_MAX   64

/* Guest-caused lines: a bucket of 10, one more every 500 ms (10 in 5 s), as Firecracker has it. */
#define LIMIT_STEP_NS  500000000ULL
#define LIMIT_BURST_NS (10 * LIMIT_STEP_NS)

#define DAY_S 86400
/* Clocks change on quarters of an hour, so the offset to UTC is looked up once in each. */
#define QUARTER_S 900

struct log_metrics log_metrics;

static char log_id[LOG_ID_MAX + 1] = "anonymous-instance";
static char log_module[LOG_MODULE_MAX];
static enum log_level log_level = LOG_INFO;
static bool show_level, show_origin;
static int log_fd = STDOUT_FILENO;
static __thread const char *thread_name = "main";

/* The quarter since 1970 in the upper half, seconds east of UTC (at least 0) in the lower. */
static uint64_t utc_offset;

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

void log_set_format(bool level, bool origin)
{
	show_level = level;
	show_origin = origin;
}

void log_set_module(const char *module)
{
	size_t len = strnlen(module, LOG_MODULE_MAX - 1);

	memcpy(log_module, module, len);
	log_module[len] = '\0';
}

void log_set_fd(int fd)
{
	log_fd = fd;
}

void log_thread(const char *name)
{
	thread_name = name;
}

/* What a room is called by those who know Firecracker's modules; main.c is in none. */
static const struct {
	char room[12];
	char module[28];
} modules[] = {
	{ "api-socket/", "firecracker::api_server::" },
	{ "vmm/", "vmm::" },
	{ "virtio/", "vmm::devices::virtio::" },
	{ "boot/", "vmm::arch::" },
	{ "base/", "vmm::utils::" },
	{ "", "firecracker::" },
};

static bool begins(const char *s, const char *with)
{
	return !strncmp(s, with, strlen(with));
}

static bool module_passes(const char *file)
{
	static const char program[] = "firecracker::";
	char path[96];
	struct text t = text_init(path, sizeof(path) - 1);
	const char *dot;
	size_t i = 0;

	if (!log_module[0] || begins(file, log_module))
		return true;
	while (!begins(file, modules[i].room))
		i++;
	file += strlen(modules[i].room);
	dot = strchr(file, '.');
	text_str(&t, modules[i].module);
	text_bytes(&t, file, dot ? (size_t)(dot - file) : strlen(file));
	path[t.len] = '\0';
	/* the API server was a crate of its own before it became a module of the program */
	return begins(path, log_module) ||
	       (begins(path, program) && begins(path + sizeof(program) - 1, log_module));
}

/* Seconds to add to UTC at @now. Not for signal handlers: libc takes locks to know it. */
static uint64_t offset_at(time_t now)
{
	uint64_t quarter = (uint64_t)now / QUARTER_S;
	uint64_t known = __atomic_load_n(&utc_offset, __ATOMIC_RELAXED);
	struct tm tm;

	if (known >> 32 != quarter && localtime_r(&now, &tm)) {
		known = quarter << 32 | (uint32_t)(tm.tm_gmtoff + DAY_S);
		__atomic_store_n(&utc_offset, known, __ATOMIC_RELAXED);
	}
	return known & UINT32_MAX;
}

static unsigned int is_leap(unsigned int year)
{
	return year % 4 == 0 && (year % 100 || year % 400 == 0);
}

/* @offset: seconds east of UTC plus a day; 0 when nobody knows. */
static void put_time(struct text *t, const struct timespec *now, uint64_t offset)
{
	static const uint8_t month_days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	uint64_t s = (uint64_t)now->tv_sec + (offset ? offset - DAY_S : 0);
	unsigned int days = (unsigned int)(s / DAY_S), year = 1970, month = 0;

	for (; days >= 365 + is_leap(year); year++)
		days -= 365 + is_leap(year);
	for (; days >= month_days[month] + (month == 1 ? is_leap(year) : 0); month++)
		days -= month_days[month] + (month == 1 ? is_leap(year) : 0);
	text_u64(t, year, 4);
	text_char(t, '-');
	text_u64(t, month + 1, 2);
	text_char(t, '-');
	text_u64(t, days + 1, 2);
	text_char(t, 'T');
	text_u64(t, s / 3600 % 24, 2);
	text_char(t, ':');
	text_u64(t, s / 60 % 60, 2);
	text_char(t, ':');
	text_u64(t, s % 60, 2);
	text_char(t, '.');
	text_u64(t, (uint64_t)now->tv_nsec, 9);
}

/* Everything before the message; async-signal-safe. */
static void put_prefix(struct text *t, unsigned int at, const char *file)
{
	static const char levels[][6] = { "OFF", "ERROR", "WARN", "INFO", "DEBUG", "TRACE" };

	text_str(t, " [");
	text_str(t, log_id);
	text_char(t, ':');
	text_str(t, thread_name);
	if (show_level) {
		text_char(t, ':');
		text_str(t, levels[at >> 16]);
	}
	if (show_origin) {
		/* readers expect a path with a folder in it */
		text_str(t, strchr(file, '/') ? ":" : ":./");
		text_str(t, file);
		text_char(t, ':');
		text_u64(t, at & 0xffff, 1);
	}
	text_str(t, "] ");
}

static bool wanted(unsigned int at, const char *file)
{
	return at >> 16 <= (unsigned int)log_level && module_passes(file);
}

/*
 * A pipe that nobody reads is full for ever, and standard output must stay blocking for whoever
 * shares it. A pipe that polls as writable takes PIPE_BUF bytes, more than any line has.
 */
static bool would_block(void)
{
	struct pollfd p = { .fd = log_fd, .events = POLLOUT };

	return poll(&p, 1, 0) == 0;
}

static void put_line(const char *line, size_t len)
{
	if (would_block() || write(log_fd, line, len) != (ssize_t)len)
		metric_inc(&log_metrics.missed_log_count);
}

void log_write(unsigned int at, const char *file, const char *fmt, ...)
{
	char line[LOG_LINE_MAX];
	struct text t = text_init(line, sizeof(line) - 1);
	struct timespec now;
	va_list ap;
	size_t i;

	if (!wanted(at, file))
		return;
	clock_gettime(CLOCK_REALTIME, &now);
	put_time(&t, &now, offset_at(now.tv_sec));
	put_prefix(&t, at, file);
	i = t.len;
	va_start(ap, fmt);
	text_vformat(&t, fmt, ap);
	va_end(ap);
	/*
	 * Texts of clients and guests end up in messages: none of them may begin a line of its
	 * own.
	 */
	for (; i < t.len; i++)
		if ((unsigned char)line[i] < ' ')
			line[i] = ' ';
	line[t.len++] = '\n';
	put_line(line, t.len);
}

void log_signal(unsigned int at, const char *file, const char *text, size_t len)
{
	char line[LOG_LINE_MAX / 2];
	struct text t = text_init(line, sizeof(line) - 1);
	struct timespec now;

	if (!wanted(at, file))
		return;
	clock_gettime(CLOCK_REALTIME, &now);
	put_time(&t, &now, __atomic_load_n(&utc_offset, __ATOMIC_RELAXED) & UINT32_MAX);
	put_prefix(&t, at, file);
	text_bytes(&t, text, len);
	line[t.len++] = '\n';
	put_line(line, t.len);
}

static void (*log_abort)(void) = abort;

void log_set_abort(void (*fn)(void))
{
	log_abort = fn;
}

_Noreturn void log_assert(unsigned int at, const char *file, const char *what)
{
	log_write(at, file, "Assertion failed: %s", what);
	log_abort();
	__builtin_unreachable();
}

bool log_limit_pass(struct log_limit *l, unsigned int at, const char *file)
{
	struct timespec t;
	uint64_t now, next, nr;

	clock_gettime(CLOCK_MONOTONIC, &t);
	now = (uint64_t)t.tv_sec * 1000000000ULL + (uint64_t)t.tv_nsec;
	next = __atomic_load_n(&l->next_ns, __ATOMIC_RELAXED);
	if (next < now)
		next = now;
	if (next - now > LIMIT_BURST_NS - LIMIT_STEP_NS) {
		__atomic_fetch_add(&l->nr_suppressed, 1, __ATOMIC_RELAXED);
		metric_inc(&log_metrics.rate_limited_log_count);
		return false;
	}
	__atomic_store_n(&l->next_ns, next + LIMIT_STEP_NS, __ATOMIC_RELAXED);
	nr = __atomic_exchange_n(&l->nr_suppressed, 0, __ATOMIC_RELAXED);
	if (nr)
		log_write(at, file, "%llu messages were suppressed due to rate limiting",
			  (unsigned long long)nr);
	return true;
}

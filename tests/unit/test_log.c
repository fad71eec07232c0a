/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_log.c - what a line looks like, what is dropped, and how much a guest can make us say.
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <regex.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

#define STAMP "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{9} "

static int fds[2];
static char line[8192];

/* Each test is a process of its own, so what it sets is forgotten. */
static void setup(void)
{
	cr_assert_eq(pipe2(fds, O_NONBLOCK | O_CLOEXEC), 0);
	log_set_fd(fds[1]);
}

TestSuite(log, .init = setup);

/* Everything written so far. */
static const char *written(void)
{
	ssize_t n = read(fds[0], line, sizeof(line) - 1);

	line[n > 0 ? n : 0] = '\0';
	return line;
}

static bool matches(const char *text, const char *pattern)
{
	regex_t re;
	bool ok;

	cr_assert_eq(regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB), 0);
	ok = regexec(&re, text, 0, NULL, 0) == 0;
	regfree(&re);
	return ok;
}

static unsigned int nr_lines(const char *text)
{
	unsigned int nr = 0;

	for (; *text; text++)
		nr += *text == '\n';
	return nr;
}

Test(log, a_line_has_time_instance_and_thread)
{
	log_info("%d %s", 42, "words");
	cr_assert(matches(written(), STAMP "\\[anonymous-instance:main\\] 42 words\n$"), "%s",
		  line);
	log_set_id("vm-1");
	log_thread("fc_vcpu");
	log_error("x");
	cr_assert(matches(written(), STAMP "\\[vm-1:fc_vcpu\\] x\n$"), "%s", line);
}

Test(log, level_and_origin_are_shown_on_request)
{
	log_set_format(true, false);
	log_warn("x");
	cr_assert(matches(written(), "\\[anonymous-instance:main:WARN\\] x\n$"), "%s", line);
	log_set_format(false, true);
	log_warn("x");
	cr_assert(matches(written(), ":main:tests/unit/test_log.c:[0-9]+\\] x\n$"), "%s", line);
	log_set_format(true, true);
	log_error("x");
	cr_assert(matches(written(), ":main:ERROR:tests/unit/test_log.c:[0-9]+\\] x\n$"), "%s",
		  line);
}

Test(log, lines_above_the_level_are_dropped)
{
	log_debug("x");
	cr_expect_str_eq(written(), "");
	log_set_level(LOG_DEBUG);
	log_debug("x");
	cr_expect_eq(nr_lines(written()), 1);
	log_set_level(LOG_OFF);
	log_error("x");
	cr_expect_str_eq(written(), "");
	cr_expect_eq(metric_get(&log_metrics.missed_log_count), 0, "not wanted is not lost");
}

Test(log, only_wanted_modules_speak)
{
	log_set_module("virtio");
	log_write(LOG_AT(LOG_INFO), "virtio/blk.c", "disk");
	log_write(LOG_AT(LOG_INFO), "vmm/machine.c", "machine");
	cr_expect(matches(written(), "\\] disk\n$"), "%s", line);
	cr_expect_eq(nr_lines(line), 1);
	log_set_module("vmm::devices::virtio::blk");
	log_write(LOG_AT(LOG_INFO), "virtio/blk.c", "disk");
	log_write(LOG_AT(LOG_INFO), "virtio/net.c", "net");
	cr_expect(matches(written(), "\\] disk\n$"), "%s", line);
	cr_expect_eq(nr_lines(line), 1);
	log_set_module("api_server");
	log_write(LOG_AT(LOG_INFO), "api-socket/routes.c", "api");
	log_write(LOG_AT(LOG_INFO), "main.c", "main");
	cr_expect(matches(written(), "\\] api\n$"), "%s", line);
	cr_expect_eq(nr_lines(line), 1);
}

Test(log, a_long_id_is_cut)
{
	char id[100];

	memset(id, 'i', sizeof(id) - 1);
	id[sizeof(id) - 1] = '\0';
	log_set_id(id);
	log_info("x");
	cr_assert(matches(written(), " \\[i{64}:main\\] x\n$"), "%s", line);
}

Test(log, a_long_line_is_cut_and_still_ends)
{
	char text[4096];

	memset(text, 'a', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	log_info("%s", text);
	written();
	cr_assert_eq(strlen(line), 2048);
	cr_assert_eq(nr_lines(line), 1);
	cr_assert_eq(line[2047], '\n');
}

/* A guest or client that can put a newline into our log can forge whole lines. */
Test(log, nobody_begins_a_line_of_its_own)
{
	log_info("%s", "disk\n2026-01-01T00:00:00 [root:main] all is well\r\x1b[2J\t.");
	written();
	cr_assert_eq(nr_lines(line), 1);
	cr_assert_null(strpbrk(line, "\r\x1b\t"));
	cr_assert(matches(line, "disk 2026.*well  \\[2J \\.\n$"), "%s", line);
}

Test(log, a_full_pipe_drops_counts_and_never_waits)
{
	static char fill[65536];

	while (write(fds[1], fill, sizeof(fill)) > 0)
		;
	while (write(fds[1], fill, 1) > 0)
		;
	for (int i = 0; i < 7; i++)
		log_error("nobody reads this");
	cr_assert_eq(metric_get(&log_metrics.missed_log_count), 7);
}

Test(log, speaks_from_a_signal_handler_in_the_same_form)
{
	log_info("x"); /* learns the offset to UTC */
	written();
	log_signal(LOG_AT(LOG_ERROR), __FILE__, "died of 7 things", 4);
	cr_assert(matches(written(), STAMP "\\[anonymous-instance:main\\] died\n$"), "%s", line);
}

static void guest_says(unsigned int times)
{
	for (unsigned int i = 0; i < times; i++)
		log_guest("ring is broken");
}

Test(log, a_guest_can_say_ten_things_at_once_and_then_two_a_second)
{
	guest_says(1000);
	cr_assert_eq(nr_lines(written()), 10);
	cr_assert_eq(metric_get(&log_metrics.rate_limited_log_count), 990);
	usleep(600000);
	guest_says(1000);
	written();
	cr_assert(matches(line, "^[^\n]*\\] 990 messages were suppressed due to rate limiting\n"),
		  "%s", line);
	cr_assert_eq(nr_lines(line), 2);
}

Test(log, call_sites_are_limited_one_by_one)
{
	guest_says(20);
	written();
	log_guest("another place");
	cr_assert_eq(nr_lines(written()), 1);
}

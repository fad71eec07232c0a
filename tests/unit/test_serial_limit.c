/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_serial_limit.c - a console that may say only so much.
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <linux/serial_reg.h>
#include <string.h>
#include <unistd.h>

#include "vmm/serial.h"

static struct loop *loop;
static struct serial s;
static int ends[2];

static void setup(void)
{
	cr_assert_eq(loop_create(&loop, NULL), 0);
	cr_assert_eq(pipe2(ends, O_NONBLOCK | O_CLOEXEC), 0);
	cr_assert_eq(serial_init(&s, loop, -1, ends[1], 4, NULL), 0);
}

static void teardown(void)
{
	serial_fini(&s);
	loop_destroy(loop);
	close(ends[0]);
	close(ends[1]);
}

TestSuite(serial_limit, .init = setup, .fini = teardown);

static void say(const char *text)
{
	for (; *text; text++)
		serial_bus_ops.write(&s, UART_TX, text, 1);
}

/* What came out, as text. */
static const char *heard(void)
{
	static char buf[256];
	ssize_t n = read(ends[0], buf, sizeof(buf) - 1);

	buf[n < 0 ? 0 : n] = '\0';
	return buf;
}

Test(serial_limit, none)
{
	say("0123456789");
	cr_assert_str_eq(heard(), "0123456789");
	cr_assert_eq(metric_get(&s.metrics.rate_limiter_dropped_bytes), 0);
}

Test(serial_limit, drops_and_counts)
{
	struct bucket_params p = { .size = 4, .one_time_burst = 2, .refill_time_ms = 3600000 };

	serial_limit(&s, &p);
	say("0123456789");
	cr_assert_str_eq(heard(), "012345");
	cr_assert_eq(metric_get(&s.metrics.rate_limiter_dropped_bytes), 4);
	cr_assert_eq(metric_get(&s.metrics.missed_write_count), 0);
	cr_assert_eq(metric_get(&s.metrics.write_count), 10, "the guest is not held up");
}

Test(serial_limit, goes_on_later)
{
	struct bucket_params p = { .size = 4, .refill_time_ms = 40 };

	serial_limit(&s, &p);
	say("01234567");
	cr_assert_eq(strncmp(heard(), "0123", 4), 0);
	usleep(50000);
	say("abcd");
	cr_assert_str_eq(heard(), "abcd");
}

Test(serial_limit, a_bucket_that_limits_nothing)
{
	struct bucket_params p = { .size = 4, .refill_time_ms = 0 };

	serial_limit(&s, &p);
	say("0123456789");
	cr_assert_str_eq(heard(), "0123456789");
}

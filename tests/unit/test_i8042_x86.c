/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_i8042_x86.c - the keyboard controller: reset, what a driver asks while it probes, edges.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "vmm/i8042_x86.h"

#define DATA   0
#define PORT_B 1
#define CMD    4

#define FULL   0x01
#define SYSTEM 0x04
#define ENABLE 0x01 /* CTR: interrupts of the keyboard */

static struct i8042 k;
static struct err e;
static unsigned int nr_resets;

static void on_reset(void *ctx)
{
	cr_assert_eq(ctx, &nr_resets);
	nr_resets++;
}

static void setup(void)
{
	nr_resets = 0;
	cr_assert_eq(i8042_init(&k, 1, on_reset, &nr_resets, &e), 0, "%s", e.msg);
}

static void teardown(void)
{
	i8042_fini(&k);
}

TestSuite(i8042, .init = setup, .fini = teardown);

static uint8_t rd(unsigned int port)
{
	uint8_t v = 0xff;

	i8042_bus_ops.read(&k, port, &v, 1);
	return v;
}

static void wr(unsigned int port, uint8_t v)
{
	i8042_bus_ops.write(&k, port, &v, 1);
}

static uint8_t ask(uint8_t command)
{
	wr(CMD, command);
	cr_assert(rd(CMD) & FULL, "command 0x%02x has an answer", command);
	return rd(DATA);
}

/* What the keyboard says to one byte; the answers end with -1. */
static void expect_says(uint8_t byte, int first, int second, int third)
{
	const int want[] = { first, second, third };

	wr(DATA, byte);
	for (size_t i = 0; i < 3 && want[i] >= 0; i++) {
		cr_assert(rd(CMD) & FULL, "0x%02x, answer %zu", byte, i);
		cr_assert_eq(rd(DATA), want[i], "0x%02x, answer %zu", byte, i);
	}
	cr_assert_eq(rd(CMD) & FULL, 0, "0x%02x has no more to say", byte);
}

static unsigned int edges(void)
{
	uint64_t nr = 0;

	return read(k.irq.fd, &nr, sizeof(nr)) == (ssize_t)sizeof(nr) ? (unsigned int)nr : 0;
}

Test(i8042, pulling_the_reset_line_resets)
{
	wr(CMD, 0xfe);
	cr_assert_eq(nr_resets, 1);
	cr_assert_eq(metric_get(&k.metrics.reset_count), 1);
	cr_assert_eq(rd(CMD) & FULL, 0);
}

Test(i8042, nothing_else_resets)
{
	for (unsigned int v = 0; v < 256; v++) {
		if (v != 0xfe)
			wr(CMD, (uint8_t)v);
		wr(DATA, 0xfe);
		wr(PORT_B, (uint8_t)v);
	}
	cr_assert_eq(nr_resets, 0);
}

Test(i8042, answers_the_probe_of_a_driver)
{
	cr_expect_eq(rd(CMD) & (FULL | SYSTEM), SYSTEM);
	cr_expect_eq(ask(0xaa), 0x55, "self-test");
	cr_expect_eq(ask(0xab), 0x00, "keyboard port");
	cr_expect_eq(ask(0xa9), 0xff, "no port for a mouse");
	cr_expect_eq(ask(0xd0), 0x03, "output port: running, A20 open");
	wr(CMD, 0x60);
	wr(DATA, 0x45);
	cr_expect_eq(ask(0x20), 0x45, "the command byte reads back");
	wr(CMD, 0xd1);
	wr(DATA, 0xdf);
	cr_expect_eq(ask(0xd0), 0xdf);
	cr_expect_eq(rd(PORT_B), 0x20, "timer 2 has expired");
}

Test(i8042, the_keyboard_answers_what_drivers_ask)
{
	expect_says(0xff, 0xfa, 0xaa, -1);
	expect_says(0xf2, 0xfa, 0xab, 0x83);
	expect_says(0xed, 0xfa, -1, -1);
	expect_says(0xf2, 0xfa, -1, -1); /* the argument of 0xed, not a question */
	expect_says(0xf2, 0xfa, 0xab, 0x83);
	expect_says(0xf3, 0xfa, -1, -1);
	expect_says(0x00, 0xfa, -1, -1);
	expect_says(0xf4, 0xfa, -1, -1);
}

Test(i8042, a_missing_mouse_is_silent)
{
	wr(CMD, 0xd4);
	wr(DATA, 0xff);
	cr_assert_eq(rd(CMD) & FULL, 0);
	expect_says(0xff, 0xfa, 0xaa, -1);
}

Test(i8042, each_byte_is_an_edge_when_enabled)
{
	wr(DATA, 0xff);
	cr_expect_eq(edges(), 0, "not enabled yet");
	rd(DATA);
	rd(DATA);
	wr(CMD, 0x60);
	wr(DATA, ENABLE);
	wr(DATA, 0xf2);
	cr_expect_eq(edges(), 1, "the first of three");
	rd(DATA);
	cr_expect_eq(edges(), 1, "the second");
	rd(DATA);
	cr_expect_eq(edges(), 1, "the third");
	rd(DATA);
	cr_expect_eq(edges(), 0);
}

Test(i8042, a_guest_that_never_reads_fills_the_buffer_and_no_more)
{
	for (int i = 0; i < 1000; i++)
		wr(DATA, 0xf2);
	cr_expect_eq(k.len, I8042_BUFFER);
	cr_expect_eq(metric_get(&k.metrics.error_count), 3000 - I8042_BUFFER);
	for (int i = 0; i < I8042_BUFFER; i++)
		cr_expect(rd(CMD) & FULL);
	for (int i = 0; i < I8042_BUFFER; i++)
		rd(DATA);
	cr_expect_eq(rd(CMD) & FULL, 0);
	cr_expect_eq(rd(DATA), 0, "an empty buffer");
}

Test(i8042, ctrl_alt_del_comes_in_the_set_that_was_chosen)
{
	static const uint8_t set1[] = { 0x1d, 0x38, 0xe0, 0x53 };
	static const uint8_t set2[] = { 0x14, 0x11, 0xe0, 0x71 };

	cr_assert_eq(i8042_ctrl_alt_del(&k), 0);
	for (size_t i = 0; i < 4; i++)
		cr_expect_eq(rd(DATA), set1[i]);
	wr(CMD, 0x60);
	wr(DATA, ENABLE); /* no translation */
	cr_assert_eq(i8042_ctrl_alt_del(&k), 0);
	cr_expect_eq(edges(), 1);
	for (size_t i = 0; i < 4; i++)
		cr_expect_eq(rd(DATA), set2[i]);
	for (int i = 0; i < I8042_BUFFER; i++)
		wr(DATA, 0xf4);
	cr_assert_eq(i8042_ctrl_alt_del(&k), -ENOSPC);
	cr_expect_eq(rd(DATA), 0xfa, "and none of the keys is in the way");
}

Test(i8042, other_widths_and_ports_are_nobodys)
{
	uint32_t v = UINT32_MAX;

	i8042_bus_ops.read(&k, CMD, &v, 2);
	cr_expect_eq(v, UINT32_MAX);
	v = 0xfefefefe;
	i8042_bus_ops.write(&k, CMD, &v, 4);
	cr_expect_eq(nr_resets, 0);
	cr_expect_eq(metric_get(&k.metrics.missed_read_count), 1);
	cr_expect_eq(metric_get(&k.metrics.missed_write_count), 1);
	cr_expect_eq(rd(2), 0xff);
	wr(2, 0xfe);
	wr(3, 0xfe);
	cr_expect_eq(nr_resets, 0);
}

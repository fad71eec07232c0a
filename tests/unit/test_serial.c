/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_serial.c - the 16550: registers as a driver probes them, interrupts as edges, and both ends
 * of the host side: typed bytes that wait for the guest, output that never waits for the host.
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <linux/serial_reg.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmm/serial.h"

static struct loop *loop;
static struct serial s;
static struct err e;
static int in[2] = { -1, -1 }, out[2] = { -1, -1 };

static uint8_t rd(unsigned int reg)
{
	uint8_t v = 0xff;

	serial_bus_ops.read(&s, reg, &v, 1);
	return v;
}

static void wr(unsigned int reg, unsigned int v)
{
	uint8_t byte = (uint8_t)v;

	serial_bus_ops.write(&s, reg, &byte, 1);
}

static void wr_str(const char *text)
{
	for (; *text; text++)
		wr(UART_TX, (unsigned char)*text);
}

/* Whether the line rose since the last call; several edges merge into one true. */
static bool edge(void)
{
	uint64_t nr;

	return read(s.irq.fd, &nr, sizeof(nr)) == (ssize_t)sizeof(nr);
}

static void on_end(void *ctx)
{
	*(bool *)ctx = true;
	loop_stop(loop, 0);
}

/* Plays the loop until nothing happens for 2 ms: a real one would stay stopped after one run. */
static void run_loop(void)
{
	struct pollfd p[2];

	for (int round = 0; round < 200; round++) {
		p[0] = (struct pollfd){ .fd = s.in.added ? s.in.fd : -1,
					.events = (short)s.in.events };
		p[1] = (struct pollfd){ .fd = s.out.added ? s.out.fd : -1,
					.events = (short)s.out.events };
		if (poll(p, 2, 2) <= 0)
			return;
		if (p[0].revents)
			s.in.fn(s.in.ctx, (uint32_t)p[0].revents);
		if (p[1].revents && s.out.added)
			s.out.fn(s.out.ctx, (uint32_t)p[1].revents);
	}
	cr_assert(false, "the handlers are called again and again");
}

static void setup(void)
{
	signal(SIGPIPE, SIG_IGN);
	cr_assert_eq(loop_create(&loop, &e), 0);
	cr_assert_eq(pipe2(in, O_NONBLOCK | O_CLOEXEC), 0);
	cr_assert_eq(pipe2(out, O_NONBLOCK | O_CLOEXEC), 0);
	cr_assert_eq(serial_init(&s, loop, in[0], out[1], 4, &e), 0, "%s", e.msg);
}

static void teardown(void)
{
	serial_fini(&s);
	loop_destroy(loop);
}

TestSuite(serial, .init = setup, .fini = teardown, .timeout = 10);

static const char *printed(void)
{
	static char buf[8192];
	ssize_t n = read(out[0], buf, sizeof(buf) - 1);

	buf[n > 0 ? n : 0] = '\0';
	return buf;
}

static void type(const char *text)
{
	cr_assert_eq(write(in[1], text, strlen(text)), (ssize_t)strlen(text));
	run_loop();
}

Test(serial, looks_like_an_idle_16550a)
{
	cr_expect_eq(rd(UART_IIR), UART_IIR_NO_INT);
	cr_expect_eq(rd(UART_LSR), UART_LSR_THRE | UART_LSR_TEMT);
	cr_expect_eq(rd(UART_MSR), UART_MSR_DCD | UART_MSR_DSR | UART_MSR_CTS);
	cr_expect_eq(rd(UART_IER), 0);
	cr_expect_eq(rd(UART_RX), 0, "an empty FIFO reads as 0");
	wr(UART_SCR, 0xa5);
	cr_expect_eq(rd(UART_SCR), 0xa5);
	wr(UART_FCR, UART_FCR_ENABLE_FIFO);
	cr_expect_eq(rd(UART_IIR), UART_IIR_NO_INT | 0xc0, "FIFOs are on");
	wr(UART_FCR, 0);
	cr_expect_eq(rd(UART_IIR), UART_IIR_NO_INT);
	wr(UART_IER, 0xff);
	cr_expect_eq(rd(UART_IER), 0x0f, "four sources, the other bits are not there");
	wr(UART_LSR, 0);
	wr(UART_MSR, 0);
	cr_expect_eq(rd(UART_LSR), UART_LSR_THRE | UART_LSR_TEMT, "read-only");
}

Test(serial, the_divisor_hides_behind_dlab)
{
	wr(UART_LCR, UART_LCR_DLAB | UART_LCR_WLEN8);
	cr_expect_eq(rd(UART_LCR), UART_LCR_DLAB | UART_LCR_WLEN8);
	wr(UART_DLL, 0x01);
	wr(UART_DLM, 0x80);
	cr_expect_eq(rd(UART_DLL), 0x01);
	cr_expect_eq(rd(UART_DLM), 0x80);
	wr(UART_LCR, UART_LCR_WLEN8);
	cr_expect_eq(rd(UART_IER), 0);
	wr(UART_IER, UART_IER_RDI);
	wr(UART_LCR, UART_LCR_DLAB);
	cr_expect_eq(rd(UART_DLM), 0x80, "the enables did not touch the divisor");
	cr_expect_str_eq(printed(), "", "nor did the divisor print");
}

Test(serial, wider_accesses_are_refused_and_counted)
{
	uint32_t v = UINT32_MAX;

	serial_bus_ops.read(&s, UART_LSR, &v, 4);
	cr_expect_eq(v, UINT32_MAX, "all ones, as the bus left it");
	v = 'x';
	serial_bus_ops.write(&s, UART_TX, &v, 2);
	cr_expect_str_eq(printed(), "");
	cr_expect_eq(metric_get(&s.metrics.missed_read_count), 1);
	cr_expect_eq(metric_get(&s.metrics.missed_write_count), 1);
}

Test(serial, loopback_returns_bytes_and_modem_lines)
{
	wr(UART_MCR, UART_MCR_LOOP);
	cr_expect_eq(rd(UART_MSR), 0);
	wr(UART_MCR, UART_MCR_LOOP | UART_MCR_DTR);
	cr_expect_eq(rd(UART_MSR), UART_MSR_DSR);
	wr(UART_MCR, UART_MCR_LOOP | UART_MCR_RTS);
	cr_expect_eq(rd(UART_MSR), UART_MSR_CTS);
	wr(UART_MCR, UART_MCR_LOOP | UART_MCR_OUT1);
	cr_expect_eq(rd(UART_MSR), UART_MSR_RI);
	wr(UART_MCR, UART_MCR_LOOP | UART_MCR_OUT2 | UART_MCR_RTS);
	cr_expect_eq(rd(UART_MSR), UART_MSR_DCD | UART_MSR_CTS, "the probe of Linux");
	wr_str("ab");
	cr_expect_eq(rd(UART_LSR) & UART_LSR_DR, UART_LSR_DR);
	cr_expect_eq(rd(UART_RX), 'a');
	cr_expect_eq(rd(UART_RX), 'b');
	cr_expect_eq(rd(UART_LSR) & UART_LSR_DR, 0);
	cr_expect_str_eq(printed(), "", "nothing leaves the chip");
	wr(UART_MCR, 0xff);
	cr_expect_eq(rd(UART_MCR), 0x1f);
}

Test(serial, a_full_fifo_drops_in_loopback_and_counts)
{
	wr(UART_MCR, UART_MCR_LOOP);
	for (unsigned int i = 0; i < SERIAL_RX_FIFO + 3; i++)
		wr(UART_TX, i);
	cr_expect_eq(metric_get(&s.metrics.error_count), 3);
	for (unsigned int i = 0; i < SERIAL_RX_FIFO; i++)
		cr_expect_eq(rd(UART_RX), i);
	cr_expect_eq(rd(UART_LSR) & UART_LSR_DR, 0);
}

Test(serial, the_receive_fifo_can_be_cleared)
{
	type("typed");
	cr_expect_eq(rd(UART_LSR) & UART_LSR_DR, UART_LSR_DR);
	wr(UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR_CLEAR_RCVR);
	cr_expect_eq(rd(UART_LSR) & UART_LSR_DR, 0);
	type("x");
	cr_expect_eq(rd(UART_RX), 'x');
}

Test(serial, received_data_comes_before_an_empty_transmitter)
{
	wr(UART_IER, UART_IER_THRI | UART_IER_RDI);
	type("k");
	cr_expect_eq(rd(UART_IIR), UART_IIR_RDI);
	cr_expect_eq(rd(UART_IIR), UART_IIR_RDI, "reading does not acknowledge data");
	cr_expect_eq(rd(UART_RX), 'k');
	cr_expect_eq(rd(UART_IIR), UART_IIR_THRI);
	cr_expect_eq(rd(UART_IIR), UART_IIR_NO_INT, "reading acknowledged it");
}

Test(serial, an_edge_where_the_line_rises_and_only_there)
{
	cr_expect_not(edge());
	wr(UART_IER, UART_IER_THRI);
	cr_expect(edge(), "the transmitter is empty and that is now wanted");
	wr_str("abc");
	cr_expect_not(edge(), "still high");
	cr_expect_eq(rd(UART_IIR), UART_IIR_THRI);
	wr_str("d");
	cr_expect(edge(), "empty again");
	wr(UART_IER, 0);
	wr_str("e");
	cr_expect_not(edge());
	cr_expect_eq(rd(UART_IIR), UART_IIR_NO_INT);
}

Test(serial, a_typed_byte_raises_the_line_once_wanted)
{
	type("a");
	cr_expect_not(edge(), "nobody asked");
	wr(UART_IER, UART_IER_RDI);
	cr_expect(edge());
	type("b");
	cr_expect_not(edge(), "the line is high as it is");
	cr_expect_eq(rd(UART_RX), 'a');
	cr_expect_eq(rd(UART_RX), 'b');
	type("c");
	cr_expect(edge(), "it had fallen");
}

Test(serial, prints_at_once)
{
	wr_str("Linux\r\n");
	cr_expect_str_eq(printed(), "Linux\r\n");
	cr_expect_eq(metric_get(&s.metrics.write_count), 7);
	cr_expect_eq(metric_get(&s.metrics.missed_write_count), 0);
	cr_expect_eq(rd(UART_LSR), UART_LSR_THRE | UART_LSR_TEMT, "infinitely fast");
}

static size_t fill(int fd)
{
	static char junk[65536];
	size_t nr = 0;
	ssize_t n;

	while ((n = write(fd, junk, sizeof(junk))) > 0)
		nr += (size_t)n;
	while ((n = write(fd, junk, 1)) > 0)
		nr += (size_t)n;
	return nr;
}

static void drain(int fd, size_t nr)
{
	static char junk[65536];

	while (nr > 0) {
		ssize_t n = read(fd, junk, nr < sizeof(junk) ? nr : sizeof(junk));

		cr_assert_gt(n, 0);
		nr -= (size_t)n;
	}
}

Test(serial, a_blocked_reader_loses_bytes_and_never_stops_the_guest)
{
	static char buf[SERIAL_TX_BUFFER + 100];
	size_t junk = fill(out[1]), nr;

	for (unsigned int i = 0; i < SERIAL_TX_BUFFER + 10; i++)
		wr(UART_TX, 'a' + i % 26);
	cr_expect_eq(metric_get(&s.metrics.missed_write_count), 10);
	cr_expect_eq(rd(UART_LSR), UART_LSR_THRE | UART_LSR_TEMT, "and does not tell the guest");
	run_loop();

	drain(out[0], junk);
	run_loop();
	nr = (size_t)read(out[0], buf, sizeof(buf));
	cr_assert_eq(nr, SERIAL_TX_BUFFER, "%zu", nr);
	for (size_t i = 0; i < nr; i++)
		cr_assert_eq(buf[i], (char)('a' + i % 26), "in order, at %zu", i);
	wr_str("again");
	cr_expect_str_eq(printed(), "again");
	cr_expect_eq(metric_get(&s.metrics.missed_write_count), 10);
}

Test(serial, what_waits_is_written_before_what_comes)
{
	size_t junk = fill(out[1]);

	wr_str("one ");
	drain(out[0], junk);
	wr_str("two ");
	cr_expect_str_eq(printed(), "", "the loop writes, not a vCPU at each byte");
	run_loop();
	wr_str("three");
	cr_expect_str_eq(printed(), "one two three");
}

Test(serial, a_reader_that_left_costs_bytes_only)
{
	close(out[0]);
	wr_str("abc");
	run_loop();
	wr_str("def");
	run_loop();
	cr_expect_eq(metric_get(&s.metrics.missed_write_count), 6);
	cr_expect_eq(metric_get(&s.metrics.write_count), 6);
}

Test(serial, what_still_waits_is_tried_once_more_at_the_end)
{
	size_t junk = fill(out[1]);

	wr_str("last words");
	drain(out[0], junk);
	serial_fini(&s);
	cr_expect_str_eq(printed(), "last words");
	cr_assert_eq(serial_init(&s, loop, -1, -1, 4, &e), 0);
}

Test(serial, prints_into_a_regular_file)
{
	char name[] = "/tmp/mote-test-serial-XXXXXX", buf[6000];
	int fd = mkstemp(name);

	cr_assert_geq(fd, 0);
	unlink(name);
	serial_fini(&s);
	cr_assert_eq(serial_init(&s, loop, -1, fd, 4, &e), 0, "%s", e.msg);
	for (unsigned int i = 0; i < 5000; i++)
		wr(UART_TX, '0' + i % 10);
	cr_expect_eq(metric_get(&s.metrics.missed_write_count), 0);
	cr_assert_eq(pread(fd, buf, sizeof(buf), 0), 5000);
	cr_expect_arr_eq(buf, "0123456789", 10);
	close(fd);
}

Test(serial, without_a_host_side_it_still_answers)
{
	serial_fini(&s);
	cr_assert_eq(serial_init(&s, loop, -1, -1, 4, &e), 0, "%s", e.msg);
	wr_str("into the void");
	cr_expect_eq(rd(UART_LSR), UART_LSR_THRE | UART_LSR_TEMT);
	cr_expect_eq(metric_get(&s.metrics.missed_write_count), 0, "nobody wanted them");
}

Test(serial, a_guest_that_does_not_read_makes_the_host_wait)
{
	char text[201];

	for (size_t i = 0; i < 200; i++)
		text[i] = (char)('A' + i % 50);
	text[200] = '\0';
	type(text);
	cr_expect_eq(s.rx_len, SERIAL_RX_FIFO, "full, and the rest is still in the pipe");
	cr_expect_eq(s.in.events, 0, "not listening");
	for (size_t i = 0; i < 200; i++) {
		cr_assert_eq(rd(UART_LSR) & UART_LSR_DR, UART_LSR_DR, "at %zu", i);
		cr_assert_eq(rd(UART_RX), text[i], "at %zu", i);
		if (i % 7 == 0)
			run_loop();
		else if (s.rx_len == 0)
			run_loop();
	}
	cr_expect_eq(rd(UART_LSR) & UART_LSR_DR, 0);
	cr_expect_eq(s.in.events, EPOLLIN, "listening again");
	cr_expect_eq(metric_get(&s.metrics.error_count), 0, "nothing was lost");
	cr_expect_eq(metric_get(&s.metrics.read_count), 200);
}

Test(serial, typed_bytes_survive_the_hang_up)
{
	char text[101];

	for (size_t i = 0; i < 100; i++)
		text[i] = (char)('0' + i % 10);
	text[100] = '\0';
	cr_assert_eq(write(in[1], text, 100), 100);
	close(in[1]);
	run_loop(); /* fails where a hang-up is reported for ever */
	for (size_t i = 0; i < 100; i++) {
		if (!(rd(UART_LSR) & UART_LSR_DR))
			run_loop();
		cr_assert_eq(rd(UART_RX), text[i], "at %zu", i);
	}
	run_loop();
	cr_expect_not(s.in.added, "the end of input was seen");
	cr_expect_eq(rd(UART_LSR) & UART_LSR_DR, 0);
}

Test(serial, the_real_loop_carries_typed_bytes_to_an_interrupt)
{
	struct timer t;
	bool ended = false;

	cr_assert_eq(timer_init(&t, loop, on_end, &ended, NULL, &e), 0);
	wr(UART_IER, UART_IER_RDI);
	cr_assert_eq(write(in[1], "go", 2), 2);
	timer_arm(&t, 5000);
	cr_assert_eq(loop_run(loop), 0);
	cr_expect(ended);
	cr_expect(edge());
	cr_expect_eq(rd(UART_RX), 'g');
	cr_expect_eq(rd(UART_RX), 'o');
	timer_fini(&t, loop);
}

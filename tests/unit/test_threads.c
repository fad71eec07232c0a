/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_threads.c - what the loop's thread and vCPU threads share, driven from both sides at once.
 * The assertions are the smaller half: `make unit-tsan` runs this under ThreadSanitizer.
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <linux/serial_reg.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/log.h"
#include "vmm/fatal.h"
#include "vmm/serial.h"
#include "vmm/vcpu.h"

#define PORT	  0x3f8
#define NR_BYTES  20000U
#define RUN_BYTES 8192U

static struct loop *loop;
static struct err e;

static void setup(void)
{
	cr_assert_eq(loop_create(&loop, &e), 0, "%s", e.msg);
}

static void teardown(void)
{
	loop_destroy(loop);
}

TestSuite(threads, .init = setup, .fini = teardown, .timeout = 60);

struct console {
	struct bus bus;
	struct serial serial;
	int in[2], out[2];
	unsigned int nr_seen;
	struct watch reader;
	unsigned int nr_printed;
};

/* A guest's driver: prints, polls, reads what was typed, on a thread of its own. */
static void *guest(void *arg)
{
	struct console *c = arg;
	uint8_t v = UART_IER_RDI | UART_IER_THRI;
	unsigned int sent = 0;

	bus_write(&c->bus, PORT + UART_IER, &v, 1);
	while (sent < NR_BYTES || c->nr_seen < NR_BYTES) {
		if (sent < NR_BYTES) {
			v = (uint8_t)sent++;
			bus_write(&c->bus, PORT + UART_TX, &v, 1);
		}
		bus_read(&c->bus, PORT + UART_IIR, &v, 1);
		bus_read(&c->bus, PORT + UART_LSR, &v, 1);
		if (!(v & UART_LSR_DR))
			continue;
		bus_read(&c->bus, PORT + UART_RX, &v, 1);
		if (v != (uint8_t)c->nr_seen)
			break;
		c->nr_seen++;
	}
	return NULL;
}

/* A person who types, on a third thread. */
static void *typist(void *arg)
{
	struct console *c = arg;
	uint8_t byte;

	for (unsigned int i = 0; i < NR_BYTES; i++) {
		byte = (uint8_t)i;
		if (write(c->in[1], &byte, 1) != 1)
			break;
	}
	return NULL;
}

/* The host side of the output, on the loop. */
static void on_printed(void *ctx, uint32_t events)
{
	struct console *c = ctx;
	uint8_t buf[256];
	ssize_t n = read(c->out[0], buf, sizeof(buf));

	(void)events;
	if (n > 0)
		c->nr_printed += (unsigned int)n;
}

static void *stopper(void *arg)
{
	pthread_t *wait_for = arg;

	pthread_join(wait_for[0], NULL);
	pthread_join(wait_for[1], NULL);
	loop_stop(loop, 7);
	return NULL;
}

Test(threads, a_console_between_guest_and_host)
{
	static struct console c;
	struct bus_range r = { .base = PORT,
			       .len = 8,
			       .ops = &serial_bus_ops,
			       .dev = &c.serial,
			       .lock = &c.serial.lock };
	pthread_t t[3];

	cr_assert_eq(pipe2(c.in, O_CLOEXEC), 0);
	cr_assert_eq(pipe2(c.out, O_NONBLOCK | O_CLOEXEC), 0);
	cr_assert_eq(serial_init(&c.serial, loop, c.in[0], c.out[1], 4, &e), 0);
	cr_assert_eq(bus_add(&c.bus, &r, &e), 0);
	c.reader = (struct watch){ .fd = c.out[0], .events = EPOLLIN, .fn = on_printed, .ctx = &c };
	cr_assert_eq(loop_add(loop, &c.reader, &e), 0);
	cr_assert_eq(pthread_create(&t[0], NULL, guest, &c), 0);
	cr_assert_eq(pthread_create(&t[1], NULL, typist, &c), 0);
	cr_assert_eq(pthread_create(&t[2], NULL, stopper, t), 0);
	cr_assert_eq(loop_run(loop), 7);
	pthread_join(t[2], NULL);
	serial_fini(&c.serial);
	on_printed(&c, 0);
	while (read(c.out[0], &(char){ 0 }, 1) == 1)
		c.nr_printed++;
	cr_assert_eq(c.nr_seen, NR_BYTES, "typed bytes arrive in order, none lost");
	cr_assert_eq(c.nr_printed + metric_get(&c.serial.metrics.missed_write_count), NR_BYTES,
		     "what was printed arrives or is counted");
}

static void *talker(void *arg)
{
	log_thread("talker");
	for (unsigned int i = 0; i < 500; i++) {
		log_info("%u", i);
		log_guest("a guest's fault");
		metric_inc(arg);
	}
	return NULL;
}

Test(threads, all_may_log_and_count)
{
	metric_t nr = { 0 };
	pthread_t t[3];
	int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);

	log_set_fd(fd);
	for (int i = 0; i < 3; i++)
		cr_assert_eq(pthread_create(&t[i], NULL, talker, &nr), 0);
	while (metric_get(&nr) < 1500)
		;
	for (int i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
	cr_assert_eq(metric_get(&nr), 1500);
	log_set_fd(STDOUT_FILENO);
	close(fd);
}

/*
 * vCPUs without KVM: KVM_RUN on a pipe fails, so each thread that is let go ends the VM at once and
 * parks. That is the whole gate: order, park, run again, quit.
 */
static void vcpus_without_kvm(struct vcpus *s, struct bus *mmio, unsigned int nr)
{
	vcpus_init(s, loop, mmio);
	for (unsigned int i = 0; i < nr; i++) {
		struct vcpu *v = &s->vcpu[i];
		int fds[2];

		cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
		close(fds[1]);
		v->fd = fds[0];
		v->index = i;
		v->set = s;
		v->run_size = RUN_BYTES;
		v->run = mmap(NULL, RUN_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			      -1, 0);
		cr_assert_neq(v->run, MAP_FAILED);
		s->nr++;
	}
}

Test(threads, vcpus_park_run_and_quit)
{
	static struct vcpus s;
	static struct bus mmio;

	log_set_level(LOG_OFF);
	vcpus_without_kvm(&s, &mmio, 8);
	cr_assert_eq(vcpus_start(&s, &e), 0, "%s", e.msg);
	cr_assert_eq(loop_run(loop), EXIT_CODE_ERROR, "they start running, and one ended the VM");
	for (int i = 0; i < 50; i++) {
		vcpus_park(&s);
		vcpus_run(&s);
	}
	vcpus_park(&s);
	cr_assert_gt(metric_get(&s.metrics.failures), 0);
	cr_assert_eq(s.nr_parked, s.nr_started);
	vcpus_destroy(&s);
}

Test(threads, vcpus_quit_while_they_run)
{
	static struct bus mmio;

	log_set_level(LOG_OFF);
	for (int i = 0; i < 50; i++) {
		static struct vcpus s;

		memset(&s, 0, sizeof(s));
		vcpus_without_kvm(&s, &mmio, 3);
		cr_assert_eq(vcpus_start(&s, &e), 0, "%s", e.msg);
		if (i % 2)
			vcpus_park(&s);
		vcpus_destroy(&s);
	}
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * i8042_x86.c - keyboard controller; see i8042_x86.h.
 *
 * It answers everything a driver asks while it looks for keyboards, because each question that
 * stays open costs the guest a timeout of up to half a second during boot.
 */
#include "vmm/i8042_x86.h"

#include <errno.h>
#include <string.h>

/* Offsets from port 0x60. */
#define PORT_DATA   0
#define PORT_B	    1 /* 0x61: timer and speaker gate, which no PC leaves out */
#define PORT_STATUS 4 /* read */
#define PORT_CMD    4 /* write */

/* Bit 5 of port 0x61 is the output of timer 2; kernels that calibrate with it wait for a 1. */
#define PORT_B_OUT2 0x20

#define STATUS_OBF    0x01 /* output buffer full: a byte to read */
#define STATUS_SYS    0x04 /* self-test passed */
#define STATUS_UNLOCK 0x10 /* keyboard not locked */

#define CTR_KBD_INT	 0x01
#define CTR_SYS		 0x04
#define CTR_AUX_DISABLED 0x20
#define CTR_TRANSLATE	 0x40

#define CMD_READ_CTR	0x20
#define CMD_WRITE_CTR	0x60
#define CMD_TEST_AUX	0xa9
#define CMD_SELF_TEST	0xaa
#define CMD_TEST_KBD	0xab
#define CMD_READ_OUTP	0xd0
#define CMD_WRITE_OUTP	0xd1
#define CMD_WRITE_AUX	0xd4
#define CMD_PULSE_RESET 0xfe

#define SELF_TEST_OK 0x55
#define TEST_KBD_OK  0x00
#define TEST_NO_PORT 0xff
#define OUTP_RUN     0x03 /* bit 0: reset not pulled, bit 1: A20 open */

#define KBD_ACK 0xfa

/* What the keyboard says after its ACK. */
static const struct {
	uint8_t command;
	uint8_t nr_reply;
	uint8_t reply[2];
	bool argument; /* a byte follows, which is acknowledged as well */
} keyboard[] = {
	{ .command = 0xed, .argument = true },			     /* set LEDs */
	{ .command = 0xf0, .argument = true },			     /* select scan code set */
	{ .command = 0xf2, .nr_reply = 2, .reply = { 0xab, 0x83 } }, /* identify: MF2 keyboard */
	{ .command = 0xf3, .argument = true },			     /* typematic rate */
	{ .command = 0xff, .nr_reply = 1, .reply = { 0xaa } },	     /* reset: self-test passed */
};

/* One byte for the guest to read at port 0x60; each one is an edge if interrupts are enabled. */
static void i8042_push(struct i8042 *k, uint8_t byte)
{
	if (k->len == I8042_BUFFER) {
		metric_inc(&k->metrics.error_count);
		return;
	}
	k->buf[(k->head + k->len) % I8042_BUFFER] = byte;
	k->len++;
	if (k->len == 1 && (k->ctr & CTR_KBD_INT))
		irq_raise(&k->irq);
}

int i8042_ctrl_alt_del(struct i8042 *k)
{
	/* left Ctrl, left Alt, Delete: what a keyboard sends, and what CTR_TRANSLATE makes of it */
	static const uint8_t set2[] = { 0x14, 0x11, 0xe0, 0x71 };
	static const uint8_t set1[] = { 0x1d, 0x38, 0xe0, 0x53 };
	const uint8_t *keys = k->ctr & CTR_TRANSLATE ? set1 : set2;

	if (k->len + sizeof(set2) > I8042_BUFFER) {
		metric_inc(&k->metrics.error_count);
		return -ENOSPC;
	}
	for (size_t i = 0; i < sizeof(set2); i++)
		i8042_push(k, keys[i]);
	return 0;
}

static uint8_t i8042_pop(struct i8042 *k)
{
	uint8_t byte = k->buf[k->head];

	if (k->len == 0)
		return 0;
	k->head = (uint8_t)((k->head + 1) % I8042_BUFFER);
	k->len--;
	if (k->len > 0 && (k->ctr & CTR_KBD_INT))
		irq_raise(&k->irq);
	return byte;
}

static void keyboard_write(struct i8042 *k, uint8_t v)
{
	i8042_push(k, KBD_ACK);
	if (k->argument) {
		k->argument = false;
		return;
	}
	for (size_t i = 0; i < sizeof(keyboard) / sizeof(keyboard[0]); i++) {
		if (keyboard[i].command != v)
			continue;
		k->argument = keyboard[i].argument;
		for (uint8_t j = 0; j < keyboard[i].nr_reply; j++)
			i8042_push(k, keyboard[i].reply[j]);
	}
}

static void i8042_command(struct i8042 *k, uint8_t v)
{
	k->command = 0;
	switch (v) {
	case CMD_READ_CTR:
		i8042_push(k, k->ctr);
		break;
	case CMD_SELF_TEST:
		k->ctr |= CTR_SYS;
		i8042_push(k, SELF_TEST_OK);
		break;
	case CMD_TEST_KBD:
		i8042_push(k, TEST_KBD_OK);
		break;
	case CMD_TEST_AUX:
		i8042_push(k, TEST_NO_PORT);
		break;
	case CMD_READ_OUTP:
		i8042_push(k, k->outp);
		break;
	case CMD_WRITE_CTR:
	case CMD_WRITE_OUTP:
	case CMD_WRITE_AUX:
		k->command = v;
		break;
	case CMD_PULSE_RESET:
		metric_inc(&k->metrics.reset_count);
		k->reset(k->ctx);
		break;
	default: /* enable and disable, which have nothing to act upon here */
		break;
	}
}

static void i8042_data(struct i8042 *k, uint8_t v)
{
	uint8_t command = k->command;

	k->command = 0;
	switch (command) {
	case CMD_WRITE_CTR:
		k->ctr = v;
		break;
	case CMD_WRITE_OUTP:
		k->outp = v;
		break;
	case CMD_WRITE_AUX: /* there is no mouse; silence is what a missing one says */
		break;
	default:
		keyboard_write(k, v);
		break;
	}
}

static void i8042_bus_read(void *dev, uint64_t offset, void *data, size_t len)
{
	struct i8042 *k = dev;
	uint8_t *v = data;

	if (len != 1) {
		metric_inc(&k->metrics.missed_read_count);
		return;
	}
	metric_inc(&k->metrics.read_count);
	switch (offset) {
	case PORT_DATA:
		*v = i8042_pop(k);
		break;
	case PORT_B:
		*v = PORT_B_OUT2;
		break;
	case PORT_STATUS:
		*v = (uint8_t)(STATUS_UNLOCK | (k->ctr & CTR_SYS ? STATUS_SYS : 0) |
			       (k->len > 0 ? STATUS_OBF : 0));
		break;
	default:
		break;
	}
}

static void i8042_bus_write(void *dev, uint64_t offset, const void *data, size_t len)
{
	struct i8042 *k = dev;
	uint8_t v = *(const uint8_t *)data;

	if (len != 1) {
		metric_inc(&k->metrics.missed_write_count);
		return;
	}
	metric_inc(&k->metrics.write_count);
	if (offset == PORT_CMD)
		i8042_command(k, v);
	else if (offset == PORT_DATA)
		i8042_data(k, v);
}

const struct bus_ops i8042_bus_ops = {
	.read = i8042_bus_read,
	.write = i8042_bus_write,
};

int i8042_init(struct i8042 *k, unsigned int gsi, void (*reset)(void *ctx), void *ctx,
	       struct err *e)
{
	memset(k, 0, sizeof(*k));
	pthread_mutex_init(&k->lock, NULL);
	k->ctr = CTR_SYS | CTR_AUX_DISABLED | CTR_TRANSLATE;
	k->outp = OUTP_RUN;
	k->reset = reset;
	k->ctx = ctx;
	return irq_init(&k->irq, gsi, e);
}

void i8042_fini(struct i8042 *k)
{
	irq_fini(&k->irq);
	pthread_mutex_destroy(&k->lock);
}

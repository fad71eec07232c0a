/* SPDX-License-Identifier: Apache-2.0 */
/*
 * i8042_x86.h - the keyboard controller: the classic way to reset a PC, and a keyboard that
 * answers.
 *
 * Register accesses on vCPU threads with i8042->lock held by the bus; i8042_reset_fn runs there
 * too. Intel 8042 as described in the IBM PC AT technical reference; key codes of set 1 and 2.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/bus.h"
#include "base/irq.h"
#include "base/metrics.h"

/* Answers that wait for the guest; a real controller holds one byte, its keyboard sixteen. */
#define I8042_BUFFER 16

struct i8042_metrics {
	metric_t error_count;
	metric_t missed_read_count;
	metric_t missed_write_count;
	metric_t read_count;
	metric_t reset_count;
	metric_t write_count;
};

struct i8042 {
	uint8_t ctr;	 /* controller command byte (CTR) */
	uint8_t outp;	 /* output port; bit 0 low would be reset */
	uint8_t command; /* a command that waits for its data byte, or 0 */
	bool argument;	 /* the keyboard's last command takes one more byte */
	uint8_t buf[I8042_BUFFER];
	uint8_t head, len;

	struct irq irq;
	pthread_mutex_t lock;
	void (*reset)(void *ctx); /* the guest pulled the reset line */
	void *ctx;
	struct i8042_metrics metrics;
};

/* i8042_init - power-on state. Errors: errno of eventfd. Undone by i8042_fini. */
int i8042_init(struct i8042 *k, unsigned int gsi, void (*reset)(void *ctx), void *ctx,
	       struct err *e);
void i8042_fini(struct i8042 *k);

/*
 * i8042_ctrl_alt_del - the keys go down, in the code set that the guest chose; with k->lock held.
 * -ENOSPC, and none of them, when the guest has left too much unread.
 */
int i8042_ctrl_alt_del(struct i8042 *k);

/* Ports 0x60-0x64, dev is a struct i8042. */
extern const struct bus_ops i8042_bus_ops;

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * serial.h - a 16550A UART between the guest and two file descriptors.
 *
 * Registers are accessed on vCPU threads, descriptors on the loop thread; both hold serial->lock
 * (base/bus and base/loop take it), so there is no locking in here. PC16550D data sheet, section 8.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/bus.h"
#include "base/irq.h"
#include "base/limiter.h"
#include "base/loop.h"
#include "base/metrics.h"

/* Receive FIFO of a 16550A; a guest that does not read makes the host side wait, not grow. */
#define SERIAL_RX_FIFO 64

/*
 * Output that the host side did not take at once. When it is full, bytes are dropped and counted:
 * the other choice, waiting, would let whoever reads the console stop the guest.
 */
#define SERIAL_TX_BUFFER 4096

struct serial_metrics {
	metric_t error_count;
	metric_t flush_count;
	metric_t missed_read_count;
	metric_t missed_write_count;
	metric_t read_count;
	metric_t write_count;
	metric_t rate_limiter_dropped_bytes;
};

struct serial {
	/* registers */
	uint8_t ier, lcr, mcr, fcr, scr;
	uint8_t dll, dlm;
	bool thr_empty_pending; /* the THR-empty interrupt source, cleared by reading IIR */
	bool irq_high;		/* what the interrupt line shows; a rise is an edge */
	/* input hung up with bytes left to read, and no room for them yet */
	bool in_parked;

	uint8_t rx[SERIAL_RX_FIFO];
	uint8_t rx_head, rx_len;
	uint8_t tx[SERIAL_TX_BUFFER];
	uint32_t tx_head, tx_len;

	struct bucket limit; /* output in bytes */
	struct watch in, out;
	struct loop *loop;
	struct irq irq;
	pthread_mutex_t lock;
	struct serial_metrics metrics;
};

/*
 * serial_init - reset state, listening to nobody. @out_fd: non-blocking, -1 discards. @in_fd: -1
 * for none. Neither is owned. @gsi is the interrupt; who owns KVM wires s->irq.
 * Errors: errno of eventfd or epoll_ctl. Undone by serial_fini.
 */
int serial_init(struct serial *s, struct loop *l, int in_fd, int out_fd, unsigned int gsi,
		struct err *e);
void serial_fini(struct serial *s);

/*
 * serial_limit - from now on output beyond this many bytes is dropped and counted: a guest that
 * floods its console does not fill the host's disk, and is not held up. Before the vCPUs run.
 */
void serial_limit(struct serial *s, const struct bucket_params *params);

/* 8 byte-wide registers; dev is a struct serial. */
extern const struct bus_ops serial_bus_ops;

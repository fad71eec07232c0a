/* SPDX-License-Identifier: Apache-2.0 */
/*
 * irq.h - an interrupt line, seen from a device: an eventfd to which KVM (KVM_IRQFD) listens.
 *
 * Each irq_raise is one edge. Any thread.
 */
#pragma once

#include <stdbool.h>

#include "base/err.h"

struct irq {
	int fd; /* eventfd, owned; -1 when not open */
	unsigned int gsi;
	/* A quicker way than the eventfd, for the loop; false: it failed. NULL: there is none. */
	bool (*edge)(void *ctx, unsigned int gsi);
	void *ctx;
};

/* irq_init - open the eventfd (close-on-exec, non-blocking). @gsi is kept for who wires it up. */
int irq_init(struct irq *irq, unsigned int gsi, struct err *e);

/* irq_fini - close it; safe on a line that is not open. */
void irq_fini(struct irq *irq);

/* irq_raise - one edge. Never blocks; edges that nobody has taken yet merge into one. */
void irq_raise(struct irq *irq);

/* irq_raise_now - the same on the loop thread, which may take the quicker way. */
void irq_raise_now(struct irq *irq);

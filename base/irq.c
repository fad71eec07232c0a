/* SPDX-License-Identifier: Apache-2.0 */
/*
 * irq.c - interrupt lines as eventfds; see irq.h.
 */
#include "base/irq.h"

#include <errno.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/fd.h"

int irq_init(struct irq *irq, unsigned int gsi, struct err *e)
{
	irq->gsi = gsi;
	irq->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (irq->fd < 0)
		return err_set(e, errno, "eventfd for interrupt %u", gsi);
	return 0;
}

void irq_fini(struct irq *irq)
{
	fd_close(&irq->fd);
}

void irq_raise_now(struct irq *irq)
{
	if (!irq->edge || !irq->edge(irq->ctx, irq->gsi))
		irq_raise(irq);
}

void irq_raise(struct irq *irq)
{
	uint64_t one = 1;

	/* EAGAIN means 2^64-2 edges nobody took: the line is high as it is. */
	while (write(irq->fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

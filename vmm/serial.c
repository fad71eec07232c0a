/* SPDX-License-Identifier: Apache-2.0 */
/*
 * serial.c - 16550A UART; see serial.h. Register names and bits from linux/serial_reg.h.
 */
#include "vmm/serial.h"

#include <errno.h>
#include <linux/serial_reg.h>
#include <string.h>
#include <unistd.h>

/* IIR bits 7:6 tell a driver that the FIFOs are enabled (16550A). */
#define IIR_FIFO_ENABLED 0xc0

/* The modem lines of a cable that is always plugged in. */
#define MSR_CONNECTED (UART_MSR_DCD | UART_MSR_DSR | UART_MSR_CTS)

/*
 * The source that IIR reports, highest priority first (PC16550D table V). There is no line status
 * source: a byte stream has no parity errors, and a full FIFO makes the host wait instead.
 */
static uint8_t serial_iir(const struct serial *s)
{
	if ((s->ier & UART_IER_RDI) && s->rx_len > 0)
		return UART_IIR_RDI;
	if ((s->ier & UART_IER_THRI) && s->thr_empty_pending)
		return UART_IIR_THRI;
	return UART_IIR_NO_INT;
}

/* The line is wired to an edge-triggered pin: signal when it rises. */
static void serial_update_irq(struct serial *s)
{
	bool high = serial_iir(s) != UART_IIR_NO_INT;

	if (high && !s->irq_high)
		irq_raise(&s->irq);
	s->irq_high = high;
}

/* Room in the FIFO decides whether we listen; guarded by s->lock like all of this. */
static void serial_update_input(struct serial *s)
{
	bool room = s->rx_len < SERIAL_RX_FIFO;
	struct err ignored;

	if (s->in.added)
		loop_mod(s->loop, &s->in, room ? EPOLLIN : 0);
	else if (s->in_parked && room)
		s->in_parked = loop_add(s->loop, &s->in, &ignored) != 0;
}

static void serial_rx_push(struct serial *s, uint8_t byte)
{
	if (s->rx_len == SERIAL_RX_FIFO) {
		metric_inc(&s->metrics.error_count);
		return;
	}
	s->rx[(s->rx_head + s->rx_len) % SERIAL_RX_FIFO] = byte;
	s->rx_len++;
}

/* Hand buffered output to the host side until it is empty or the host side is full. */
static void serial_flush(struct serial *s)
{
	while (s->tx_len > 0) {
		uint32_t run = SERIAL_TX_BUFFER - s->tx_head;
		ssize_t n;

		if (run > s->tx_len)
			run = s->tx_len;
		n = write(s->out.fd, s->tx + s->tx_head, run);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EAGAIN) {
			/* The reader is gone for good: nobody will ever take these bytes. */
			metric_add(&s->metrics.missed_write_count, s->tx_len);
			s->tx_len = 0;
			break;
		}
		if (n <= 0)
			break;
		s->tx_head = (s->tx_head + (uint32_t)n) % SERIAL_TX_BUFFER;
		s->tx_len -= (uint32_t)n;
		metric_inc(&s->metrics.flush_count);
	}
	if (s->out.added)
		loop_mod(s->loop, &s->out, s->tx_len > 0 ? EPOLLOUT : 0);
}

static void serial_tx(struct serial *s, uint8_t byte)
{
	metric_inc(&s->metrics.write_count);
	if (s->out.fd < 0)
		return;
	if (bucket_on(&s->limit) && !bucket_take(&s->limit, 1, timer_now_ns())) {
		metric_inc(&s->metrics.rate_limiter_dropped_bytes);
		return;
	}
	if (s->tx_len == SERIAL_TX_BUFFER) {
		metric_inc(&s->metrics.missed_write_count);
		return;
	}
	s->tx[(s->tx_head + s->tx_len) % SERIAL_TX_BUFFER] = byte;
	s->tx_len++;
	/* While older bytes wait for the host side, the loop's watch does the writing. */
	if (s->tx_len == 1 || !s->out.added)
		serial_flush(s);
}

static uint8_t serial_msr(const struct serial *s)
{
	uint8_t msr = 0;

	if (!(s->mcr & UART_MCR_LOOP))
		return MSR_CONNECTED;
	/* In loopback modem outputs are wired to the inputs (PC16550D 8.6.7); drivers probe it. */
	if (s->mcr & UART_MCR_DTR)
		msr |= UART_MSR_DSR;
	if (s->mcr & UART_MCR_RTS)
		msr |= UART_MSR_CTS;
	if (s->mcr & UART_MCR_OUT1)
		msr |= UART_MSR_RI;
	if (s->mcr & UART_MCR_OUT2)
		msr |= UART_MSR_DCD;
	return msr;
}

static uint8_t serial_read_rbr(struct serial *s)
{
	uint8_t byte = 0;

	if (s->rx_len > 0) {
		byte = s->rx[s->rx_head];
		s->rx_head = (uint8_t)((s->rx_head + 1) % SERIAL_RX_FIFO);
		s->rx_len--;
		metric_inc(&s->metrics.read_count);
		serial_update_input(s);
	}
	return byte;
}

static uint8_t serial_read_reg(struct serial *s, uint64_t reg)
{
	uint8_t v;

	switch (reg) {
	case UART_RX:
		return s->lcr & UART_LCR_DLAB ? s->dll : serial_read_rbr(s);
	case UART_IER:
		return s->lcr & UART_LCR_DLAB ? s->dlm : s->ier;
	case UART_IIR:
		v = serial_iir(s);
		if (v == UART_IIR_THRI)
			s->thr_empty_pending = false; /* reading IIR acknowledges it */
		return v | (s->fcr & UART_FCR_ENABLE_FIFO ? IIR_FIFO_ENABLED : 0);
	case UART_LCR:
		return s->lcr;
	case UART_MCR:
		return s->mcr;
	case UART_LSR:
		return UART_LSR_THRE | UART_LSR_TEMT | (s->rx_len > 0 ? UART_LSR_DR : 0);
	case UART_MSR:
		return serial_msr(s);
	default:
		return s->scr;
	}
}

static void serial_write_thr(struct serial *s, uint8_t v)
{
	if (s->mcr & UART_MCR_LOOP)
		serial_rx_push(s, v);
	else
		serial_tx(s, v);
	/* The transmitter is infinitely fast: empty again at once, which is an interrupt source. */
	s->thr_empty_pending = true;
}

static void serial_write_reg(struct serial *s, uint64_t reg, uint8_t v)
{
	switch (reg) {
	case UART_TX:
		if (s->lcr & UART_LCR_DLAB)
			s->dll = v;
		else
			serial_write_thr(s, v);
		break;
	case UART_IER:
		if (s->lcr & UART_LCR_DLAB) {
			s->dlm = v;
			break;
		}
		/* Enabling the source while THR is empty raises it (PC16550D 8.6.4). */
		if ((v & UART_IER_THRI) && !(s->ier & UART_IER_THRI))
			s->thr_empty_pending = true;
		s->ier = v & (UART_IER_RDI | UART_IER_THRI | UART_IER_RLSI | UART_IER_MSI);
		break;
	case UART_FCR:
		s->fcr = v & UART_FCR_ENABLE_FIFO;
		if (v & UART_FCR_CLEAR_RCVR) {
			s->rx_len = 0;
			serial_update_input(s);
		}
		break;
	case UART_LCR:
		s->lcr = v;
		break;
	case UART_MCR:
		s->mcr = v & (UART_MCR_LOOP | UART_MCR_OUT2 | UART_MCR_OUT1 | UART_MCR_RTS |
			      UART_MCR_DTR);
		break;
	case UART_SCR:
		s->scr = v;
		break;
	default: /* LSR and MSR are read-only */
		break;
	}
}

static void serial_bus_read(void *dev, uint64_t offset, void *data, size_t len)
{
	struct serial *s = dev;

	/* A 16550 is byte-wide; wider accesses are guest errors and read as all ones. */
	if (len != 1) {
		metric_inc(&s->metrics.missed_read_count);
		return;
	}
	*(uint8_t *)data = serial_read_reg(s, offset);
	serial_update_irq(s);
}

static void serial_bus_write(void *dev, uint64_t offset, const void *data, size_t len)
{
	struct serial *s = dev;

	if (len != 1) {
		metric_inc(&s->metrics.missed_write_count);
		return;
	}
	serial_write_reg(s, offset, *(const uint8_t *)data);
	serial_update_irq(s);
}

const struct bus_ops serial_bus_ops = {
	.read = serial_bus_read,
	.write = serial_bus_write,
};

/* Loop thread: bytes typed on the host. */
static void serial_input(void *ctx, uint32_t events)
{
	struct serial *s = ctx;
	uint8_t buf[SERIAL_RX_FIFO];
	ssize_t n;

	if (s->rx_len == SERIAL_RX_FIFO) {
		/* A hang-up is reported again and again, listening or not: step aside. */
		if (events & (EPOLLHUP | EPOLLERR)) {
			loop_del(s->loop, &s->in);
			s->in.events = EPOLLIN;
			s->in_parked = true;
		}
		return;
	}
	n = read(s->in.fd, buf, (size_t)(SERIAL_RX_FIFO - s->rx_len));
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		/* End of input; what is already in the FIFO stays readable. */
		loop_del(s->loop, &s->in);
		return;
	}
	for (ssize_t i = 0; i < n; i++)
		serial_rx_push(s, buf[i]);
	serial_update_input(s);
	serial_update_irq(s);
}

/* Loop thread: the host side takes output again. */
static void serial_output(void *ctx, uint32_t events)
{
	struct serial *s = ctx;

	if (events & EPOLLOUT) {
		serial_flush(s);
		return;
	}
	/* Hung up or broken, and level-triggered: listening on would spin. Writes tell the rest. */
	loop_del(s->loop, &s->out);
}

int serial_init(struct serial *s, struct loop *l, int in_fd, int out_fd, unsigned int gsi,
		struct err *e)
{
	struct err ignored;
	int ret;

	memset(s, 0, sizeof(*s));
	pthread_mutex_init(&s->lock, NULL);
	s->loop = l;
	s->in = (struct watch){
		.fd = in_fd, .events = EPOLLIN, .fn = serial_input, .ctx = s, .lock = &s->lock
	};
	s->out = (struct watch){
		.fd = out_fd, .events = 0, .fn = serial_output, .ctx = s, .lock = &s->lock
	};
	ret = irq_init(&s->irq, gsi, e);
	if (ret)
		return ret;
	/* Regular files cannot be watched (EPERM) and need not be: they never make us wait. */
	if (out_fd >= 0)
		loop_add(l, &s->out, &ignored);
	if (in_fd >= 0) {
		ret = loop_add(l, &s->in, e);
		if (ret)
			serial_fini(s);
	}
	return ret;
}

void serial_limit(struct serial *s, const struct bucket_params *params)
{
	bucket_set(&s->limit, params, timer_now_ns());
}

void serial_fini(struct serial *s)
{
	loop_del(s->loop, &s->in);
	loop_del(s->loop, &s->out);
	if (s->out.fd >= 0 && s->tx_len > 0)
		serial_flush(s);
	irq_fini(&s->irq);
	pthread_mutex_destroy(&s->lock);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * machine.c - builds a machine in one order and takes it down in the mirror of it; see machine.h.
 */
#include "vmm/machine.h"

#include <errno.h>
#include <linux/kvm.h>
#include <linux/virtio_mmio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/uring.h"
#include "virtio/mmio.h"
#include "vmm/fatal.h"
#include "vmm/machine_arch.h"
#include "vmm/terminal.h"

/* Only with another process do we share guest RAM: its first touch of a page costs more then. */
static bool needs_shared_memory(const struct config *c)
{
	for (size_t i = 0; i < c->nr_drives; i++)
		if (c->drive[i].has_socket)
			return true;
	return false;
}

static int build_memory(struct machine *m, struct err *e)
{
	static const enum mem_backing backing[] = {
		[HUGE_PAGES_NONE] = MEM_BACKING_PAGES,
		[HUGE_PAGES_TRANSPARENT] = MEM_BACKING_THP,
		[HUGE_PAGES_2M] = MEM_BACKING_HUGETLB_2M,
	};
	unsigned int shared = needs_shared_memory(m->config) ? MEM_SHARED : 0;
	struct mem_range range[MEM_REGIONS_MAX];
	size_t nr;
	int ret;

	ret = arch_ram(m->config, range, &nr, e);
	if (ret)
		return ret;
	ret = mem_create(&m->mem, range, nr, backing[m->config->machine.huge_pages] | shared, e);
	if (ret)
		return ret;
	fatal_set_mem(m->mem);
	m->vcpus.mem = m->mem;
	return 0;
}

static int build_serial(struct machine *m, struct err *e)
{
	const struct serial_config *c = &m->config->serial;
	int in = -1, out, ret;

	if (m->config->has_serial && c->has_serial_out_path) {
		/*
		 * Whoever sends the console elsewhere keeps the terminal: nothing is read from it.
		 */
		out = fd_open_output(c->serial_out_path, 0, "serial port", e);
		if (out < 0)
			return out;
		m->serial_fd = out;
	} else {
		in = terminal_input();
		out = terminal_output();
	}
	ret = serial_init(&m->serial, m->loop, in, out, arch_serial_gsi(), e);
	if (ret)
		return ret;
	m->has_serial = true;
	if (m->config->has_serial && m->config->serial.has_rate_limiter) {
		const struct bucket_config *b = &m->config->serial.rate_limiter;
		struct bucket_params limit = { b->size, b->one_time_burst, b->refill_time_ms };

		serial_limit(&m->serial, &limit);
	}
	return kvm_add_irqfd(&m->kvm, &m->serial.irq, e);
}

/*
 * Let guests read virtio registers without an exit: each interrupt has its driver read
 * InterruptStatus. A host that cannot do it costs only time.
 */
static int build_windows(struct machine *m, struct err *e)
{
	size_t nr = m->config->nr_drives + m->config->nr_nets;
	gpa_t base;
	unsigned int gsi;
	void *p;

	if (nr == 0 || nr > CONFIG_DEVICES_MAX)
		return 0;
	m->ack_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (m->ack_fd < 0)
		return err_set(e, errno, "eventfd");
	if (!arch_windows() || arch_device_slot(0, &base, &gsi, e))
		return 0;
	m->windows_len = nr * VIRTIO_MMIO_LEN;
	p = mmap(NULL, m->windows_len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return err_set(e, errno, "registers");
	if (kvm_add_window(&m->kvm, base, p, m->windows_len))
		munmap(p, m->windows_len);
	else
		m->windows = p;
	return 0;
}

/* Put a created device on the bus and wire its interrupt and kicks. */
static int wire_device(struct machine *m, struct machine_device *d, struct err *e)
{
	struct bus_range range = {
		.base = d->addr.v,
		.len = VIRTIO_MMIO_LEN,
		.ops = &virtio_mmio_bus_ops,
		.dev = d->virtio,
		.lock = &d->lock,
	};
	int ret = bus_add(&m->mmio, &range, e);

	d->virtio->irq.edge = kvm_irq_edge;
	d->virtio->irq.ctx = &m->kvm;
	if (ret == 0)
		ret = kvm_add_irqfd(&m->kvm, virtio_irq(d->virtio), e);
	for (unsigned int q = 0; ret == 0 && q < virtio_nr_queues(d->virtio); q++)
		ret = kvm_add_ioeventfd(&m->kvm, gpa_add(d->addr, VIRTIO_MMIO_QUEUE_NOTIFY), q,
					virtio_kick_fd(d->virtio, q), e);
	/*
	 * The answer to an interrupt for used buffers: nothing depends on it, for a bit that stays
	 * set says no more than "look at your rings".
	 */
	if (ret == 0)
		ret = kvm_add_ioeventfd(&m->kvm, gpa_add(d->addr, VIRTIO_MMIO_INTERRUPT_ACK),
					VIRTIO_MMIO_INT_VRING, m->ack_fd, e);
	if (ret == 0 && m->windows)
		virtio_mmio_show_at(d->virtio,
				    m->windows + (size_t)(d - m->device) * VIRTIO_MMIO_LEN);
	return ret;
}

/* The next free device entry, with its place on the bus. */
static struct machine_device *add_device(struct machine *m, struct virtio_host *host, struct err *e)
{
	struct machine_device *d = &m->device[m->nr_devices];

	if (arch_device_slot(m->nr_devices, &d->addr, &d->gsi, e))
		return NULL;
	pthread_mutex_init(&d->lock, NULL);
	d->kvm = &m->kvm;
	m->nr_devices++;
	*host = (struct virtio_host){
		.loop = m->loop, .mem = m->mem, .gsi = d->gsi, .lock = &d->lock
	};
	return d;
}

static int rewire_kick(void *ctx, int old, int now)
{
	struct machine_device *d = ctx;

	return kvm_move_ioeventfd(d->kvm, gpa_add(d->addr, VIRTIO_MMIO_QUEUE_NOTIFY), 0, old, now);
}

static int create_vhost(struct machine_device *d, const struct drive_config *c,
			const struct virtio_host *host, struct err *e)
{
	struct vhost_user_params params = {
		.id = c->drive_id,
		.path = c->socket,
		.fd = c->fd,
		.writeback = c->cache_type == CACHE_TYPE_WRITEBACK,
		.rewire = rewire_kick,
		.ctx = d,
	};
	int ret = vhost_user_create(&d->vhost, &params, host, e);

	if (ret == 0)
		d->virtio = vhost_user_virtio(d->vhost);
	return ret;
}

static enum blk_engine_kind engine_of(const struct drive_config *c)
{
	if (!c->has_io_engine)
		return BLK_BEST;
	return c->io_engine == IO_ENGINE_ASYNC ? BLK_ASYNC : BLK_SYNC;
}

static int build_drive(struct machine *m, const struct drive_config *c, struct err *e)
{
	struct virtio_host host;
	struct machine_device *d = add_device(m, &host, e);
	struct blk_params params = {
		.id = c->drive_id,
		.fd = c->fd,
		.read_only = c->is_read_only,
		.writeback = c->cache_type == CACHE_TYPE_WRITEBACK,
		.engine = engine_of(c),
		.ring = &m->ring,
		.nr_queues = m->config->machine.vcpu_count,
	};

	if (!d)
		return err_wrap(e, "drive %s", c->drive_id);
	if (c->has_socket ? create_vhost(d, c, &host, e) : blk_create(&d->blk, &params, &host, e))
		return err_wrap(e, "drive %s", c->drive_id);
	if (d->blk)
		d->virtio = blk_virtio(d->blk);
	if (wire_device(m, d, e))
		return err_wrap(e, "drive %s", c->drive_id);
	return 0;
}

static int build_net(struct machine *m, const struct net_config *c, struct err *e)
{
	struct virtio_host host;
	struct machine_device *d = add_device(m, &host, e);
	struct net_params params = {
		.id = c->iface_id,
		.nr_pairs = config_net_pairs(c),
		.path = config_net_after(c, CONFIG_NET_UNIX),
		.vhost = c->vhost,
		.has_mac = c->has_guest_mac,
		.has_mtu = c->has_mtu,
		.mtu = c->mtu,
	};

	if (!d)
		return err_wrap(e, "network interface %s", c->iface_id);
	params.backend = params.path ? NET_STREAM : NET_TAP;
	for (unsigned int i = 0; i < params.nr_pairs; i++)
		params.fd[i] = c->tap_fd[i];
	for (size_t i = 0; i < sizeof(params.mac); i++)
		params.mac[i] = c->guest_mac[i];
	if (net_create(&d->net, &params, &host, e))
		return err_wrap(e, "network interface %s", c->iface_id);
	d->virtio = net_virtio(d->net);
	if (wire_device(m, d, e))
		return err_wrap(e, "network interface %s", c->iface_id);
	return 0;
}

/* Drives first, root drive first among them: that order is the guest's /dev/vda, vdb, eth0, ... */
static int build_devices(struct machine *m, struct err *e)
{
	const struct config *c = m->config;
	int ret = 0;

	for (size_t i = 0; ret == 0 && i < c->nr_drives; i++)
		ret = build_drive(m, &c->drive[i], e);
	for (size_t i = 0; ret == 0 && i < c->nr_nets; i++)
		ret = build_net(m, &c->net[i], e);
	for (size_t i = 0; ret == 0 && i < c->nr_drives; i++)
		if (c->drive[i].has_rate_limiter)
			machine_limit_drive(m, i, &c->drive[i].rate_limiter);
	for (size_t i = 0; ret == 0 && i < c->nr_nets; i++) {
		const struct net_config *n = &c->net[i];

		machine_limit_net(m, i, n->has_rx_rate_limiter ? &n->rx_rate_limiter : NULL,
				  n->has_tx_rate_limiter ? &n->tx_rate_limiter : NULL);
	}
	return ret;
}

/* A kernel of this size takes longer to load than a thread to start. */
#define LARGE_KERNEL_BYTES (8 << 20)

static bool kernel_is_large(const struct machine *m)
{
	struct stat st;

	return !fstat(m->config->boot_source.kernel_fd, &st) && st.st_size >= LARGE_KERNEL_BYTES;
}

/*
 * The order, and what it depends on:
 * - KVM_CREATE_VM waits 5-10 ms for a grace period on most hosts: a large kernel is loaded
 *   meanwhile;
 * - the kernel is mapped over RAM before KVM knows the slots: later it would have to invalidate;
 * - memory slots before the irqchip: the other way each slot waits 5-10 ms for a grace period;
 * - the irqchip before vCPUs (KVM demands it: LAPICs come with it) and before irqfds;
 * - devices before the tables that describe them.
 */
static int build_steps(struct machine *m, struct err *e)
{
	int ret = arch_create(m, e);

	kvm_open_begin(&m->kvm, kernel_is_large(m));
	if (ret == 0)
		ret = build_memory(m, e);
	if (ret == 0)
		ret = arch_load_kernel(m, e);
	if (ret == 0)
		ret = kvm_open_end(&m->kvm, e);
	if (ret == 0)
		ret = kvm_add_memory(&m->kvm, m->mem, e);
	if (ret == 0)
		ret = build_windows(m, e);
	if (ret == 0)
		ret = kvm_create_irqchip(&m->kvm, e);
	if (ret == 0)
		ret = vcpus_create(&m->vcpus, &m->kvm, m->config->machine.vcpu_count, e);
	if (ret == 0)
		ret = build_serial(m, e);
	if (ret == 0)
		ret = arch_add_platform(m, e);
	if (ret == 0)
		ret = build_devices(m, e);
	if (ret == 0)
		ret = arch_setup_boot(m, e);
	return ret;
}

int machine_build(const struct config *c, struct loop *l, struct machine **out, struct err *e)
{
	struct machine *m = calloc(1, sizeof(*m));
	int ret;

	if (!m)
		return err_set(e, ENOMEM, "machine");
	m->config = c;
	m->loop = l;
	m->kvm.dev_fd = -1;
	m->kvm.vm_fd = -1;
	m->serial_fd = -1;
	m->ack_fd = -1;
	vcpus_init(&m->vcpus, l, &m->mmio);
	ret = build_steps(m, e);
	if (ret) {
		machine_destroy(m);
		return ret;
	}
	*out = m;
	return 0;
}

int machine_start(struct machine *m, struct err *e)
{
	return vcpus_start(&m->vcpus, e);
}

int machine_pause(struct machine *m, struct err *e)
{
	(void)e;
	vcpus_park(&m->vcpus);
	return 0;
}

int machine_resume(struct machine *m, struct err *e)
{
	(void)e;
	vcpus_run(&m->vcpus);
	return 0;
}

void machine_destroy(struct machine *m)
{
	if (!m)
		return;
	vcpus_destroy(&m->vcpus);
	for (size_t i = m->nr_devices; i > 0; i--) {
		struct machine_device *d = &m->device[i - 1];

		net_destroy(d->net);
		vhost_user_destroy(d->vhost);
		blk_destroy(d->blk);
		pthread_mutex_destroy(&d->lock);
	}
	uring_destroy(m->ring);
	arch_destroy(m);
	if (m->has_serial)
		serial_fini(&m->serial);
	fd_close(&m->serial_fd);
	terminal_restore();
	kvm_close(&m->kvm);
	fd_close(&m->ack_fd);
	if (m->windows)
		munmap(m->windows, m->windows_len);
	fatal_set_mem(NULL);
	mem_destroy(m->mem);
	free(m);
}

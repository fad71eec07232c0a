/* SPDX-License-Identifier: Apache-2.0 */
/*
 * machine_arch.h - the inside of a machine, shared by machine.c and the one file per architecture.
 *
 * Build and teardown on the loop thread. machine.c owns the order of construction; an architecture
 * fills in the steps that differ: where RAM is, how a kernel is loaded, which platform devices
 * there are, how the first vCPU starts.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>

#include "base/bus.h"
#include "base/loop.h"
#include "base/mem.h"
#include "virtio/blk.h"
#include "virtio/net.h"
#include "virtio/vhost_user.h"
#include "vmm/config.h"
#include "vmm/kvm.h"
#include "vmm/machine.h"
#include "vmm/serial.h"
#include "vmm/vcpu.h"

/* What an architecture keeps for itself; made by arch_create. */
struct arch;

/* A virtio device with what it stands on. Exactly one of blk, vhost and net is set. */
struct machine_device {
	struct blk *blk;
	struct vhost_user *vhost;
	struct net *net;
	struct kvm *kvm; /* for vhost's kicks */
	struct virtio_dev *virtio;
	gpa_t addr; /* of its register window */
	unsigned int gsi;
	pthread_mutex_t lock;
};

struct machine {
	const struct config *config;
	struct loop *loop;
	struct mem *mem;
	struct kvm kvm;
	struct bus mmio;
	struct vcpus vcpus;
	struct serial serial;
	bool has_serial; /* serial_init succeeded */
	int serial_fd;	 /* file or FIFO of PUT /serial, or -1 */
	struct machine_device device[CONFIG_DEVICES_MAX];
	size_t nr_devices; /* device[] entries to be torn down */
	struct arch *arch;
	struct uring *ring; /* made when a drive wants it */
	uint8_t *windows;   /* VIRTIO_MMIO_LEN bytes for each device, or NULL */
	size_t windows_len;
	int ack_fd; /* eventfd that swallows what need not be looked at */
};

/* arch_ram - RAM ranges for the configured memory size. Errors: EINVAL. */
int arch_ram(const struct config *c, struct mem_range *out, size_t *nr, struct err *e);

/* arch_create - allocate m->arch; arch_destroy undoes it and everything below. */
int arch_create(struct machine *m, struct err *e);
void arch_destroy(struct machine *m);

/* arch_load_kernel - kernel and initrd into RAM, before KVM knows about it. */
int arch_load_kernel(struct machine *m, struct err *e);

/* arch_device_slot - register window and interrupt of virtio device @i. Errors: ENOSPC. */
int arch_device_slot(size_t i, gpa_t *addr, unsigned int *gsi, struct err *e);

/*
 * arch_windows - whether guests may read registers from memory: they map them as device memory,
 * which must then be coherent with ours.
 */
bool arch_windows(void);

/* arch_serial_gsi - the interrupt of the serial port. */
unsigned int arch_serial_gsi(void);

/* arch_add_platform - the devices that are not virtio, on their buses and interrupts. */
int arch_add_platform(struct machine *m, struct err *e);

/* arch_publish - the architecture's part of machine_publish. */
void arch_publish(struct machine *m);

/* arch_setup_boot - command line, tables and the state of every vCPU; last step of building. */
int arch_setup_boot(struct machine *m, struct err *e);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kvm.h - the VM as the kernel sees it: fds for /dev/kvm and the VM, and what is wired to it.
 *
 * Build time only, on the thread that builds the machine. Linux Documentation/virt/kvm/api.rst.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/irq.h"
#include "base/mem.h"

struct kvm {
	int dev_fd; /* /dev/kvm */
	int vm_fd;
	size_t run_size; /* bytes of the shared area of each vCPU (KVM_GET_VCPU_MMAP_SIZE) */
};

/* kvm_open - open /dev/kvm, check the API version, make an empty VM. Undone by kvm_close. */
int kvm_open(struct kvm *kvm, struct err *e);

/*
 * kvm_close - close both; safe when kvm_open failed or was never called on a zeroed-to--1 struct.
 */
void kvm_close(struct kvm *kvm);

/*
 * kvm_add_memory - one memory slot per region of guest RAM.
 * Must run before kvm_create_irqchip: a slot added afterwards waits 5-10 ms for a grace period.
 */
int kvm_add_memory(struct kvm *kvm, const struct mem *m, struct err *e);

/* kvm_create_irqchip - the in-kernel interrupt controllers of this architecture. */
int kvm_create_irqchip(struct kvm *kvm, struct err *e);

/* kvm_add_irqfd - edges on @irq arrive at its GSI without leaving the kernel. */
int kvm_add_irqfd(struct kvm *kvm, const struct irq *irq, struct err *e);

/*
 * kvm_add_ioeventfd - a 4-byte write of @datamatch to MMIO address @addr signals @fd instead of
 * leaving KVM_RUN.
 */
int kvm_add_ioeventfd(struct kvm *kvm, gpa_t addr, uint32_t datamatch, int fd, struct err *e);

/* kvm_create_vcpu - fd of vCPU @index, or -errno with @e filled. */
int kvm_create_vcpu(struct kvm *kvm, unsigned int index, struct err *e);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kvm.h - the VM as the kernel sees it: fds for /dev/kvm and the VM, and what is wired to it.
 *
 * Build time, on the thread that builds the machine; kvm_move_ioeventfd also later.
 * Linux Documentation/virt/kvm/api.rst.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/irq.h"
#include "base/mem.h"

struct kvm {
	int dev_fd; /* /dev/kvm */
	int vm_fd;
	size_t run_size; /* bytes of the shared area of each vCPU (KVM_GET_VCPU_MMAP_SIZE) */
	/* between kvm_open_begin and kvm_open_end */
	bool opening;
	pthread_t opener;
	struct err open_err;
};

/*
 * kvm_open_begin, kvm_open_end - open /dev/kvm, check the API version, make an empty VM: what
 * KVM_CREATE_VM mostly does is wait, so that with @aside a thread of its own does that, and the
 * caller has other work done meanwhile. Between the two nothing else of @kvm may be used. Undone by
 * kvm_close. All errors come from kvm_open_end.
 */
void kvm_open_begin(struct kvm *kvm, bool aside);
int kvm_open_end(struct kvm *kvm, struct err *e);

/*
 * kvm_close - close both; safe at any time after kvm_open_begin, or on a zeroed-to--1 struct.
 */
void kvm_close(struct kvm *kvm);

/*
 * kvm_add_memory - one memory slot per region of guest RAM.
 * Must run before kvm_create_irqchip: a slot added afterwards waits 5-10 ms for a grace period.
 */
int kvm_add_memory(struct kvm *kvm, const struct mem *m, struct err *e);

/*
 * kvm_add_window - the guest reads [@base, @base + @len) from @host without an exit; what it writes
 * there leaves KVM_RUN as MMIO or signals an ioeventfd. Before kvm_create_irqchip, as above; once.
 * Errors: -errno, EINVAL on hosts that cannot.
 */
int kvm_add_window(struct kvm *kvm, gpa_t base, const void *host, uint64_t len);

/* kvm_create_irqchip - the in-kernel interrupt controllers of this architecture. */
int kvm_create_irqchip(struct kvm *kvm, struct err *e);

/* kvm_add_irqfd - edges on @irq arrive at its GSI without leaving the kernel. */
int kvm_add_irqfd(struct kvm *kvm, const struct irq *irq, struct err *e);

/*
 * kvm_irq_edge - struct irq.edge with a struct kvm: an edge at a pin of the in-kernel interrupt
 * controller. An irqfd that does not carry a message wakes a worker thread of the host's first.
 */
bool kvm_irq_edge(void *kvm, unsigned int gsi);

/*
 * kvm_add_ioeventfd - a 4-byte write of @datamatch to MMIO address @addr signals @fd instead of
 * leaving KVM_RUN.
 */
int kvm_add_ioeventfd(struct kvm *kvm, gpa_t addr, uint32_t datamatch, int fd, struct err *e);

/*
 * kvm_move_ioeventfd - the same, but @fd instead of @old, which was added before. A write between
 * the two leaves KVM_RUN. 0 or -errno.
 */
int kvm_move_ioeventfd(struct kvm *kvm, gpa_t addr, uint32_t datamatch, int old, int fd);

/* kvm_create_vcpu - fd of vCPU @index, or -errno with @e filled. */
int kvm_create_vcpu(struct kvm *kvm, unsigned int index, struct err *e);

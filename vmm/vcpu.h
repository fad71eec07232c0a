/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vcpu.h - virtual CPUs: one thread each, which does nothing but KVM_RUN and what an exit asks for.
 *
 * All functions are called on the loop thread. The threads take part in a small protocol to be
 * paused, resumed and ended; see struct vcpus.
 */
#pragma once

#include <linux/kvm.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "base/bus.h"
#include "base/err.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "virtio/virtio.h"
#include "vmm/config.h"
#include "vmm/kvm.h"

struct vcpu_metrics {
	metric_t exit_io_in;
	metric_t exit_io_out;
	metric_t exit_mmio_read;
	metric_t exit_mmio_write;
	metric_t failures;
	metric_t kvmclock_ctrl_fails;
	/* how long the exits above took to handle */
	struct virtio_agg exit_io_in_agg;
	struct virtio_agg exit_io_out_agg;
	struct virtio_agg exit_mmio_read_agg;
	struct virtio_agg exit_mmio_write_agg;
};

struct vcpu {
	int fd;
	unsigned int index;
	struct kvm_run *run; /* shared with the kernel, run_size bytes */
	size_t run_size;
	struct vcpus *set;
	pthread_t thread;
	_Atomic pid_t tid; /* 0 until the thread has told it */
	bool started;
};

/* What the threads shall do; changed under the lock, read by each thread between two KVM_RUN. */
enum vcpu_order { VCPU_PARK, VCPU_RUN, VCPU_QUIT };

struct vcpus {
	struct vcpu vcpu[CONFIG_VCPUS_MAX];
	unsigned int nr;
	struct bus *mmio;
	const struct mem *mem; /* to know what is no MMIO; NULL: not checked */
	struct bus *pio;       /* ports; architectures without them leave it NULL */
	struct loop *loop;

	pthread_mutex_t lock;
	pthread_cond_t changed; /* order changed, or a thread parked */
	atomic_int order;	/* enum vcpu_order */
	pid_t process;		/* ours */
	unsigned int nr_parked;
	unsigned int nr_started;
	struct vcpu_metrics metrics;
};

/*
 * vcpus_init - an empty set; vcpus_destroy is safe from here on. @loop is stopped when the VM ends.
 */
void vcpus_init(struct vcpus *s, struct loop *loop, struct bus *mmio);

/* vcpus_create - make @nr vCPUs (1..CONFIG_VCPUS_MAX), no threads yet. Undone by vcpus_destroy. */
int vcpus_create(struct vcpus *s, struct kvm *kvm, unsigned int nr, struct err *e);

/* vcpus_start - one thread each, running at once. Errors: errno of pthread_create. */
int vcpus_start(struct vcpus *s, struct err *e);

/*
 * vcpus_run - let parked vCPUs go; vcpus_park - return when no vCPU executes guest code any more.
 */
void vcpus_run(struct vcpus *s);
void vcpus_park(struct vcpus *s);

/*
 * vcpus_destroy - end and join the threads, close everything. Safe on a set that is not complete.
 */
void vcpus_destroy(struct vcpus *s);

/*
 * vcpus_end - the VM is over, the process shall exit with @code; the first caller decides. Called
 * by a device on a vCPU thread (the guest reset itself) or by the run loop.
 */
void vcpus_end(struct vcpus *s, int code);

/*
 * vcpu_arch_exit - handle an exit of KVM_RUN that only this architecture has.
 * Returns false when it is not one of those.
 */
bool vcpu_arch_exit(struct vcpu *v);

/*
 * vcpu_arch_paused - @v is parked: tell the guest, if it can be told, that time will seem to jump.
 */
void vcpu_arch_paused(struct vcpu *v);

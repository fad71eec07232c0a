/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vcpu_x86.c - exits that only x86 has (port I/O, on vCPU threads), and pausing; see vcpu.h.
 */
#include "vmm/vcpu.h"

#include <sys/ioctl.h>

static void vcpu_pio(struct vcpu *v)
{
	struct vcpus *s = v->set;
	struct kvm_run *run = v->run;
	uint8_t *data = (uint8_t *)run + run->io.data_offset;
	size_t size = run->io.size;
	uint64_t start_us = virtio_now_us();

	/* A string instruction brings several elements for the same port. */
	for (uint32_t i = 0; i < run->io.count; i++, data += size) {
		if (run->io.direction == KVM_EXIT_IO_IN) {
			metric_inc(&s->metrics.exit_io_in);
			bus_read(s->pio, run->io.port, data, size);
		} else {
			metric_inc(&s->metrics.exit_io_out);
			bus_write(s->pio, run->io.port, data, size);
		}
	}
	virtio_agg_add(run->io.direction == KVM_EXIT_IO_IN ? &s->metrics.exit_io_in_agg :
							     &s->metrics.exit_io_out_agg,
		       virtio_now_us() - start_us);
}

bool vcpu_arch_exit(struct vcpu *v)
{
	if (v->run->exit_reason != KVM_EXIT_IO)
		return false;
	vcpu_pio(v);
	return true;
}

void vcpu_arch_paused(struct vcpu *v)
{
	/*
	 * Sets the "guest stopped" flag of kvm-clock, or a long pause looks like a soft lockup. A
	 * guest that does not use kvm-clock has no flag, which is no fault of anybody.
	 */
	if (ioctl(v->fd, KVM_KVMCLOCK_CTRL, 0) < 0)
		metric_inc(&v->set->metrics.kvmclock_ctrl_fails);
}

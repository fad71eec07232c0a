/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kvm_x86.c - the x86 side of VM creation; see kvm.h.
 */
#include <errno.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>

#include "base/fd.h"

#include "boot/layout_x86.h"
#include "vmm/kvm.h"

/*
 * LAPICs, IOAPIC and PIC in the kernel. No PIT: hardware-reduced ACPI, kvm-clock and the TSC
 * deadline timer leave nothing for it to do, and each PIT is a kernel thread on the host.
 */
int kvm_create_irqchip(struct kvm *kvm, struct err *e)
{
	/* Only CPUs without unrestricted guest mode need it, but those before a vCPU exists. */
	if (ioctl(kvm->vm_fd, KVM_SET_TSS_ADDR, (unsigned long)LAYOUT_TSS) < 0)
		return err_set(e, errno, "KVM_SET_TSS_ADDR");
	if (ioctl(kvm->vm_fd, KVM_CREATE_IRQCHIP, 0) < 0)
		return err_set(e, errno, "KVM_CREATE_IRQCHIP");
	return 0;
}

bool kvm_irq_edge(void *kvm, unsigned int gsi)
{
	const struct kvm *k = kvm;
	struct kvm_irq_level line = { .irq = gsi, .level = 1 };

	if (fd_ioctl(k->vm_fd, KVM_IRQ_LINE, &line) < 0)
		return false;
	line.level = 0;
	fd_ioctl(k->vm_fd, KVM_IRQ_LINE, &line);
	return true;
}

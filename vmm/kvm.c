/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kvm.c - what is the same for every architecture; see kvm.h.
 */
#include "vmm/kvm.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/fd.h"

/* A busy host answers EINTR when a signal lands in the middle of VM creation; it passes. */
#define CREATE_VM_TRIES 5

static const char *open_hint(int errnum)
{
	switch (errnum) {
	case ENOENT:
		return "; load the kvm module, or enable virtualisation in the firmware";
	case EACCES:
	case EPERM:
		return "; add the user to the group that owns it (kvm)";
	default:
		return "";
	}
}

static int kvm_open(struct kvm *kvm, struct err *e)
{
	int version, size, errnum;

	kvm->vm_fd = -1;
	kvm->dev_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (kvm->dev_fd < 0) {
		errnum = errno;
		return err_set(e, errnum, "open /dev/kvm%s", open_hint(errnum));
	}
	version = ioctl(kvm->dev_fd, KVM_GET_API_VERSION, 0);
	if (version != KVM_API_VERSION)
		return err_set(e, ENOTSUP, "KVM API version %d, need %d", version, KVM_API_VERSION);
	size = ioctl(kvm->dev_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (size < (int)sizeof(struct kvm_run))
		return err_set(e, size < 0 ? errno : EINVAL, "KVM_GET_VCPU_MMAP_SIZE");
	kvm->run_size = (size_t)size;

	for (int i = 0; kvm->vm_fd < 0 && i < CREATE_VM_TRIES; i++) {
		kvm->vm_fd = ioctl(kvm->dev_fd, KVM_CREATE_VM, 0);
		if (kvm->vm_fd < 0 && errno != EINTR)
			break;
	}
	if (kvm->vm_fd < 0)
		return err_set(e, errno, "KVM_CREATE_VM");
	return 0;
}

static void *opener_main(void *arg)
{
	struct kvm *kvm = arg;

	kvm_open(kvm, &kvm->open_err);
	return NULL;
}

void kvm_open_begin(struct kvm *kvm, bool aside)
{
	kvm->open_err.code = 0;
	/* Without a thread it works as well. */
	kvm->opening = aside && pthread_create(&kvm->opener, NULL, opener_main, kvm) == 0;
	if (!kvm->opening)
		kvm_open(kvm, &kvm->open_err);
}

int kvm_open_end(struct kvm *kvm, struct err *e)
{
	if (kvm->opening)
		pthread_join(kvm->opener, NULL);
	kvm->opening = false;
	if (kvm->open_err.code)
		*e = kvm->open_err;
	return -kvm->open_err.code;
}

void kvm_close(struct kvm *kvm)
{
	struct err ignored;

	kvm_open_end(kvm, &ignored);
	fd_close(&kvm->vm_fd);
	fd_close(&kvm->dev_fd);
}

int kvm_add_memory(struct kvm *kvm, const struct mem *m, struct err *e)
{
	for (size_t i = 0; i < mem_nr_ranges(m); i++) {
		struct mem_range r = mem_range(m, i);
		struct kvm_userspace_memory_region slot = {
			.slot = (uint32_t)i,
			.guest_phys_addr = r.base.v,
			.memory_size = r.len,
			.userspace_addr = mem_host_base(m, i),
		};

		if (fd_ioctl(kvm->vm_fd, KVM_SET_USER_MEMORY_REGION, &slot) < 0)
			return err_set(e, errno, "KVM_SET_USER_MEMORY_REGION, %llu MiB at 0x%llx",
				       (unsigned long long)(r.len >> 20),
				       (unsigned long long)r.base.v);
	}
	return 0;
}

int kvm_add_window(struct kvm *kvm, gpa_t base, const void *host, uint64_t len)
{
	struct kvm_userspace_memory_region slot = {
		.slot = MEM_REGIONS_MAX,
		.flags = KVM_MEM_READONLY,
		.guest_phys_addr = base.v,
		.memory_size = len,
		.userspace_addr = (uintptr_t)host,
	};

	return fd_ioctl(kvm->vm_fd, KVM_SET_USER_MEMORY_REGION, &slot) < 0 ? -errno : 0;
}

int kvm_add_irqfd(struct kvm *kvm, const struct irq *irq, struct err *e)
{
	struct kvm_irqfd args = { .fd = (uint32_t)irq->fd, .gsi = irq->gsi };

	if (fd_ioctl(kvm->vm_fd, KVM_IRQFD, &args) < 0)
		return err_set(e, errno, "KVM_IRQFD, GSI %u", irq->gsi);
	return 0;
}

static int ioeventfd(struct kvm *kvm, gpa_t addr, uint32_t datamatch, int fd, uint32_t flags)
{
	struct kvm_ioeventfd args = {
		.datamatch = datamatch,
		.addr = addr.v,
		.len = sizeof(datamatch),
		.fd = fd,
		.flags = KVM_IOEVENTFD_FLAG_DATAMATCH | flags,
	};

	return fd_ioctl(kvm->vm_fd, KVM_IOEVENTFD, &args) < 0 ? -errno : 0;
}

int kvm_add_ioeventfd(struct kvm *kvm, gpa_t addr, uint32_t datamatch, int fd, struct err *e)
{
	int ret = ioeventfd(kvm, addr, datamatch, fd, 0);

	if (ret)
		return err_set(e, -ret, "KVM_IOEVENTFD at 0x%llx", (unsigned long long)addr.v);
	return 0;
}

int kvm_move_ioeventfd(struct kvm *kvm, gpa_t addr, uint32_t datamatch, int old, int fd)
{
	int ret = ioeventfd(kvm, addr, datamatch, old, KVM_IOEVENTFD_FLAG_DEASSIGN);

	return ret ? ret : ioeventfd(kvm, addr, datamatch, fd, 0);
}

int kvm_create_vcpu(struct kvm *kvm, unsigned int index, struct err *e)
{
	int fd = ioctl(kvm->vm_fd, KVM_CREATE_VCPU, (unsigned long)index);

	if (fd < 0)
		return err_set(e, errno, "KVM_CREATE_VCPU %u", index);
	return fd;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * constants.c - the names that conditions of a policy may use, from the kernel's headers.
 */
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/futex.h>
#include <linux/if_tun.h>
#include <linux/io_uring.h>
#include <linux/kvm.h>
#include <linux/prctl.h>
#include <linux/seccomp.h>
#include <linux/vhost.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "resources/seccomp/policy.h"

#ifndef CLONE_DETACHED
#define CLONE_DETACHED 0x00400000 /* ignored by kernels of this century, set by musl */
#endif
#ifndef MAP_HUGE_2MB
#define MAP_HUGE_2MB (21 << MAP_HUGE_SHIFT)
#endif
#ifndef __aarch64__
/* asm/kvm.h of the other architecture; only its size is looked at. */
struct kvm_vcpu_init {
	__u32 target;
	__u32 features[7];
};
#else
struct kvm_cpuid2 {
	__u64 head;
};
struct kvm_msrs {
	__u64 head;
};
#endif

#define NAME(x)                                                                                    \
	{                                                                                          \
#x, (uint32_t)(x)                                                                  \
	}

static const struct {
	const char *name;
	uint32_t value;
} constants[] = {
	/* mmap, mprotect, madvise */
	NAME(PROT_NONE),
	NAME(PROT_READ),
	NAME(PROT_WRITE),
	NAME(PROT_EXEC),
	NAME(MAP_SHARED),
	NAME(MAP_PRIVATE),
	NAME(MAP_FIXED),
	NAME(MAP_ANONYMOUS),
	NAME(MAP_NORESERVE),
	NAME(MAP_POPULATE),
	NAME(MAP_HUGETLB),
	NAME(MAP_HUGE_2MB),
	NAME(MADV_DONTDUMP),
	NAME(MADV_DONTNEED),
	NAME(MADV_FREE),
	NAME(MADV_HUGEPAGE),
	NAME(MADV_NOHUGEPAGE),
	NAME(MADV_POPULATE_WRITE),
	NAME(MADV_REMOVE),
	/* files */
	NAME(O_RDONLY),
	NAME(O_WRONLY),
	NAME(O_RDWR),
	NAME(O_CREAT),
	NAME(O_TRUNC),
	NAME(O_APPEND),
	NAME(O_CLOEXEC),
	NAME(O_DIRECTORY),
	NAME(F_GETFL),
	NAME(F_SETFL),
	NAME(F_GETFD),
	NAME(F_SETFD),
	NAME(F_ADD_SEALS),
	NAME(F_DUPFD_CLOEXEC),
	NAME(FALLOC_FL_KEEP_SIZE),
	NAME(FALLOC_FL_PUNCH_HOLE),
	NAME(FALLOC_FL_ZERO_RANGE),
	NAME(BLKGETSIZE64),
	NAME(BLKDISCARD),
	NAME(BLKZEROOUT),
	NAME(BLKSSZGET),
	NAME(BLKPBSZGET),
	NAME(BLKIOOPT),
	NAME(BLKROGET),
	NAME(IORING_REGISTER_RESTRICTIONS),
	NAME(IORING_REGISTER_ENABLE_RINGS),
	NAME(IORING_ENTER_GETEVENTS),
	/* terminals, sockets, taps */
	NAME(TCGETS),
	NAME(TCSETS),
	NAME(TIOCGPGRP),
	NAME(TIOCGWINSZ),
	NAME(FIONBIO),
	NAME(AF_UNIX),
	NAME(SOCK_STREAM),
	NAME(SOCK_NONBLOCK),
	NAME(SOCK_CLOEXEC),
	NAME(TUNSETIFF),
	NAME(TUNGETIFF),
	NAME(TUNSETVNETHDRSZ),
	NAME(TUNSETOFFLOAD),
	NAME(TUNSETQUEUE),
	NAME(TUNGETFEATURES),
	NAME(VHOST_SET_OWNER),
	NAME(VHOST_GET_FEATURES),
	NAME(VHOST_SET_FEATURES),
	NAME(VHOST_SET_MEM_TABLE),
	NAME(VHOST_SET_VRING_NUM),
	NAME(VHOST_SET_VRING_ADDR),
	NAME(VHOST_SET_VRING_BASE),
	NAME(VHOST_GET_VRING_BASE),
	NAME(VHOST_SET_VRING_KICK),
	NAME(VHOST_SET_VRING_CALL),
	NAME(VHOST_SET_VRING_ERR),
	NAME(VHOST_NET_SET_BACKEND),
	NAME(VHOST_RESET_OWNER),
	NAME(VHOST_GET_BACKEND_FEATURES),
	NAME(VHOST_SET_BACKEND_FEATURES),
	/* KVM */
	NAME(KVM_RUN),
	NAME(KVM_GET_API_VERSION),
	NAME(KVM_CREATE_VM),
	NAME(KVM_CHECK_EXTENSION),
	NAME(KVM_GET_VCPU_MMAP_SIZE),
	NAME(KVM_CREATE_VCPU),
	NAME(KVM_CREATE_IRQCHIP),
	NAME(KVM_SET_USER_MEMORY_REGION),
	NAME(KVM_SET_TSS_ADDR),
	NAME(KVM_IRQFD),
	NAME(KVM_IOEVENTFD),
	NAME(KVM_IRQ_LINE),
	NAME(KVM_KVMCLOCK_CTRL),
	NAME(KVM_ENABLE_CAP),
	NAME(KVM_CREATE_DEVICE),
	NAME(KVM_SET_DEVICE_ATTR),
	NAME(KVM_GET_DEVICE_ATTR),
	NAME(KVM_HAS_DEVICE_ATTR),
	NAME(KVM_GET_ONE_REG),
	NAME(KVM_SET_ONE_REG),
	NAME(KVM_ARM_PREFERRED_TARGET),
	NAME(KVM_ARM_VCPU_INIT),
	NAME(KVM_GET_SUPPORTED_CPUID),
	NAME(KVM_SET_CPUID2),
	NAME(KVM_GET_MSRS),
	NAME(KVM_SET_MSRS),
	NAME(KVM_SET_MP_STATE),
#ifndef __aarch64__
	NAME(KVM_GET_REGS),
	NAME(KVM_SET_REGS),
	NAME(KVM_GET_SREGS),
	NAME(KVM_SET_SREGS),
	NAME(KVM_SET_XCRS),
	NAME(KVM_SET_LAPIC),
	NAME(KVM_GET_LAPIC),
	NAME(KVM_SET_FPU),
#endif
	/* threads, signals, prctl */
	NAME(CLONE_VM),
	NAME(CLONE_FS),
	NAME(CLONE_FILES),
	NAME(CLONE_SIGHAND),
	NAME(CLONE_THREAD),
	NAME(CLONE_SYSVSEM),
	NAME(CLONE_SETTLS),
	NAME(CLONE_PARENT_SETTID),
	NAME(CLONE_CHILD_CLEARTID),
	NAME(CLONE_DETACHED),
	NAME(FUTEX_WAIT),
	NAME(FUTEX_WAKE),
	NAME(FUTEX_REQUEUE),
	NAME(FUTEX_CMP_REQUEUE),
	NAME(FUTEX_PRIVATE_FLAG),
	NAME(SIGABRT),
	NAME(SIGINT),
	NAME(SIGTERM),
	NAME(SIGHUP),
	NAME(PR_SET_NAME),
	NAME(PR_SET_NO_NEW_PRIVS),
	NAME(PR_GET_NO_NEW_PRIVS),
	NAME(PR_SET_SECCOMP),
	NAME(PR_GET_SECCOMP),
	NAME(PR_SET_DUMPABLE),
	NAME(PR_SET_PDEATHSIG),
	{ "PID", POLICY_PID },
};

bool policy_constant(const char *name, size_t len, uint32_t *value)
{
	for (size_t i = 0; i < sizeof(constants) / sizeof(constants[0]); i++) {
		if (strlen(constants[i].name) == len && !memcmp(constants[i].name, name, len)) {
			*value = constants[i].value;
			return true;
		}
	}
	return false;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cpuid_x86.h - what CPUID tells the guest: what KVM supports, the same on every host of a kind.
 *
 * Build time, one thread. Intel SDM 2A (CPUID), AMD APM 3 appendix E, Linux virt/kvm/x86/cpuid.rst.
 */
#pragma once

#include <linux/kvm.h>
#include <stdbool.h>

#include "base/err.h"
#include "vmm/kvm.h"

/* KVM answers with about 60 entries today; some 20 topology entries are added. */
#define CPUID_ENTRIES_MAX 160

/* KVM's variable-length struct kvm_cpuid2 with its storage. */
struct cpuid {
	struct kvm_cpuid2 head;
	struct kvm_cpuid_entry2 entry[CPUID_ENTRIES_MAX];
};

/* cpuid_supported - what KVM offers on this host. Costs as much as creating a VM: call it once. */
int cpuid_supported(const struct kvm *kvm, struct cpuid *out, struct err *e);

/*
 * cpuid_normalise - the edits that hold for all vCPUs: topology of @nr_vcpus (two threads to a core
 * with @smt), no performance counters, fixed brand string, features that KVM emulates switched on.
 * Errors: E2BIG when the entries do not fit.
 */
int cpuid_normalise(struct cpuid *c, unsigned int nr_vcpus, bool smt, struct err *e);

/* cpuid_set_apic_id - the few values that differ from vCPU to vCPU. */
void cpuid_set_apic_id(struct cpuid *c, unsigned int apic_id);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cpu_template_x86.h - CPU templates by name: features taken away, so that guests see the same CPU
 * on hosts of several generations. Build time, one thread.
 */
#pragma once

#include <stdint.h>

#include "base/err.h"
#include "vmm/config.h"
#include "vmm/cpuid_x86.h"

/*
 * cpu_template_apply - edit what KVM supports, before cpuid_normalise. CPU_TEMPLATE_NONE does
 * nothing. Errors: ENOTSUP, for a host CPU the template was not made for, or one that lacks a leaf.
 */
int cpu_template_apply(struct cpuid *c, enum cpu_template t, struct err *e);

/*
 * cpu_custom_apply, cpu_custom_msrs - the same for the client's own template @cpu; an empty one
 * does nothing. Capabilities and leaves before cpuid_normalise; @from and @to are vCPU 0 and the
 * one to change, CPUID is set on both.
 * Errors: ENOTSUP, naming the capability, leaf or MSR that KVM does not have.
 */
int cpu_custom_apply(struct cpuid *c, const struct cpu_config *cpu, int kvm_fd, struct err *e);
int cpu_custom_msrs(int from, int to, const struct cpu_config *cpu, struct err *e);

/* cpu_template_msrs - the same for the MSRs of vCPU @fd. Errors: ENOTSUP. */
int cpu_template_msrs(int fd, enum cpu_template t, struct err *e);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mptable_x86.h - the MP table, for kernels built without ACPI; private to boot/ (see setup_x86.h).
 */
#pragma once

#include "base/err.h"
#include "base/mem.h"

/*
 * mptable_write - floating pointer and configuration table at LAYOUT_MPTABLE.
 * @nr_vcpus: 1..LAYOUT_MAX_VCPUS. Errors: EFAULT when RAM ends below.
 */
int mptable_write(struct mem *m, unsigned int nr_vcpus, struct err *e);

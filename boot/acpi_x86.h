/* SPDX-License-Identifier: Apache-2.0 */
/*
 * acpi_x86.h - the ACPI tables of the machine; private to boot/ (see setup_x86.h).
 */
#pragma once

#include "base/err.h"
#include "base/mem.h"
#include "boot/setup_x86.h"

/*
 * acpi_write - RSDP at LAYOUT_RSDP, the other tables from LAYOUT_ACPI_TABLES on.
 * @info was checked by boot_setup. Errors: EFAULT when RAM ends below, ENOSPC when the tables are
 * larger than their place (a bug: the maxima in layout_x86.h do not fit together).
 */
int acpi_write(struct mem *m, const struct boot_info *info, struct err *e);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * boot_timer.h - a one-byte device that a guest writes to when it has booted; the log then says how
 * long that took since the request to start it. Option --boot-timer.
 */
#pragma once

#include "base/bus.h"
#include "base/err.h"
#include "base/mem.h"

/* boot_timer_start - the clocks start now. Loop thread, before the machine is built. */
void boot_timer_start(void);

/* boot_timer_add - put the device, one page, at @addr. Errors: from bus_add. */
int boot_timer_add(struct bus *bus, gpa_t addr, struct err *e);

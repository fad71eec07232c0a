/* SPDX-License-Identifier: Apache-2.0 */
/*
 * machine.h - the running VM: built from an accepted config, then started, paused, resumed, destroyed.
 *
 * All functions run on the loop thread. The machine ends by itself when the guest resets, powers
 * off, triple-faults, or the host fails it: it then calls loop_stop() with the documented exit
 * code. Nothing is allocated after machine_build.
 */
#pragma once

#include "base/err.h"
#include "base/loop.h"
#include "vmm/config.h"

struct machine;

/*
 * machine_build - the one place that lists the order of construction; on failure everything made
 * so far is undone in mirror order. @c was accepted by config_check and must stay valid and
 * unchanged as long as the machine lives (its files and taps are used through it). Errors: EINVAL
 * (kernel file, layout), ENOMEM, or the errno of the KVM or host call that failed.
 */
int machine_build(const struct config *c, struct loop *l, struct machine **out, struct err *e);

/* machine_start - let the vCPUs run; called once after machine_build. */
int machine_start(struct machine *m, struct err *e);

/* machine_pause / machine_resume - return when every vCPU has left or re-entered. Idempotent. */
int machine_pause(struct machine *m, struct err *e);
int machine_resume(struct machine *m, struct err *e);

/* machine_destroy - stop the vCPUs, restore the terminal, release everything. NULL is allowed. */
void machine_destroy(struct machine *m);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * machine.h - the running VM: built from an accepted config, then started, paused, resumed,
 * destroyed.
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
 * so far is undone in mirror order. @c was accepted by config_check and must stay valid as long as
 * the machine lives (its files and taps are used through it); of its devices only files and limits
 * may change, together with the machine's. Errors: EINVAL
 * (kernel file, layout), ENOMEM, or the errno of the KVM or host call that failed.
 */
int machine_build(const struct config *c, struct loop *l, struct machine **out, struct err *e);

/* machine_start - let the vCPUs run; called once after machine_build. */
int machine_start(struct machine *m, struct err *e);

/* machine_pause / machine_resume - return when every vCPU has left or re-entered. Idempotent. */
int machine_pause(struct machine *m, struct err *e);
int machine_resume(struct machine *m, struct err *e);

/* machine_publish - show everything that @m counts to the metrics; metrics_forget ends it. */
void machine_publish(struct machine *m);

/*
 * machine_ctrl_alt_del - press the three keys that ask a guest to restart. Errors: ENOSPC (the
 * guest does not read its keyboard), ENOTSUP (an architecture without one).
 */
int machine_ctrl_alt_del(struct machine *m, struct err *e);

/*
 * machine_set_drive_file - let drive @drive (its place in the config) go on with the file at @path,
 * which may be the one it has, grown; the guest is told about the new size. Returns the new fd,
 * owned by the caller and used by the drive from now on, or -errno: then it has the file it had.
 */
int machine_set_drive_file(struct machine *m, size_t drive, const char *path, struct err *e);

/*
 * machine_update_vhost - read the config space of drive @drive, which has a socket, again from its
 * back end; the guest is told when it changed. Errors as vhost_user_update.
 */
int machine_update_vhost(struct machine *m, size_t drive, struct err *e);

/*
 * machine_limit_drive, machine_limit_net - new buckets for the drive or interface at this place of
 * the config, full and in force at once. A bucket that is not given stays as it is, and NULL
 * changes nothing; one with size or refill time 0 ends its limit.
 */
void machine_limit_drive(struct machine *m, size_t drive, const struct limiter_config *c);
void machine_limit_net(struct machine *m, size_t net, const struct limiter_config *rx,
		       const struct limiter_config *tx);

/* machine_destroy - stop the vCPUs, restore the terminal, release everything. NULL is allowed. */
void machine_destroy(struct machine *m);

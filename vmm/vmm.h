/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmm.h - this process as an instance: its name, its state, the accepted config, the machine.
 *
 * The three states and the steps between them; whether a request fits a state is decided by the
 * rows of api-socket/routes. Loop thread only. struct vmm is large (struct config): static storage.
 */
#pragma once

#include "base/err.h"
#include "base/loop.h"
#include "base/version.h"
#include "vmm/config.h"
#include "vmm/landlock.h"
#include "vmm/machine.h"

/* Bits, so that a route can name the states it is allowed in. */
enum vmm_state {
	VMM_NOT_STARTED = 1,
	VMM_RUNNING = 2,
	VMM_PAUSED = 4,
};

/* The name this program was called by. */
struct vmm_identity {
	const char *app_name; /* "mote" or "Firecracker" */
	const char *version;
};

struct vmm {
	const char *id; /* not owned */
	struct vmm_identity identity;
	enum vmm_state state;
	struct loop *loop;	 /* not owned */
	struct config config;	 /* changed only while VMM_NOT_STARTED, and by vmm_update_* */
	struct machine *machine; /* NULL before the start */
	struct timer metrics_timer;
	enum landlock_level landlock; /* what a start gives up; set after vmm_init */
	const char *api_sock;	      /* not owned; NULL: none */
};

/* vmm_identity - @argv0 whose last component is "firecracker" answers to that name. */
struct vmm_identity vmm_identity(const char *argv0);

/* vmm_init - a VMM without a machine; @v is zeroed storage. */
void vmm_init(struct vmm *v, const char *id, struct vmm_identity identity, struct loop *loop);

/* vmm_fini - write the last metrics, destroy the machine, close what the config holds. */
void vmm_fini(struct vmm *v);

/* vmm_state_name - "Not started", "Running", "Paused", as clients know them. */
const char *vmm_state_name(const struct vmm *v);

/*
 * vmm_start - check the config as a whole, build the machine and let it run. On error nothing is
 * left of the machine and the config stays as it was, so that it can be mended and tried again;
 * but for the very last steps, after the rights were given up that a start needs. Only in
 * VMM_NOT_STARTED.
 */
int vmm_start(struct vmm *v, struct err *e);

/* vmm_pause / vmm_resume - idempotent; only after the start. Errors: from machine_pause/resume. */
int vmm_pause(struct vmm *v, struct err *e);
int vmm_resume(struct vmm *v, struct err *e);

/*
 * vmm_update_drive - PATCH /drives/{id}: another file (or the same, grown), then new limits.
 * Nothing has changed when the file is refused. Only after the start. Errors: no such drive, an
 * update that changes nothing, errno of open.
 */
int vmm_update_drive(struct vmm *v, const struct drive_update *u, struct err *e);

/* vmm_update_net - PATCH /network-interfaces/{id}: new limits. Errors: no such interface. */
int vmm_update_net(struct vmm *v, const struct net_update *u, struct err *e);

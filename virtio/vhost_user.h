/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vhost_user.h - virtio-blk whose requests another process answers, over the vhost-user protocol.
 *
 * Here are the device's registers, its config space and the connection; requests never come here.
 * The back end has all of guest RAM (MEM_SHARED) and works on the rings itself; KVM's kicks go
 * straight to it. Its interrupts come through us: they set the status bit that drivers look at, and
 * with each of them we note which requests are done, so that a back end may die and return
 * (vhost_user_ring.h).
 *
 * Nothing that a back end says is trusted beyond its own disk: every wait is bounded, sizes and
 * values are judged on a copy, and what cannot be believed ends the connection, which is tried
 * again later. No file descriptor that it has can block us: we never read or write one but the
 * socket, which does not wait.
 *
 * Created and destroyed on the loop thread; runs as virtio.h says.
 * virtio 1.2, 5.2; QEMU docs/interop/vhost-user.rst.
 */
#pragma once

#include "base/err.h"
#include "virtio/virtio.h"

struct vhost_user;

/* Named as in the metrics output, group vhost_user_block_<drive id>. */
struct vhost_user_metrics {
	metric_t init_time_us;		/* connect, negotiate, read the config space */
	metric_t activate_time_us;	/* hand over memory and ring */
	metric_t config_change_time_us; /* the last vhost_user_update */
};

struct vhost_user_params {
	const char *id;	  /* drive id, for log lines */
	const char *path; /* of the socket; not copied */
	int fd;		  /* a connection to it from vhost_user_dial, not owned; -1: none */
	bool writeback;	  /* offer FLUSH if the back end does */
	/*
	 * Let KVM signal @now at kicks of the queue, in place of @old: each back end gets an
	 * eventfd of its own, that counts 1 from the start, because a successor has to look at the
	 * ring at once. Loop thread. 0 or -errno.
	 */
	int (*rewire)(void *ctx, int old, int now);
	void *ctx;
};

/* vhost_user_dial - connect to a back end, without waiting. An fd that the caller owns, -errno. */
int vhost_user_dial(const char *path, struct err *e);

/*
 * vhost_user_create - connect where needed, negotiate, read the config space; takes at most some
 * seconds. @host->mem is MEM_SHARED. On success *out is owned by the caller. Errors: ENOMEM,
 * ETIMEDOUT, EPROTO (the back end cannot be believed), errno of connect and other calls.
 */
int vhost_user_create(struct vhost_user **out, const struct vhost_user_params *params,
		      const struct virtio_host *host, struct err *e);

/* vhost_user_destroy - hang up, close everything. No vCPU runs any more. NULL is allowed. */
void vhost_user_destroy(struct vhost_user *vu);

/* vhost_user_virtio - what to put on the bus. Queue 0's kick starts the work on the loop. */
struct virtio_dev *vhost_user_virtio(struct vhost_user *vu);

/* vhost_user_call - what the back end signals; for tests. */
int vhost_user_call(const struct vhost_user *vu);

/* vhost_user_metrics - any thread. */
struct vhost_user_metrics *vhost_user_metrics(struct vhost_user *vu);

/*
 * vhost_user_update - read the config space again and tell the guest. Waits a tenth of a second at
 * most. Loop thread with the device's lock held. Errors: ENOTCONN (there is none now); EPROTO: the
 * connection is given up and tried again later.
 */
int vhost_user_update(struct vhost_user *vu, struct err *e);

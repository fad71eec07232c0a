/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vhost_user_talk.h - what is said to a vhost-user back end, and what is believed of its answers.
 * Inside of virtio/vhost_user*.c.
 *
 * Each function that talks returns NULL, or a few words why the connection has to be given up: the
 * end of a sentence that begins with "the back end at PATH". At most one reply is open at a time,
 * vu->expect. The device's lock is held; nothing here touches a watch or closes a file descriptor
 * that others have.
 */
#pragma once

#include "virtio/vhost_user.h"
#include "virtio/vhost_user_msg.h"
#include "virtio/vhost_user_ring.h"

struct vhost_user {
	struct virtio_dev dev;
	struct vhost_user_metrics metrics;
	struct vhost_user_params params;
	struct watch sock;  /* fd: the connection, owned; -1: there is none */
	struct watch call;  /* fd: what the back end signals, owned; never read */
	struct timer timer; /* for a reply, or until the next try to connect */
	uint64_t retry_us;
	int kick_fd; /* what KVM and the back end have; -1 before the first start */

	struct vhost_user_msg in;
	uint32_t in_got;
	uint32_t expect; /* request whose reply is open; 0: none */
	uint64_t expect_ns;
	bool has_features; /* dev.features was decided, by the first back end */
	bool ready;	   /* negotiated, and the config space is known */
	bool acks;	   /* REPLY_ACK */
	bool live;	   /* the back end may work on the ring */
	bool stopping;	   /* a reset waits: begin nothing new */
	bool broken;	   /* found out on a vCPU thread: the loop has to hang up */
	bool resume;	   /* the ring was worked on by a back end before */
	uint64_t sent_features;
	uint64_t start_us;
	struct vhost_user_ring ring;
};

/* vhost_talk_begin - to a back end that we know nothing of; the replies lead to vu->ready. */
const char *vhost_talk_begin(struct vhost_user *vu);

/* vhost_talk_start - give it memory and ring, if it is ready and the driver is. */
const char *vhost_talk_start(struct vhost_user *vu);

/* vhost_talk_ask_config - read the config space (again). */
const char *vhost_talk_ask_config(struct vhost_user *vu);

/* vhost_talk_stop - take the ring back: the reply says that it is no longer used. */
const char *vhost_talk_stop(struct vhost_user *vu);

/* vhost_talk_hear - there is something to read. */
const char *vhost_talk_hear(struct vhost_user *vu);

/* vhost_talk_wait - hear until no reply is open, at most until timer_now_ns() is @end_ns. */
const char *vhost_talk_wait(struct vhost_user *vu, uint64_t end_ns);

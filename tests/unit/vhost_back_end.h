/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vhost_back_end.h - the other side of vhost-user: a thread behind a real socket, with its own
 * mapping of guest RAM, that serves a disk which turns over the first byte of each request, and
 * lies, dies and returns as a test says.
 */
#pragma once

#include <linux/virtio_blk.h>
#include <linux/virtio_ring.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "virtio/vhost_user.h"
#include "virtio/vhost_user_msg.h"

#define BIT(n)	(UINT64_C(1) << (n))
#define SECTORS 1000u
#define OFFERED                                                                                    \
	(BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_RING_F_EVENT_IDX) | BIT(VIRTIO_BLK_F_FLUSH) |        \
	 BIT(VIRTIO_BLK_F_BLK_SIZE) | BIT(VIRTIO_BLK_F_MQ) | BIT(VIRTIO_BLK_F_CONFIG_WCE) |        \
	 BIT(VHOST_USER_F_PROTOCOL_FEATURES) | BIT(VIRTIO_F_RING_PACKED))

/* What the back end does wrong, and at which request. */
enum lie {
	HONEST,
	CLOSE,	       /* hangs up instead of answering */
	SILENT,	       /* says nothing */
	CUT,	       /* hangs up in the middle of the answer */
	DRIBBLE,       /* is only slow: one byte at a time */
	OTHER_REQUEST, /* answers something else */
	NOT_A_REPLY,   /* flag missing */
	OTHER_VERSION,
	HUGE_SIZE,
	SHORT_SIZE,
	VALUE,	       /* answers back_end.value */
	CONFIG_OFFSET, /* GET_CONFIG: of another part of config space */
	CONFIG_LEN,    /* ... with another length inside */
	CONFIG_FIELD,  /* ... with 32 bits changed: value at offset */
	TWICE,	       /* answers twice */
	WITH_FD,       /* file descriptors come along */
	LATE,	       /* at a reset, each of the two answers takes long */
};

extern struct back_end {
	char path[64];
	int listener;
	pthread_t thread;
	atomic_int nr_connections;
	atomic_int nr_enabled;
	atomic_int stop;
	/* the lie is told in the answer to request @at */
	_Atomic enum lie lie;
	atomic_uint at;
	atomic_ullong value;
	atomic_uint offset;
	atomic_ullong capacity;
	/* the ring: do @quota requests, from the end of what is there, then hang up; -1: all */
	atomic_int quota;
	atomic_uint base;
	/* private to the thread */
	int sock, kick, call;
	uint64_t len[2], gpa[2];
	uint8_t *map[2];
	uint64_t desc, avail, used;
	uint32_t size;
	uint16_t next;
	/* who waits for a LATE one; the test sets it before the driver starts */
	struct vhost_user *_Atomic front;
} back_end;
static struct back_end *const b = &back_end;

/* Honest, of SECTORS, with a path of its own. */
void back_end_start(void);
void back_end_stop(void);

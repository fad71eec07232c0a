/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vhost_user_ring.h - which requests a vhost-user back end has and has not answered. Inside of
 * virtio/vhost_user*.c.
 *
 * A back end that dies takes its requests with it, and may have answered them in any order; its
 * successor only knows where the used ring ends. So the rings are followed from outside: each look
 * notes the heads that appeared in either of them. When a successor comes, exactly as many entries
 * of the available ring lie behind the used index as there are requests without an answer, and
 * these heads are written there: it begins at the used index and finds each of them once. Drivers
 * never read what they wrote to the available ring.
 *
 * Guest and back end write these rings while we look. What they write decides only what their own
 * disk does next: counts are bounded, a head is an index into our own table.
 * The device's lock is held. virtio 1.2: 2.7.6, 2.7.8.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "virtio/queue.h"

struct vhost_user_ring {
	uint16_t avail; /* indexes up to which we have looked */
	uint16_t used;
	bool lost;		 /* more went by between two looks than a ring holds */
	uint8_t nr[VQ_SIZE_MAX]; /* by head: how often available and not used; 0 or 1 */
};

/* vhost_user_ring_look - note what has happened. After each interrupt, and when a back end dies. */
void vhost_user_ring_look(struct vhost_user_ring *r, const struct vq *vq);

/*
 * vhost_user_ring_rewind - the back end is gone: make everything without an answer available again.
 * The index at which its successor begins, or -EBADMSG when that is not known.
 */
int vhost_user_ring_rewind(struct vhost_user_ring *r, const struct vq *vq);

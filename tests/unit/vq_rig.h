/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vq_rig.h - one queue on virtio_rig, without a device. Every test of a suite with these two
 * functions begins with 16 descriptors, indirect tables allowed and no event index.
 */
#pragma once

#include <criterion/criterion.h>

#include "tests/unit/virtio_rig.h"

extern struct rig vq_rig;
static struct rig *const r = &vq_rig;
extern struct vq vq;
extern struct vq_chain chain; /* what was popped last */

void vq_rig_setup(void);
void vq_rig_teardown(void);

/* Where the rig has its ring, with indirect tables. */
struct vq_ring ring_of(uint32_t size);

/* Another ring in its place. */
void start(uint32_t size, bool indirect, bool event_idx);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * net_rig.h - an interface on virtio_rig: its other end is a socket pair, where each message is a
 * header and a frame. Every test of a suite with these two functions begins with a driver that has
 * accepted all features, rings of 256 and no buffers.
 */
#pragma once

#include <criterion/criterion.h>

#include "tests/unit/virtio_rig.h"
#include "virtio/net_device.h"

#define ALL    UINT64_MAX
#define BIT(n) (1ULL << (n))
#define GSO                                                                                        \
	(BIT(VIRTIO_NET_F_GUEST_TSO4) | BIT(VIRTIO_NET_F_GUEST_TSO6) |                             \
	 BIT(VIRTIO_NET_F_GUEST_UFO) | BIT(VIRTIO_NET_F_GUEST_USO4) |                              \
	 BIT(VIRTIO_NET_F_GUEST_USO6))

extern struct rig net_rig;
static struct rig *const r = &net_rig;
extern struct net *net;
extern int sock[2]; /* 0: the device's, 1: the wire */
extern const uint8_t mac[6];
extern uint8_t frame[NET_RX_MAX + 64]; /* header and frame that are sent, in either direction */
extern uint8_t got[NET_RX_MAX + 64];   /* what received() found */
extern uint16_t tx_head;	       /* the next free descriptor; to be 0 after rig_boot() */

void net_rig_setup(void);
void net_rig_teardown(void);

/* An interface in place of none or of one that was destroyed. */
void net_rig_interface(int fd, enum net_backend backend);

static inline const struct net_metrics *m(void)
{
	return net_metrics(net);
}

/* Offer and kick one frame of @len bytes with the header in frame[0..11], in @nr descriptors. */
void send_frame(uint32_t len, uint16_t nr);

/* What arrived on the wire: its length, 0 when nothing did. */
size_t wire(uint8_t *buf, size_t len);

/* Offer @nr receive buffers of @len bytes from descriptor @first on, without a kick. */
void offer_rx(uint16_t first, uint16_t nr, uint32_t len);
void kick_rx(void);

/* The wire sends the header and @len bytes of the frame. */
void from_wire(uint32_t len);

/*
 * Take one frame out of the used ring: its length without header, 0 when there is none; *nr_bufs
 * gets num_buffers. The content must be what the wire sent.
 */
uint32_t received(uint32_t buf_len, uint32_t *nr_bufs);

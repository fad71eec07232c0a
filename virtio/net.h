/* SPDX-License-Identifier: Apache-2.0 */
/*
 * net.h - virtio-net on a tap, on a stream socket (passt), or on datagrams, which tests use.
 *
 * Created and destroyed on the loop thread while the machine is built or torn down; runs as
 * virtio.h says. Frames go between these and guest RAM without a copy in mote.
 * virtio 1.2, 5.1.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "virtio/virtio.h"

/* Segmented UDP, which headers of a kernel before 6.2 do not know. */
#ifndef VIRTIO_NET_F_HOST_USO
#define VIRTIO_NET_F_GUEST_USO4	  54
#define VIRTIO_NET_F_GUEST_USO6	  55
#define VIRTIO_NET_F_HOST_USO	  56
#define VIRTIO_NET_HDR_GSO_UDP_L4 5
#endif
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

struct net;

/* Named as in the metrics output, group net_<iface id>; the rest of that group is in .virtio */
struct net_metrics {
	metric_t no_rx_avail_buffer;
	metric_t no_tx_avail_buffer;
	metric_t rx_queue_event_count;
	metric_t rx_event_rate_limiter_count;
	metric_t rx_rate_limiter_throttled;
	metric_t rx_tap_event_count;
	metric_t rx_bytes_count;
	metric_t rx_packets_count;
	metric_t rx_fails; /* frames dropped: runt, or larger than the buffers of the guest */
	metric_t rx_count; /* successful reads of the tap */
	metric_t tap_read_fails;
	metric_t tap_write_fails;
	metric_t tx_bytes_count;
	metric_t tx_malformed_frames; /* runt, oversize, or a header that does not fit the frame */
	metric_t tx_fails;
	metric_t tx_count; /* successful writes to the tap */
	metric_t tx_packets_count;
	metric_t tx_queue_event_count;
	metric_t tx_rate_limiter_event_count;
	metric_t tx_rate_limiter_throttled;
	metric_t tx_spoofed_mac_count;
	metric_t tx_remaining_reqs_count;
	struct virtio_agg tap_write_agg;
};

enum net_backend {
	NET_TAP,    /* from tap_open */
	NET_DGRAM,  /* each message is a 12-byte virtio-net header and a frame; no offload ioctl */
	NET_STREAM, /* from net_stream_open: no offloads, link status */
};

/* The most queue pairs of an interface, as many as a disk has queues. */
#define NET_PAIRS_MAX 4

struct net_params {
	const char *id;	       /* interface id, for log lines */
	int fd[NET_PAIRS_MAX]; /* non-blocking; not owned, open until net_destroy */
	unsigned int nr_pairs; /* of fd, and of queues; 0 is 1; more than 1 only for NET_TAP */
	const char *path;      /* of NET_STREAM, to find its peer again; copied */
	enum net_backend backend;
	bool vhost; /* the kernel moves the frames; only for NET_TAP, without limits */
	bool has_mac;
	uint8_t mac[6];
	bool has_mtu;
	uint16_t mtu; /* 68..65535 */
};

/*
 * net_create - an interface. On success *out is owned by the caller. Errors: ENOMEM, errno of
 * eventfd or epoll_ctl.
 */
int net_create(struct net **out, const struct net_params *params, const struct virtio_host *host,
	       struct err *e);

/* net_destroy - close everything. No vCPU runs any more. NULL is allowed. */
void net_destroy(struct net *net);

/* net_virtio - what to put on the bus. */
struct virtio_dev *net_virtio(struct net *net);

/* net_metrics - any thread. */
struct net_metrics *net_metrics(struct net *net);

/*
 * tap_open - attach to an existing, persistent tap: IFF_TAP | IFF_NO_PI | IFF_VNET_HDR, 12-byte
 * header, non-blocking, close-on-exec; with @multi to another queue of a tap that has several.
 * Returns the fd, owned by the caller, or -errno with a sentence that names the interface and what
 * to do: ENODEV (does not exist), EINVAL (other flags, or not a tap, or a bad name), EPERM, EBUSY,
 * E2BIG (no more queues).
 */
int tap_open(const char *name, bool multi, struct err *e);

/* tap_set_queue - whether the tap gives frames to this queue. 0 or -errno. Loop thread. */
int tap_set_queue(int fd, bool on);

/*
 * tap_adopt - check and prepare a tap that another process opened, as tap_open would have. @fd
 * stays the caller's. 0 or -errno with a sentence: EBADF, EINVAL (not a tap, or without
 * virtio-net headers).
 */
int tap_adopt(int fd, struct err *e);

/*
 * net_stream_open - connect to passt's socket. Returns the fd, owned by the caller, or -errno with
 * a sentence: EINVAL (path too long), or those of socket and connect.
 */
int net_stream_open(const char *path, struct err *e);

/*
 * net_vhost_open - open /dev/vhost-net with @flags: O_RDWR, or O_PATH to know whether it is there.
 * Returns the fd, owned by the caller, or -errno with a sentence that says what to do.
 */
int net_vhost_open(int flags, struct err *e);

/*
 * tap_set_offload - what the tap may leave to the guest, from the accepted GUEST_* feature bits.
 * 0 or -errno. Loop thread.
 */
int tap_set_offload(int fd, uint64_t features);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * net_device.h - the state of an interface, shared by net*.c only.
 *
 * Loop thread, except activate and reset (virtio.h).
 */
#pragma once

#include <linux/virtio_net.h>

#include <sys/un.h>

#include "virtio/net.h"

#define NET_RX 0 /* 5.1.2: receiveq1; its limits are those of all receive queues */
#define NET_TX 1 /* transmitq1; likewise */

#define NET_HDR_LEN   ((uint32_t)sizeof(struct virtio_net_hdr_v1))
#define NET_FRAME_MIN 14u		  /* an Ethernet header */
#define NET_FRAME_MAX (65535u + 14u + 4u) /* a full IP packet, Ethernet header, VLAN tag */
#define NET_RX_MAX    (NET_HDR_LEN + NET_FRAME_MAX)

/* Work per event and direction, for the reason of BLK_BYTES_PER_EVENT. */
#define NET_FRAMES_PER_EVENT 64
#define NET_BYTES_PER_EVENT  (1u << 20)

/*
 * A guest only wants to hear of frames that were sent to free them, which drivers also do when a
 * frame arrives. So it is told late: usually it has seen it by then and wants no interrupt. But it
 * may wait for it: a UDP sender when its socket holds some 90 frames, or three of 64 KiB, that are
 * not freed.
 */
#define NET_TX_QUIET_MAX   32
#define NET_TX_QUIET_BYTES (128u << 10)
#define NET_TX_QUIET_US	   200

/*
 * Receive buffers are popped before a frame comes, because the kernel cannot tell its size. 43 of
 * 1.5 KiB hold the largest frame; with two full chains of iovecs there is always room for one more.
 */
#define NET_RX_BUFS VQ_SIZE_MAX
#define NET_RX_IOVS (2 * VQ_SIZE_MAX)

/* iovecs of one read from a stream; a frame of more pieces takes another. */
#define STREAM_IOVS 64

/* What a stream socket needs beside a tap; see net_stream.c. */
struct net_stream {
	struct timer retry; /* while the link is down */
	uint32_t delay_us;  /* to the next attempt */
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];

	/* The frame that is being received. */
	uint32_t len_raw; /* big endian */
	uint32_t nr_len;  /* bytes of len_raw that are here */
	bool known;	  /* len is valid */
	bool skip;	  /* nobody wants it */
	uint32_t len;
	uint32_t got;

	/* What the socket did not take yet. */
	uint32_t tx_done;
	uint32_t tx_len;

	struct iovec iov[STREAM_IOVS + 1];
	uint8_t waste[4096];
	uint8_t tx[sizeof(uint32_t) + NET_FRAME_MAX];
};

/* What the kernel's vhost-net needs beside a tap; see net_vhost.c. */
struct net_vhost {
	bool on;	       /* this interface has it */
	bool live;	       /* the kernel may work on the rings */
	struct watch broken;   /* fd: an eventfd by which the kernel complains, owned */
	int fd[NET_PAIRS_MAX]; /* of /dev/vhost-net, one for each pair; owned */
};

/* A queue pair, and the queue of the tap that belongs to it. */
struct net_pair {
	struct net *net;
	unsigned int rx, tx; /* the numbers of its queues */
	struct watch tap;    /* fd is not owned */
	bool detached;	     /* the tap gives this queue nothing */

	bool rx_roomy; /* the guest once offered room for NET_RX_MAX */
	uint32_t nr_rx;
	uint32_t nr_rx_iov;
	uint32_t rx_len; /* sum over rx_buf */
	uint32_t held;	 /* bytes of a frame with header that lies in the first buffers; 0: none */
	struct vq_buf rx_buf[NET_RX_BUFS]; /* popped; of a longer one the first NET_RX_MAX bytes */
	/* The bytes of all, in order; and one for what did not fit. */
	struct iovec rx_iov[NET_RX_IOVS + 1];

	/* Whether to look for answers after sending. */
	uint8_t nr_looks_off; /* times to leave it */
	uint8_t nr_misses;    /* how many it was after the last look, which found nothing */

	struct timer tx_sent;	 /* ends the quiet about frames that were sent */
	bool tx_quiet;		 /* it is armed */
	uint64_t tx_quiet_bytes; /* of frames since the last virtio_signal */
};

struct net {
	struct virtio_dev dev;
	struct net_metrics metrics;
	enum net_backend backend;
	struct net_stream *stream; /* of NET_STREAM; owned */
	struct net_vhost vhost;
	bool stale; /* the tap does not yet know what this driver accepted */
	bool has_mac;

	bool waits[2];		/* by NET_RX, NET_TX: a pair found the limits closed */
	unsigned int turn;	/* the pair that goes first when they open */
	unsigned int nr_active; /* pairs that the driver uses, 1..nr_pairs */
	unsigned int nr_pairs;

	struct iovec tx_iov[VQ_SIZE_MAX + 1]; /* one more for the copied headers */
	struct vq_chain chain;
	struct net_pair pair[];
};

/*
 * net_admit - whether a frame of @nr_bytes may pass in direction @dir, NET_RX or NET_TX, as
 * virtio_admit. Nobody may while another pair waits.
 */
bool net_admit(struct net *net, unsigned int dir, uint64_t nr_bytes);

/*
 * net_use_pairs - use the first @nr pairs, 1..nr_pairs, and tell the tap. Frames that wait in
 * queues of the tap that are not used any more are lost. 0 or -errno.
 */
int net_use_pairs(struct net *net, unsigned int nr);

/* net_ctrl_work - commands of the driver. Returns as virtio_class.queue_work. */
int net_ctrl_work(struct net *net, unsigned int q);

/* net_watch_tap - whether frames from the tap, or from what stands for it, wake us. */
void net_watch_tap(struct net_pair *p, bool on);

/*
 * net_rx_work - tap to guest, until either has nothing left, the limits allow no more or the budget
 * is spent. 0 or -EBADMSG. The tap is watched afterwards exactly if a frame could be passed on.
 */
int net_rx_work(struct net_pair *p);

/* net_rx_reset - forget the buffers that were popped. */
void net_rx_reset(struct net_pair *p);

/*
 * net_tx_work - guest to tap, a bounded number of frames; net_signal is to follow.
 * Returns as virtio_class.queue_work.
 */
int net_tx_work(struct net_pair *p);

/*
 * net_signal - tell the driver what was received, and with the same interrupt what was sent; of
 * that alone it hears late. 0 or -EBADMSG.
 */
int net_signal(struct net_pair *p);

/* net_tx_sent - the timer of that name fired. */
void net_tx_sent(void *ctx);

/*
 * net_stream_init, net_stream_fini - the part of net_create and net_destroy; net->stream is zeroed
 * storage. Errors: as timer_init.
 */
int net_stream_init(struct net *net, const char *path, struct err *e);
void net_stream_fini(struct net *net);

/* net_stream_reset - the receive buffers have gone. */
void net_stream_reset(struct net *net);

/*
 * net_stream_read - one read of the stream into the buffers that were popped, which are not none.
 * Returns the bytes, net->held is then set if a frame is complete; -EAGAIN or -EINTR.
 */
ssize_t net_stream_read(struct net *net);

/*
 * net_stream_write - send what @iov describes: the length and then the frame. 0: it is on its way;
 * negative: it is lost. Nothing may be written before net_stream_flush says so.
 */
int net_stream_write(struct net *net, const struct iovec *iov, size_t nr);

/* net_stream_flush - whether everything is sent; otherwise EPOLLOUT will tell. */
bool net_stream_flush(struct net *net);

/*
 * net_vhost_init, net_vhost_fini - the part of net_create and net_destroy, when the pairs are
 * there. Errors: those of net_vhost_open, eventfd, epoll_ctl and ioctl; fini is then still due.
 */
int net_vhost_init(struct net *net, struct err *e);
void net_vhost_fini(struct net *net);

/*
 * net_vhost_start - the kernel takes over all rings that are ready. 0, or -errno and it has none.
 */
int net_vhost_start(struct net *net);

/*
 * net_vhost_stop - take the rings back: afterwards the kernel touches neither them nor buffers. Any
 * thread with the lock held.
 */
void net_vhost_stop(struct net *net);

/* net_stream_lost - the peer has gone or lies: link down, and try to find it again. */
void net_stream_lost(struct net *net, const char *why);

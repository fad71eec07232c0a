/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vhost_user_msg.h - one vhost-user message, and how it travels. Inside of virtio/vhost_user*.c.
 *
 * The other side may send anything at any time: a message is taken byte by byte into a buffer of
 * fixed size, its header is judged before its payload is read, and file descriptors that come along
 * are never accepted. Nothing here waits.
 * QEMU docs/interop/vhost-user.rst: "Message Specification", "Front-end message types".
 */
#pragma once

#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"

/* "Front-end message types" */
enum vhost_user_request {
	VHOST_USER_GET_FEATURES = 1,
	VHOST_USER_SET_FEATURES = 2,
	VHOST_USER_SET_OWNER = 3,
	VHOST_USER_SET_MEM_TABLE = 5,
	VHOST_USER_SET_VRING_NUM = 8,
	VHOST_USER_SET_VRING_ADDR = 9,
	VHOST_USER_SET_VRING_BASE = 10,
	VHOST_USER_GET_VRING_BASE = 11,
	VHOST_USER_SET_VRING_KICK = 12,
	VHOST_USER_SET_VRING_CALL = 13,
	VHOST_USER_GET_PROTOCOL_FEATURES = 15,
	VHOST_USER_SET_PROTOCOL_FEATURES = 16,
	VHOST_USER_SET_VRING_ENABLE = 18,
	VHOST_USER_GET_CONFIG = 24,
};

/* "Header": version in the two lowest bits */
#define VHOST_USER_VERSION    0x1u
#define VHOST_USER_REPLY      0x4u
#define VHOST_USER_NEED_REPLY 0x8u

/* Device and protocol features, bit numbers */
#define VHOST_USER_F_PROTOCOL_FEATURES	30
#define VHOST_USER_PROTOCOL_F_REPLY_ACK 3
#define VHOST_USER_PROTOCOL_F_CONFIG	9

/* struct virtio_blk_config up to its zoned part; what every back end knows */
#define VHOST_USER_CONFIG_LEN 60

struct vhost_user_region {
	uint64_t gpa;
	uint64_t len;
	uint64_t user; /* by which the other messages name it; ours is the guest address */
	uint64_t offset;
};

/* Header and the payloads we use, in the machine's byte order ("Communication"). */
struct vhost_user_msg {
	uint32_t request;
	uint32_t flags;
	uint32_t size; /* of the payload */
	uint32_t pad;  /* not on the wire */
	union {
		uint64_t u64;
		struct {
			uint32_t index;
			uint32_t num;
		} vring;
		struct {
			uint32_t index;
			uint32_t flags;
			uint64_t desc, used, avail, log;
		} addr;
		struct {
			uint32_t nr;
			uint32_t pad;
			struct vhost_user_region region[MEM_REGIONS_MAX];
		} mem;
		struct {
			uint32_t offset;
			uint32_t size;
			uint32_t flags;
			uint8_t bytes[VHOST_USER_CONFIG_LEN];
		} config;
	};
};

/* vhost_user_connect - to the socket at @path. An fd that the caller owns, or -errno. */
int vhost_user_connect(const char *path, struct err *e);

/*
 * vhost_user_send - send @m with @nr copies of @fd (a region of memory each takes one). 0 or
 * -errno; -EAGAIN: the other side has not read for long.
 */
int vhost_user_send(int sock, const struct vhost_user_msg *m, int fd, unsigned int nr);

/*
 * vhost_user_receive - read once, into @m at @*got (0 to begin a message). 1: the message is
 * complete and *got 0 again; 0: not yet; -EPIPE: closed; -EBADMSG: not a reply we could have asked
 * for; other -errno.
 */
int vhost_user_receive(int sock, struct vhost_user_msg *m, uint32_t *got);

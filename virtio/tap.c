/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tap.c - Linux tap interfaces as the other end of virtio-net; see net.h.
 *
 * Loop thread. Linux Documentation/networking/tuntap.rst; virtio 1.2, 5.1.6 for the header.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/fd.h"
#include "virtio/net.h"

#define BIT(n) (UINT64_C(1) << (n))

/* What TUNSETIFF refused, in words that say what to do. */
static int tap_refused(const char *name, bool multi, int errnum, struct err *e)
{
	const char *why;

	switch (errnum) {
	case EINVAL: /* the flags of the existing interface are not ours */
		why = multi ? "it must be a tap of several queues, made with `ip tuntap add NAME "
			      "mode tap multi_queue`" :
			      "it must be a single-queue tap, made with `ip tuntap add NAME mode "
			      "tap`";
		break;
	case EPERM:
		why = "give it to this user with `ip tuntap add NAME mode tap user USER`";
		break;
	case EBUSY:
		why = "another process is using it";
		break;
	default:
		why = "it cannot be attached";
	}
	return err_set(e, errnum, "Invalid TUN/TAP Backend provided by %s; %s", name, why);
}

/* The header that virtio 1 has in front of each frame. */
static int set_header(int fd)
{
	int header = sizeof(struct virtio_net_hdr_v1);

	return ioctl(fd, TUNSETVNETHDRSZ, &header);
}

static int tap_attach(int fd, const char *name, bool multi, struct err *e)
{
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };

	if (multi)
		ifr.ifr_flags |= IFF_MULTI_QUEUE;

	memcpy(ifr.ifr_name, name, strlen(name));
	if (ioctl(fd, TUNSETIFF, &ifr) < 0)
		return tap_refused(name, multi, errno, e);
	/*
	 * With enough rights the kernel makes an interface that did not exist: a typing error would
	 * start a VM without a network. Ours is then not persistent, and goes when we close it.
	 */
	if (fd_ioctl(fd, TUNGETIFF, &ifr) < 0)
		return err_set(e, errno, "flags of %s", name);
	if (!(ifr.ifr_flags & IFF_PERSIST))
		return err_set(e, ENODEV,
			       "Invalid TUN/TAP Backend provided by %s; "
			       "make it with `ip tuntap add %s mode tap`",
			       name, name);
	if (set_header(fd) < 0)
		return err_set(e, errno, "header size of %s", name);
	return 0;
}

int tap_open(const char *name, bool multi, struct err *e)
{
	size_t len = strlen(name);
	int fd, ret;

	/* An empty name would make the kernel choose one, a long one would name another tap. */
	if (len == 0 || len >= IFNAMSIZ)
		return err_set(e, EINVAL, "\"%s\" must have 1 to %d characters", name,
			       IFNAMSIZ - 1);
	/* "%d" in a name makes the kernel choose a number. */
	if (strchr(name, '%'))
		return err_set(e, EINVAL, "\"%s\" names no interface", name);
	fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return err_set(e, errno, "open /dev/net/tun");
	ret = tap_attach(fd, name, multi, e);
	if (ret) {
		fd_close(&fd);
		return ret;
	}
	return fd;
}

int tap_adopt(int fd, struct err *e)
{
	static const int want = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
	struct ifreq ifr = { .ifr_flags = 0 };
	int ret;

	if (fd_ioctl(fd, TUNGETIFF, &ifr) < 0)
		return err_set(e, errno, "it is no open TAP");
	if ((ifr.ifr_flags & want) != want)
		return err_set(
			e, 0, "open it with IFF_TAP | IFF_NO_PI | IFF_VNET_HDR: its flags are 0x%x",
			(unsigned int)(uint16_t)ifr.ifr_flags);
	ret = fd_set_nonblock(fd, 1);
	if (!ret && (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 || set_header(fd) < 0))
		ret = -errno;
	return ret ? err_set(e, -ret, "it cannot be prepared") : 0;
}

int tap_set_queue(int fd, bool on)
{
	struct ifreq ifr = { .ifr_flags = on ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE };

	return ioctl(fd, TUNSETQUEUE, &ifr) < 0 ? -errno : 0;
}

int tap_set_offload(int fd, uint64_t features)
{
	/* VIRTIO_NET_F_GUEST_*: what the guest takes in, so what the tap may leave undone. */
	static const struct {
		uint64_t feature;
		unsigned int flag;
	} row[] = {
		{ BIT(VIRTIO_NET_F_GUEST_CSUM), TUN_F_CSUM },
		{ BIT(VIRTIO_NET_F_GUEST_TSO4), TUN_F_TSO4 },
		{ BIT(VIRTIO_NET_F_GUEST_TSO6), TUN_F_TSO6 },
		{ BIT(VIRTIO_NET_F_GUEST_UFO), TUN_F_UFO },
	};
	static const uint64_t uso = BIT(VIRTIO_NET_F_GUEST_USO4) | BIT(VIRTIO_NET_F_GUEST_USO6);
	unsigned int flags = 0;

	/* Kernels take both or none. */
	if ((features & uso) == uso)
		flags = TUN_F_USO4 | TUN_F_USO6;
	for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++)
		if (features & row[i].feature)
			flags |= row[i].flag;
	return ioctl(fd, TUNSETOFFLOAD, (unsigned long)flags) < 0 ? -errno : 0;
}

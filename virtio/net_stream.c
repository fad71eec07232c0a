/* SPDX-License-Identifier: Apache-2.0 */
/*
 * net_stream.c - frames over a stream socket, as passt speaks it: each is its length, 32 bits in
 * network byte order, and then the frame, without a virtio-net header. So there are no offloads.
 *
 * Received bytes go straight into the guest's buffers; the length of the next frame comes with the
 * end of this one, so a frame costs one system call. Only what the socket does not take at once is
 * copied. The peer is not trusted: whatever it does costs this interface its link, until a timer
 * finds the peer again. Loop thread with the device's lock held; net_stream_reset also vCPU
 * threads.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_net.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/byteorder.h"
#include "base/fd.h"
#include "base/log.h"
#include "virtio/net_device.h"

/* Between attempts to find the peer again; doubled each time, so that a dead one costs nothing. */
#define RETRY_MIN_US 100000u
#define RETRY_MAX_US 6400000u

static int stream_socket(void)
{
	return socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

static int stream_connect(int fd, const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	memcpy(a.sun_path, path, strlen(path));
	return connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0 ? -errno : 0;
}

int net_stream_open(const char *path, struct err *e)
{
	int fd, ret;

	if (!*path || strlen(path) >= sizeof(((struct sockaddr_un *)0)->sun_path))
		return err_set(e, EINVAL, "a socket's path has 1 to %zu bytes",
			       sizeof(((struct sockaddr_un *)0)->sun_path) - 1);
	fd = stream_socket();
	if (fd < 0)
		return err_set(e, errno, "socket");
	ret = stream_connect(fd, path);
	if (ret) {
		fd_close(&fd);
		return err_set(e, -ret, "connect to %s; start passt first", path);
	}
	return fd;
}

static void set_link(struct net *net, bool up)
{
	le16_put(net->dev.config + offsetof(struct virtio_net_config, status),
		 up ? VIRTIO_NET_S_LINK_UP : 0);
	virtio_config_changed(&net->dev);
}

void net_stream_lost(struct net *net, const char *why)
{
	struct net_stream *s = net->stream;
	int fd;

	metric_inc(&net->metrics.tap_read_fails);
	log_guest("%s: lost %s: %s", net->dev.name, s->path, why);
	loop_del(net->dev.host.loop, &net->pair[0].tap);
	/*
	 * A socket connects once. Another takes its number, which the configuration knows; that
	 * also tells the peer.
	 */
	fd = stream_socket();
	if (fd >= 0) {
		dup3(fd, net->pair[0].tap.fd, O_CLOEXEC);
		fd_close(&fd);
	}
	s->nr_len = 0;
	s->known = false;
	s->tx_done = s->tx_len;
	net->pair[0].held = 0;
	set_link(net, false);
	timer_arm(&s->retry, s->delay_us);
	if (s->delay_us < RETRY_MAX_US)
		s->delay_us *= 2;
}

static void retry(void *ctx)
{
	struct net *net = ctx;
	struct net_stream *s = net->stream;

	net->pair[0].tap.events = EPOLLIN;
	if (stream_connect(net->pair[0].tap.fd, s->path) ||
	    loop_add(net->dev.host.loop, &net->pair[0].tap, NULL)) {
		timer_arm(&s->retry, s->delay_us);
		if (s->delay_us < RETRY_MAX_US)
			s->delay_us *= 2;
		return;
	}
	log_guest_info("%s: connected to %s again", net->dev.name, s->path);
	set_link(net, true);
}

int net_stream_init(struct net *net, const char *path, struct err *e)
{
	struct net_stream *s = net->stream;

	assert(strlen(path) < sizeof(s->path));
	memcpy(s->path, path, strlen(path));
	s->delay_us = RETRY_MIN_US;
	s->retry.watch.fd = -1;
	le16_put(net->dev.config + offsetof(struct virtio_net_config, status),
		 VIRTIO_NET_S_LINK_UP);
	return timer_init(&s->retry, net->dev.host.loop, retry, net, net->dev.host.lock, e);
}

void net_stream_fini(struct net *net)
{
	timer_fini(&net->stream->retry, net->dev.host.loop);
}

void net_stream_reset(struct net *net)
{
	/* The buffers of a frame that is half here have gone. */
	net->stream->skip = true;
}

/* The length of the next frame is here: judge it. False: the peer does not speak our language. */
static bool frame_starts(struct net *net)
{
	struct net_stream *s = net->stream;

	s->len = be32toh(s->len_raw);
	if (s->len > NET_FRAME_MAX)
		return false;
	s->known = true;
	s->got = 0;
	s->skip = s->len < NET_FRAME_MIN || NET_HDR_LEN + s->len > net->pair[0].rx_len;
	if (s->skip)
		metric_inc(&net->metrics.rx_fails);
	return true;
}

/* Where the rest of this frame shall go, in s->iov. Returns the bytes there. */
static uint32_t frame_rest(struct net *net, int *nr)
{
	struct net_stream *s = net->stream;
	uint32_t left = s->len - s->got, skip = NET_HDR_LEN + s->got, sum = 0;

	if (s->skip) {
		s->iov[0] = (struct iovec){
			.iov_base = s->waste,
			.iov_len = left < sizeof(s->waste) ? left : sizeof(s->waste),
		};
		*nr = 1;
		return (uint32_t)s->iov[0].iov_len;
	}
	*nr = 0;
	for (const struct iovec *v = net->pair[0].rx_iov; sum < left && *nr < STREAM_IOVS; v++) {
		size_t len = v->iov_len;

		if (skip >= len) {
			skip -= (uint32_t)len;
			continue;
		}
		len -= skip;
		if (len > left - sum)
			len = left - sum;
		s->iov[(*nr)++] = (struct iovec){ (char *)v->iov_base + skip, len };
		skip = 0;
		sum += (uint32_t)len;
	}
	return sum;
}

ssize_t net_stream_read(struct net *net)
{
	struct net_stream *s = net->stream;
	uint32_t rest = 0, take;
	int nr = 0;
	ssize_t n;

	if (s->nr_len == sizeof(s->len_raw) && !s->known && !frame_starts(net)) {
		net_stream_lost(net, "a frame longer than any");
		return -EAGAIN;
	}
	if (s->known)
		rest = frame_rest(net, &nr);
	if (!s->known || s->got + rest == s->len) {
		uint32_t have = s->known ? 0 : s->nr_len;

		s->iov[nr++] =
			(struct iovec){ (char *)&s->len_raw + have, sizeof(s->len_raw) - have };
	}
	n = readv(net->pair[0].tap.fd, s->iov, nr);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return -errno;
	if (n <= 0) {
		net_stream_lost(net, n ? strerror(errno) : "it closed the connection");
		return -EAGAIN;
	}
	s->delay_us = RETRY_MIN_US;
	take = (uint32_t)n < rest ? (uint32_t)n : rest;
	if (!s->known) {
		s->nr_len += (uint32_t)n;
		return n;
	}
	s->got += take;
	if (s->got < s->len)
		return n;
	s->known = false;
	s->nr_len = (uint32_t)n - take;
	if (!s->skip) {
		metric_inc(&net->metrics.rx_count);
		net->pair[0].held = NET_HDR_LEN + s->len;
	}
	return n;
}

bool net_stream_flush(struct net *net)
{
	struct net_stream *s = net->stream;
	ssize_t n;

	while (s->tx_done < s->tx_len) {
		n = write(net->pair[0].tap.fd, s->tx + s->tx_done, s->tx_len - s->tx_done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			loop_mod(net->dev.host.loop, &net->pair[0].tap,
				 net->pair[0].tap.events | EPOLLOUT);
			return false;
		}
		if (n < 0) {
			net_stream_lost(net, strerror(errno));
			break;
		}
		s->tx_done += (uint32_t)n;
	}
	if (net->pair[0].tap.added)
		loop_mod(net->dev.host.loop, &net->pair[0].tap,
			 net->pair[0].tap.events & ~(uint32_t)EPOLLOUT);
	return true;
}

int net_stream_write(struct net *net, const struct iovec *iov, size_t nr)
{
	struct net_stream *s = net->stream;
	ssize_t n;

	if (!net->pair[0].tap.added)
		return -ENOTCONN;
	do {
		n = writev(net->pair[0].tap.fd, iov, (int)nr);
	} while (n < 0 && errno == EINTR);
	if (n < 0 && errno != EAGAIN) {
		n = -errno;
		net_stream_lost(net, strerror(errno));
		return (int)n;
	}
	s->tx_len = 0;
	s->tx_done = n < 0 ? 0 : (uint32_t)n;
	for (size_t i = 0; i < nr; i++) {
		if (s->tx_done < s->tx_len + iov[i].iov_len)
			memcpy(s->tx + s->tx_len, iov[i].iov_base, iov[i].iov_len);
		s->tx_len += (uint32_t)iov[i].iov_len;
	}
	net_stream_flush(net);
	return 0;
}

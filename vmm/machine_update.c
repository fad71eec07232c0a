/* SPDX-License-Identifier: Apache-2.0 */
/*
 * machine_update.c - changes of a device's file and limits, when it is built and while it runs; see
 * machine.h. Loop thread; takes the device's lock, which keeps vCPU threads off its registers.
 */

#include "base/assert.h"
#include "base/fd.h"
#include "vmm/machine_arch.h"

/* Queues of a network device, as the guest sees them (virtio 1.2, 5.1.2). */
enum { QUEUE_RX, QUEUE_TX };

/* NULL when there is nothing to change. */
static const struct bucket_params *bucket(struct bucket_params *p, bool has,
					  const struct bucket_config *c)
{
	*p = (struct bucket_params){
		.size = c->size,
		.one_time_burst = c->one_time_burst,
		.refill_time_ms = c->refill_time_ms,
	};
	return has ? p : NULL;
}

static void limit(struct machine_device *d, unsigned int queue, const struct limiter_config *c)
{
	struct bucket_params bytes, ops;

	pthread_mutex_lock(&d->lock);
	virtio_set_limits(d->virtio, queue, bucket(&bytes, c->has_bandwidth, &c->bandwidth),
			  bucket(&ops, c->has_ops, &c->ops));
	pthread_mutex_unlock(&d->lock);
}

/* Devices were made in this order: all drives, then all interfaces. */
static struct machine_device *drive_device(struct machine *m, size_t drive)
{
	assert(drive < m->nr_devices && !m->device[drive].net);
	return &m->device[drive];
}

static struct machine_device *net_device(struct machine *m, size_t net)
{
	size_t i = m->config->nr_drives + net;

	assert(i < m->nr_devices && m->device[i].net);
	return &m->device[i];
}

int machine_set_drive_file(struct machine *m, size_t drive, const char *path, struct err *e)
{
	struct machine_device *d = drive_device(m, drive);
	int fd = config_open_drive(path, m->config->drive[drive].is_read_only, e);
	int ret;

	if (fd < 0) {
		metric_inc(&blk_metrics(d->blk)->update_fails);
		return fd;
	}
	pthread_mutex_lock(&d->lock);
	ret = blk_set_file(d->blk, fd, e);
	pthread_mutex_unlock(&d->lock);
	if (ret) {
		fd_close(&fd);
		return err_wrap(e, "Virtio backend error: Error manipulating the backing file");
	}
	return fd;
}

int machine_update_vhost(struct machine *m, size_t drive, struct err *e)
{
	struct machine_device *d = drive_device(m, drive);
	int ret;

	pthread_mutex_lock(&d->lock);
	ret = vhost_user_update(d->vhost, e);
	pthread_mutex_unlock(&d->lock);
	return ret ? err_wrap(e, "Vhost user backend error: Vhost-user error") : 0;
}

void machine_limit_drive(struct machine *m, size_t drive, const struct limiter_config *c)
{
	limit(drive_device(m, drive), 0, c);
}

void machine_limit_net(struct machine *m, size_t net, const struct limiter_config *rx,
		       const struct limiter_config *tx)
{
	struct machine_device *d = net_device(m, net);

	if (rx)
		limit(d, QUEUE_RX, rx);
	if (tx)
		limit(d, QUEUE_TX, tx);
}

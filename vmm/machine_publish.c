/* SPDX-License-Identifier: Apache-2.0 */
/*
 * machine_publish.c - tells the metrics what a machine counts. Loop thread, after machine_build.
 */
#include "vmm/machine_arch.h"
#include "vmm/metrics.h"

#define NR_METRICS(s) (sizeof(s) / sizeof(metric_t))

static void publish_device(struct machine *m, size_t i)
{
	const struct config *c = m->config;
	struct machine_device *d = &m->device[i];

	/* Devices were made in this order: all drives, then all interfaces. */
	if (d->blk)
		metrics_add_device(METRICS_BLOCK, c->drive[i].drive_id, &d->virtio->metrics,
				   &blk_metrics(d->blk)->no_avail_buffer,
				   NR_METRICS(struct blk_metrics));
	else if (d->vhost)
		metrics_add_device(METRICS_VHOST_USER, c->drive[i].drive_id, &d->virtio->metrics,
				   &vhost_user_metrics(d->vhost)->init_time_us,
				   NR_METRICS(struct vhost_user_metrics));
	else
		metrics_add_device(METRICS_NET, c->net[i - c->nr_drives].iface_id,
				   &d->virtio->metrics, &net_metrics(d->net)->no_rx_avail_buffer,
				   NR_METRICS(struct net_metrics));
}

void machine_publish(struct machine *m)
{
	size_t i;

	metrics_set_source(METRICS_VCPU, &m->vcpus.metrics.exit_io_in,
			   NR_METRICS(struct vcpu_metrics));
	metrics_set_source(METRICS_UART, &m->serial.metrics.error_count,
			   NR_METRICS(struct serial_metrics));
	arch_publish(m);
	for (i = 0; i < m->nr_devices; i++)
		publish_device(m, i);
}

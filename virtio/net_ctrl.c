/* SPDX-License-Identifier: Apache-2.0 */
/*
 * net_ctrl.c - the control queue: how many queue pairs the driver uses. Whatever else it asks for
 * was not offered and is answered with an error.
 *
 * Loop thread. virtio 1.2: 5.1.6.5, 5.1.6.5.5.
 */
#include <linux/virtio_net.h>

#include "base/byteorder.h"
#include "virtio/net_device.h"

/* Each may make the kernel wait for all its CPUs. */
#define COMMANDS_PER_EVENT 4

/* Whether the command that lies in net->chain was done. */
static bool command(struct net *net)
{
	struct virtio_net_ctrl_hdr hdr;
	uint8_t raw[2];
	uint16_t nr;

	if (vq_chain_pull(&net->chain, &hdr, sizeof(hdr)) || hdr.class != VIRTIO_NET_CTRL_MQ ||
	    hdr.cmd != VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET || !virtio_has(&net->dev, VIRTIO_NET_F_MQ) ||
	    vq_chain_pull(&net->chain, raw, sizeof(raw)))
		return false;
	nr = le16_get(raw);
	return nr >= 1 && nr <= net->nr_pairs && !net_use_pairs(net, nr);
}

int net_ctrl_work(struct net *net, unsigned int q)
{
	struct vq *vq = &net->dev.queue[q].vq;
	int ret = 1;

	vq_disable_kick(vq);
	for (int nr = 0; ret > 0 && nr < COMMANDS_PER_EVENT; nr++) {
		uint8_t ack;

		ret = vq_pop(vq, &net->chain);
		if (ret == 0 && vq_enable_kick(vq))
			ret = 1;
		else if (ret > 0 && !net->chain.writable_left)
			ret = vq_refuse(vq, "no room for the answer to a command");
		else if (ret > 0) {
			ack = command(net) ? VIRTIO_NET_OK : VIRTIO_NET_ERR;
			ret = vq_chain_push(&net->chain, &ack, 1);
			if (!ret)
				ret = vq_complete(vq, net->chain.head, 1);
			if (!ret)
				ret = 1;
		}
	}
	return virtio_signal(&net->dev, q) ? -EBADMSG : ret;
}

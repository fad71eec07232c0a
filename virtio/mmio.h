/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mmio.h - virtio over MMIO, version 2: a register window in front of any struct virtio_dev.
 *
 * vCPU threads, the device's lock held by the bus. virtio 1.2, 4.2.
 */
#pragma once

#include "base/bus.h"

struct virtio_dev;

/* Bytes of one device's window: registers below 0x100, then config space (4.2.2). */
#define VIRTIO_MMIO_LEN 0x1000

/*
 * virtio_mmio_bus_ops - dev is a struct virtio_dev *. bus_range.lock must be the lock that the
 * device was created with. Kicks: KVM_IOEVENTFD at offset VIRTIO_MMIO_QUEUE_NOTIFY
 * (linux/virtio_mmio.h), 4 bytes, datamatch = queue index, fd = virtio_kick_fd(); a write that
 * arrives here instead works as well.
 */
extern const struct bus_ops virtio_mmio_bus_ops;

/*
 * virtio_mmio_show_at - keep a copy of everything that can be read in @window (VIRTIO_MMIO_LEN
 * bytes, aligned to 4, not owned), so that a machine can let guests read that memory in place of
 * the registers; writes go on to arrive as accesses. Build time, after the device's create.
 */
void virtio_mmio_show_at(struct virtio_dev *dev, uint8_t *window);

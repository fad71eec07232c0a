/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_virtio_mmio.c - bytes become register accesses, guest memory, kicks and frames, against a
 * disk on a small memory file and an interface on a socket pair.
 *
 * The input is a program; some steps do what a good driver does, so that the others meet devices
 * that run. Verdicts beside the sanitizers: handlers come to an end, the file keeps its size.
 */
#include <linux/virtio_net.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/byteorder.h"
#include "tests/fuzz/input.h"
#include "tests/unit/virtio_rig.c" /* the Makefile links fuzz targets with the program only */
#include "virtio/blk.h"
#include "virtio/net_device.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define DISK_LEN 0x8000

/* Handler calls that the work of one input may need; more is a handler that never sleeps. */
#define CALLS_MAX 5000

static struct rig rig[2]; /* 0: disk, 1: interface */
static int disk_fd, sock[2];

static void create(void)
{
	struct blk_params bp = { .id = "disk", .writeback = true };
	struct net_params np = { .id = "eth0", .backend = NET_DGRAM, .has_mac = true };
	struct blk *blk;
	struct net *net;

	rig_init(&rig[0]);
	rig_init(&rig[1]);
	disk_fd = memfd_create("disk", MFD_CLOEXEC);
	MUST(ftruncate(disk_fd, DISK_LEN) == 0);
	MUST(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, sock) == 0);
	bp.fd = disk_fd;
	np.fd[0] = sock[0];
	MUST(blk_create(&blk, &bp, &rig[0].host, NULL) == 0);
	MUST(net_create(&net, &np, &rig[1].host, NULL) == 0);
	rig[0].dev = blk_virtio(blk);
	rig[1].dev = net_virtio(net);
	rig[1].tap = &net->pair[0].tap;
}

static void drain_wire(void)
{
	static uint8_t buf[NET_RX_MAX];

	while (recv(sock[1], buf, sizeof(buf), 0) >= 0)
		;
	while (recv(sock[0], buf, sizeof(buf), 0) >= 0)
		;
}

static void start_over(void)
{
	for (int i = 0; i < 2; i++) {
		rig[i].dev->status = 0;
		rig_write(&rig[i], VIRTIO_MMIO_STATUS, 0);
		MUST(mem_zero(rig[i].mem, GPA(0), 0x50000) == 0);
		MUST(mem_zero(rig[i].mem, GPA(RIG_SMALL), 0x1000) == 0);
		MUST(mem_zero(rig[i].mem, GPA(RIG_DATA), 0x10000) == 0);
		for (unsigned int q = 0; q < 2; q++)
			rig_ring(&rig[i].q[q], RIG_RING(q), 256);
		rig_run(&rig[i], CALLS_MAX);
		rig_irq(&rig[i], NULL);
	}
	drain_wire();
}

static void put_desc(struct rig *r, unsigned int q, struct input *in)
{
	static const uint64_t place[] = { RIG_SMALL, RIG_DATA, RIG_INDIRECT, RIG_RING(0) };
	uint8_t i = (uint8_t)take(in, 1), how = (uint8_t)take(in, 1);
	uint64_t addr = how & 0x80 ? take(in, 8) : place[how & 3] + take(in, 1);
	uint32_t len = (uint32_t)(how & 0x40 ? take(in, 4) :
				  how & 4    ? take(in, 1) * 256 :
					       take(in, 1));
	uint16_t next = (uint16_t)(how & 0x20 ? take(in, 2) : i + 1u);

	if (how & 8)
		rig_desc_at(r, RIG_INDIRECT, i, addr, len, (how >> 4) & 3, next);
	else
		rig_desc(r, q, i, addr, len,
			 (uint16_t)((how >> 4 & 3) | (how & 0x10 ? 0 : take(in, 1))), next);
}

static void poke(struct rig *r, struct input *in)
{
	uint64_t addr = take(in, 3);
	size_t n = (size_t)take(in, 1) & 63;

	if (n > in->len)
		n = in->len;
	if (mem_write(r->mem, GPA(addr & 0x1fffff), in->p, n) == 0) {
		in->p += n;
		in->len -= n;
	}
}

/* A register or config access of any width. */
static void touch(struct rig *r, struct input *in, bool write)
{
	static const size_t width[] = { 1, 2, 4, 8 };
	uint16_t offset = (uint16_t)take(in, 2) & 0xfff;
	size_t len = width[offset & 3];
	uint8_t raw[8];

	memset(raw, 0xff, sizeof(raw));
	offset = (uint16_t)(offset >> 2);
	if (offset + len > VIRTIO_MMIO_LEN)
		return;
	le64_put(raw, take(in, len));
	if (write)
		virtio_mmio_bus_ops.write(r->dev, offset, raw, len);
	else
		virtio_mmio_bus_ops.read(r->dev, offset, raw, len);
}

static void step(struct input *in)
{
	static uint8_t frame[NET_RX_MAX];
	uint8_t op = (uint8_t)take(in, 1);
	struct rig *r = &rig[op >> 7];
	unsigned int q = op >> 6 & 1;
	uint64_t v;

	switch (op & 15) {
	case 0:
		v = take(in, 1);
		rig_write(r, v & ~3ULL, (uint32_t)take(in, 4));
		break;
	case 1:
		touch(r, in, false);
		break;
	case 2:
		touch(r, in, true);
		break;
	case 3:
		poke(r, in);
		break;
	case 4:
	case 5:
		rig_kick(r, q);
		rig_run(r, 8);
		break;
	case 6: /* a good driver */
		v = take(in, 1);
		rig_boot(r, v & 1 ? UINT64_MAX : take(in, 8) | 1ULL << VIRTIO_F_VERSION_1,
			 1u << (v >> 1) % 9);
		break;
	case 7:
	case 8:
		put_desc(r, q, in);
		break;
	case 9:
	case 10:
		rig_offer(r, q, (uint16_t)take(in, 1));
		break;
	case 11:
		v = take(in, 2) % NET_RX_MAX;
		frame[0] = (uint8_t)take(in, 1);
		frame[1] = (uint8_t)take(in, 1);
		send(sock[1], frame, (size_t)v, 0);
		break;
	case 12: /* a disk request, complete but for its details */
		rig_desc(r, 0, 0, RIG_SMALL, 16, NEXT, 1);
		rig_desc(r, 0, 1, RIG_DATA, (uint32_t)take(in, 2),
			 (uint16_t)(NEXT | (q ? WRITE : 0)), 2);
		rig_desc(r, 0, 2, RIG_SMALL + 32, 1, WRITE, 0);
		rig_put16(r, RIG_SMALL, (uint16_t)take(in, 1));
		rig_put16(r, RIG_SMALL + 8, (uint16_t)take(in, 1));
		rig_offer(r, 0, 0);
		break;
	case 13: /* a receive buffer, or a frame to send */
		v = take(in, 1);
		rig_desc(r, q, (uint32_t)v, RIG_DATA + 64 * v, (uint32_t)take(in, 2), q ? 0 : WRITE,
			 0);
		rig_offer(r, q, (uint16_t)v);
		break;
	case 14:
		rig_write(r, VIRTIO_MMIO_STATUS, (uint32_t)take(in, 1));
		break;
	default:
		rig_irq(r, NULL);
		drain_wire();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { .p = data, .len = size };
	struct stat st;

	if (!rig[0].mem)
		create();
	start_over();
	for (int i = 0; i < 500 && in.len > 0; i++)
		step(&in);
	MUST(rig_run(&rig[0], CALLS_MAX) < CALLS_MAX);
	MUST(rig_run(&rig[1], CALLS_MAX) < CALLS_MAX);
	MUST(fstat(disk_fd, &st) == 0 && st.st_size == DISK_LEN);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_virtio_limits.c - queues behind a rate limiter, in simulated time, and disks whose file changes.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/byteorder.h"
#include "tests/unit/virtio_rig.h"
#include "virtio/blk.h"
#include "virtio/net_device.h"

#define MS	   UINT64_C(1000000)
#define SEC	   UINT64_C(1000000000)
#define NR_SECTORS 64u
#define FRAME	   100u
#define RX_BUF	   2048u

static struct rig rig;
static struct rig *const r = &rig;
static struct blk *blk;
static struct net *net;
static int fd = -1;
static int sock[2] = { -1, -1 };
static uint64_t now;

static uint64_t simulated(void)
{
	return now;
}

static struct throttle *throttle(unsigned int q)
{
	return &r->dev->queue[q].throttle;
}

static void limits(unsigned int q, uint64_t bytes, uint64_t ops, uint64_t refill_ms)
{
	struct bucket_params b = { bytes, 0, refill_ms }, o = { ops, 0, refill_ms };

	throttle(q)->now_ns = simulated;
	virtio_set_limits(r->dev, q, bytes ? &b : NULL, ops ? &o : NULL);
}

/* Let the time come that the device waits for, and @late more. */
static void wait_open(unsigned int q, uint64_t late)
{
	struct timer *t = &throttle(q)->timer;

	cr_assert(throttle(q)->closed, "nobody waits");
	cr_assert_gt(throttle(q)->open_at_ns, now);
	now = throttle(q)->open_at_ns + late;
	pthread_mutex_lock(&r->lock);
	t->fn(t->ctx);
	pthread_mutex_unlock(&r->lock);
	rig_run(r, 1000);
}

static unsigned int nr_used(unsigned int q)
{
	unsigned int nr = 0;

	while (rig_used(r, q, NULL, NULL))
		nr++;
	return nr;
}

/* ---- disk ---- */

static int new_file(uint64_t len, int fill)
{
	char path[] = "/tmp/mote-limits-XXXXXX";
	int f = mkstemp(path);

	cr_assert_geq(f, 0);
	unlink(path);
	cr_assert_eq(ftruncate(f, (off_t)len), 0);
	cr_assert_eq(pwrite(f, &fill, 1, 0), 1);
	return f;
}

static void disk_setup(void)
{
	struct blk_params p = { .id = "disk", .writeback = true };

	rig_init(r);
	now = 1000 * SEC;
	fd = new_file(NR_SECTORS * 512, 'a');
	p.fd = fd;
	cr_assert_eq(blk_create(&blk, &p, &r->host, NULL), 0);
	r->dev = blk_virtio(blk);
	rig_boot(r, UINT64_MAX, 256);
}

static void disk_teardown(void)
{
	blk_destroy(blk);
	close(fd);
	rig_fini(r);
}

TestSuite(virtio_disk_limits, .init = disk_setup, .fini = disk_teardown);

static uint16_t slot; /* three descriptors a request */

static uint16_t offer(uint32_t type, uint64_t sector, uint32_t len)
{
	uint16_t head = (uint16_t)(3 * (slot++ % 80));
	uint64_t hdr = RIG_SMALL + 32ULL * head;
	uint16_t dir = type == VIRTIO_BLK_T_OUT ? 0 : WRITE;
	uint8_t raw[16] = { 0 };

	le32_put(raw, type);
	le64_put(raw + 8, sector);
	rig_put(r, hdr, raw, sizeof(raw));
	rig_desc(r, 0, head, hdr, 16, NEXT, (uint16_t)(head + 1));
	rig_desc(r, 0, head + 1u, RIG_DATA, len, dir | NEXT, (uint16_t)(head + 2));
	rig_desc(r, 0, head + 2u, hdr + 16, 1, WRITE, 0);
	rig_offer(r, 0, head);
	return head;
}

static uint8_t status_of(uint16_t head)
{
	return rig_get8(r, RIG_SMALL + 32ULL * head + 16);
}

static void go(void)
{
	rig_kick(r, 0);
	rig_run(r, 1000);
}

static const struct blk_metrics *bm(void)
{
	return blk_metrics(blk);
}

Test(virtio_disk_limits, operations_pass_one_by_one)
{
	uint64_t start = now;

	limits(0, 0, 2, 1000);
	for (int i = 0; i < 5; i++)
		offer(VIRTIO_BLK_T_IN, 0, 512);
	go();
	cr_assert_eq(nr_used(0), 2, "the bucket was full");
	cr_assert(rig_irq(r, NULL), "what passed is told at once");
	cr_assert_eq(metric_get(&bm()->rate_limiter_throttled_events), 1);
	go();
	cr_assert_eq(nr_used(0), 0, "a kick does not open it");
	cr_assert_eq(metric_get(&bm()->rate_limiter_throttled_events), 2);
	for (uint64_t i = 1; i <= 3; i++) {
		wait_open(0, 0);
		cr_assert_eq(now, start + i * 500 * MS);
		cr_assert_eq(nr_used(0), 1);
	}
	cr_assert_not(throttle(0)->closed);
	cr_assert_eq(metric_get(&bm()->rate_limiter_event_count), 3);
	cr_assert_eq(metric_get(&bm()->read_count), 5);
}

Test(virtio_disk_limits, only_moved_bytes_count)
{
	limits(0, 1024, 0, 1000);
	offer(VIRTIO_BLK_T_FLUSH, 0, 0);
	offer(VIRTIO_BLK_T_GET_ID, 0, 20);
	offer(VIRTIO_BLK_T_IN, NR_SECTORS, 4096); /* not on the disk */
	offer(VIRTIO_BLK_T_IN, 0, 512);
	offer(VIRTIO_BLK_T_OUT, 0, 512);
	offer(VIRTIO_BLK_T_IN, 0, 512);
	go();
	cr_assert_eq(nr_used(0), 5);
	wait_open(0, 0);
	cr_assert_eq(nr_used(0), 1);
	cr_assert_eq(now, 1000 * SEC + 500 * MS);
}

Test(virtio_disk_limits, larger_than_the_bucket)
{
	limits(0, 512, 0, 1000);
	offer(VIRTIO_BLK_T_IN, 0, 4096);
	offer(VIRTIO_BLK_T_IN, 0, 512);
	go();
	cr_assert_eq(nr_used(0), 1);
	wait_open(0, 0);
	cr_assert_eq(now, 1000 * SEC + 8 * SEC, "seven of debt, one for itself");
	cr_assert_eq(nr_used(0), 1);
}

/* Five seconds with a queue that is never empty and timers that come late. */
static void expect_rate(uint64_t bytes, uint64_t ops, uint32_t len, uint64_t expected)
{
	uint64_t end, nr = 0, apart;

	limits(0, bytes, ops, 1000);
	for (int i = 0; i < 64; i++)
		offer(VIRTIO_BLK_T_IN, 0, len);
	go();
	while (!throttle(0)->closed) { /* what the bucket starts with */
		for (unsigned int i = nr_used(0); i > 0; i--)
			offer(VIRTIO_BLK_T_IN, 0, len);
		go();
	}
	end = now + 5 * SEC;
	nr_used(0);
	while (throttle(0)->open_at_ns + 60000 <= end) {
		unsigned int done;

		wait_open(0, 60000);
		done = nr_used(0);
		nr += done;
		for (; done > 0; done--)
			offer(VIRTIO_BLK_T_IN, 0, len);
		go();
	}
	apart = nr > expected ? nr - expected : expected - nr;
	cr_assert_leq(apart * 50, expected, "%llu instead of %llu", (unsigned long long)nr,
		      (unsigned long long)expected);
}

Test(virtio_disk_limits, rate_of_operations)
{
	expect_rate(0, 3000, 512, 15000);
}

Test(virtio_disk_limits, rate_of_bytes)
{
	expect_rate(10 << 20, 0, 4096, 12800);
}

Test(virtio_disk_limits, a_change_holds_at_once)
{
	struct bucket_params off = { 0, 0, 0 };

	limits(0, 0, 1, 3600000);
	for (int i = 0; i < 4; i++)
		offer(VIRTIO_BLK_T_IN, 0, 512);
	go();
	cr_assert_eq(nr_used(0), 1);
	limits(0, 512, 2, 1000);
	rig_run(r, 1000);
	cr_assert_eq(nr_used(0), 1, "of two operations, bytes allow one");
	virtio_set_limits(r->dev, 0, &off, NULL);
	rig_run(r, 1000);
	cr_assert_eq(nr_used(0), 1, "operations are as they were");
	cr_assert(throttle(0)->closed);
	virtio_set_limits(r->dev, 0, NULL, &off);
	rig_run(r, 1000);
	cr_assert_eq(nr_used(0), 1);
	cr_assert_not(throttle(0)->closed);
	cr_assert_eq(now, 1000 * SEC);
}

Test(virtio_disk_limits, nothing_spins_and_the_real_timer_opens)
{
	struct bucket_params one = { 1, 0, 50 };
	struct watch *w = &throttle(0)->timer.watch;
	struct pollfd p = { .fd = w->fd, .events = POLLIN };

	virtio_set_limits(r->dev, 0, NULL, &one);
	offer(VIRTIO_BLK_T_IN, 0, 512);
	offer(VIRTIO_BLK_T_IN, 0, 512);
	rig_kick(r, 0);
	cr_assert_eq(rig_run(r, 1000), 1, "one call, then rest");
	cr_assert_eq(nr_used(0), 1);
	cr_assert_eq(poll(&p, 1, 5000), 1);
	pthread_mutex_lock(&r->lock);
	w->fn(w->ctx, EPOLLIN);
	pthread_mutex_unlock(&r->lock);
	cr_assert_eq(nr_used(0), 1);
}

Test(virtio_disk_limits, reset_while_waiting)
{
	limits(0, 0, 1, 1000);
	offer(VIRTIO_BLK_T_IN, 0, 512);
	offer(VIRTIO_BLK_T_IN, 0, 512);
	go();
	rig_write(r, VIRTIO_MMIO_STATUS, 0);
	rig_boot(r, UINT64_MAX, 256);
	offer(VIRTIO_BLK_T_IN, 0, 512);
	go();
	cr_assert_eq(nr_used(0), 0, "a reset is no way around a limit");
	wait_open(0, 0);
	cr_assert_eq(nr_used(0), 1);
	cr_assert_not(rig_failed(r));

	offer(VIRTIO_BLK_T_IN, 0, 512);
	go();
	rig_write(r, VIRTIO_MMIO_STATUS, 0);
	wait_open(0, 0); /* nobody is there */
	cr_assert_not(throttle(0)->closed);
}

Test(virtio_disk_limits, another_file)
{
	int other = new_file(4 * 512, 'b');
	uint16_t far = offer(VIRTIO_BLK_T_IN, 8, 512), near;
	uint8_t before[20], after[20], byte;
	uint32_t bits, generation = rig_read(r, VIRTIO_MMIO_CONFIG_GENERATION);

	go();
	cr_assert_eq(status_of(far), VIRTIO_BLK_S_OK);
	offer(VIRTIO_BLK_T_GET_ID, 0, 20);
	go();
	rig_get(r, RIG_DATA, before, 20);
	nr_used(0);
	rig_irq(r, NULL);

	cr_assert_eq(blk_set_file(blk, other, NULL), 0);
	cr_assert_eq(blk_nr_sectors(blk), 4);
	cr_assert_eq(le64_get(r->dev->config), 4);
	cr_assert(rig_irq(r, &bits));
	cr_assert_eq(bits, VIRTIO_MMIO_INT_CONFIG);
	cr_assert_neq(rig_read(r, VIRTIO_MMIO_CONFIG_GENERATION), generation);
	cr_assert_eq(metric_get(&bm()->update_count), 1);
	offer(VIRTIO_BLK_T_GET_ID, 0, 20);
	go();
	rig_get(r, RIG_DATA, after, 20);
	cr_assert_neq(memcmp(before, after, 20), 0);
	far = offer(VIRTIO_BLK_T_IN, 8, 512);
	near = offer(VIRTIO_BLK_T_IN, 0, 512);
	go();
	cr_assert_eq(status_of(far), VIRTIO_BLK_S_IOERR);
	cr_assert_eq(status_of(near), VIRTIO_BLK_S_OK);
	rig_get(r, RIG_DATA, &byte, 1);
	cr_assert_eq(byte, 'b');
	close(other);
}

Test(virtio_disk_limits, a_file_that_grew)
{
	uint16_t far;

	cr_assert_eq(ftruncate(fd, 2 * NR_SECTORS * 512 + 100), 0);
	far = offer(VIRTIO_BLK_T_IN, NR_SECTORS, 512);
	go();
	cr_assert_eq(status_of(far), VIRTIO_BLK_S_IOERR);
	cr_assert_eq(blk_set_file(blk, fd, NULL), 0);
	far = offer(VIRTIO_BLK_T_IN, 2 * NR_SECTORS - 1, 512);
	go();
	cr_assert_eq(status_of(far), VIRTIO_BLK_S_OK);
}

Test(virtio_disk_limits, a_refused_file_changes_nothing)
{
	int ends[2];

	rig_irq(r, NULL);
	cr_assert_eq(pipe(ends), 0);
	cr_assert_eq(blk_set_file(blk, ends[0], NULL), -EINVAL);
	cr_assert_eq(blk_nr_sectors(blk), NR_SECTORS);
	cr_assert_not(rig_irq(r, NULL));
	cr_assert_eq(metric_get(&bm()->update_fails), 1);
	close(ends[0]);
	close(ends[1]);
}

/* A request that waits is judged against the file that is there when it runs. */
Test(virtio_disk_limits, waiting_while_the_file_shrinks)
{
	int other = new_file(512, 'b');
	uint16_t far;

	limits(0, 0, 1, 1000);
	offer(VIRTIO_BLK_T_IN, 0, 512);
	far = offer(VIRTIO_BLK_T_OUT, 8, 512);
	go();
	cr_assert_eq(blk_set_file(blk, other, NULL), 0);
	wait_open(0, 0);
	cr_assert_eq(status_of(far), VIRTIO_BLK_S_IOERR);
	cr_assert_eq(lseek(other, 0, SEEK_END), 512);
	close(other);
}

/* A request between two slices ends in the file in which it began. */
Test(virtio_disk_limits, half_done_while_the_file_changes)
{
	int big = new_file(4 << 20, 'c'), other = new_file(512, 'b');
	uint8_t byte = 'z';
	uint16_t head;

	cr_assert_eq(blk_set_file(blk, big, NULL), 0);
	rig_put(r, RIG_DATA + (3 << 20) - 1, &byte, 1);
	head = offer(VIRTIO_BLK_T_OUT, 0, 3 << 20);
	rig_kick(r, 0);
	rig_run(r, 1);
	cr_assert_eq(nr_used(0), 0, "too large for one turn");
	cr_assert_eq(blk_set_file(blk, other, NULL), 0);
	rig_run(r, 1000);
	cr_assert_eq(nr_used(0), 1);
	cr_assert_eq(status_of(head), VIRTIO_BLK_S_OK);
	cr_assert_eq(pread(big, &byte, 1, (3 << 20) - 1), 1);
	cr_assert_eq(byte, 'z');
	cr_assert_eq(lseek(other, 0, SEEK_END), 512);
	close(big);
	close(other);
}

/* ---- network ---- */

static void net_setup(void)
{
	struct net_params p = { .id = "eth0", .backend = NET_DGRAM };

	rig_init(r);
	now = 1000 * SEC;
	cr_assert_eq(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, sock), 0);
	p.fd[0] = sock[0];
	cr_assert_eq(net_create(&net, &p, &r->host, NULL), 0);
	r->dev = net_virtio(net);
	r->tap = &net->pair[0].tap;
	rig_boot(r, UINT64_MAX, 256);
}

static void net_teardown(void)
{
	net_destroy(net);
	close(sock[0]);
	close(sock[1]);
	rig_fini(r);
}

TestSuite(virtio_net_limits, .init = net_setup, .fini = net_teardown);

static void offer_tx(uint16_t head, uint8_t mark)
{
	static const uint8_t zero[NET_HDR_LEN + FRAME];
	uint64_t at = RIG_DATA + 1024ULL * head;

	rig_put(r, at, zero, sizeof(zero));
	rig_put(r, at + NET_HDR_LEN + 20, &mark, 1);
	rig_desc(r, NET_TX, head, at, sizeof(zero), 0, 0);
	rig_offer(r, NET_TX, head);
}

/* The mark of the next frame on the wire, 0 when there is none. */
static uint8_t wire(void)
{
	uint8_t buf[2048];
	ssize_t n = recv(sock[1], buf, sizeof(buf), 0);

	return n < 0 ? 0 : buf[NET_HDR_LEN + 20];
}

static void from_wire(uint8_t mark)
{
	uint8_t buf[NET_HDR_LEN + FRAME] = { 0 };

	buf[NET_HDR_LEN + 20] = mark;
	cr_assert_eq(send(sock[1], buf, sizeof(buf), 0), (ssize_t)sizeof(buf));
}

static void offer_rx(uint16_t nr)
{
	for (uint16_t i = 0; i < nr; i++) {
		rig_desc(r, NET_RX, i, RIG_DATA + RX_BUF * i, RX_BUF, WRITE, 0);
		rig_offer(r, NET_RX, i);
	}
	rig_kick(r, NET_RX);
	rig_run(r, 1000);
}

/* The mark of the next received frame, 0 when there is none. */
static uint8_t received(void)
{
	uint32_t id, len;

	if (!rig_used(r, NET_RX, &id, &len))
		return 0;
	cr_assert_eq(len, NET_HDR_LEN + FRAME);
	return rig_get8(r, RIG_DATA + RX_BUF * id + NET_HDR_LEN + 20);
}

Test(virtio_net_limits, send_in_order_and_in_time)
{
	limits(NET_TX, 2 * FRAME, 0, 1000);
	for (uint16_t i = 0; i < 5; i++)
		offer_tx(i, (uint8_t)(i + 1));
	rig_kick(r, NET_TX);
	rig_run(r, 1000);
	cr_assert_eq(wire(), 1);
	cr_assert_eq(wire(), 2);
	cr_assert_eq(wire(), 0);
	cr_assert_eq(nr_used(NET_TX), 2);
	for (uint8_t i = 3; i <= 5; i++) {
		wait_open(NET_TX, 0);
		cr_assert_eq(wire(), i);
		cr_assert_eq(wire(), 0);
	}
	cr_assert_eq(now, 1000 * SEC + 1500 * MS);
	cr_assert_eq(nr_used(NET_TX), 3);
	cr_assert_eq(metric_get(&net_metrics(net)->tx_rate_limiter_throttled), 3);
	cr_assert_eq(metric_get(&net_metrics(net)->tx_rate_limiter_event_count), 3);
	cr_assert_eq(metric_get(&net_metrics(net)->tx_packets_count), 5);
}

Test(virtio_net_limits, receive_in_order_and_in_time)
{
	limits(NET_RX, 0, 1, 100);
	offer_rx(64);
	for (uint8_t i = 1; i <= 4; i++)
		from_wire(i);
	rig_run(r, 1000);
	cr_assert_eq(received(), 1);
	cr_assert_eq(received(), 0);
	cr_assert_eq(net->pair[0].tap.events, 0, "the tap does not wake us meanwhile");
	cr_assert_eq(rig_run(r, 1000), 0);
	for (uint8_t i = 2; i <= 4; i++) {
		wait_open(NET_RX, 0);
		cr_assert_eq(received(), i);
		cr_assert_eq(received(), 0);
	}
	cr_assert_eq(now, 1000 * SEC + 300 * MS);
	cr_assert_eq(net->pair[0].tap.events, EPOLLIN);
	cr_assert_eq(metric_get(&net_metrics(net)->rx_rate_limiter_throttled), 3);
	cr_assert_eq(metric_get(&net_metrics(net)->rx_event_rate_limiter_count), 3);
}

Test(virtio_net_limits, directions_are_apart)
{
	limits(NET_RX, 0, 1, 3600000);
	offer_rx(8);
	from_wire(1);
	from_wire(2);
	rig_run(r, 1000);
	cr_assert(throttle(NET_RX)->closed);
	for (uint16_t i = 0; i < 8; i++)
		offer_tx(i + 64, 9);
	rig_kick(r, NET_TX);
	rig_run(r, 1000);
	for (int i = 0; i < 8; i++)
		cr_assert_eq(wire(), 9);
}

Test(virtio_net_limits, a_change_lets_the_held_frame_pass)
{
	limits(NET_RX, 0, 1, 3600000);
	offer_rx(8);
	from_wire(1);
	from_wire(2);
	rig_run(r, 1000);
	cr_assert_eq(received(), 1);
	rig_kick(r, NET_RX);
	rig_run(r, 1000);
	cr_assert_eq(received(), 0);
	limits(NET_RX, 0, 5, 1000);
	rig_run(r, 1000);
	cr_assert_eq(received(), 2);
	from_wire(3);
	rig_run(r, 1000);
	cr_assert_eq(received(), 3);
}

Test(virtio_net_limits, reset_forgets_the_held_frame)
{
	limits(NET_RX, 0, 1, 1000);
	offer_rx(8);
	from_wire(1);
	from_wire(2);
	rig_run(r, 1000);
	cr_assert_neq(net->pair[0].held, 0);
	rig_write(r, VIRTIO_MMIO_STATUS, 0);
	cr_assert_eq(net->pair[0].held, 0);
	rig_boot(r, UINT64_MAX, 256);
	offer_rx(8);
	from_wire(3);
	wait_open(NET_RX, 0);
	cr_assert_eq(received(), 3);
	cr_assert_not(rig_failed(r));
}

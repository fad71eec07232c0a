/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_vhost_user.c - a disk whose back end lies, dies and returns. The back end is a thread of
 * vhost_back_end.h; the loop is another; the test is the guest.
 */
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/byteorder.h"
#include "tests/unit/vhost_back_end.h"
#include "tests/unit/virtio_rig.h"

#define ALL	 (~UINT64_C(0))
#define MSG_MAX	 (sizeof(struct vhost_user_msg) - offsetof(struct vhost_user_msg, u64))
#define PATIENCE 30 /* seconds; only a fault takes so long */

static struct rig rig;
static struct rig *const r = &rig;
static struct vhost_user *vu;
static struct err e;
static pthread_t loop;
static _Atomic int kick_fd;

static int rewire(void *ctx, int old, int now)
{
	(void)ctx;
	(void)old;
	kick_fd = now;
	return 0;
}

static void *loop_thread(void *arg)
{
	loop_run(arg);
	return NULL;
}

static void setup(void)
{
	rig_init_shared(r);
	back_end_start();
}

static void teardown(void)
{
	if (loop) {
		loop_stop(r->loop, 0);
		pthread_join(loop, NULL);
	}
	vhost_user_destroy(vu);
	back_end_stop();
	rig_fini(r);
}

TestSuite(vhost_user, .init = setup, .fini = teardown, .timeout = 120);

static int create(void)
{
	const struct vhost_user_params params = {
		.id = "d", .path = b->path, .fd = -1, .writeback = true, .rewire = rewire
	};
	int ret = vhost_user_create(&vu, &params, &r->host, &e);

	if (ret == 0)
		r->dev = vhost_user_virtio(vu);
	b->front = vu;
	return ret;
}

static void lock(void)
{
	pthread_mutex_lock(&r->lock);
}

static void unlock(void)
{
	pthread_mutex_unlock(&r->lock);
}

/* Wait until @condition, which is looked at under the device's lock. */
#define WAIT(condition)                                                                            \
	do {                                                                                       \
		time_t end_ = time(NULL) + PATIENCE;                                               \
		bool done_ = false;                                                                \
		while (!done_) {                                                                   \
			lock();                                                                    \
			done_ = (condition);                                                       \
			unlock();                                                                  \
			cr_assert(done_ || time(NULL) < end_, "%s", #condition);                   \
			usleep(1000);                                                              \
		}                                                                                  \
	} while (0)

static void boot(void)
{
	lock();
	rig_negotiate(r, ALL);
	rig_setup_queue(r, 0, 8);
	rig_write(r, VIRTIO_MMIO_STATUS, 15);
	unlock();
}

static void start(void)
{
	cr_assert_eq(create(), 0, "%s", e.msg);
	pthread_create(&loop, NULL, loop_thread, r->loop);
	boot();
	WAIT(b->nr_enabled >= 1);
}

/* Request @i: one byte that the back end turns over, and a kick as KVM gives it. */
static void request(uint16_t i)
{
	uint64_t one = 1;

	lock();
	rig_desc(r, 0, i, RIG_DATA + i, 1, WRITE, 0);
	rig_offer(r, 0, i);
	cr_assert_eq(write(kick_fd, &one, sizeof(one)), sizeof(one));
	unlock();
}

static uint16_t nr_used(void)
{
	return rig_get16(r, r->q[0].used + 2);
}

static uint32_t capacity(void)
{
	return rig_read(r, VIRTIO_MMIO_CONFIG);
}

static int nr_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

Test(vhost_user, offers_what_both_know)
{
	uint8_t queues[2] = { 0 };

	cr_assert_eq(create(), 0, "%s", e.msg);
	cr_expect_eq(rig_features(r), BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_RING_F_EVENT_IDX) |
					      BIT(VIRTIO_BLK_F_FLUSH) | BIT(VIRTIO_BLK_F_BLK_SIZE));
	cr_expect_eq(capacity(), SECTORS);
	virtio_config_read(r->dev, offsetof(struct virtio_blk_config, num_queues), queues, 2);
	cr_expect_eq(le16_get(queues), 1);
}

Test(vhost_user, lies_while_it_is_built)
{
	static const struct {
		enum lie lie;
		uint32_t at;
		uint32_t offset;
		uint64_t value;
		const char *why; /* NULL: no lie at all */
	} rows[] = {
		{ CLOSE, VHOST_USER_GET_FEATURES, 0, 0, "has closed the connection" },
		{ CLOSE, VHOST_USER_GET_CONFIG, 0, 0, "has closed the connection" },
		{ CUT, VHOST_USER_GET_PROTOCOL_FEATURES, 0, 0, "has closed the connection" },
		{ SILENT, VHOST_USER_GET_CONFIG, 0, 0, "does not answer" },
		{ OTHER_REQUEST, VHOST_USER_GET_FEATURES, 0, 0, "answers what was not asked" },
		{ NOT_A_REPLY, VHOST_USER_GET_FEATURES, 0, 0, "breaks the protocol" },
		{ OTHER_VERSION, VHOST_USER_GET_FEATURES, 0, 0, "breaks the protocol" },
		{ HUGE_SIZE, VHOST_USER_GET_FEATURES, 0, UINT32_MAX, "breaks the protocol" },
		{ HUGE_SIZE, VHOST_USER_GET_CONFIG, 0, MSG_MAX + 1, "breaks the protocol" },
		{ SHORT_SIZE, VHOST_USER_GET_FEATURES, 0, 0, "gives an answer of the wrong size" },
		{ SHORT_SIZE, VHOST_USER_GET_CONFIG, 0, 0, "does not tell its configuration" },
		{ CONFIG_OFFSET, VHOST_USER_GET_CONFIG, 0, 0, "does not tell its configuration" },
		{ CONFIG_LEN, VHOST_USER_GET_CONFIG, 0, 0, "does not tell its configuration" },
		{ CONFIG_FIELD, VHOST_USER_GET_CONFIG, 4, UINT32_MAX, "more than 8 EiB" },
		{ CONFIG_FIELD, VHOST_USER_GET_CONFIG, 20, 0, "blocks that are no power of two" },
		{ CONFIG_FIELD, VHOST_USER_GET_CONFIG, 20, 513, "blocks that are no power of two" },
		{ CONFIG_FIELD, VHOST_USER_GET_CONFIG, 20, 1u << 31, "no power of two" },
		{ VALUE, VHOST_USER_GET_FEATURES, 0, OFFERED & ~BIT(VIRTIO_F_VERSION_1), "lacks" },
		{ VALUE, VHOST_USER_GET_FEATURES, 0, 0, "lacks" },
		{ VALUE, VHOST_USER_GET_PROTOCOL_FEATURES, 0, 0, "does not tell the size" },
		{ TWICE, VHOST_USER_GET_FEATURES, 0, 0, "answers what was not asked" },
		{ WITH_FD, VHOST_USER_GET_FEATURES, 0, 0, NULL },
		{ DRIBBLE, VHOST_USER_GET_CONFIG, 0, 0, NULL },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int before = nr_fds(), left = 1000;

		b->at = rows[i].at;
		b->offset = rows[i].offset;
		b->value = rows[i].value;
		b->lie = rows[i].lie;
		if (!rows[i].why) {
			cr_assert_eq(create(), 0, "%zu: %s", i, e.msg);
		} else {
			cr_assert_lt(create(), 0, "%zu", i);
			cr_assert(strstr(e.msg, rows[i].why), "%zu: %s", i, e.msg);
			cr_assert(strstr(e.msg, b->path));
			vu = NULL;
		}
		vhost_user_destroy(vu);
		vu = NULL;
		while (nr_fds() > before && left-- > 0)
			usleep(5000);
		cr_assert_leq(nr_fds(), before, "%zu", i);
	}
}

Test(vhost_user, serves_requests)
{
	uint32_t bits = 0;

	start();
	rig_put(r, RIG_DATA, "\x01\x02\x03", 3);
	for (uint16_t i = 0; i < 3; i++)
		request(i);
	WAIT(nr_used() == 3);
	WAIT(metric_get(&r->dev->metrics.irq_triggers) > 0);
	lock();
	cr_expect(rig_irq(r, &bits));
	cr_expect(bits & VIRTIO_MMIO_INT_VRING);
	for (uint16_t i = 0; i < 3; i++)
		cr_expect_eq(rig_get8(r, RIG_DATA + i), (uint8_t) ~(i + 1));
	/* the driver lets go and takes it again, from the start */
	rig_write(r, VIRTIO_MMIO_STATUS, 0);
	unlock();
	boot();
	WAIT(b->nr_enabled >= 2);
	cr_expect_eq(b->base, 0);
	request(5);
	WAIT(nr_used() == 1);
}

Test(vhost_user, dies_and_returns)
{
	bool seen[8] = { false };
	uint32_t id;

	/* Of 6 requests the last two are answered, last first, without an interrupt for it. */
	b->quota = 0;
	start();
	lock();
	b->quota = 2;
	for (uint16_t i = 0; i < 6; i++) {
		rig_desc(r, 0, i, RIG_DATA + i, 1, WRITE, 0);
		rig_offer(r, 0, i);
	}
	unlock();
	WAIT(b->nr_connections >= 2 && b->quota == 0);
	/* Whoever comes now gives up at once, until it may go on. */
	b->quota = -1;
	WAIT(nr_used() == 6);
	lock();
	for (int i = 0; i < 6; i++) {
		cr_assert(rig_used(r, 0, &id, NULL));
		cr_assert(id < 6 && !seen[id], "request %u, answer %d", id, i);
		seen[id] = true;
	}
	cr_assert(!rig_used(r, 0, &id, NULL));
	unlock();
	cr_expect_eq(rig_status(r), 15);
	/* The ring goes on. */
	request(7);
	WAIT(nr_used() == 7);
}

Test(vhost_user, dies_without_a_word)
{
	uint64_t before;

	start();
	/* the first look at the ring ends in an interrupt */
	WAIT(metric_get(&r->dev->metrics.irq_triggers) > 0);
	before = metric_get(&r->dev->metrics.irq_triggers);
	b->quota = 1;
	request(0);
	/* answered, and nobody said so: the driver hears of it all the same */
	WAIT(nr_used() == 1 && metric_get(&r->dev->metrics.irq_triggers) > before);
	b->quota = -1;
	request(1);
	WAIT(nr_used() == 2);
}

Test(vhost_user, refuses_memory)
{
	b->at = VHOST_USER_SET_MEM_TABLE;
	b->value = 1;
	b->lie = VALUE;
	cr_assert_eq(create(), 0, "%s", e.msg);
	pthread_create(&loop, NULL, loop_thread, r->loop);
	boot();
	WAIT(b->nr_connections >= 3);
	cr_expect_eq(b->nr_enabled, 0);
	cr_expect_eq(rig_status(r), 15);
	b->lie = HONEST;
	WAIT(b->nr_enabled >= 1);
	request(0);
	WAIT(nr_used() == 1);
}

Test(vhost_user, another_disk_after_its_return)
{
	start();
	b->at = VHOST_USER_GET_FEATURES;
	b->value = OFFERED & ~BIT(VIRTIO_BLK_F_FLUSH);
	b->lie = VALUE;
	b->quota = 0;
	request(0);
	/* what the driver relies on is missing: not taken, and tried again */
	WAIT(b->nr_connections >= 3);
	cr_expect_eq(b->nr_enabled, 1);
	b->capacity = 2 * SECTORS;
	b->quota = -1;
	b->lie = HONEST;
	WAIT(nr_used() == 1);
	lock();
	cr_expect_eq(capacity(), 2 * SECTORS);
	unlock();
	cr_expect_eq(metric_get(&r->dev->metrics.config_updates), 1);
}

Test(vhost_user, keeps_the_ring_at_reset)
{
	struct timespec t0, t1;

	start();
	b->at = VHOST_USER_GET_VRING_BASE;
	b->lie = SILENT;
	clock_gettime(CLOCK_MONOTONIC, &t0);
	lock();
	rig_write(r, VIRTIO_MMIO_STATUS, 0);
	cr_expect_eq(rig_status(r), 0);
	unlock();
	clock_gettime(CLOCK_MONOTONIC, &t1);
	cr_expect_leq(t1.tv_sec - t0.tv_sec, 10);
	/* It is hung up on, and the next one serves the driver. */
	boot();
	WAIT(b->nr_connections >= 2 && b->nr_enabled >= 2);
	request(0);
	WAIT(nr_used() == 1);
}

Test(vhost_user, waits_once_at_reset)
{
	b->lie = LATE;
	start();
	lock();
	rig_write(r, VIRTIO_MMIO_STATUS, 0);
	unlock();
	b->lie = HONEST;
	boot();
	WAIT(b->nr_connections >= 2 && b->nr_enabled >= 2);
	request(0);
	WAIT(nr_used() == 1);
}

Test(vhost_user, update)
{
	start();
	b->capacity = 3 * SECTORS;
	/* on a busy machine a tenth of a second may be too short */
	WAIT(vhost_user_update(vu, &e) == 0);
	WAIT(capacity() == 3 * SECTORS);
	cr_expect_eq(metric_get(&r->dev->metrics.config_updates), 1);
	b->at = VHOST_USER_GET_CONFIG;
	b->lie = SILENT;
	lock();
	cr_expect_eq(vhost_user_update(vu, &e), -EPROTO);
	cr_expect(strstr(e.msg, "does not answer"), "%s", e.msg);
	cr_expect_eq(vhost_user_update(vu, &e), -ENOTCONN);
	unlock();
	b->lie = HONEST;
	WAIT(vhost_user_update(vu, &e) == 0);
}

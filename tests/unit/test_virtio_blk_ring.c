/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_virtio_blk_ring.c - disk requests that wait in the ring: answered, cut short, reset away.
 *
 * Where a request has to stay in flight the disk's file is exchanged for a pipe, from which the
 * kernel reads when the test writes.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "tests/unit/virtio_rig.h"
#include "virtio/blk_device.h"

#define ALL	 UINT64_MAX
#define DISK_LEN (8u << 20)
#define STATUS	 (RIG_SMALL + 0x100)
#define SLEEP_NS 20000000
#define PATIENCE 20000 /* turns */

static struct rig rig;
static struct rig *const r = &rig;
static struct blk *blk;
static struct uring *ring;
static int fd, wire[2];

static void nap(void)
{
	const struct timespec t = { .tv_nsec = SLEEP_NS };

	nanosleep(&t, NULL);
}

/* What the loop does when the ring calls. */
static void ring_turn(void)
{
	const struct timespec t = { .tv_nsec = 1000000 };

	nanosleep(&t, NULL);
	uring_poll(ring);
}

static void setup(void)
{
	char path[] = "/tmp/mote-ring-XXXXXX";
	struct blk_params p = {
		.id = "disk", .writeback = true, .engine = BLK_ASYNC, .ring = &ring
	};
	uint8_t sector[512];

	rig_init(r);
	fd = mkstemp(path);
	cr_assert_geq(fd, 0);
	unlink(path);
	for (unsigned int i = 0; i < DISK_LEN / 512; i++) {
		memset(sector, (int)(i % 251), sizeof(sector));
		cr_assert_eq(pwrite(fd, sector, 512, i * 512), 512);
	}
	cr_assert_eq(pipe(wire), 0);
	p.fd = fd;
	cr_assert_eq(blk_create(&blk, &p, &r->host, NULL), 0);
	blk->eager = true;
	r->dev = blk_virtio(blk);
	rig_boot(r, ALL, 256);
}

static void teardown(void)
{
	blk_destroy(blk);
	uring_destroy(ring);
	close(fd);
	close(wire[0]);
	close(wire[1]);
	rig_fini(r);
}

TestSuite(virtio_blk_ring, .init = setup, .fini = teardown);

/* Let the loop run until something is used on the queue. */
static bool wait_used(uint32_t *id, uint32_t *len)
{
	for (int i = 0; i < PATIENCE; i++) {
		rig_run(r, 1000);
		ring_turn();
		if (rig_used(r, 0, id, len))
			return true;
	}
	return false;
}

/* Offer a request in descriptors @i.. with its status at STATUS + @i. */
static void offer(uint16_t i, uint32_t type, uint64_t sector, uint64_t data, uint32_t len)
{
	uint16_t dir = type == VIRTIO_BLK_T_IN ? WRITE : 0;
	uint8_t raw[16] = { 0 }, mark = 0x77;

	le32_put(raw, type);
	le64_put(raw + 8, sector);
	rig_put(r, RIG_SMALL + 0x1000 + 16ULL * i, raw, sizeof(raw));
	rig_put(r, STATUS + i, &mark, 1);
	rig_desc(r, 0, i, RIG_SMALL + 0x1000 + 16ULL * i, 16, NEXT, (uint16_t)(i + 1));
	rig_desc(r, 0, i + 1u, data, len, dir | NEXT, (uint16_t)(i + 2));
	rig_desc(r, 0, i + 2u, STATUS + i, 1, WRITE, 0);
	rig_offer(r, 0, i);
}

static uint8_t request(uint32_t type, uint64_t sector, uint32_t len, uint32_t *used)
{
	offer(0, type, sector, RIG_DATA, len);
	rig_kick(r, 0);
	cr_assert(wait_used(NULL, used), "not completed");
	cr_assert_not(rig_used(r, 0, NULL, NULL));
	cr_assert_eq(blk->wait.nr_in_flight, 0);
	return rig_get8(r, STATUS);
}

Test(virtio_blk_ring, read_write_flush)
{
	uint8_t data[1024], got[1024];
	uint32_t used;

	cr_assert_eq(request(VIRTIO_BLK_T_IN, 5, 1024, &used), VIRTIO_BLK_S_OK);
	cr_assert_eq(used, 1025);
	cr_assert_eq(rig_get8(r, RIG_DATA), 5);
	cr_assert_eq(rig_get8(r, RIG_DATA + 1023), 6);
	cr_assert_eq(rig_get8(r, RIG_DATA + 1024), 0);
	memset(data, 0xab, sizeof(data));
	rig_put(r, RIG_DATA, data, sizeof(data));
	cr_assert_eq(request(VIRTIO_BLK_T_OUT, 7, 1024, &used), VIRTIO_BLK_S_OK);
	cr_assert_eq(used, 1);
	cr_assert_eq(pread(fd, got, sizeof(got), 7 * 512), sizeof(got));
	cr_assert_eq(memcmp(got, data, sizeof(got)), 0);
	cr_assert_eq(request(VIRTIO_BLK_T_FLUSH, 0, 0, NULL), VIRTIO_BLK_S_OK);
	cr_assert_eq(metric_get(&blk_metrics(blk)->flush_count), 1);
	cr_assert_eq(metric_get(&blk_metrics(blk)->read_bytes), 1024);
	cr_assert_eq(metric_get(&blk_metrics(blk)->write_bytes), 1024);
	cr_assert_eq(metric_get(&blk_metrics(blk)->read_count), 1);
	cr_assert_eq(metric_get(&blk_metrics(blk)->write_count), 1);
	cr_assert(rig_irq(r, NULL));
}

/* What is in the page cache is read on the loop, whatever the engine; the rest in the ring. */
Test(virtio_blk_ring, not_eager)
{
	uint32_t used;

	blk->eager = false;
	cr_assert_eq(request(VIRTIO_BLK_T_IN, 0, 4 << 20, &used), VIRTIO_BLK_S_OK);
	cr_assert_eq(used, (4 << 20) + 1);
	for (uint32_t i = 0; i < 8192; i += 7)
		cr_assert_eq(rig_get8(r, RIG_DATA + 512 * i), i % 251);
	cr_assert_eq(fdatasync(fd), 0);
	cr_assert_eq(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
	cr_assert_eq(request(VIRTIO_BLK_T_IN, 1, 4 << 20, &used), VIRTIO_BLK_S_OK);
	for (uint32_t i = 0; i < 8192; i += 7)
		cr_assert_eq(rig_get8(r, RIG_DATA + 512 * i), (i + 1) % 251);
	cr_assert_eq(request(VIRTIO_BLK_T_OUT, 0, 4 << 20, &used), VIRTIO_BLK_S_OK);
	cr_assert_eq(metric_get(&blk_metrics(blk)->read_bytes), 8 << 20);
}

/* Direct I/O wants its buffers aligned; a guest's that are not are served all the same. */
static void direct(bool in_ring)
{
	const uint64_t at[] = { RIG_DATA, RIG_DATA + 512, RIG_DATA + 4, RIG_DATA + 1 };
	uint8_t data[1024], got[1024];
	char path[64];
	int raw, flags;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	raw = open(path, O_RDWR | O_DIRECT);
	if (raw < 0)
		cr_skip_test("no direct I/O here");
	cr_assert_eq(fdatasync(fd), 0);
	blk->eager = in_ring;
	if (!in_ring)
		uring_leave(&blk->wait);
	cr_assert_eq(blk_set_file(blk, raw, NULL), 0);
	cr_assert(blk->engine.direct);
	flags = fcntl(raw, F_GETFL);
	for (unsigned int i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
		memset(data, (int)(0x30 + i), sizeof(data));
		for (unsigned int out = 0; out < 2; out++) {
			if (out)
				rig_put(r, at[i], data, sizeof(data));
			offer(0, out ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN, 7 + 4 * i, at[i], 1024);
			rig_kick(r, 0);
			cr_assert(wait_used(NULL, NULL));
			cr_assert_eq(rig_get8(r, STATUS), VIRTIO_BLK_S_OK, "%u %u", i, out);
			if (!out)
				cr_assert_eq(rig_get8(r, at[i] + 512), 8 + 4 * i);
		}
		cr_assert_eq(pread(fd, got, sizeof(got), (7 + 4 * (off_t)i) * 512), sizeof(got));
		cr_assert_eq(memcmp(got, data, sizeof(got)), 0);
		cr_assert_eq(fcntl(raw, F_GETFL), flags);
	}
	blk->engine.fd = fd;
	close(raw);
}

Test(virtio_blk_ring, direct)
{
	direct(true);
}

Test(virtio_blk_ring, direct_on_the_loop)
{
	direct(false);
}

/* More requests than slots: none is lost, none is answered twice. */
static void read_eighty(void)
{
	bool seen[256] = { false };
	uint32_t id;

	for (uint16_t i = 0; i < 80; i++)
		offer((uint16_t)(3 * i), VIRTIO_BLK_T_IN, i, RIG_DATA + 512ULL * i, 512);
	rig_kick(r, 0);
	for (int i = 0; i < 80; i++) {
		cr_assert(wait_used(&id, NULL));
		cr_assert_lt(id, 256);
		cr_assert_not(seen[id]);
		seen[id] = true;
	}
	for (uint32_t i = 0; i < 80; i++) {
		cr_assert_eq(rig_get8(r, RIG_DATA + 512 * i), i);
		cr_assert_eq(rig_get8(r, STATUS + 3 * i), VIRTIO_BLK_S_OK);
	}
}

Test(virtio_blk_ring, more_than_slots)
{
	read_eighty();
	cr_assert_gt(metric_get(&blk_metrics(blk)->io_engine_throttled_events), 0);
}

Test(virtio_blk_ring, file_cut_under_us)
{
	cr_assert_eq(ftruncate(fd, 10 * 512 + 100), 0);
	cr_assert_eq(request(VIRTIO_BLK_T_IN, 9, 512, NULL), VIRTIO_BLK_S_OK);
	cr_assert_eq(request(VIRTIO_BLK_T_IN, 9, 1024, NULL), VIRTIO_BLK_S_IOERR);
	cr_assert_eq(request(VIRTIO_BLK_T_IN, 20, 512, NULL), VIRTIO_BLK_S_IOERR);
	cr_assert_eq(rig_status(r), 15);
}

/* The rest of a short transfer is asked for again. */
Test(virtio_blk_ring, short_transfers)
{
	uint8_t data[512];

	memset(data, 3, sizeof(data));
	blk->engine.fd = wire[0];
	offer(0, VIRTIO_BLK_T_IN, 0, RIG_DATA, 1024);
	rig_kick(r, 0);
	for (int i = 0; i < 4; i++) {
		cr_assert_eq(write(wire[1], data, 256), 256);
		nap();
		rig_run(r, 100);
		ring_turn();
		if (i < 3)
			cr_assert_not(rig_used(r, 0, NULL, NULL));
	}
	cr_assert(wait_used(NULL, NULL));
	cr_assert_eq(rig_get8(r, STATUS), VIRTIO_BLK_S_OK);
	cr_assert_eq(rig_get8(r, RIG_DATA + 1023), 3);
}

static void *reset(void *arg)
{
	pthread_mutex_lock(&r->lock);
	rig_write(r, VIRTIO_MMIO_STATUS, 0);
	pthread_mutex_unlock(&r->lock);
	__atomic_store_n((bool *)arg, true, __ATOMIC_SEQ_CST);
	return NULL;
}

static void in_flight(void)
{
	blk->engine.fd = wire[0];
	offer(0, VIRTIO_BLK_T_IN, 0, RIG_DATA, 512);
	rig_kick(r, 0);
	rig_run(r, 100);
	cr_assert_eq(blk->wait.nr_in_flight, 1);
}

/* A reset returns when the host writes to the guest's buffers no more, and not before. */
Test(virtio_blk_ring, reset_waits)
{
	uint8_t data[512], used;
	pthread_t thread;
	bool over = false;

	in_flight();
	used = rig_get8(r, r->q[0].used + 2);
	cr_assert_eq(pthread_create(&thread, NULL, reset, &over), 0);
	for (int i = 0; i < 5; i++)
		nap();
	cr_assert_not(__atomic_load_n(&over, __ATOMIC_SEQ_CST), "the buffer is still written to");
	memset(data, 9, sizeof(data));
	cr_assert_eq(write(wire[1], data, sizeof(data)), sizeof(data));
	pthread_join(thread, NULL);
	cr_assert_eq(rig_status(r), 0);
	cr_assert_eq(blk->wait.nr_in_flight, 0);
	cr_assert_eq(rig_get8(r, STATUS), 0x77, "nobody waits for its answer");
	cr_assert_eq(rig_get8(r, r->q[0].used + 2), used);
	blk->engine.fd = fd;
	rig_boot(r, ALL, 256);
	cr_assert_eq(request(VIRTIO_BLK_T_IN, 5, 512, NULL), VIRTIO_BLK_S_OK);
}

/* The same head again while it is in flight: the device fails, and what ends later is dropped. */
Test(virtio_blk_ring, head_twice)
{
	uint8_t data[512] = { 0 };

	in_flight();
	rig_offer(r, 0, 0);
	rig_kick(r, 0);
	rig_run(r, 100);
	cr_assert(rig_failed(r));
	cr_assert_eq(write(wire[1], data, sizeof(data)), sizeof(data));
	for (int i = 0; i < PATIENCE && blk->wait.nr_in_flight; i++)
		ring_turn();
	cr_assert_eq(blk->wait.nr_in_flight, 0);
	cr_assert_not(rig_used(r, 0, NULL, NULL));
	cr_assert_eq(rig_get8(r, STATUS), 0x77);
}

static void *feed(void *arg)
{
	uint8_t data[512] = { 4 };

	nap();
	cr_assert_eq(write(*(int *)arg, data, sizeof(data)), sizeof(data));
	return NULL;
}

/* Another file: what is in flight ends on the old one and is answered. */
Test(virtio_blk_ring, set_file_waits)
{
	pthread_t thread;

	in_flight();
	cr_assert_eq(pthread_create(&thread, NULL, feed, &wire[1]), 0);
	pthread_mutex_lock(&r->lock);
	cr_assert_eq(blk_set_file(blk, fd, NULL), 0);
	pthread_mutex_unlock(&r->lock);
	pthread_join(thread, NULL);
	cr_assert(rig_used(r, 0, NULL, NULL));
	cr_assert_eq(rig_get8(r, STATUS), VIRTIO_BLK_S_OK);
	cr_assert_eq(rig_get8(r, RIG_DATA), 4);
	cr_assert_eq(request(VIRTIO_BLK_T_IN, 5, 512, NULL), VIRTIO_BLK_S_OK);
}

/* From here on system call @nr fails with @error. */
static void break_call(unsigned int nr, unsigned int error)
{
	struct sock_filter f[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { .len = sizeof(f) / sizeof(f[0]), .filter = f };

	cr_assert_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	cr_assert_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog), 0);
}

#define NR_RANGES 3u

/* A trim of sectors 8 to 15, none, and 24 to 31, of which the last is the first to be begun. */
static void offer_trim(uint32_t type)
{
	uint8_t raw[NR_RANGES][16] = { 0 };

	for (unsigned int i = 0; i < NR_RANGES; i++) {
		le64_put(raw[i], 8 + 8 * i);
		le32_put(raw[i] + 8, i == 1 ? 0 : 8);
	}
	rig_put(r, RIG_DATA, raw, sizeof(raw));
	offer(0, type, 0, RIG_DATA, sizeof(raw));
	rig_kick(r, 0);
	rig_run(r, 100);
	cr_assert_eq(blk->wait.nr_in_flight, 1);
	cr_assert_not(rig_used(r, 0, NULL, NULL));
}

/* Whether range @i of offer_trim is zeroes, and its neighbours are as they were. */
static bool is_zero(unsigned int i, int file)
{
	uint8_t got[10];

	for (unsigned int k = 0; k < sizeof(got); k++)
		cr_assert_eq(pread(file, &got[k], 1, (7 + 8 * (off_t)i + k) * 512 + 100), 1);
	cr_assert_eq(got[0], 7 + 8 * i);
	cr_assert_eq(got[9], 16 + 8 * i);
	for (unsigned int k = 1; k < 9; k++)
		cr_assert(got[k] == (got[1] ? 7 + 8 * i + k : 0));
	return !got[1];
}

static void answered(uint8_t status)
{
	uint32_t used;

	cr_assert(wait_used(NULL, &used));
	cr_assert_eq(rig_get8(r, STATUS), status);
	cr_assert_eq(used, 1);
	cr_assert_eq(blk->wait.nr_in_flight, 0);
}

Test(virtio_blk_ring, trims)
{
	offer_trim(VIRTIO_BLK_T_DISCARD);
	answered(VIRTIO_BLK_S_OK);
	cr_assert(is_zero(0, fd) && is_zero(2, fd));
	cr_assert_eq(metric_get(&blk_metrics(blk)->write_bytes), 0);
	cr_assert_eq(metric_get(&blk_metrics(blk)->flush_count), 0);
}

/* Drivers that write through expect a trim to be stable, too: a sync ends it, which fails here. */
Test(virtio_blk_ring, durable_trims)
{
	blk->dev.config[offsetof(struct virtio_blk_config, wce)] = 0;
	offer_trim(VIRTIO_BLK_T_WRITE_ZEROES);
	answered(VIRTIO_BLK_S_OK);
	cr_assert(is_zero(0, fd) && is_zero(2, fd));
	cr_assert_eq(metric_get(&blk_metrics(blk)->flush_count), 0);
	for (unsigned int through = 0; through < 2; through++) {
		const uint8_t one_sector[16] = { [8] = 1 };

		blk->dev.config[offsetof(struct virtio_blk_config, wce)] = !through;
		rig_put(r, RIG_DATA, one_sector, sizeof(one_sector));
		offer(0, VIRTIO_BLK_T_DISCARD, 0, RIG_DATA, sizeof(one_sector));
		rig_kick(r, 0);
		rig_run(r, 100);
		blk->engine.fd = wire[0];
		answered(through ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK);
		blk->engine.fd = fd;
	}
}

/* A file in memory has no zeroes of its own: they are written. */
Test(virtio_blk_ring, trims_by_hand)
{
	int file = memfd_create("disk", MFD_CLOEXEC);
	uint8_t sector[512];

	for (unsigned int i = 0; i < 64; i++) {
		memset(sector, (int)i, sizeof(sector));
		cr_assert_eq(write(file, sector, sizeof(sector)), sizeof(sector));
	}
	blk->engine.fd = file;
	offer_trim(VIRTIO_BLK_T_WRITE_ZEROES);
	answered(VIRTIO_BLK_S_OK);
	cr_assert(is_zero(0, file) && is_zero(2, file));
	blk->engine.fd = wire[0];
	offer_trim(VIRTIO_BLK_T_DISCARD);
	answered(VIRTIO_BLK_S_IOERR);
	close(file);
}

/* After a reset no range is begun; before another file is used all of them are done. */
Test(virtio_blk_ring, trims_end)
{
	bool over;

	offer_trim(VIRTIO_BLK_T_DISCARD);
	reset(&over);
	cr_assert_eq(blk->wait.nr_in_flight, 0);
	cr_assert_eq(rig_get8(r, STATUS), 0x77);
	cr_assert(is_zero(2, fd));
	cr_assert_not(is_zero(0, fd));
	rig_boot(r, ALL, 256);
	offer_trim(VIRTIO_BLK_T_DISCARD);
	pthread_mutex_lock(&r->lock);
	cr_assert_eq(blk_set_file(blk, fd, NULL), 0);
	pthread_mutex_unlock(&r->lock);
	cr_assert(rig_used(r, 0, NULL, NULL));
	cr_assert_eq(rig_get8(r, STATUS), VIRTIO_BLK_S_OK);
	cr_assert(is_zero(0, fd));
}

/* A host out of memory takes nothing into the ring: the disk does it all by itself. */
Test(virtio_blk_ring, no_means)
{
	uint32_t used;

	break_call(SYS_io_uring_enter, EAGAIN);
	cr_assert_eq(request(VIRTIO_BLK_T_IN, 5, 1024, &used), VIRTIO_BLK_S_OK);
	cr_assert_eq(used, 1025);
	cr_assert_eq(rig_get8(r, RIG_DATA + 1023), 6);
	cr_assert_eq(request(VIRTIO_BLK_T_FLUSH, 0, 0, NULL), VIRTIO_BLK_S_OK);
	cr_assert_eq(metric_get(&blk_metrics(blk)->flush_count), 1);
	read_eighty();
	offer_trim(VIRTIO_BLK_T_DISCARD);
	answered(VIRTIO_BLK_S_OK);
	cr_assert(is_zero(0, fd) && is_zero(2, fd));
}

/* Two vCPUs reset while one request is out: both wait, and it is not answered. */
Test(virtio_blk_ring, two_resets)
{
	uint8_t data[512] = { 0 };
	bool over[2] = { false };
	pthread_t thread[2];

	in_flight();
	for (int i = 0; i < 2; i++)
		cr_assert_eq(pthread_create(&thread[i], NULL, reset, &over[i]), 0);
	for (int i = 0; i < 3; i++)
		nap();
	for (int i = 0; i < 2; i++)
		cr_assert_not(__atomic_load_n(&over[i], __ATOMIC_SEQ_CST));
	cr_assert_eq(write(wire[1], data, sizeof(data)), sizeof(data));
	for (int i = 0; i < 2; i++)
		pthread_join(thread[i], NULL);
	cr_assert_eq(rig_get8(r, STATUS), 0x77);
	blk->engine.fd = fd;
	rig_boot(r, ALL, 256);
	cr_assert_eq(request(VIRTIO_BLK_T_IN, 5, 512, NULL), VIRTIO_BLK_S_OK);
}

/* A filter or a setting of the host may forbid it. */
Test(virtio_blk_ring, forbidden)
{
	struct uring *other = NULL;
	struct blk_params p = { .id = "disk", .fd = fd, .engine = BLK_ASYNC, .ring = &other };
	struct blk *b = NULL;
	struct err e;

	break_call(SYS_io_uring_setup, EPERM);
	cr_assert_eq(blk_create(&b, &p, &r->host, &e), -EPERM);
	cr_assert_not_null(strstr(e.msg, "io_engine Async is not possible on this host"), "%s",
			   e.msg);
	p.engine = BLK_BEST;
	cr_assert_eq(blk_create(&b, &p, &r->host, &e), 0);
	cr_assert_null(other);
	blk_destroy(b);
}

/* A host that has no ring to give: Async is refused in a sentence, the best there is still works. */
Test(virtio_blk_ring, not_possible)
{
	struct uring *other = NULL;
	struct blk_params p = { .id = "disk", .fd = fd, .engine = BLK_ASYNC, .ring = &other };
	struct rlimit before, few = { 0 };
	struct blk *b = NULL;
	struct err e;
	int ret;

	/* room for the interrupt, and per queue a kick and a timer */
	cr_assert_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
	ret = dup(fd);
	close(ret);
	few = before;
	few.rlim_cur = (rlim_t)ret + 3;
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
	ret = blk_create(&b, &p, &r->host, &e);
	cr_assert_neq(ret, 0);
	cr_assert_not_null(strstr(e.msg, "io_engine Async is not possible"), "%s", e.msg);
	p.engine = BLK_BEST;
	ret = blk_create(&b, &p, &r->host, &e);
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
	cr_assert_eq(ret, 0);
	cr_assert_null(other);
	cr_assert_null(b->wait.ring);
	blk_destroy(b);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * uring.c - see uring.h. io_uring(7), io_uring_setup(2), io_uring_enter(2).
 *
 * By hand: the linker would take 8 KB of liburing, as much as virtio-blk has. New requests are the
 * loop's business alone; what the lock protects are the ring of those that ended, and their lists.
 */
#include "base/uring.h"

#include <errno.h>
#include <linux/io_uring.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"

/* For one system call; more requests take another call. A power of two. */
#define NR_NEW 32u

/* So that no list behind the ring is ever needed. A power of two. */
#define NR_ENDED URING_MAX

/* How long a waiter sleeps between two looks. */
#define NAP_MS 1

struct uring {
	struct watch watch; /* fd: the ring */
	struct watch wake;  /* eventfd: another thread has taken what ended from the ring */
	pthread_mutex_t lock;
	struct loop *loop;
	struct uring_user *users;
	struct io_uring_sqe *sqe;
	uint8_t *map; /* indexes of both directions, and what ended */
	size_t map_len;
	/* in map, shared with the kernel */
	uint32_t *sq_head, *sq_tail, *cq_head, *cq_tail;
	const struct io_uring_cqe *cqe;
};

/* enum uring_kind to what the kernel calls it. */
static const uint8_t opcode[] = {
	[URING_READ] = IORING_OP_READV,
	[URING_WRITE] = IORING_OP_WRITEV,
	[URING_SYNC] = IORING_OP_FSYNC,
	[URING_ALLOCATE] = IORING_OP_FALLOCATE,
};

/* Note what the kernel said about a request. The ring's lock is held. */
static void ended(struct uring_op *op, int res)
{
	op->res = res;
	op->next = op->user->over;
	__atomic_store_n(&op->user->over, op, __ATOMIC_RELAXED);
}

/* Move what has ended from the ring to those it belongs to. */
static void reap(struct uring *ring)
{
	uint32_t head, tail;

	pthread_mutex_lock(&ring->lock);
	tail = __atomic_load_n(ring->cq_tail, __ATOMIC_ACQUIRE);
	for (head = *ring->cq_head; head != tail; head++) {
		const struct io_uring_cqe *cqe = &ring->cqe[head & (NR_ENDED - 1)];

		/* NOLINTNEXTLINE(performance-no-int-to-ptr): a number to the kernel */
		ended((struct uring_op *)(uintptr_t)cqe->user_data, cqe->res);
	}
	__atomic_store_n(ring->cq_head, head, __ATOMIC_RELEASE);
	pthread_mutex_unlock(&ring->lock);
}

void uring_poll(struct uring *ring)
{
	reap(ring);
	for (struct uring_user *u = ring->users; u; u = u->next) {
		if (!__atomic_load_n(&u->over, __ATOMIC_RELAXED))
			continue;
		pthread_mutex_lock(u->lock);
		u->ended(u->ctx);
		pthread_mutex_unlock(u->lock);
	}
}

static void ring_ready(void *ctx, uint32_t events)
{
	(void)events;
	uring_poll(ctx);
}

static void woken(void *ctx, uint32_t events)
{
	struct uring *ring = ctx;
	uint64_t count;

	(void)events;
	while (read(ring->wake.fd, &count, sizeof(count)) < 0 && errno == EINTR)
		;
	uring_poll(ring);
}

static void wake(struct uring *ring)
{
	static const uint64_t one = 1;

	/* EAGAIN: the loop has been told often enough. */
	while (write(ring->wake.fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

static void *map_ring(int fd, size_t len, off_t what)
{
	return mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, what);
}

/* 0 or -errno. */
static int open_ring(struct uring *ring)
{
	struct io_uring_params p = {
		.flags = IORING_SETUP_R_DISABLED | IORING_SETUP_CQSIZE,
		.cq_entries = NR_ENDED,
	};
	int fd = (int)syscall(SYS_io_uring_setup, NR_NEW, &p);
	void *map;

	if (fd < 0)
		return -errno;
	ring->watch.fd = fd;
	/* Both came before restrictions did. */
	if (~p.features & (IORING_FEAT_SINGLE_MMAP | IORING_FEAT_NODROP))
		return -ENOSYS;
	ring->map_len = p.cq_off.cqes + NR_ENDED * sizeof(*ring->cqe);
	if (ring->map_len < p.sq_off.array + NR_NEW * sizeof(uint32_t))
		ring->map_len = p.sq_off.array + NR_NEW * sizeof(uint32_t);
	map = map_ring(fd, ring->map_len, IORING_OFF_SQ_RING);
	if (map == MAP_FAILED)
		return -errno;
	ring->map = map;
	map = map_ring(fd, NR_NEW * sizeof(*ring->sqe), IORING_OFF_SQES);
	if (map == MAP_FAILED)
		return -errno;
	ring->sqe = map;
	ring->sq_head = (void *)(ring->map + p.sq_off.head);
	ring->sq_tail = (void *)(ring->map + p.sq_off.tail);
	ring->cq_head = (void *)(ring->map + p.cq_off.head);
	ring->cq_tail = (void *)(ring->map + p.cq_off.tail);
	ring->cqe = (void *)(ring->map + p.cq_off.cqes);
	for (uint32_t i = 0; i < NR_NEW; i++)
		((uint32_t *)(void *)(ring->map + p.sq_off.array))[i] = i;
	return 0;
}

/* Nothing but these from here on, and no way back. 0 or -errno. */
static int restrict_and_enable(int fd)
{
	struct io_uring_restriction r[sizeof(opcode)];

	memset(r, 0, sizeof(r));
	for (size_t i = 0; i < sizeof(opcode); i++) {
		r[i].opcode = IORING_RESTRICTION_SQE_OP;
		r[i].sqe_op = opcode[i];
	}
	if (syscall(SYS_io_uring_register, fd, IORING_REGISTER_RESTRICTIONS, r, sizeof(opcode)) ||
	    syscall(SYS_io_uring_register, fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0))
		return -errno;
	return 0;
}

int uring_create(struct uring **out, struct loop *loop, struct err *e)
{
	struct uring *ring = calloc(1, sizeof(*ring));
	int ret;

	if (!ring)
		return err_set(e, ENOMEM, "io_uring");
	ring->loop = loop;
	pthread_mutex_init(&ring->lock, NULL);
	ring->watch = (struct watch){ .fd = -1, .events = EPOLLIN, .fn = ring_ready, .ctx = ring };
	ring->wake = ring->watch;
	ring->wake.fn = woken;
	ret = open_ring(ring);
	if (ret == 0)
		ret = restrict_and_enable(ring->watch.fd);
	if (ret == 0) {
		ring->wake.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		ret = ring->wake.fd < 0 ? -errno : 0;
	}
	ret = ret < 0 ? err_set(e, -ret, "io_uring") : loop_add(loop, &ring->watch, e);
	if (ret == 0)
		ret = loop_add(loop, &ring->wake, e);
	if (ret) {
		uring_destroy(ring);
		return ret;
	}
	*out = ring;
	return 0;
}

void uring_destroy(struct uring *ring)
{
	if (!ring)
		return;
	loop_del(ring->loop, &ring->watch);
	loop_del(ring->loop, &ring->wake);
	fd_close(&ring->wake.fd);
	if (ring->sqe)
		munmap(ring->sqe, NR_NEW * sizeof(*ring->sqe));
	if (ring->map)
		munmap(ring->map, ring->map_len);
	fd_close(&ring->watch.fd);
	pthread_mutex_destroy(&ring->lock);
	free(ring);
}

void uring_join(struct uring *ring, struct uring_user *user)
{
	user->ring = ring;
	user->next = ring->users;
	ring->users = user;
}

void uring_leave(struct uring_user *user)
{
	struct uring_user **p;

	if (!user->ring)
		return;
	pthread_mutex_lock(user->lock);
	uring_drain(user);
	pthread_mutex_unlock(user->lock);
	for (p = &user->ring->users; *p != user; p = &(*p)->next)
		;
	*p = user->next;
	user->ring = NULL;
}

/* The kernel has no memory for those that are new: they end as if they had been tried. */
static void take_new_back(struct uring *ring)
{
	uint32_t i = __atomic_load_n(ring->sq_head, __ATOMIC_ACQUIRE);

	pthread_mutex_lock(&ring->lock);
	for (uint32_t end = *ring->sq_tail; i != end; end--)
		/* NOLINTNEXTLINE(performance-no-int-to-ptr): as in reap */
		ended((struct uring_op *)(uintptr_t)ring->sqe[(end - 1) & (NR_NEW - 1)].user_data,
		      -EAGAIN);
	pthread_mutex_unlock(&ring->lock);
	*ring->sq_tail = i;
	wake(ring);
}

void uring_submit(struct uring *ring)
{
	uint32_t nr;
	long ret;

	for (;;) {
		nr = *ring->sq_tail - __atomic_load_n(ring->sq_head, __ATOMIC_ACQUIRE);
		if (nr == 0)
			return;
		ret = syscall(SYS_io_uring_enter, ring->watch.fd, nr, 0, 0, NULL, 0);
		if (ret == 0 || (ret < 0 && errno != EINTR)) {
			take_new_back(ring);
			return;
		}
	}
}

void uring_start(struct uring_user *user, struct uring_op *op)
{
	struct uring *ring = user->ring;
	struct io_uring_sqe sqe = {
		.opcode = opcode[op->kind],
		.fd = op->fd,
		.user_data = (uintptr_t)op,
	};
	uint32_t tail;

	if (op->kind == URING_SYNC) {
		sqe.fsync_flags = IORING_FSYNC_DATASYNC;
	} else if (op->kind == URING_ALLOCATE) {
		sqe.off = op->offset;
		sqe.addr = op->len;
		sqe.len = (uint32_t)op->mode;
	} else {
		sqe.off = op->offset;
		sqe.addr = (uintptr_t)op->iov;
		sqe.len = (uint32_t)op->nr_iov;
		sqe.rw_flags = op->durable ? RWF_DSYNC : 0;
	}
	op->user = user;
	user->nr_in_flight++;
	/* Afterwards there is room, whatever became of those before. */
	if (*ring->sq_tail - __atomic_load_n(ring->sq_head, __ATOMIC_ACQUIRE) == NR_NEW)
		uring_submit(ring);
	tail = *ring->sq_tail;
	ring->sqe[tail & (NR_NEW - 1)] = sqe;
	__atomic_store_n(ring->sq_tail, tail + 1, __ATOMIC_RELEASE);
}

struct uring_op *uring_take(struct uring_user *user)
{
	struct uring_op *list;

	pthread_mutex_lock(&user->ring->lock);
	list = user->over;
	__atomic_store_n(&user->over, NULL, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&user->ring->lock);
	for (const struct uring_op *op = list; op; op = op->next)
		user->nr_in_flight--;
	return list;
}

/*
 * The loop may be held up by the very thing that this thread does (it waits for vCPUs to pause), so
 * look at the ring here, too.
 */
void uring_drain(struct uring_user *user)
{
	struct pollfd p = { .events = POLLIN };

	while (user->nr_in_flight > 0) {
		reap(user->ring);
		user->ended(user->ctx);
		wake(user->ring); /* some may have been others' */
		if (user->nr_in_flight == 0)
			break;
		p.fd = user->ring->watch.fd;
		pthread_mutex_unlock(user->lock);
		poll(&p, 1, NAP_MS);
		pthread_mutex_lock(user->lock);
	}
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * uring.h - one io_uring for all files of the process: what would wait for a disk waits there, not
 * on the loop.
 *
 * Requests belong to users, and what has ended is handed to them under their own lock. The loop
 * takes it from the ring, or a thread that waits until nothing of a user is in flight, for the
 * kernel writes to the buffers until then (uring_drain); hence the lock inside, which is the last
 * to be taken. The ring can read, write, sync and fallocate, and nothing else
 * (IORING_REGISTER_RESTRICTIONS), for no system call filter sees what passes through it.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/err.h"
#include "base/loop.h"

/* All requests that may be out at the same time, of all users together. */
#define URING_MAX 1024u

struct uring;
struct uring_user;

enum uring_kind { URING_READ, URING_WRITE, URING_SYNC, URING_ALLOCATE };

/* A request. The caller's, who keeps it and its buffers as they are until it has ended. */
struct uring_op {
	enum uring_kind kind; /* a sync needs no more than this and fd */
	int fd;
	const struct iovec *iov;
	size_t nr_iov;
	uint64_t offset;
	uint64_t len; /* URING_ALLOCATE: instead of iov */
	int mode;     /* FALLOC_FL_* */
	bool durable; /* a write that is on stable storage when it ends */

	struct uring_user *user;
	struct uring_op *next; /* in what uring_take returns */
	int res;	       /* when it has ended: bytes (0 without iov), or -errno */
};

/* Whose requests. The caller sets lock, ended and ctx; the rest belongs to uring.c. */
struct uring_user {
	pthread_mutex_t *lock;	  /* held by whoever calls, except where it says otherwise */
	void (*ended)(void *ctx); /* requests have ended: take them. Lock held, any thread */
	void *ctx;
	struct uring *ring; /* NULL: has not joined */
	struct uring_user *next;
	struct uring_op *over;	   /* ended, not taken; under the ring's lock */
	unsigned int nr_in_flight; /* not ended, or not taken */
};

/*
 * uring_create - a ring on @loop. Errors: errno of io_uring_setup (ENOSYS, EPERM: not on this
 * host), io_uring_register, mmap, eventfd. Loop thread.
 */
int uring_create(struct uring **out, struct loop *loop, struct err *e);

/* uring_destroy - when all users have left. NULL is allowed. */
void uring_destroy(struct uring *ring);

/* uring_join / uring_leave - loop thread, lock not held. Who has not joined may leave, too. */
void uring_join(struct uring *ring, struct uring_user *user);
void uring_leave(struct uring_user *user);

/*
 * uring_start - begin @op, whose first half is set; it goes out with uring_submit. What the kernel
 * has no memory for ends with -EAGAIN. Loop thread.
 */
void uring_start(struct uring_user *user, struct uring_op *op);

/* uring_submit - tell the kernel about all that was started. Loop thread. */
void uring_submit(struct uring *ring);

/* uring_poll - look for what has ended; the ring's watch does it. Loop thread, no lock held. */
void uring_poll(struct uring *ring);

/* uring_take - a list of the requests that have ended, or NULL. They are not in flight any more. */
struct uring_op *uring_take(struct uring_user *user);

/*
 * uring_drain - return when nothing is in flight. Gives up the lock while it waits. Any thread.
 */
void uring_drain(struct uring_user *user);

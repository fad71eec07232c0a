/* SPDX-License-Identifier: Apache-2.0 */
/*
 * locks.c - mutexes and conditions of the release build in the place of libc's (4 KB). Any thread.
 *
 * What pthread.h promises, less what nobody here asks for: no attributes, no cancellation, no time
 * limits. Tests have the locks that sanitizers know, and test these under other names.
 */
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The first word of libc's objects, whatever libc made them of; all begin as 0. */
typedef uint32_t __attribute__((may_alias)) word_t;

/* Of a mutex; of a condition the word counts its events. */
enum { FREE, TAKEN, AWAITED };

static void futex(word_t *word, int op, uint32_t value)
{
	int saved = errno; /* these functions do not change it */

	syscall(SYS_futex, word, op | FUTEX_PRIVATE_FLAG, value, NULL);
	errno = saved;
}

int pthread_mutex_init(pthread_mutex_t *mutex, const pthread_mutexattr_t *attr)
{
	(void)attr;
	*(word_t *)mutex = FREE;
	return 0;
}

int pthread_mutex_destroy(pthread_mutex_t *mutex)
{
	(void)mutex;
	return 0;
}

int pthread_mutex_lock(pthread_mutex_t *mutex)
{
	word_t *word = (word_t *)mutex;
	uint32_t state = FREE;

	if (__atomic_compare_exchange_n(word, &state, TAKEN, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
		return 0;
	/* Whoever comes this way leaves AWAITED behind: there may be others that wait. */
	while (__atomic_exchange_n(word, AWAITED, __ATOMIC_ACQUIRE) != FREE)
		futex(word, FUTEX_WAIT, AWAITED);
	return 0;
}

int pthread_mutex_unlock(pthread_mutex_t *mutex)
{
	word_t *word = (word_t *)mutex;

	if (__atomic_exchange_n(word, FREE, __ATOMIC_RELEASE) == AWAITED)
		futex(word, FUTEX_WAKE, 1);
	return 0;
}

int pthread_cond_init(pthread_cond_t *cond, const pthread_condattr_t *attr)
{
	(void)attr;
	*(word_t *)cond = 0;
	return 0;
}

int pthread_cond_destroy(pthread_cond_t *cond)
{
	(void)cond;
	return 0;
}

/* An event after the mutex was given up changes the word, and the kernel does not begin to wait. */
int pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex)
{
	word_t *word = (word_t *)cond;
	uint32_t seen = __atomic_load_n(word, __ATOMIC_RELAXED);

	pthread_mutex_unlock(mutex);
	futex(word, FUTEX_WAIT, seen);
	pthread_mutex_lock(mutex);
	return 0;
}

int pthread_cond_broadcast(pthread_cond_t *cond)
{
	word_t *word = (word_t *)cond;

	__atomic_add_fetch(word, 1, __ATOMIC_RELAXED);
	futex(word, FUTEX_WAKE, INT_MAX);
	return 0;
}

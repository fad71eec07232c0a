/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_locks.c - the release build's locks, under names that libc does not have. `make unit-tsan`
 * asks whether they order what they guard.
 */
#include "locks_renamed.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>

#define NR_THREADS 4u
#define NR_TURNS   5000u

static pthread_mutex_t lock;
static pthread_cond_t changed;
static unsigned int nr, turn;

static void setup(void)
{
	nr = turn = 0;
	pthread_mutex_init(&lock, NULL);
	pthread_cond_init(&changed, NULL);
}

static void teardown(void)
{
	pthread_cond_destroy(&changed);
	pthread_mutex_destroy(&lock);
}

TestSuite(locks, .init = setup, .fini = teardown, .timeout = 60);

static void together(void *(*fn)(void *))
{
	pthread_t thread[NR_THREADS];
	unsigned int id[NR_THREADS];

	for (unsigned int i = 0; i < NR_THREADS; i++) {
		id[i] = i;
		cr_assert_eq(pthread_create(&thread[i], NULL, fn, &id[i]), 0);
	}
	for (unsigned int i = 0; i < NR_THREADS; i++)
		cr_assert_eq(pthread_join(thread[i], NULL), 0);
}

static void *count(void *arg)
{
	(void)arg;
	for (unsigned int i = 0; i < NR_TURNS; i++) {
		pthread_mutex_lock(&lock);
		nr++;
		if (i % 16 == 0)
			sched_yield(); /* so that others come and have to wait */
		pthread_mutex_unlock(&lock);
	}
	return NULL;
}

Test(locks, one_at_a_time)
{
	together(count);
	cr_assert_eq(nr, NR_THREADS * NR_TURNS);
}

static void *take_turns(void *arg)
{
	unsigned int id = *(const unsigned int *)arg;

	pthread_mutex_lock(&lock);
	for (unsigned int i = 0; i < NR_TURNS / 10; i++) {
		while (turn % NR_THREADS != id)
			pthread_cond_wait(&changed, &lock);
		turn++;
		pthread_cond_broadcast(&changed);
	}
	pthread_mutex_unlock(&lock);
	return NULL;
}

Test(locks, every_change_is_seen)
{
	together(take_turns);
	cr_assert_eq(turn, NR_THREADS * (NR_TURNS / 10));
}

static void *wait_for_all(void *arg)
{
	(void)arg;
	pthread_mutex_lock(&lock);
	if (++nr == NR_THREADS)
		pthread_cond_broadcast(&changed);
	while (nr < NR_THREADS)
		pthread_cond_wait(&changed, &lock);
	pthread_mutex_unlock(&lock);
	return NULL;
}

Test(locks, a_broadcast_wakes_all)
{
	together(wait_for_all);
	cr_assert_eq(nr, NR_THREADS);
}

Test(locks, errno_is_kept)
{
	errno = EDOM;
	pthread_mutex_lock(&lock);
	pthread_mutex_unlock(&lock);
	pthread_cond_broadcast(&changed);
	cr_assert_eq(errno, EDOM);
}

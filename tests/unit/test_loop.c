/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_loop.c - the event loop: levels, deletion inside handlers, timers, the way out.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/loop.h"

#define STOP_AFTER_US 20000   /* for tests that look at what happened by then */
#define GIVE_UP_US    5000000 /* for the others: a machine may be that busy */

static struct loop *loop;
static struct err e;
static struct timer end;

static void on_end(void *ctx)
{
	(void)ctx;
	loop_stop(loop, 99);
}

/* Each test ends by itself with 99, whatever else goes wrong. */
static void setup(void)
{
	cr_assert_eq(loop_create(&loop, &e), 0, "%s", e.msg);
	cr_assert_eq(timer_init(&end, loop, on_end, NULL, NULL, &e), 0);
	timer_arm(&end, GIVE_UP_US);
}

static void teardown(void)
{
	timer_fini(&end, loop);
	loop_destroy(loop);
}

TestSuite(loop, .init = setup, .fini = teardown, .timeout = 10);

struct probe {
	struct watch watch;
	unsigned int calls, limit; /* stops the loop after @limit calls, if any */
	uint32_t events;
	struct probe *victim;
};

static void on_probe(void *ctx, uint32_t events)
{
	struct probe *p = ctx;

	p->calls++;
	p->events = events;
	if (p->victim)
		loop_del(loop, &p->victim->watch);
	if (p->calls == p->limit)
		loop_stop(loop, 1);
}

static void probe_add(struct probe *p, uint32_t events)
{
	p->watch = (struct watch){
		.fd = eventfd(1, EFD_NONBLOCK), .events = events, .fn = on_probe, .ctx = p
	};
	cr_assert_eq(loop_add(loop, &p->watch, &e), 0, "%s", e.msg);
}

static void probe_end(struct probe *p)
{
	loop_del(loop, &p->watch);
	close(p->watch.fd);
}

Test(loop, calls_again_while_there_is_something_left)
{
	struct probe p = { .limit = 5 };

	probe_add(&p, EPOLLIN);
	cr_assert_eq(loop_run(loop), 1);
	cr_assert_eq(p.calls, 5);
	cr_assert_eq(p.events, EPOLLIN);
	probe_end(&p);
}

Test(loop, sleeps_where_nothing_is_wanted)
{
	struct probe p = { .limit = 1 };

	probe_add(&p, 0);
	timer_arm(&end, STOP_AFTER_US);
	cr_assert_eq(loop_run(loop), 99);
	cr_assert_eq(p.calls, 0);
	probe_end(&p);
}

Test(loop, follows_a_change_of_wanted_events)
{
	struct probe p = { .limit = 1 };

	probe_add(&p, 0);
	loop_mod(loop, &p.watch, EPOLLOUT);
	cr_assert_eq(p.watch.events, EPOLLOUT);
	cr_assert_eq(loop_run(loop), 1);
	cr_assert_eq(p.events, EPOLLOUT);
	probe_end(&p);
}

/* Both are ready in one batch; whoever comes first ends the other, whose event must be dropped. */
Test(loop, an_event_of_a_deleted_watch_is_dropped)
{
	struct probe a = { 0 }, b = { .victim = &a };

	a.victim = &b;
	probe_add(&a, EPOLLIN);
	probe_add(&b, EPOLLIN);
	a.limit = b.limit = 3;
	cr_assert_eq(loop_run(loop), 1);
	cr_assert_eq(a.calls + b.calls, 3);
	cr_assert(a.calls == 0 || b.calls == 0);
	probe_end(&a);
	probe_end(&b);
}

Test(loop, a_handler_may_delete_itself_and_come_back)
{
	struct probe p = { 0 };

	p.victim = &p;
	probe_add(&p, EPOLLIN);
	timer_arm(&end, STOP_AFTER_US);
	cr_assert_eq(loop_run(loop), 99);
	cr_assert_eq(p.calls, 1);
	cr_assert_not(p.watch.added);
	loop_del(loop, &p.watch);
	cr_assert_eq(loop_add(loop, &p.watch, &e), 0, "deleting twice did no harm");
	probe_end(&p);
}

Test(loop, more_ready_watches_than_one_batch_are_all_served)
{
	struct probe p[50] = { 0 };

	for (size_t i = 0; i < 50; i++) {
		probe_add(&p[i], EPOLLIN);
		p[i].victim = &p[i];
	}
	timer_arm(&end, STOP_AFTER_US);
	cr_assert_eq(loop_run(loop), 99);
	for (size_t i = 0; i < 50; i++) {
		cr_expect_eq(p[i].calls, 1, "watch %zu", i);
		probe_end(&p[i]);
	}
}

Test(loop, a_regular_file_cannot_be_watched)
{
	FILE *f = tmpfile();
	struct watch w = { .fd = fileno(f), .events = EPOLLIN, .fn = on_probe };

	cr_assert_eq(loop_add(loop, &w, &e), -EPERM);
	cr_assert_not(w.added);
	fclose(f);
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int lock_was_free = -1;

static void on_locked(void *ctx, uint32_t events)
{
	(void)ctx;
	(void)events;
	lock_was_free = pthread_mutex_trylock(&lock) == 0;
	loop_stop(loop, 2);
}

Test(loop, holds_the_lock_of_the_watch)
{
	struct watch w = { .fd = eventfd(1, 0), .events = EPOLLIN, .fn = on_locked, .lock = &lock };

	cr_assert_eq(loop_add(loop, &w, &e), 0);
	cr_assert_eq(loop_run(loop), 2);
	cr_assert_eq(lock_was_free, 0);
	cr_assert_eq(pthread_mutex_trylock(&lock), 0, "and gives it back");
	loop_del(loop, &w);
	close(w.fd);
}

Test(loop, the_first_to_stop_it_decides)
{
	loop_stop(loop, 3);
	loop_stop(loop, 4);
	cr_assert_eq(loop_run(loop), 3);
	cr_assert_eq(loop_run(loop), 3, "and it stays stopped");
}

Test(loop, no_handler_runs_after_the_one_that_stops)
{
	struct probe a = { .limit = 1 }, b = { .limit = 1 };

	probe_add(&a, EPOLLIN);
	probe_add(&b, EPOLLIN);
	cr_assert_eq(loop_run(loop), 1);
	cr_assert_eq(a.calls + b.calls, 1);
	probe_end(&a);
	probe_end(&b);
}

static void *stop_soon(void *arg)
{
	const struct timespec wait = { .tv_nsec = 5000000 };

	(void)arg;
	nanosleep(&wait, NULL);
	loop_stop(loop, 5);
	return NULL;
}

Test(loop, another_thread_may_stop_it)
{
	pthread_t t;

	timer_arm(&end, 0);
	cr_assert_eq(pthread_create(&t, NULL, stop_soon, NULL), 0);
	cr_assert_eq(loop_run(loop), 5);
	pthread_join(t, NULL);
}

static uint64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void count(void *ctx)
{
	(*(unsigned int *)ctx)++;
}

Test(loop, a_timer_fires_once_and_not_early)
{
	unsigned int fired = 0;
	struct timer t;
	uint64_t start = now_us();

	cr_assert_eq(timer_init(&t, loop, count, &fired, NULL, &e), 0);
	timer_arm(&t, 3000);
	timer_arm(&end, 15000);
	timer_arm(&end, STOP_AFTER_US);
	cr_assert_eq(loop_run(loop), 99);
	cr_assert_eq(fired, 1);
	cr_assert_geq(now_us() - start, 15000);
	timer_fini(&t, loop);
}

Test(loop, a_timer_can_be_disarmed_and_moved)
{
	unsigned int never = 0, moved = 0, unarmed = 0;
	struct timer a, b, c;

	cr_assert_eq(timer_init(&a, loop, count, &never, NULL, &e), 0);
	cr_assert_eq(timer_init(&b, loop, count, &moved, NULL, &e), 0);
	cr_assert_eq(timer_init(&c, loop, count, &unarmed, NULL, &e), 0);
	timer_arm(&a, 1);
	timer_arm(&b, 3600000000ULL);
	usleep(2000); /* a has expired, but nobody has looked yet */
	timer_arm(&a, 0);
	timer_arm(&b, 1);
	timer_arm(&end, STOP_AFTER_US);
	cr_assert_eq(loop_run(loop), 99);
	cr_assert_eq(never, 0);
	cr_assert_eq(moved, 1);
	cr_assert_eq(unarmed, 0);
	timer_fini(&a, loop);
	timer_fini(&b, loop);
	timer_fini(&c, loop);
}

struct disarm {
	struct watch watch;
	struct timer t;
};

static void on_disarm(void *ctx, uint32_t events)
{
	struct disarm *d = ctx;

	(void)events;
	loop_del(loop, &d->watch);
	timer_arm(&d->t, 0);
}

/* Both are ready in one batch, the watch first: the timer's event comes too late to count. */
Test(loop, a_timer_disarmed_by_an_earlier_handler_does_not_fire)
{
	unsigned int fired = 0;
	struct disarm d;

	cr_assert_eq(timer_init(&d.t, loop, count, &fired, NULL, &e), 0);
	d.watch = (struct watch){
		.fd = eventfd(1, 0), .events = EPOLLIN, .fn = on_disarm, .ctx = &d
	};
	cr_assert_eq(loop_add(loop, &d.watch, &e), 0);
	timer_arm(&d.t, 1);
	usleep(2000);
	timer_arm(&end, STOP_AFTER_US);
	cr_assert_eq(loop_run(loop), 99);
	cr_assert_eq(fired, 0);
	cr_assert_not(d.watch.added, "the handler ran");
	timer_fini(&d.t, loop);
	close(d.watch.fd);
}

struct rearm {
	struct timer t;
	unsigned int nr;
};

static void on_rearm(void *ctx)
{
	struct rearm *r = ctx;

	if (++r->nr < 4)
		timer_arm(&r->t, 1);
	else
		loop_stop(loop, 6);
}

Test(loop, a_timer_can_be_armed_from_its_own_handler)
{
	struct rearm r = { .nr = 0 };

	cr_assert_eq(timer_init(&r.t, loop, on_rearm, &r, NULL, &e), 0);
	timer_arm(&r.t, 1);
	cr_assert_eq(loop_run(loop), 6);
	cr_assert_eq(r.nr, 4);
	timer_fini(&r.t, loop);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_limiter.c - token buckets in simulated time: arithmetic, rates, bursts, debts.
 */
#include <criterion/criterion.h>
#include <stdint.h>

#include "base/limiter.h"

#define MS  UINT64_C(1000000)
#define SEC UINT64_C(1000000000)

static struct limiter l;
static uint64_t now;

static void setup(void)
{
	l = (struct limiter){ .waiting = false };
	now = 77 * SEC;
}

TestSuite(limiter, .init = setup);

static void bytes(uint64_t size, uint64_t burst, uint64_t refill_ms)
{
	struct bucket_params p = { size, burst, refill_ms };

	bucket_set(&l.bytes, &p, now);
}

static void ops(uint64_t size, uint64_t burst, uint64_t refill_ms)
{
	struct bucket_params p = { size, burst, refill_ms };

	bucket_set(&l.ops, &p, now);
}

/*
 * Operations that pass in @ns when there is always one waiting, each of @size bytes, and whoever
 * waits is woken @late_ns after the time it was told.
 */
static uint64_t pass_in(uint64_t ns, uint64_t size, uint64_t late_ns)
{
	uint64_t end = now + ns, nr = 0;

	for (;;) {
		uint64_t wait = limiter_take(&l, size, now);

		if (!wait)
			nr++;
		else if (now + wait + late_ns > end)
			return nr;
		else
			now += wait + late_ns;
	}
}

static void expect_rate(uint64_t nr, uint64_t expected)
{
	uint64_t apart = nr > expected ? nr - expected : expected - nr;

	cr_assert_leq(apart * 50, expected, "%llu is not within 2 %% of %llu",
		      (unsigned long long)nr, (unsigned long long)expected);
}

Test(limiter, limits_nothing_when_size_or_time_is_zero)
{
	cr_assert_not(limiter_on(&l));
	bytes(0, 5, 100);
	ops(10, 5, 0);
	cr_assert_not(limiter_on(&l));
	for (int i = 0; i < 1000; i++)
		cr_assert_eq(limiter_take(&l, UINT64_MAX, now), 0);
}

Test(limiter, starts_full_and_says_exactly_when)
{
	bytes(1000, 0, 1000);
	cr_assert(limiter_on(&l));
	cr_assert_eq(limiter_take(&l, 600, now), 0);
	cr_assert_eq(limiter_take(&l, 400, now), 0);
	cr_assert_eq(limiter_take(&l, 1, now), 1 * MS);
	cr_assert_eq(limiter_take(&l, 250, now), 250 * MS);
	now += 250 * MS - 1;
	cr_assert_eq(limiter_take(&l, 250, now), 1);
	now += 1;
	cr_assert_eq(limiter_take(&l, 250, now), 0);
	cr_assert_eq(limiter_take(&l, 1, now), 1 * MS, "a refusal takes nothing, a grant all");
}

Test(limiter, parts_of_a_token_are_kept)
{
	uint64_t nr = 0;

	ops(3, 0, 1000);
	cr_assert_eq(limiter_take(&l, 0, now) + limiter_take(&l, 0, now) + limiter_take(&l, 0, now),
		     0);
	for (int i = 0; i < 1000; i++) {
		now += 7 * MS + 1; /* no multiple of a third of a second */
		nr += !limiter_take(&l, 0, now);
	}
	cr_assert_eq(nr, 21, "three a second for 7 seconds, %llu", (unsigned long long)nr);
}

Test(limiter, an_idle_bucket_holds_its_size_only)
{
	ops(5, 0, 10);
	now += 1000 * SEC;
	for (int i = 0; i < 5; i++)
		cr_assert_eq(limiter_take(&l, 0, now), 0);
	cr_assert_eq(limiter_take(&l, 0, now), 2 * MS);
}

Test(limiter, burst_first_and_once)
{
	bytes(100, 300, 1000);
	cr_assert_eq(limiter_take(&l, 300, now), 0);
	cr_assert_eq(l.bytes.burst, 0);
	cr_assert_eq(l.bytes.level, 100, "the bucket is still full");
	cr_assert_eq(limiter_take(&l, 100, now), 0);
	cr_assert_neq(limiter_take(&l, 100, now), 0);
	now += 100 * SEC;
	limiter_idle(&l);
	cr_assert_eq(limiter_take(&l, 100, now), 0);
	cr_assert_neq(limiter_take(&l, 1, now), 0, "the burst came back");
}

Test(limiter, burst_helps_with_what_the_bucket_lacks)
{
	bytes(100, 50, 1000);
	cr_assert_eq(limiter_take(&l, 120, now), 0, "50 of the burst, 70 of the bucket");
	cr_assert_eq(limiter_take(&l, 31, now), 10 * MS);
	cr_assert_eq(l.bytes.debt, 0);
}

Test(limiter, a_refusal_keeps_the_burst)
{
	bytes(100, 0, 1000);
	ops(1, 10, 1000);
	cr_assert_eq(limiter_take(&l, 100, now), 0);
	cr_assert_neq(limiter_take(&l, 100, now), 0);
	cr_assert_eq(l.ops.burst, 9);
	cr_assert_eq(l.ops.level, 1);
}

Test(limiter, larger_than_the_bucket_passes_and_is_paid_back)
{
	bytes(1000, 0, 1000);
	cr_assert_eq(limiter_take(&l, 5000, now), 0);
	cr_assert_eq(limiter_take(&l, 5000, now), 4 * SEC);
	cr_assert_eq(limiter_take(&l, 100, now), 4 * SEC + 100 * MS);
	now += 4 * SEC;
	cr_assert_eq(limiter_take(&l, 5000, now), 0);
	setup();
	bytes(1000, 0, 1000);
	expect_rate(pass_in(1000 * SEC, 5000, 0), 200);
}

Test(limiter, both_buckets_and_no_token_lost)
{
	bytes(4096, 0, 1000);
	ops(2, 0, 1000);
	cr_assert_eq(limiter_take(&l, 4096, now), 0);
	for (int i = 0; i < 100; i++)
		cr_assert_eq(limiter_take(&l, 4096, now), 1 * SEC);
	cr_assert_eq(l.ops.level, 1, "operations are charged only with their bytes");
	cr_assert_eq(limiter_take(&l, 0, now), 0, "no bytes, so only the operation counts");
	cr_assert_eq(limiter_take(&l, 0, now), 500 * MS);
}

Test(limiter, a_new_bucket_is_full)
{
	bytes(1000, 0, 1000);
	cr_assert_eq(limiter_take(&l, 9000, now), 0);
	bytes(10, 0, 1000);
	cr_assert_eq(limiter_take(&l, 10, now), 0, "the debt went with the old bucket");
	cr_assert_eq(limiter_take(&l, 1, now), 100 * MS);
	bytes(0, 0, 0);
	cr_assert_eq(limiter_take(&l, UINT64_MAX, now), 0);
}

/* What is configured is what passes, whatever the grain, also when timers are late. */
Test(limiter, rates)
{
	static const struct {
		uint64_t size, refill_ms, request, seconds, nr;
	} rows[] = {
		{ 10 << 20, 1000, 4096, 5, 5 * 2560 },
		{ 10 << 20, 100, 65536, 5, 5 * 1600 },
		{ 1 << 20, 1000, 1 << 20, 500, 500 },
		{ 65536, 10, 1 << 20, 500, 3125 },
		{ 1500, 1, 1514, 5, 4954 },
		{ 100, 7, 64, 5, 1116 },
	};
	static const uint64_t late[] = { 0, 50000, 1 * MS, 10 * MS };

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		for (size_t k = 0; k < 4; k++) {
			setup();
			bytes(rows[i].size, 0, rows[i].refill_ms);
			while (!limiter_take(&l, rows[i].request, now))
				; /* what it starts with */
			expect_rate(pass_in(rows[i].seconds * SEC, rows[i].request, late[k]),
				    rows[i].nr);
		}
	}
}

Test(limiter, rates_of_operations)
{
	static const uint64_t late[] = { 0, 60000, 3 * MS, 15 * MS };

	for (size_t k = 0; k < 4; k++) {
		setup();
		ops(1, 0, 1); /* holds less than a timer is late */
		expect_rate(pass_in(5 * SEC, 0, late[k]), 5000);
		setup();
		ops(3000, 0, 1000);
		expect_rate(pass_in(5 * SEC, 0, late[k]), 6 * 3000);
	}
}

/* One request at a time: the queue is empty after each, and the next comes a little later. */
Test(limiter, rate_without_a_backlog)
{
	uint64_t end = now + 5 * SEC, nr = 0;

	ops(1, 0, 1);
	while (now < end) {
		uint64_t wait = limiter_take(&l, 0, now);

		if (wait) {
			now += wait + 60000;
			continue;
		}
		nr++;
		limiter_idle(&l);
		now += 300000;
	}
	expect_rate(nr, 5000);
}

Test(limiter, what_was_saved_while_waiting_is_bounded)
{
	uint64_t nr = 0;

	ops(10, 0, 10);
	while (!limiter_take(&l, 0, now))
		;
	now += 3600 * SEC; /* the host slept */
	while (!limiter_take(&l, 0, now))
		nr++;
	cr_assert_eq(nr, 10 + 20);
	now += 15 * MS;
	cr_assert_eq(limiter_take(&l, 0, now), 0);
	limiter_idle(&l);
	nr = 0;
	while (!limiter_take(&l, 0, now))
		nr++;
	cr_assert_eq(nr, 10);
}

Test(limiter, smooth)
{
	uint64_t longest = 0;

	/* The figures of a request that Firecracker's steps of 100 ms turned into 2765 a second. */
	ops(3000, 0, 1000);
	while (!limiter_take(&l, 0, now))
		;
	for (int i = 0; i < 3000; i++) {
		uint64_t wait = limiter_take(&l, 0, now);

		longest = wait > longest ? wait : longest;
		now += wait;
		cr_assert_eq(limiter_take(&l, 0, now), 0);
	}
	cr_assert_leq(longest, SEC / 3000 + 1);
}

/* Nothing wraps, whatever an operator writes. */
Test(limiter, extremes)
{
	static const uint64_t v[] = {
		1, 2, 3, 1000, 1 << 20, UINT32_MAX, 1ULL << 63, UINT64_MAX - 1, UINT64_MAX,
	};
	static const size_t nr = sizeof(v) / sizeof(v[0]);

	for (size_t i = 0; i < nr * nr * nr; i++) {
		uint64_t size = v[i % nr], refill = v[i / nr % nr], ask = v[i / nr / nr];
		uint64_t wait;

		setup();
		bytes(size, UINT64_MAX, refill);
		cr_assert_eq(limiter_take(&l, UINT64_MAX, now), 0, "the burst");
		cr_assert_eq(limiter_take(&l, size, now), 0);
		wait = limiter_take(&l, size, now);
		cr_assert(wait > 0 && wait <= LIMITER_WAIT_MAX_NS);
		if (wait < LIMITER_WAIT_MAX_NS) {
			cr_assert_neq(limiter_take(&l, size, now + wait - 1), 0);
			cr_assert_eq(limiter_take(&l, size, now + wait), 0);
		}
		bytes(size, 0, refill);
		cr_assert_eq(limiter_take(&l, ask, now), 0);
		limiter_take(&l, ask, UINT64_MAX);
		cr_assert_leq(l.bytes.level, size + l.bytes.late);
		cr_assert_geq(size + l.bytes.late, size);
		cr_assert(l.bytes.part < l.bytes.refill_ns);
	}
}

Test(limiter, a_clock_that_goes_back_takes_nothing_away)
{
	ops(2, 0, 1000);
	cr_assert_eq(limiter_take(&l, 0, now), 0);
	cr_assert_eq(limiter_take(&l, 0, now - 5 * SEC), 0);
	cr_assert_eq(limiter_take(&l, 0, now - 5 * SEC), 500 * MS);
}

Test(limiter, bucket_for_those_who_do_not_wait)
{
	struct bucket b = { .level = 0 };
	struct bucket_params p = { 10, 3, 1000 };

	cr_assert(bucket_take(&b, 1000, now), "off");
	bucket_set(&b, &p, now);
	for (int i = 0; i < 13; i++)
		cr_assert(bucket_take(&b, 1, now));
	cr_assert_not(bucket_take(&b, 1, now));
	now += 100 * MS;
	cr_assert(bucket_take(&b, 1, now));
	cr_assert_not(bucket_take(&b, 1, now));
	now += 1000 * SEC;
	for (int i = 0; i < 10; i++)
		cr_assert(bucket_take(&b, 1, now));
	cr_assert_not(bucket_take(&b, 1, now));
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * runner.c - runs criterion tests without criterion, for ThreadSanitizer: criterion's runner wants
 * its memory at addresses that TSan keeps for itself. Each test runs in a process of its own, which
 * this file ends at the first failed assertion; what TSan reports makes the process end with 66.
 *
 * It defines the few functions that a test's object file calls, and walks the sections into which
 * Test() and TestSuite() put their descriptions (criterion 2.4). Parameterized tests are left out.
 */
#include <criterion/criterion.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern struct criterion_test *__start_cr_tst[], *__stop_cr_tst[];
extern struct criterion_suite *__start_cr_sts[], *__stop_cr_sts[];

#define TIMEOUT_S 100
#define SKIPPED	  77 /* a test's exit status */

struct criterion_options criterion_options;

static const struct criterion_test_extra_data *suite, *test;
static const char *name;

static const struct criterion_test_extra_data *suite_of(const struct criterion_test *t)
{
	for (struct criterion_suite **s = __start_cr_sts; s < __stop_cr_sts; s++)
		if (*s && !strcmp((*s)->name, t->category))
			return (*s)->data;
	return NULL;
}

void criterion_internal_test_setup(void)
{
	if (suite && suite->init)
		suite->init();
	if (test->init)
		test->init();
}

void criterion_internal_test_main(void (*fn)(void))
{
	fn();
}

void criterion_internal_test_teardown(void)
{
	if (test->fini)
		test->fini();
	if (suite && suite->fini)
		suite->fini();
}

void criterion_send_assert(struct criterion_assert_stats *stats)
{
	if (!stats->passed)
		fprintf(stderr, "%s:%u: %s: assertion failed: %s\n", stats->file, stats->line, name,
			stats->message);
}

void criterion_abort_test(void)
{
	_exit(1);
}

void criterion_continue_test(void)
{
	_exit(1);
}

void criterion_skip_test(const char *format, ...)
{
	va_list ap;

	fprintf(stderr, "%s is skipped: ", name);
	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fprintf(stderr, "\n");
	_exit(SKIPPED);
}

void cri_asserts_passed_incr(void)
{
}

char *cr_translate_assert_msg(int msg_index, ...)
{
	(void)msg_index;
	return strdup("");
}

int cr_asprintf(char **out, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(out, fmt, ap);
	va_end(ap);
	return n;
}

void cr_asprintf_free(char *s)
{
	free(s);
}

static int run(const struct criterion_test *t)
{
	pid_t pid;
	int status;

	fflush(NULL); /* or the child's exit writes our buffers once more */
	pid = fork();
	if (pid == 0) {
		alarm(TIMEOUT_S);
		test = t->data;
		suite = suite_of(t);
		name = t->name;
		t->test();
		exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return -1;
	return status;
}

int main(int argc, char **argv)
{
	FILE *xml = argc > 1 ? fopen(argv[1], "w") : NULL;
	unsigned int nr = 0, nr_failed = 0;

	if (!xml) {
		fprintf(stderr, "usage: %s RESULT.xml\n", argv[0]);
		return 2;
	}
	fprintf(xml, "<testsuites name=\"ThreadSanitizer\">\n<testsuite name=\"tsan\">\n");
	for (struct criterion_test **t = __start_cr_tst; t < __stop_cr_tst; t++) {
		int status;

		if (!*t || (*t)->data->kind_ != CR_TEST_NORMAL)
			continue;
		status = run(*t);
		nr++;
		fprintf(xml, "<testcase classname=\"%s\" name=\"%s\">", (*t)->category, (*t)->name);
		if (WIFEXITED(status) && WEXITSTATUS(status) == SKIPPED) {
			fprintf(xml, "<skipped/>");
		} else if (status) {
			nr_failed++;
			fprintf(stderr, "[FAIL] %s::%s (wait status 0x%x)\n", (*t)->category,
				(*t)->name, (unsigned int)status);
			fprintf(xml, "<failure message=\"wait status 0x%x\"/>",
				(unsigned int)status);
		}
		fprintf(xml, "</testcase>\n");
	}
	fprintf(xml, "</testsuite>\n</testsuites>\n");
	fclose(xml);
	fprintf(stderr, "tsan: %u tests, %u failed\n", nr, nr_failed);
	return nr == 0 || nr_failed > 0;
}

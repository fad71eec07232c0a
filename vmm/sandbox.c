/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sandbox.c - installs system call filters; see sandbox.h. What they allow is written in
 * resources/seccomp.
 */
#include "vmm/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/fd.h"

/* As Firecracker has it; ours have 3 KB. */
#define FILE_MAX 100000U

static const char step_names[SANDBOX_STEPS][sizeof(((struct sandbox_category *)0)->name)] = {
	[SANDBOX_SETUP] = "setup",
	[SANDBOX_RUNNING] = "running",
	[SANDBOX_VCPU] = "vcpu",
};

/* All empty: no filters. Written before there are threads. */
static struct sock_fprog prog[SANDBOX_STEPS];

/* What is compared with our own process number gets it now. */
static void put_pid(struct sock_fprog *p)
{
	for (unsigned int i = 0; i < p->len; i++)
		if (p->filter[i].code == (BPF_JMP | BPF_JEQ | BPF_K) &&
		    p->filter[i].k == SANDBOX_PID)
			p->filter[i].k = (uint32_t)getpid();
}

/* The category at @data; its length, or 0 when it is none, or one too many. */
static size_t take_category(struct sock_fprog *found, unsigned char *data, size_t len)
{
	const struct sandbox_category *c = (void *)data;
	size_t step = 0;

	if (len < sizeof(*c) || !c->nr || c->nr > BPF_MAXINSNS ||
	    len - sizeof(*c) < c->nr * sizeof(struct sock_filter))
		return 0;
	while (step < SANDBOX_STEPS && memcmp(c->name, step_names[step], sizeof(c->name)) != 0)
		step++;
	if (step == SANDBOX_STEPS || found[step].len)
		return 0;
	found[step].len = (unsigned short)c->nr;
	found[step].filter = (void *)(data + sizeof(*c));
	return sizeof(*c) + c->nr * sizeof(struct sock_filter);
}

int sandbox_check(unsigned char *data, size_t len, struct err *e)
{
	/* Of the same architecture, so of the same head. */
	const size_t head = sizeof(struct sandbox_file);
	struct sock_fprog found[SANDBOX_STEPS] = { 0 };
	size_t at = head, used = 1;

	if (len < head || memcmp(data, sandbox_builtin, head) != 0)
		return err_set(e, EINVAL,
			       "not made by mote-seccomp-compile of this version for this "
			       "architecture");
	for (; at < len && used; at += used)
		used = take_category(found, data + at, len - at);
	if (!used)
		return err_set(e, EINVAL,
			       "at byte %zu there is no whole filter, or it is not the first one "
			       "called setup, running or vcpu",
			       at);
	for (size_t step = 0; step < SANDBOX_STEPS; step++)
		if (!found[step].len)
			return err_set(e, EINVAL, "there is no filter called %s", step_names[step]);
	memcpy(prog, found, sizeof(prog));
	for (size_t step = 0; step < SANDBOX_STEPS; step++)
		put_pid(&prog[step]);
	return 0;
}

static int load(const char *path, struct err *e)
{
	/* Kept as long as the process: vCPU threads install theirs from it. */
	static _Alignas(8) unsigned char data[FILE_MAX + 1];
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	ssize_t n = fd < 0 ? -1 : read(fd, data, sizeof(data));
	int errnum = errno;

	fd_close(&fd);
	if (n < 0)
		return err_set(e, errnum, "%s", path);
	if (n > FILE_MAX)
		return err_set(e, EFBIG, "%s has more than %u bytes", path, FILE_MAX);
	return sandbox_check(data, (size_t)n, e);
}

int sandbox_init(const char *path, struct err *e)
{
	int ret = path ? load(path, e) : sandbox_check(sandbox_builtin, sandbox_builtin_len, e);

	return ret ? err_wrap(e, "Seccomp error: Filter deserialization failed") : 0;
}

static int enter(enum sandbox_step step, struct err *e)
{
	if (!prog[step].len)
		return 0;
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog[step], 0, 0) < 0)
		return err_set(e, errno, "Seccomp error: %s filter", step_names[step]);
	/* The filter itself answers, so it is in force, on this thread. */
	if (prctl(PR_GET_SECCOMP, 0, 0, 0, 0) != -1 || errno != SANDBOX_ANSWER + (int)step)
		return err_set(e, EINVAL, "Seccomp error: %s filter is not in force",
			       step_names[step]);
	return 0;
}

int sandbox_enter_setup(struct err *e)
{
	if (!prog[SANDBOX_SETUP].len)
		return 0;
	/* Without this only root may filter; and it holds for whatever we might be made to exec. */
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
		return err_set(e, errno, "Seccomp error: no_new_privs");
	return enter(SANDBOX_SETUP, e);
}

int sandbox_enter_running(struct err *e)
{
	return enter(SANDBOX_RUNNING, e);
}

int sandbox_enter_vcpu(struct err *e)
{
	return enter(SANDBOX_VCPU, e);
}

const char *sandbox_call_name(unsigned int nr)
{
	const char *s = sandbox_call_names;

	if (nr >= sandbox_nr_call_names)
		return "";
	while (nr--)
		s += strlen(s) + 1;
	return s;
}

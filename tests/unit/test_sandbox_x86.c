/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_sandbox_x86.c - the filters as they are built in: read instruction by instruction, and tried
 * from inside with every call that they should refuse. Filters are installed in forked children.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/fs.h>
#include <linux/futex.h>
#include <linux/if_tun.h>
#include <linux/io_uring.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <linux/vhost.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmm/sandbox.h"

#define X32 0x40000000U

/*
 * Not system calls but doors of the kernel's trampolines for probes: they pass every filter, and
 * kill whoever comes from elsewhere.
 */
#define SYS_URETPROBE 335U
#define SYS_UPROBE    336U

/* Beyond the last call of any kernel of these years. */
#define CALLS_END 512U

static struct err e;
static struct sock_filter *insn[SANDBOX_STEPS];
static unsigned int nr_insn[SANDBOX_STEPS];

static void setup(void)
{
	unsigned char *at = sandbox_builtin + sizeof(struct sandbox_file);

	cr_assert_eq(sandbox_init(NULL, &e), 0, "%s", e.msg);
	for (int step = 0; step < SANDBOX_STEPS; step++) {
		const struct sandbox_category *c = (void *)at;

		insn[step] = (void *)(at + sizeof(*c));
		nr_insn[step] = c->nr;
		at = (void *)(insn[step] + c->nr);
	}
}

TestSuite(sandbox, .init = setup);

static uint32_t load(const struct seccomp_data *d, uint32_t offset)
{
	uint32_t v;

	cr_assert(offset <= sizeof(*d) - sizeof(v));
	memcpy(&v, (const char *)d + offset, sizeof(v));
	return v;
}

static bool holds(const struct sock_filter *i, uint32_t a)
{
	switch (BPF_OP(i->code)) {
	case BPF_JEQ:
		return a == i->k;
	case BPF_JGT:
		return a > i->k;
	case BPF_JGE:
		return a >= i->k;
	case BPF_JSET:
		return a & i->k;
	default:
		cr_assert_fail("jump 0x%x", i->code);
	}
	return false;
}

/*
 * What the filter says, from instruction @at on. With @d NULL arguments are unknown: then whether
 * there are any with which it allows the call.
 */
static uint32_t decide(enum sandbox_step step, unsigned int at, const struct seccomp_data *d,
		       const struct seccomp_data *call)
{
	uint32_t a = 0;
	bool known = true;

	for (;; at++) {
		const struct sock_filter *i = &insn[step][at];

		cr_assert(at < nr_insn[step]);
		if (i->code == (BPF_LD | BPF_W | BPF_ABS)) {
			known = d || i->k < offsetof(struct seccomp_data, args);
			a = load(call, i->k);
		} else if (i->code == (BPF_ALU | BPF_AND | BPF_K)) {
			a &= i->k;
		} else if (i->code == (BPF_RET | BPF_K)) {
			return i->k;
		} else if (i->code == (BPF_JMP | BPF_JA)) {
			at += i->k;
		} else if (known) {
			at += holds(i, a) ? i->jt : i->jf;
		} else {
			uint32_t yes = decide(step, at + 1 + i->jt, d, call);

			return yes == SECCOMP_RET_ALLOW ? yes :
							  decide(step, at + 1 + i->jf, d, call);
		}
	}
}

static bool allows(enum sandbox_step step, uint32_t nr, const uint64_t arg[6])
{
	struct seccomp_data d = { .nr = (int)nr, .arch = AUDIT_ARCH_X86_64 };

	memcpy(d.args, arg, sizeof(d.args));
	return decide(step, 0, &d, &d) == SECCOMP_RET_ALLOW;
}

static bool allows_some(enum sandbox_step step, uint32_t nr, uint32_t arch)
{
	const struct seccomp_data d = { .nr = (int)nr, .arch = arch };

	return decide(step, 0, NULL, &d) == SECCOMP_RET_ALLOW;
}

Test(sandbox, few_calls_and_never_more_than_before)
{
	static const unsigned int limit[SANDBOX_STEPS] = { 58, 40, 12 };

	for (int step = 0; step < SANDBOX_STEPS; step++) {
		unsigned int nr_allowed = 0;

		for (uint32_t nr = 0; nr < CALLS_END; nr++) {
			if (!allows_some(step, nr, AUDIT_ARCH_X86_64))
				continue;
			nr_allowed++;
			cr_expect(step == 0 || allows_some(SANDBOX_SETUP, nr, AUDIT_ARCH_X86_64));
		}
		cr_expect_leq(nr_allowed, limit[step], "step %d allows %u calls", step, nr_allowed);
		cr_expect_geq(nr_allowed, 8);
	}
}

Test(sandbox, no_other_architecture)
{
	for (int step = 0; step < SANDBOX_STEPS; step++) {
		for (uint32_t nr = 0; nr < CALLS_END; nr++) {
			cr_expect_not(allows_some(step, nr | X32, AUDIT_ARCH_X86_64), "x32 %u", nr);
			cr_expect_not(allows_some(step, nr, AUDIT_ARCH_I386), "i386 %u", nr);
			cr_expect_not(allows_some(step, nr, AUDIT_ARCH_AARCH64), "arm %u", nr);
		}
	}
}

#define SETUP	1
#define RUNNING 2
#define VCPU	4
#define ALL	7
#define THREAD                                                                                     \
	(CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM |        \
	 CLONE_SETTLS | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID | 0x400000)

/* clang-format off */
static const struct {
	const char *what;
	unsigned int steps; /* that allow it */
	uint32_t nr;
	uint64_t arg[6];
} cases[] = {
	{ "enter the guest", SETUP | VCPU, SYS_ioctl, { 3, KVM_RUN } },
	{ "a request whose upper half is not 0", SETUP, SYS_ioctl, { 3, ~0ULL << 32 | KVM_GET_SREGS } },
	{ "create a VM", SETUP, SYS_ioctl, { 3, KVM_CREATE_VM } },
	{ "change the memory of a VM", SETUP, SYS_ioctl, { 3, KVM_SET_USER_MEMORY_REGION } },
	{ "offloads of the tap", SETUP | RUNNING, SYS_ioctl, { 3, TUNSETOFFLOAD } },
	{ "attach to a tap", SETUP, SYS_ioctl, { 3, TUNSETIFF } },
	{ "give vhost-net memory", SETUP, SYS_ioctl, { 3, VHOST_SET_MEM_TABLE } },
	{ "give vhost-net a ring", SETUP | RUNNING, SYS_ioctl, { 3, VHOST_SET_VRING_ADDR } },
	{ "stop vhost-net", SETUP | RUNNING | VCPU, SYS_ioctl, { 3, VHOST_NET_SET_BACKEND } },
	{ "discard", SETUP | RUNNING, SYS_ioctl, { 3, BLKDISCARD } },
	{ "type into the terminal", 0, SYS_ioctl, { 0, TIOCSTI } },
	{ "another ioctl", 0, SYS_ioctl, { 3, FIOCLEX } },
	{ "map memory", SETUP, SYS_mmap, { 0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS } },
	{ "map code", 0, SYS_mmap, { 0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE } },
	{ "map with unknown flags", 0, SYS_mmap, { 0, 4096, PROT_READ, MAP_PRIVATE | MAP_GROWSDOWN } },
	{ "guard page", SETUP, SYS_mprotect, { 0, 4096, PROT_NONE } },
	{ "make memory code", 0, SYS_mprotect, { 0, 4096, PROT_READ | PROT_EXEC } },
	{ "give memory back", SETUP | RUNNING, SYS_madvise, { 0, 4096, MADV_DONTNEED } },
	{ "hang up on a back end", SETUP, SYS_shutdown, { 3, SHUT_RDWR } },
	{ "share pages", 0, SYS_madvise, { 0, 4096, MADV_MERGEABLE } },
	{ "a thread", SETUP, SYS_clone, { THREAD } },
	{ "a process", 0, SYS_clone, { SIGCHLD } },
	{ "a thread in a namespace of its own", 0, SYS_clone, { THREAD | CLONE_NEWUSER } },
	{ "clone3", 0, SYS_clone3, { 0 } },
	{ "fork", 0, SYS_fork, { 0 } },
	{ "execve", 0, SYS_execve, { 0 } },
	{ "ptrace", 0, SYS_ptrace, { 0 } },
	{ "memory of other processes", 0, SYS_process_vm_writev, { 0 } },
	{ "bpf", 0, SYS_bpf, { 0 } },
	{ "userfaultfd", 0, SYS_userfaultfd, { 0 } },
	{ "keyctl", 0, SYS_keyctl, { 0 } },
	{ "mount", 0, SYS_mount, { 0 } },
	{ "a socket", SETUP | RUNNING, SYS_socket, { AF_UNIX, SOCK_STREAM } },
	{ "a socket into the network", 0, SYS_socket, { AF_INET, SOCK_STREAM } },
	{ "a netlink socket", 0, SYS_socket, { AF_NETLINK, SOCK_RAW } },
	{ "open a file", SETUP | RUNNING, SYS_open, { 0, O_RDWR | O_CLOEXEC } },
	{ "make a file", SETUP, SYS_open, { 0, O_RDWR | O_CREAT } },
	{ "cut a file", SETUP, SYS_open, { 0, O_RDWR | O_TRUNC } },
	{ "O_NONBLOCK", SETUP | RUNNING, SYS_fcntl, { 0, F_SETFL } },
	{ "a new connection in the old one's place", SETUP | RUNNING, SYS_dup3, { 4, 3, O_CLOEXEC } },
	{ "a copy that programs would inherit", 0, SYS_dup3, { 4, 3, 0 } },
	{ "a copy of an fd", 0, SYS_fcntl, { 0, F_DUPFD } },
	{ "a copy of a connection", SETUP, SYS_fcntl, { 3, F_DUPFD_CLOEXEC } },
	{ "signals to who owns an fd", 0, SYS_fcntl, { 0, F_SETOWN } },
	{ "make a ring", SETUP, SYS_io_uring_setup, { 32 } },
	{ "restrict a ring", SETUP, SYS_io_uring_register, { 3, IORING_REGISTER_RESTRICTIONS } },
	{ "hand credentials to a ring", 0, SYS_io_uring_register, { 3, IORING_REGISTER_PERSONALITY } },
	{ "submit to a ring", SETUP | RUNNING, SYS_io_uring_enter, { 3, 1, 0, 0 } },
	{ "wait in a ring", 0, SYS_io_uring_enter, { 3, 0, 1, IORING_ENTER_GETEVENTS } },
	{ "wake a ring's kernel thread", 0, SYS_io_uring_enter, { 3, 1, 0, IORING_ENTER_SQ_WAKEUP } },
	{ "lock", ALL, SYS_futex, { 0, FUTEX_WAIT_PRIVATE } },
	{ "locks of the kernel's", 0, SYS_futex, { 0, FUTEX_LOCK_PI } },
	{ "name of a thread", SETUP, SYS_prctl, { PR_SET_NAME } },
	{ "another prctl", 0, SYS_prctl, { PR_SET_MM } },
	{ "signal to all", 0, SYS_kill, { ~0ULL, SIGTERM } },
	{ "signal to any thread", 0, SYS_tkill, { 1, SIGTERM } },
	{ "signal to another process", 0, SYS_tgkill, { 1, 1, SIGTERM } },
	{ "forget a signal", SETUP | RUNNING, SYS_rt_sigaction, { SIGTERM } },
	{ "forget what ends us in words", SETUP, SYS_rt_sigaction, { SIGSYS } },
	{ "a system call that does not exist", 0, 500, { 0 } },
	{ "what tracers use to skip a call", 0, UINT32_MAX, { 0 } },
};
/* clang-format on */

Test(sandbox, arguments)
{
	const uint64_t self[6] = { (uint64_t)getpid(), 5, SIGABRT };

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		for (int step = 0; step < SANDBOX_STEPS; step++)
			cr_expect_eq(allows(step, cases[i].nr, cases[i].arg),
				     cases[i].steps >> step & 1, "%s, step %d", cases[i].what,
				     step);
	for (int step = 0; step < SANDBOX_STEPS; step++)
		cr_expect(allows(step, SYS_tgkill, self), "signal to ourselves, step %d", step);
}

/* How many values of one argument a step allows, of all that its filter compares anything with. */
static unsigned int nr_values(enum sandbox_step step, uint32_t nr, unsigned int arg_index)
{
	unsigned int count = 0;

	for (unsigned int i = 0; i < nr_insn[step]; i++) {
		uint64_t arg[6] = { 0 };
		unsigned int before = 0;

		if (insn[step][i].code != (BPF_JMP | BPF_JEQ | BPF_K))
			continue;
		while (insn[step][before].code != insn[step][i].code ||
		       insn[step][before].k != insn[step][i].k)
			before++;
		arg[arg_index] = insn[step][i].k;
		count += before == i && allows(step, nr, arg);
	}
	return count;
}

/* One more is a decision: whoever adds a line to a policy says so here, too. */
Test(sandbox, no_value_more)
{
	static const struct {
		const char *what;
		uint32_t nr;
		unsigned int arg, count[SANDBOX_STEPS];
	} want[] = {
		{ "ioctl", SYS_ioctl, 1, { 41, 14, 2 } },
		{ "prctl", SYS_prctl, 0, { 4, 0, 0 } },
		{ "fcntl", SYS_fcntl, 1, { 5, 3, 0 } },
		{ "madvise", SYS_madvise, 2, { 3, 1, 0 } },
		{ "socket", SYS_socket, 0, { 1, 1, 0 } },
		{ "clone", SYS_clone, 0, { 1, 0, 0 } },
		{ "tgkill", SYS_tgkill, 0, { 1, 1, 1 } },
		{ "dup3", SYS_dup3, 2, { 1, 1, 0 } },
		{ "io_uring_register", SYS_io_uring_register, 1, { 2, 0, 0 } },
	};

	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++)
		for (int step = 0; step < SANDBOX_STEPS; step++)
			cr_expect_eq(nr_values(step, want[i].nr, want[i].arg), want[i].count[step],
				     "%s, step %d: %u values", want[i].what, step,
				     nr_values(step, want[i].nr, want[i].arg));
}

static volatile unsigned int nr_trapped;

static void trapped(int sig)
{
	(void)sig;
	nr_trapped++;
}

static long call_i386(long nr)
{
	long ret;

	__asm__ volatile("int $0x80"
			 : "=a"(ret)
			 : "a"(nr), "b"(0L), "c"(0L), "d"(0L), "S"(0L), "D"(0L)
			 : "memory", "r8", "r9", "r10", "r11");
	return ret;
}

static int enter(enum sandbox_step step)
{
	int ret = sandbox_enter_setup(&e);

	if (ret || step == SANDBOX_SETUP)
		return ret;
	return step == SANDBOX_RUNNING ? sandbox_enter_running(&e) : sandbox_enter_vcpu(&e);
}

/* Not _exit(): before that, ASan makes a call of its own. vCPU threads can only end themselves. */
static void end(int status)
{
	syscall(SYS_exit_group, status);
	syscall(SYS_exit, status);
}

/* In a child: make every call that @step refuses; ends with 0 when each of them was. */
static void try_all(enum sandbox_step step)
{
	static bool refused[CALLS_END];
	static const uint64_t zero[6];
	unsigned int nr_tried = 0;

	for (uint32_t nr = 0; nr < CALLS_END; nr++)
		refused[nr] = !allows(step, nr, zero) && nr != SYS_URETPROBE && nr != SYS_UPROBE;
	signal(SIGSYS, trapped);
	if (enter(step))
		end(2);
	for (uint32_t nr = 0; nr < CALLS_END; nr++) {
		if (refused[nr]) {
			nr_tried++;
			syscall((long)nr, 0, 0, 0, 0, 0, 0);
		}
		nr_tried += 2;
		syscall((long)(nr | X32), 0, 0, 0, 0, 0, 0);
		call_i386((long)nr);
		if (nr_trapped != nr_tried)
			end(3);
	}
	end(0);
}

static int child_status(pid_t child)
{
	int status = -1;

	cr_assert_eq(waitpid(child, &status, 0), child);
	return status;
}

static void try_step(enum sandbox_step step)
{
	pid_t child = fork();
	int status;

	cr_assert_geq(child, 0);
	if (!child)
		try_all(step);
	status = child_status(child);
	cr_expect_eq(status, 0, "step %d: status 0x%x", step, (unsigned int)status);
}

Test(sandbox, every_call_from_inside)
{
	try_step(SANDBOX_SETUP);
	try_step(SANDBOX_RUNNING);
	try_step(SANDBOX_VCPU);
}

/* A filter that does not answer with its number is not the one that was asked for. */
Test(sandbox, reads_back_which_filter_it_is)
{
	struct sock_filter *last;
	pid_t child;

	for (unsigned int i = 0; i < nr_insn[SANDBOX_RUNNING]; i++) {
		last = &insn[SANDBOX_RUNNING][i];
		if (last->code == (BPF_RET | BPF_K) &&
		    last->k == (SECCOMP_RET_ERRNO | (SANDBOX_ANSWER + SANDBOX_RUNNING)))
			last->k--;
	}
	child = fork();
	cr_assert_geq(child, 0);
	if (!child)
		end(enter(SANDBOX_RUNNING) ? 7 : 0);
	cr_expect_eq(WEXITSTATUS(child_status(child)), 7);
}

Test(sandbox, names_of_calls)
{
	cr_expect_str_eq(sandbox_call_name(SYS_read), "read");
	cr_expect_str_eq(sandbox_call_name(SYS_execve), "execve");
	cr_expect_str_eq(sandbox_call_name(SYS_tgkill), "tgkill");
	cr_expect_str_eq(sandbox_call_name(SYS_landlock_restrict_self), "landlock_restrict_self");
	cr_expect_str_eq(sandbox_call_name(400), "");
	cr_expect_str_eq(sandbox_call_name(100000), "");
	cr_expect_str_eq(sandbox_call_name(UINT32_MAX), "");
}

static unsigned char *copy(size_t extra)
{
	unsigned char *p = calloc(1, sandbox_builtin_len + extra);

	cr_assert(p);
	memcpy(p, sandbox_builtin, sandbox_builtin_len);
	return p;
}

static void refused(unsigned char *data, size_t len, const char *why)
{
	cr_expect_eq(sandbox_check(data, len, &e), -EINVAL, "%s", why);
	cr_expect(strstr(e.msg, why), "%s", e.msg);
	free(data);
}

Test(sandbox, bad_files)
{
	static const size_t head = sizeof(struct sandbox_file),
			    cat = sizeof(struct sandbox_category);
	const size_t len = sandbox_builtin_len;
	const size_t setup_len = cat + nr_insn[0] * sizeof(struct sock_filter);
	unsigned char *p;

	cr_expect_eq(sandbox_check(copy(0), len, &e), 0);
	refused(copy(0), 0, "not made by");
	refused(copy(0), head - 1, "not made by");
	refused(copy(0), head, "no filter called setup");
	refused(copy(0), head + setup_len, "no filter called running");
	refused(copy(0), len - 1, "no whole filter");
	refused(copy(1), len + 1, "no whole filter");
	refused(copy(cat), len + cat, "no whole filter"); /* a fourth, of nothing */
	p = copy(0);
	p[0] ^= 1;
	refused(p, len, "not made by");
	p = copy(0);
	((struct sandbox_file *)(void *)p)->arch ^= 1;
	refused(p, len, "not made by");
	p = copy(0);
	p[head] = 'x';
	refused(p, len, "not the first one called");
	p = copy(0);
	memcpy(p + head + setup_len, "setup\0\0", 8);
	refused(p, len, "not the first one called");
	p = copy(0);
	((struct sandbox_category *)(void *)(p + head))->nr = UINT32_MAX;
	refused(p, len, "no whole filter");
	p = copy(0);
	((struct sandbox_category *)(void *)(p + head))->nr = 0;
	refused(p, len, "no whole filter");
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vcpu.c - the run loop and the protocol to stop and continue it; see vcpu.h.
 *
 * A thread is asked to leave KVM_RUN by immediate_exit, which makes the next KVM_RUN return at
 * once, and by a signal, which makes the current one return. Either alone would leave a window.
 */
#include "vmm/vcpu.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/text.h"
#include "vmm/fatal.h"
#include "vmm/sandbox.h"

/* No handler of ours does more than log a line (2 KiB) and write it. */
#define VCPU_STACK_BYTES 65536U

/* The first real-time signal that libc leaves to us; it exists to interrupt KVM_RUN. */
#define VCPU_KICK_SIGNAL SIGRTMIN

static void vcpu_kicked(int sig)
{
	(void)sig;
}

void vcpus_init(struct vcpus *s, struct loop *loop, struct bus *mmio)
{
	s->loop = loop;
	s->mmio = mmio;
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->changed, NULL);
	atomic_init(&s->order, VCPU_PARK);
}

int vcpus_create(struct vcpus *s, struct kvm *kvm, unsigned int nr, struct err *e)
{
	for (unsigned int i = 0; i < nr; i++) {
		struct vcpu *v = &s->vcpu[i];
		void *run;

		v->fd = kvm_create_vcpu(kvm, i, e);
		if (v->fd < 0)
			return v->fd;
		s->nr++;
		v->index = i;
		v->set = s;
		run = mmap(NULL, kvm->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
		if (run == MAP_FAILED)
			return err_set(e, errno, "map the run area of vCPU %u", i);
		v->run = run;
		v->run_size = kvm->run_size;
	}
	return 0;
}

void vcpus_end(struct vcpus *s, int code)
{
	int run = VCPU_RUN;

	loop_stop(s->loop, code);
	/*
	 * Do not run on while the loop gets round to stopping us; PARK and QUIT stay what they are.
	 */
	atomic_compare_exchange_strong(&s->order, &run, VCPU_PARK);
}

static void vcpu_mmio(struct vcpu *v)
{
	struct vcpus *s = v->set;
	struct kvm_run *run = v->run;
	/* The page is ours and KVM's, no guest can write to it; KVM gives at most 8 bytes. */
	size_t len = run->mmio.len <= sizeof(run->mmio.data) ? run->mmio.len : 0;
	uint64_t start_us = virtio_now_us();

	/*
	 * KVM takes an address whose page it cannot get for a device's when it had to emulate the
	 * instruction. No device is inside RAM: a file that is mapped there was cut.
	 */
	if (s->mem && mem_valid(s->mem, GPA(run->mmio.phys_addr), 1))
		fatal_guest_memory_lost();
	if (run->mmio.is_write) {
		metric_inc(&s->metrics.exit_mmio_write);
		bus_write(s->mmio, run->mmio.phys_addr, run->mmio.data, len);
		virtio_agg_add(&s->metrics.exit_mmio_write_agg, virtio_now_us() - start_us);
	} else {
		metric_inc(&s->metrics.exit_mmio_read);
		bus_read(s->mmio, run->mmio.phys_addr, run->mmio.data, len);
		virtio_agg_add(&s->metrics.exit_mmio_read_agg, virtio_now_us() - start_us);
	}
}

static void vcpu_system_event(struct vcpu *v)
{
	unsigned int type = v->run->system_event.type;

	if (type == KVM_SYSTEM_EVENT_SHUTDOWN || type == KVM_SYSTEM_EVENT_RESET) {
		vcpus_end(v->set, EXIT_CODE_OK);
		return;
	}
	log_error("vCPU %u: system event %u ends the VM", v->index, type);
	metric_inc(&v->set->metrics.failures);
	vcpus_end(v->set, EXIT_CODE_ERROR);
}

static void vcpu_exit(struct vcpu *v)
{
	struct kvm_run *run = v->run;

	switch (run->exit_reason) {
	case KVM_EXIT_MMIO:
		vcpu_mmio(v);
		return;
	case KVM_EXIT_SYSTEM_EVENT:
		vcpu_system_event(v);
		return;
	case KVM_EXIT_INTR:
		return;
	case KVM_EXIT_SHUTDOWN:
		log_error("vCPU %u: triple fault, or another shutdown that a CPU cannot continue "
			  "from; the kernel broke very early if there is no output",
			  v->index);
		break;
	case KVM_EXIT_FAIL_ENTRY:
		log_error("vCPU %u: the CPU refused to enter the guest, hardware reason 0x%llx",
			  v->index,
			  (unsigned long long)run->fail_entry.hardware_entry_failure_reason);
		break;
	case KVM_EXIT_INTERNAL_ERROR:
		log_error("vCPU %u: KVM internal error %u", v->index, run->internal.suberror);
		break;
	default:
		if (vcpu_arch_exit(v))
			return;
		log_error("vCPU %u: unexpected KVM exit %u", v->index, run->exit_reason);
		break;
	}
	metric_inc(&v->set->metrics.failures);
	vcpus_end(v->set, EXIT_CODE_ERROR);
}

static void vcpu_run_failed(struct vcpu *v, int errnum)
{
	switch (errnum) {
	case EINTR:
	case EAGAIN:
		/* The request is read from ->order; from here on KVM_RUN may block again. */
		v->run->immediate_exit = 0;
		return;
	case EFAULT:
		fatal_guest_memory_lost();
	default:
		log_error("vCPU %u: KVM_RUN: %s (os error %d)", v->index, strerror(errnum), errnum);
		metric_inc(&v->set->metrics.failures);
		vcpus_end(v->set, EXIT_CODE_ERROR);
	}
}

/* Wait until there is something else to do than to stand still; false: quit. */
static bool vcpu_wait(struct vcpu *v)
{
	struct vcpus *s = v->set;
	int order;

	pthread_mutex_lock(&s->lock);
	s->nr_parked++;
	pthread_cond_broadcast(&s->changed);
	while ((order = atomic_load(&s->order)) == VCPU_PARK)
		pthread_cond_wait(&s->changed, &s->lock);
	s->nr_parked--;
	pthread_mutex_unlock(&s->lock);
	return order == VCPU_RUN;
}

static void *vcpu_main(void *arg)
{
	struct vcpu *v = arg;
	struct vcpus *s = v->set;
	char name[16];
	struct err e;

	text_print(name, sizeof(name), "fc_vcpu %u", v->index);
	prctl(PR_SET_NAME, name);
	log_thread(name); /* this frame lives as long as the thread */
	/* Before the order is read: who changes that without seeing our number need not kick us. */
	atomic_store(&v->tid, (pid_t)syscall(SYS_gettid));
	if (sandbox_enter_vcpu(&e)) {
		log_error("vCPU %u: %s", v->index, e.msg);
		/* Without it there is no KVM_RUN, whatever is ordered. */
		do
			vcpus_end(s, EXIT_CODE_ERROR);
		while (vcpu_wait(v));
		return NULL;
	}
	for (;;) {
		if (atomic_load(&s->order) != VCPU_RUN && !vcpu_wait(v))
			return NULL;
		if (ioctl(v->fd, KVM_RUN, 0) == 0)
			vcpu_exit(v);
		else
			vcpu_run_failed(v, errno);
	}
}

int vcpus_start(struct vcpus *s, struct err *e)
{
	struct sigaction kick = { .sa_handler = vcpu_kicked };
	sigset_t block, old;
	pthread_attr_t attr;
	int ret = 0;

	s->process = getpid();
	/* No SA_RESTART: the point is that KVM_RUN returns. */
	if (sigaction(VCPU_KICK_SIGNAL, &kick, NULL) < 0)
		return err_set(e, errno, "handler for the vCPU signal");

	/* Signals for the process belong to the loop thread; ours and the fatal ones stay open. */
	sigemptyset(&block);
	sigaddset(&block, SIGINT);
	sigaddset(&block, SIGTERM);
	sigaddset(&block, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &block, &old);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, VCPU_STACK_BYTES);
	/*
	 * Each runs from its first moment: parking first would cost a second wake-up. vCPU 0 comes
	 * last, since the others only wait for its INIT: no guest code runs unless all were made.
	 */
	atomic_store(&s->order, VCPU_RUN);
	for (unsigned int i = s->nr; i > 0 && ret == 0; i--) {
		struct vcpu *v = &s->vcpu[i - 1];

		ret = pthread_create(&v->thread, &attr, vcpu_main, v);
		if (ret == 0) {
			v->started = true;
			s->nr_started++;
		}
	}
	pthread_attr_destroy(&attr);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (ret)
		return err_set(e, ret, "start a vCPU thread");
	return 0;
}

static void vcpus_order(struct vcpus *s, enum vcpu_order order)
{
	pthread_mutex_lock(&s->lock);
	atomic_store(&s->order, order);
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
}

static void vcpus_kick(struct vcpus *s)
{
	const pid_t process = s->process;

	for (unsigned int i = 0; i < s->nr; i++) {
		struct vcpu *v = &s->vcpu[i];

		if (!v->started)
			continue;
		__atomic_store_n(&v->run->immediate_exit, 1, __ATOMIC_RELEASE);
		/* Not pthread_kill(), whose call would reach other processes too. */
		syscall(SYS_tgkill, process, atomic_load(&v->tid), VCPU_KICK_SIGNAL);
	}
}

void vcpus_run(struct vcpus *s)
{
	/* All are parked, so nobody is between the check of ->order and KVM_RUN. */
	for (unsigned int i = 0; i < s->nr; i++)
		s->vcpu[i].run->immediate_exit = 0;
	vcpus_order(s, VCPU_RUN);
}

void vcpus_park(struct vcpus *s)
{
	vcpus_order(s, VCPU_PARK);
	vcpus_kick(s);
	pthread_mutex_lock(&s->lock);
	while (s->nr_parked < s->nr_started)
		pthread_cond_wait(&s->changed, &s->lock);
	pthread_mutex_unlock(&s->lock);
	for (unsigned int i = 0; i < s->nr; i++)
		vcpu_arch_paused(&s->vcpu[i]);
}

void vcpus_destroy(struct vcpus *s)
{
	vcpus_order(s, VCPU_QUIT);
	vcpus_kick(s);
	for (unsigned int i = 0; i < s->nr; i++) {
		struct vcpu *v = &s->vcpu[i];

		if (v->started)
			pthread_join(v->thread, NULL);
		if (v->run)
			munmap(v->run, v->run_size);
		fd_close(&v->fd);
	}
	pthread_cond_destroy(&s->changed);
	pthread_mutex_destroy(&s->lock);
}

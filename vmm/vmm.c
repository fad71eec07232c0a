/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmm.c - see vmm.h. Loop thread.
 */
#include "vmm/vmm.h"

#include <string.h>

#include "base/assert.h"
#include "base/log.h"
#include "vmm/boot_timer.h"
#include "vmm/metrics.h"
#include "vmm/sandbox.h"

struct vmm_identity vmm_identity(const char *argv0)
{
	const char *slash = argv0 ? strrchr(argv0, '/') : NULL;
	const char *name = slash ? slash + 1 : argv0;

	if (name && !strcmp(name, "firecracker"))
		return (struct vmm_identity){ "Firecracker", FIRECRACKER_VERSION };
	return (struct vmm_identity){ "mote", MOTE_VERSION };
}

void vmm_init(struct vmm *v, const char *id, struct vmm_identity identity, struct loop *loop)
{
	v->id = id;
	v->identity = identity;
	v->state = VMM_NOT_STARTED;
	v->loop = loop;
	v->machine = NULL;
	v->metrics_timer.watch.fd = -1;
	config_init(&v->config);
}

static void write_metrics(void)
{
	int ret = metrics_flush();

	if (ret)
		log_error("Failed to write metrics: %s (os error %d)", strerror(-ret), -ret);
}

static void metrics_due(void *ctx)
{
	struct vmm *v = ctx;

	write_metrics();
	timer_arm(&v->metrics_timer, METRICS_PERIOD_US);
}

/* The first line, and one a minute from now on. */
static int start_metrics(struct vmm *v, struct err *e)
{
	int ret;

	if (!metrics_enabled())
		return 0;
	ret = timer_init(&v->metrics_timer, v->loop, metrics_due, v, NULL, e);
	if (!ret)
		metrics_due(v);
	return ret;
}

void vmm_fini(struct vmm *v)
{
	struct err ignored;

	/* Nothing counts any more, so the last line has it all. */
	if (v->machine)
		machine_pause(v->machine, &ignored);
	write_metrics();
	if (v->metrics_timer.watch.fd >= 0)
		timer_fini(&v->metrics_timer, v->loop);
	metrics_forget();
	machine_destroy(v->machine);
	v->machine = NULL;
	config_fini(&v->config);
}

const char *vmm_state_name(const struct vmm *v)
{
	switch (v->state) {
	case VMM_RUNNING:
		return "Running";
	case VMM_PAUSED:
		return "Paused";
	default:
		return "Not started";
	}
}

int vmm_start(struct vmm *v, struct err *e)
{
	struct machine *m = NULL;
	int ret;

	assert(v->state == VMM_NOT_STARTED);
	if (landlock_entered() != LANDLOCK_OFF)
		return err_set(e, 0,
			       "Start microvm error: the last start failed when this process had "
			       "given up the rights to start anything; start another process");
	ret = config_check(&v->config, e);
	if (ret)
		return ret;
	boot_timer_start();
	log_debug("event_start: build microvm for boot");
	ret = machine_build(&v->config, v->loop, &m, e);
	if (!ret) {
		log_debug("event_end: build microvm for boot");
		machine_publish(m);
		ret = start_metrics(v, e);
	}
	/* Before the vCPU threads are made, which inherit it, and after all that can be mended. */
	if (!ret)
		ret = landlock_enter(v->landlock, &v->config, v->api_sock, e);
	if (!ret)
		ret = machine_start(m, e);
	if (!ret)
		ret = sandbox_enter_running(e);
	if (ret) {
		metrics_forget();
		machine_destroy(m);
		return err_wrap(e, "Start microvm error");
	}
	config_started(&v->config);
	v->machine = m;
	v->state = VMM_RUNNING;
	return 0;
}

int vmm_pause(struct vmm *v, struct err *e)
{
	uint64_t start_us = virtio_now_us();
	int ret;

	assert(v->state != VMM_NOT_STARTED);
	if (v->state == VMM_PAUSED)
		return 0;
	ret = machine_pause(v->machine, e);
	if (ret)
		return ret;
	v->state = VMM_PAUSED;
	metric_set(&metrics.latency[LATENCY_VMM + LATENCY_PAUSE], virtio_now_us() - start_us);
	return 0;
}

int vmm_resume(struct vmm *v, struct err *e)
{
	uint64_t start_us = virtio_now_us();
	int ret;

	assert(v->state != VMM_NOT_STARTED);
	if (v->state == VMM_RUNNING)
		return 0;
	ret = machine_resume(v->machine, e);
	if (ret)
		return ret;
	v->state = VMM_RUNNING;
	metric_set(&metrics.latency[LATENCY_VMM + LATENCY_RESUME], virtio_now_us() - start_us);
	return 0;
}

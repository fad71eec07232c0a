/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmm.c - see vmm.h. Loop thread.
 */
#include "vmm/vmm.h"

#include <assert.h>
#include <string.h>

struct vmm_identity vmm_identity(const char *argv0)
{
	const char *slash = argv0 ? strrchr(argv0, '/') : NULL;
	const char *name = slash ? slash + 1 : argv0;

	if (name && !strcmp(name, "firecracker"))
		return (struct vmm_identity){ "Firecracker", VMM_FIRECRACKER_VERSION };
	return (struct vmm_identity){ "mote", MOTE_VERSION };
}

void vmm_init(struct vmm *v, const char *id, struct vmm_identity identity, struct loop *loop)
{
	v->id = id;
	v->identity = identity;
	v->state = VMM_NOT_STARTED;
	v->loop = loop;
	v->machine = NULL;
	config_init(&v->config);
}

void vmm_fini(struct vmm *v)
{
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
	ret = config_check(&v->config, e);
	if (ret)
		return ret;
	ret = machine_build(&v->config, v->loop, &m, e);
	if (!ret)
		ret = machine_start(m, e);
	if (ret) {
		machine_destroy(m);
		return err_wrap(e, "Start microvm error");
	}
	v->machine = m;
	v->state = VMM_RUNNING;
	return 0;
}

int vmm_pause(struct vmm *v, struct err *e)
{
	int ret;

	assert(v->state != VMM_NOT_STARTED);
	if (v->state == VMM_PAUSED)
		return 0;
	ret = machine_pause(v->machine, e);
	if (!ret)
		v->state = VMM_PAUSED;
	return ret;
}

int vmm_resume(struct vmm *v, struct err *e)
{
	int ret;

	assert(v->state != VMM_NOT_STARTED);
	if (v->state == VMM_RUNNING)
		return 0;
	ret = machine_resume(v->machine, e);
	if (!ret)
		v->state = VMM_RUNNING;
	return ret;
}

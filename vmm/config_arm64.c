/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config_arm64.c - what only arm64 accepts in a machine configuration. Loop thread.
 */
#include "vmm/config.h"

const struct config_name config_cpu_templates[] = {
	{ "V1N1", CPU_TEMPLATE_V1N1 },
	{ "None", CPU_TEMPLATE_NONE },
	{ "", 0 },
};

int config_check_arch(const struct machine_config *m, struct err *e)
{
	if (m->smt)
		return err_set(e, 0,
			       "Enabling simultaneous multithreading is not supported on "
			       "aarch64.");
	return 0;
}

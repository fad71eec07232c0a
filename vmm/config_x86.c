/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config_x86.c - what only x86_64 accepts in a machine configuration. Loop thread.
 */
#include "vmm/config.h"

/* In the order in which error sentences list them. */
const struct config_name config_cpu_templates[] = {
	{ "C3", CPU_TEMPLATE_C3 },
	{ "T2", CPU_TEMPLATE_T2 },
	{ "T2S", CPU_TEMPLATE_T2S },
	{ "None", CPU_TEMPLATE_NONE },
	{ "T2CL", CPU_TEMPLATE_T2CL },
	{ "T2A", CPU_TEMPLATE_T2A },
	{ "", 0 },
};

int config_check_arch(const struct machine_config *m, struct err *e)
{
	(void)m;
	(void)e;
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * privileges.c - the last wall: a user without rights, and no way to gain any.
 *
 * capabilities(7), credentials(7). Raw system calls: the C library's versions keep threads in step,
 * and there are none.
 */
#include <errno.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "jailer/jail.h"

/* More than any kernel has; the loops end at the first that this one does not know. */
#define CAPS_MAX 64

static int drop_bounding(struct err *e)
{
	unsigned long cap;

	for (cap = 0; cap < CAPS_MAX; cap++) {
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0) {
			if (errno == EINVAL)
				return 0;
			return err_set(e, errno, "Failed to drop capability %lu", cap);
		}
	}
	return 0;
}

static int set_ids(uid_t uid, gid_t gid, bool leave_groups, struct err *e)
{
	if (leave_groups && syscall(SYS_setgroups, 0, NULL) < 0)
		return err_set(e, errno, "Failed to leave all groups");
	if (syscall(SYS_setresgid, gid, gid, gid) < 0)
		return err_set(e, errno, "Failed to change to group %u", gid);
	if (syscall(SYS_setresuid, uid, uid, uid) < 0)
		return err_set(e, errno, "Failed to change to user %u", uid);
	return 0;
}

static bool no_capabilities(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];
	unsigned long cap;
	unsigned int i;

	if (syscall(SYS_capget, &head, data) < 0)
		return false;
	for (i = 0; i < 2; i++)
		if (data[i].effective || data[i].permitted || data[i].inheritable)
			return false;
	for (cap = 0; cap < CAPS_MAX; cap++) {
		int has = prctl(PR_CAPBSET_READ, cap, 0, 0, 0);

		if (has < 0)
			break;
		if (has || prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, cap, 0, 0) != 0)
			return false;
	}
	return cap > 0;
}

/* What the kernel says, not what we asked it for. */
static int check(const struct jail *j, struct err *e)
{
	uid_t uid[3];
	gid_t gid[3];
	size_t i;

	if (getresuid(&uid[0], &uid[1], &uid[2]) < 0 || getresgid(&gid[0], &gid[1], &gid[2]) < 0)
		return err_set(e, errno, "Failed to read back user and group");
	for (i = 0; i < 3; i++)
		if (uid[i] != j->uid || gid[i] != j->gid)
			return err_set(e, EPERM, "User and group did not become %u and %u", j->uid,
				       j->gid);
	/* An ordinary user cannot leave a group: groups may also forbid. */
	if (!j->rootless && getgroups(0, NULL) != 0)
		return err_set(e, EPERM, "Supplementary groups are left");
	if (!no_capabilities())
		return err_set(e, EPERM, "Capabilities are left");
	if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
		return err_set(e, EPERM, "Programs may still gain privileges");
	return 0;
}

/*
 * SHOULD become the VM's user and group, with no other group (without root groups stay), no
 * capability in any set (user 0 included), and no way to gain one by exec. MUST NOT let the VMM run
 * if one of that did not happen.
 */
int jail_drop_privileges(struct jail *j, struct err *e)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[2];
	int ret;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_set(e, errno, "Failed to forbid new privileges");
	ret = drop_bounding(e);
	if (!ret)
		ret = set_ids(j->uid, j->gid, !j->rootless, e);
	if (ret)
		return ret;
	memset(none, 0, sizeof(none));
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 ||
	    syscall(SYS_capset, &head, none) < 0)
		return err_set(e, errno, "Failed to drop capabilities");
	return check(j, e);
}

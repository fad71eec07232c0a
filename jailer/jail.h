/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jail.h - one jail: what was asked for, what was opened for it, and the steps that make it.
 *
 * Each step is a function that says what it should and must not do and reads back that it
 * happened. They come in two groups. Preparing steps change the host's files only and are taken
 * back by jail_undo(). Entering steps change the process, which is then the one that executes the
 * VMM. A step returns 0 or a negative errno with one sentence. One thread; nothing is allocated.
 * In each message paths are the host's.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

/* What Firecracker takes as names of instances. */
#define JAIL_ID_MAX 64
/* Far more than the interfaces and sockets of one VM. */
#define JAIL_KEEP_MAX 32
/* Each controller has fewer files than that which anybody sets per VM. */
#define JAIL_CGROUPS_MAX 32
/* Room for what is handed on to the VMM. */
#define JAIL_ARGS_MAX 256
/* Controllers of version 1 are twelve; several may share a hierarchy. */
#define JAIL_HIERARCHIES_MAX 16
/* How deep below a hierarchy's root a jail's cgroup may lie, itself included. */
#define JAIL_CGROUP_DEPTH_MAX 16

/* Directories of a jail, each below one that comes before it. */
enum jail_dir_name {
	JAIL_DIR_PROGRAM, /* <base>/<name of the program> */
	JAIL_DIR_ID,	  /* .../<id> */
	JAIL_DIR_ROOT,	  /* .../root, the jail's / */
	JAIL_DIR_DEV,
	JAIL_DIR_NET,
	JAIL_DIR_RUN,
	NR_JAIL_DIRS
};

struct jail_dir {
	int fd; /* -1: not open */
	bool made;
	/* who had it when it was there before; given back when the start fails */
	uid_t uid;
	gid_t gid;
};

/* One hierarchy of cgroups, as /proc/mounts shows it. */
struct jail_hierarchy {
	char mount[256];
	char options[256]; /* names of the controllers are among them, version 1 */
	bool v2;
	bool used;
	int fds[JAIL_CGROUP_DEPTH_MAX + 1]; /* [0] the root, then each level down to the jail's */
	bool made[JAIL_CGROUP_DEPTH_MAX + 1];
	size_t depth;
};

struct jail_cgroup {
	const char *file;  /* "cpu.shares" */
	const char *value; /* behind the '=' */
	struct jail_hierarchy *hierarchy;
};

struct jail {
	/* what was asked for; strings are the command line's */
	const char *id;
	const char *exec_file;
	const char *exec_name; /* last component of exec_file, as given */
	const char *base;
	const char *netns;
	uid_t uid;
	gid_t gid;
	bool daemonize;
	bool new_pid_ns;
	bool new_mount_ns;
	bool vhost_net;
	bool rootless; /* as an ordinary user; new_mount_ns goes with it */
	bool new_net_ns;
	unsigned int cgroup_version; /* 0: where the controller is */
	const char *parent_cgroup;
	bool parent_only; /* no --cgroup: move into the parent if there is one, version 2 */
	struct jail_cgroup cgroups[JAIL_CGROUPS_MAX];
	size_t nr_cgroups;
	uint64_t no_file;
	uint64_t fsize;
	bool has_fsize;
	int keep[JAIL_KEEP_MAX]; /* ascending */
	size_t nr_keep;
	char *const *args; /* for the VMM, up to a NULL */
	size_t nr_args;

	/* when the jailer was executed */
	uint64_t start_us;
	uint64_t start_cpu_us;

	/* what the preparing steps opened and made; all fds are closed by exec */
	mode_t umask;
	int exec_fd;
	int base_fd;
	int netns_fd;
	int null_fd;
	struct jail_dir dirs[NR_JAIL_DIRS];
	unsigned int nodes_made; /* bits */
	bool pid_file_made;
	struct jail_hierarchy hierarchies[JAIL_HIERARCHIES_MAX];
	size_t nr_hierarchies;

	/* of the process that enters */
	bool forked;	    /* it is not the process that prepared */
	pid_t pid;	    /* as the host sees it */
	uint64_t parent_us; /* CPU time used before it was made */
	volatile bool executing;
	struct err *err; /* where it leaves its sentence: its memory is its parent's */
};

/* jail_options - fill the first part of @j from the command line: an enum args_wish or an error. */
int jail_options(struct jail *j, int argc, char *const *argv, struct err *e);

/* jail_options_help - the options, on standard output. */
void jail_options_help(void);

/*
 * jail_path - "<base>/<program>/<id>/root...", and "/<leaf>" unless NULL, for messages. Valid until
 * the next call.
 */
const char *jail_path(const struct jail *j, enum jail_dir_name dir, const char *leaf);

/* Preparing steps, in their order. */
int jail_close_fds(struct jail *j, struct err *e);
int jail_open(struct jail *j, struct err *e);
int jail_separate_mounts(struct jail *j, struct err *e); /* nothing without new_mount_ns */
int jail_make_dirs(struct jail *j, struct err *e);
int jail_new_user(struct jail *j, struct err *e); /* nothing without rootless */
int jail_make_nodes(struct jail *j, struct err *e);
int jail_make_cgroups(struct jail *j, struct err *e);

/* jail_launch - go through the entering steps, in a new process where one was asked for. */
int jail_launch(struct jail *j, struct err *e);

/* Entering steps, in their order. */
int jail_join_cgroups(struct jail *j, struct err *e);
int jail_join_netns(struct jail *j, struct err *e);
int jail_change_root(struct jail *j, struct err *e);
int jail_write_pid(struct jail *j, struct err *e);
int jail_hand_over(struct jail *j, struct err *e);
int jail_set_limits(struct jail *j, struct err *e);
int jail_drop_privileges(struct jail *j, struct err *e);
int jail_exec(struct jail *j, struct err *e); /* returns on errors only */

/*
 * jail_unlock - let others start in this jail: the pid file tells them of us. All processes of this
 * start hold the one lock, so this lets it go although some are still about to end.
 */
void jail_unlock(const struct jail *j);

/* jail_undo - take back what the preparing steps and jail_write_pid() made. */
void jail_undo(struct jail *j);

/* A node of a jail without root: the host's @path, mounted as @name in @dir; and off again. */
int jail_bind_node(int dir, const char *name, const char *path, struct err *e);
void jail_unbind_node(const struct jail *j, int dir, const char *name, const char *path);

/* Parts of jail_undo(). */
void jail_undo_layout(struct jail *j);
void jail_undo_cgroups(struct jail *j);

/* jail_init - nothing asked for, nothing open. */
void jail_init(struct jail *j);

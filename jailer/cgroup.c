/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cgroup.c - the jail's cgroups, version 1 and 2, also side by side on one host.
 *
 * Linux Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst. Nothing here runs, and no table of
 * mounts is read, unless cgroups were asked for.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/text.h"
#include "jailer/cgroup_find.h"
#include "jailer/jail.h"

/* Cpusets of version 1 start empty, and take no process until both are filled. */
static const char *const cpuset_files[] = { "cpuset.cpus", "cpuset.mems" };

/* Somebody else's start may be removing the parent that we just found. */
#define TRIES 8

static int set_failed(const struct jail_hierarchy *h, const char *parent, const char *id,
		      const char *file, int ret, struct err *e)
{
	return err_set(e, -ret, "Failed to write to %s/%s/%s/%s", h->mount, parent, id, file);
}

/* Version 2: what this level's children may use, for all controllers of the jail at once. */
static int enable_controllers(struct jail *j, const struct jail_hierarchy *h, size_t level,
			      struct err *e)
{
	char text[256];
	struct text t = text_init(text, sizeof(text) - 1);
	size_t i;
	int ret;

	for (i = 0; i < j->nr_cgroups; i++) {
		const char *file = j->cgroups[i].file;

		if (j->cgroups[i].hierarchy != h || !strncmp(file, "cgroup.", 7))
			continue;
		text_str(&t, t.len ? " +" : "+");
		text_bytes(&t, file, (size_t)(strchrnul(file, '.') - file));
	}
	text[t.len] = '\0';
	if (!t.len || t.cut)
		return 0;
	ret = cg_write(h->fds[level], "cgroup.subtree_control", text);
	/* Above what was delegated to a user that is the owner's affair: below it shows. */
	if (ret == -EACCES && j->rootless)
		return 0;
	if (ret)
		return err_set(e, -ret, "Failed to enable %s in level %zu of cgroup %s/%s", text,
			       level, h->mount, j->parent_cgroup);
	return 0;
}

/* Version 1: an empty cpuset takes over what the level above it has. */
static int inherit_cpuset(const struct jail_hierarchy *h, size_t level, struct err *e)
{
	char value[512];
	size_t i;
	int ret;

	for (i = 0; i < 2; i++) {
		const char *file = cpuset_files[i];

		ret = cg_read(h->fds[level], file, value, sizeof(value));
		if (!ret && *value)
			continue;
		if (!ret)
			ret = cg_read(h->fds[level - 1], file, value, sizeof(value));
		if (!ret)
			ret = cg_write(h->fds[level], file, value);
		if (ret)
			return err_set(e, -ret,
				       "Failed to inherit cgroups configurations from file %s in "
				       "level %zu below %s",
				       file, level, h->mount);
	}
	return 0;
}

/* One level down; its fd is kept for what is to be written, and for taking it back. */
static int make_level(struct jail *j, struct jail_hierarchy *h, const char *name, struct err *e)
{
	const size_t level = h->depth + 1;
	int ret = 0;

	if (level > JAIL_CGROUP_DEPTH_MAX)
		return err_set(e, 0, "Parent cgroup path is invalid. It is too deep.");
	if (h->v2)
		ret = enable_controllers(j, h, level - 1, e);
	if (ret)
		return ret;
	if (mkdirat(h->fds[level - 1], name, 0755) == 0)
		h->made[level] = true;
	else if (errno != EEXIST)
		return err_set(e, errno, "Failed to create directory %s/%s/%s", h->mount,
			       j->parent_cgroup, j->id);
	h->fds[level] = openat(h->fds[level - 1], name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (h->fds[level] < 0)
		return err_set(e, errno, "Failed to open file %s/%s/%s", h->mount, j->parent_cgroup,
			       j->id);
	h->depth = level;
	if (!h->v2 && cg_has_word(h->options, ',', "cpuset", 6))
		ret = inherit_cpuset(h, level, e);
	return ret;
}

/* The next component of @path into @name; NULL at its end. */
static const char *next_component(const char *path, char *name, size_t cap)
{
	const char *end;
	size_t len;

	while (*path == '/')
		path++;
	end = strchrnul(path, '/');
	len = (size_t)(end - path);
	if (!len || len >= cap)
		return NULL;
	memcpy(name, path, len);
	name[len] = '\0';
	return end;
}

static void close_levels(struct jail_hierarchy *h, bool remove, const char *id, const char *parent)
{
	char name[260];

	for (; h->depth > 0; h->depth--) {
		const char *p = parent;
		size_t i;

		for (i = 0; p && i < h->depth; i++)
			p = next_component(p, name, sizeof(name));
		fd_close(&h->fds[h->depth]);
		if (remove && h->made[h->depth])
			unlinkat(h->fds[h->depth - 1], p ? name : id, AT_REMOVEDIR);
		h->made[h->depth] = false;
	}
	fd_close(&h->fds[0]);
}

static int make_levels(struct jail *j, struct jail_hierarchy *h, struct err *e)
{
	const char *p = j->parent_cgroup;
	char name[260];
	int ret = 0;

	h->fds[0] = open(h->mount, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (h->fds[0] < 0)
		return err_set(e, errno, "Failed to open file %s", h->mount);
	while (!ret && (p = next_component(p, name, sizeof(name))))
		ret = make_level(j, h, name, e);
	return ret ? ret : make_level(j, h, j->id, e);
}

static int make_cgroup(struct jail *j, struct jail_hierarchy *h, struct err *e)
{
	int ret, tries;

	for (tries = 0; tries < TRIES; tries++) {
		ret = make_levels(j, h, e);
		if (ret != -ENOENT && ret != -ENODEV)
			break;
		close_levels(h, true, j->id, j->parent_cgroup);
	}
	return ret;
}

/* Without --cgroup: an existing parent takes the VM, and none is made. */
static int open_parent(struct jail *j, struct err *e)
{
	struct jail_hierarchy *h = cg_find_v2(j);
	int fd;

	if (!h && j->cgroup_version == 2)
		return err_set(e, 0, "Hierarchy not found: no cgroups of version 2 are mounted");
	if (!h)
		return 0;
	fd = open(h->mount, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_set(e, errno, "Failed to open file %s", h->mount);
	h->fds[0] = fd;
	h->fds[1] = openat(fd, j->parent_cgroup, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (h->fds[1] < 0)
		return errno == ENOENT ? 0 :
					 err_set(e, errno, "Failed to open file %s/%s", h->mount,
						 j->parent_cgroup);
	h->depth = 1;
	h->used = true;
	return 0;
}

/* What an ordinary user has to know about each failure. */
static int explain(const struct jail *j, int ret, struct err *e)
{
	return ret && j->rootless ? err_wrap(e, "--rootless has only the cgroups of version 2 that "
						"were delegated to this user and that it is in "
						"(--parent-cgroup)") :
				    ret;
}

static int make_all(struct jail *j, struct err *e)
{
	size_t i;
	int ret;

	ret = cg_find_hierarchies(j, e);
	if (ret)
		return ret;
	if (j->parent_only)
		return open_parent(j, e);
	for (i = 0; i < j->nr_cgroups; i++) {
		struct jail_cgroup *c = &j->cgroups[i];

		c->hierarchy = cg_hierarchy_of(j, c);
		if (!c->hierarchy)
			return err_set(e, 0, "Controller %.*s is unavailable",
				       (int)(strchrnul(c->file, '.') - c->file), c->file);
		c->hierarchy->used = true;
	}
	for (i = 0; !ret && i < j->nr_hierarchies; i++)
		if (j->hierarchies[i].used)
			ret = make_cgroup(j, &j->hierarchies[i], e);
	for (i = 0; !ret && i < j->nr_cgroups; i++) {
		const struct jail_cgroup *c = &j->cgroups[i];

		ret = cg_write(c->hierarchy->fds[c->hierarchy->depth], c->file, c->value);
		if (ret)
			set_failed(c->hierarchy, j->parent_cgroup, j->id, c->file, ret, e);
	}
	return ret;
}

/*
 * SHOULD make the jail's cgroup in each hierarchy that one of its files belongs to, and set the
 * files. MUST NOT move a process yet, nor read the mount table when no cgroup was asked for.
 */
int jail_make_cgroups(struct jail *j, struct err *e)
{
	if (!j->nr_cgroups && !j->parent_only)
		return 0;
	return explain(j, make_all(j, e), e);
}

/* Whether a line "number:controllers:path" of /proc/self/cgroup shows us where we belong. */
static bool is_inside(const struct jail *j, const struct jail_hierarchy *h, const char *line)
{
	const char *controllers = strchr(line, ':');
	const char *path = controllers ? strchr(controllers + 1, ':') : NULL;
	const char *tail;
	size_t len, want = strlen(j->parent_cgroup) + (j->parent_only ? 0 : strlen(j->id) + 1);

	if (!path)
		return false;
	len = (size_t)(path - controllers) - 1;
	/* The first controller's name is enough: it is in one hierarchy only. */
	if (h->v2 ? len != 0 :
		    !len || !cg_has_word(h->options, ',', controllers + 1,
					 (size_t)(strpbrk(controllers + 1, ",:") - controllers) -
						 1))
		return false;
	path++;
	len = strcspn(path, "\n");
	if (len < want + 1)
		return false;
	tail = path + len - want;
	return tail[-1] == '/' && !strncmp(tail, j->parent_cgroup, strlen(j->parent_cgroup)) &&
	       (j->parent_only || !strncmp(path + len - strlen(j->id), j->id, strlen(j->id)));
}

static int check_inside(const struct jail *j, struct err *e)
{
	static char buf[8192];
	size_t i;
	int ret = cg_read(AT_FDCWD, "/proc/self/cgroup", buf, sizeof(buf));

	if (ret)
		return err_set(e, -ret, "Failed to open file /proc/self/cgroup");
	for (i = 0; i < j->nr_hierarchies; i++) {
		const struct jail_hierarchy *h = &j->hierarchies[i];
		const char *line = buf;

		if (!h->used)
			continue;
		while (line && !is_inside(j, h, line)) {
			line = strchr(line, '\n');
			line = line ? line + 1 : NULL;
		}
		if (!line)
			return err_set(e, EPERM, "Failed to move into cgroup %s/%s/%s", h->mount,
				       j->parent_cgroup, j->parent_only ? "" : j->id);
	}
	return 0;
}

/*
 * SHOULD move the process that becomes the VMM into its cgroups, once in each hierarchy, each of
 * which may cost the host a grace period. MUST NOT move the jailer when the VMM is another process.
 */
int jail_join_cgroups(struct jail *j, struct err *e)
{
	bool joined = false;
	size_t i;
	int ret;

	for (i = 0; i < j->nr_hierarchies; i++) {
		const struct jail_hierarchy *h = &j->hierarchies[i];

		if (!h->used)
			continue;
		/* 0 is the writer itself, whatever it is called in its pid namespace. */
		ret = cg_write(h->fds[h->depth], h->v2 ? "cgroup.procs" : "tasks", "0");
		if (ret)
			return explain(j,
				       err_set(e, -ret, "Failed to move process to cgroup %s/%s/%s",
					       h->mount, j->parent_cgroup,
					       j->parent_only ? "" : j->id),
				       e);
		joined = true;
	}
	return joined ? check_inside(j, e) : 0;
}

void jail_undo_cgroups(struct jail *j)
{
	size_t i;

	for (i = 0; i < j->nr_hierarchies; i++) {
		struct jail_hierarchy *h = &j->hierarchies[i];

		/* A process of its own is gone by now; this one steps out again. */
		if (h->used && h->fds[0] >= 0 && !j->forked && !j->parent_only)
			cg_write(h->fds[0], h->v2 ? "cgroup.procs" : "tasks", "0");
		if (h->used)
			close_levels(h, true, j->id, j->parent_cgroup);
	}
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cgroup_find.c - where this host has its hierarchies of cgroups, and their files.
 */
#include "jailer/cgroup_find.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"

int cg_read(int dir, const char *name, char *buf, size_t cap)
{
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, buf, cap - 1);
	close(fd);
	if (n < 0)
		return -errno;
	while (n > 0 && buf[n - 1] == '\n')
		n--;
	buf[n] = '\0';
	return 0;
}

int cg_write(int dir, const char *name, const char *text)
{
	int fd = openat(dir, name, O_WRONLY | O_CLOEXEC | O_NOCTTY);
	ssize_t n;
	int ret = 0;

	if (fd < 0)
		return -errno;
	/* One write is one request; these files know no half of it. */
	n = write(fd, text, strlen(text));
	if (n < 0)
		ret = -errno;
	close(fd);
	return ret;
}

bool cg_has_word(const char *list, char separator, const char *word, size_t len)
{
	for (;; list++) {
		const char *end = strchrnul(list, separator);

		if ((size_t)(end - list) == len && !memcmp(list, word, len))
			return true;
		if (!*end)
			return false;
		list = end;
	}
}

/* The mount table writes blanks and backslashes as three octal digits. */
static void unescape(char *s)
{
	char *to = s;

	while (*s) {
		if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] && s[3]) {
			*to++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
			s += 4;
		} else {
			*to++ = *s++;
		}
	}
	*to = '\0';
}

/* A line of the mount table: source, mount point, type, options. Too long a one is not ours. */
static void take_mount(struct jail *j, char *line)
{
	struct jail_hierarchy *h = &j->hierarchies[j->nr_hierarchies];
	char *field[4], *save = NULL;
	size_t i;

	for (i = 0; i < 4; i++) {
		field[i] = strtok_r(i ? NULL : line, " ", &save);
		if (!field[i])
			return;
	}
	if (strcmp(field[2], "cgroup") && strcmp(field[2], "cgroup2"))
		return;
	if (j->nr_hierarchies == JAIL_HIERARCHIES_MAX)
		return;
	unescape(field[1]);
	if (strlen(field[1]) >= sizeof(h->mount) || strlen(field[3]) >= sizeof(h->options))
		return;
	memcpy(h->mount, field[1], strlen(field[1]) + 1);
	memcpy(h->options, field[3], strlen(field[3]) + 1);
	h->v2 = !strcmp(field[2], "cgroup2");
	for (i = 0; i <= JAIL_CGROUP_DEPTH_MAX; i++)
		h->fds[i] = -1;
	j->nr_hierarchies++;
}

/* A buffer at a time; nothing is kept but hierarchies. */
int cg_find_hierarchies(struct jail *j, struct err *e)
{
	static const char table[] = "/proc/mounts";
	static char buf[16384];
	size_t len = 0;
	ssize_t n;
	int fd = open(table, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return err_set(e, errno, "Failed to open file %s", table);
	while ((n = read(fd, buf + len, sizeof(buf) - 1 - len)) > 0) {
		char *line = buf, *end;

		len += (size_t)n;
		buf[len] = '\0';
		while ((end = strchr(line, '\n'))) {
			*end = '\0';
			take_mount(j, line);
			line = end + 1;
		}
		len -= (size_t)(line - buf);
		memmove(buf, line, len);
		if (len == sizeof(buf) - 1)
			len = 0; /* a line longer than any of ours */
	}
	close(fd);
	if (!j->nr_hierarchies)
		return err_set(e, 0, "Hierarchy not found: no cgroups are mounted on this host");
	return 0;
}

struct jail_hierarchy *cg_find_v2(struct jail *j)
{
	size_t i;

	for (i = 0; i < j->nr_hierarchies; i++)
		if (j->hierarchies[i].v2)
			return &j->hierarchies[i];
	return NULL;
}

struct jail_hierarchy *cg_hierarchy_of(struct jail *j, const struct jail_cgroup *c)
{
	const size_t len = (size_t)(strchrnul(c->file, '.') - c->file);
	struct jail_hierarchy *h = j->cgroup_version == 1 ? NULL : cg_find_v2(j);
	char controllers[512];
	size_t i;
	int fd;

	if (h) {
		int ret = -1;

		fd = open(h->mount, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd >= 0)
			ret = cg_read(fd, "cgroup.controllers", controllers, sizeof(controllers));
		fd_close(&fd);
		/* The core's own files, cgroup.*, need no controller. */
		if (!ret && (cg_has_word(controllers, ' ', c->file, len) ||
			     (len == 6 && !memcmp(c->file, "cgroup", 6))))
			return h;
	}
	if (j->cgroup_version == 2)
		return NULL;
	for (i = 0; i < j->nr_hierarchies; i++)
		if (!j->hierarchies[i].v2 &&
		    cg_has_word(j->hierarchies[i].options, ',', c->file, len))
			return &j->hierarchies[i];
	return NULL;
}

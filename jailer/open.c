/* SPDX-License-Identifier: Apache-2.0 */
/*
 * open.c - what the jail starts from: no descriptors of others, and those of the host's files that
 * are needed later, opened while their paths still mean what the operator typed.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "jailer/jail.h"

/* Where the linker put our own ELF header. */
extern const Elf64_Ehdr own_header __asm__("__ehdr_start") __attribute__((visibility("hidden")));

void jail_init(struct jail *j)
{
	size_t i;

	j->exec_fd = j->base_fd = j->netns_fd = j->null_fd = -1;
	for (i = 0; i < NR_JAIL_DIRS; i++)
		j->dirs[i].fd = -1;
	/* Also the mode of the API's socket, so it is put back before the VMM runs. */
	j->umask = umask(022);
}

static int close_from(unsigned int first, unsigned int last)
{
	return (int)syscall(SYS_close_range, first, last, 0);
}

/*
 * A descriptor that the operator leaves open must exist, and must not be a directory: from one a
 * program that was broken into walks out of the jail.
 */
static int check_kept(int fd, struct err *e)
{
	struct stat st;
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fstat(fd, &st) < 0)
		return err_set(e, errno, "Failed to keep file descriptor %d", fd);
	if (S_ISDIR(st.st_mode) || flags & O_PATH)
		return err_set(e, EISDIR,
			       "Failed to keep file descriptor %d, a way out of the jail", fd);
	return 0;
}

/*
 * SHOULD leave open: standard streams and what --keep-fd names. MUST NOT leave: any other
 * descriptor, or a standard stream closed, in whose place the next file opened would come.
 */
int jail_close_fds(struct jail *j, struct err *e)
{
	unsigned int first = 3;
	size_t i;
	int fd, ret;

	for (i = 0; i < j->nr_keep; i++) {
		const unsigned int kept = (unsigned int)j->keep[i];

		ret = check_kept(j->keep[i], e);
		if (ret)
			return ret;
		if (kept > first && close_from(first, kept - 1) < 0)
			return err_set(e, errno, "Failed to close file descriptors");
		first = kept + 1;
	}
	if (close_from(first, ~0u) < 0)
		return err_set(e, errno, "Failed to close file descriptors");
	do {
		fd = open("/dev/null", O_RDWR | O_CLOEXEC | O_NOCTTY);
		if (fd < 0)
			return err_set(e, errno, "Failed to open /dev/null");
		if (fd <= STDERR_FILENO)
			fcntl(fd, F_SETFD, 0);
	} while (fd <= STDERR_FILENO);
	/* Read back: the lowest free number is the first that was not to stay. */
	for (first = 3, i = 0; i < j->nr_keep; i++)
		if (j->keep[i] == (int)first)
			first++;
	if (fd != (int)first)
		return err_set(e, EBADF, "Failed to close file descriptors: %u is still open",
			       first);
	j->null_fd = fd;
	return 0;
}

/* Whether @j's user may execute a file like that, by its mode; more precise is only the kernel. */
static bool may_execute(const struct jail *j, const struct stat *st)
{
	if (j->uid == st->st_uid)
		return st->st_mode & S_IXUSR;
	if (j->gid == st->st_gid)
		return st->st_mode & S_IXGRP;
	return st->st_mode & S_IXOTH;
}

/* What a script or a dynamically linked program needs would be looked for in the jail. */
static int check_static(const struct jail *j, struct err *e)
{
	static union {
		unsigned char bytes[4096];
		Elf64_Ehdr header;
	} head, self;
	Elf64_Phdr ph;
	size_t i, at;

	if (fd_pread_all(j->exec_fd, head.bytes, sizeof(head), 0) ||
	    memcmp(head.header.e_ident, ELFMAG, SELFMAG))
		return err_set(e, ENOEXEC, "%s is no ELF program", j->exec_file);
	/* The jailer is a program that this host executes. */
	memcpy(&self.header, &own_header, sizeof(self.header));
	if (head.header.e_ident[EI_CLASS] != self.header.e_ident[EI_CLASS] ||
	    head.header.e_machine != self.header.e_machine)
		return err_set(e, ENOEXEC, "%s is a program for another kind of CPU", j->exec_file);
	for (i = 0; i < head.header.e_phnum; i++) {
		at = head.header.e_phoff + i * sizeof(ph);
		if (head.header.e_phoff > sizeof(head) || at + sizeof(ph) > sizeof(head))
			break; /* whatever that is, the kernel judges it */
		memcpy(&ph, head.bytes + at, sizeof(ph));
		if (ph.p_type == PT_INTERP)
			return err_set(e, ENOEXEC,
				       "%s is not linked statically; its loader is not in the jail",
				       j->exec_file);
	}
	return 0;
}

/* What makes exec fail must fail here, while everything can still be taken back. */
static int open_program(struct jail *j, struct err *e)
{
	struct statvfs fs;
	struct stat st;

	j->exec_fd = open(j->exec_file, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (j->exec_fd < 0)
		return err_set(e, errno, "Failed to canonicalize path %s", j->exec_file);
	if (fstat(j->exec_fd, &st) < 0 || fstatvfs(j->exec_fd, &fs) < 0)
		return err_set(e, errno, "Failed to open file %s", j->exec_file);
	if (!S_ISREG(st.st_mode))
		return err_set(e, 0, "%s is not a file", j->exec_file);
	if (!may_execute(j, &st))
		return err_set(e, EACCES, "%s may not be executed by user %u, group %u",
			       j->exec_file, j->uid, j->gid);
	if (fs.f_flag & ST_NOEXEC)
		return err_set(e, EACCES, "%s is on a file system mounted noexec", j->exec_file);
	return check_static(j, e);
}

/*
 * SHOULD open program, base folder and network namespace by the operator's paths, symbolic links
 * included: they are the operator's. MUST NOT copy the program: its pages stay shared by all VMs.
 */
int jail_open(struct jail *j, struct err *e)
{
	int ret = open_program(j, e);

	if (ret)
		return ret;
	if (j->netns) {
		j->netns_fd = open(j->netns, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
		if (j->netns_fd < 0)
			return err_set(e, errno, "Failed to open file %s", j->netns);
	}
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cgroup_find.h - for cgroup.c: hierarchies as the mount table shows them, and small files in them.
 */
#pragma once

#include "jailer/jail.h"

/* cg_read - one file below the directory @dir, without newlines at its end: 0 or -errno. */
int cg_read(int dir, const char *name, char *buf, size_t cap);

/* cg_write - the same the other way, in one write: 0 or -errno. */
int cg_write(int dir, const char *name, const char *text);

/* cg_has_word - whether a word of @list, parted by @separator, is the @len bytes at @word. */
bool cg_has_word(const char *list, char separator, const char *word, size_t len);

/* cg_find_hierarchies - read the mount table, once. */
int cg_find_hierarchies(struct jail *j, struct err *e);

/* cg_find_v2 - the hierarchy of version 2, or NULL. */
struct jail_hierarchy *cg_find_v2(struct jail *j);

/*
 * cg_hierarchy_of - where @c's controller is, or NULL. Without a version asked for that is the one
 * place that has it: a controller is in one hierarchy only.
 */
struct jail_hierarchy *cg_hierarchy_of(struct jail *j, const struct jail_cgroup *c);

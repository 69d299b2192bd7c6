/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "outboxfs/fs/mount.h"

void mount_options_init(struct mount_options *options)
{
	*options = (struct mount_options){
		.uid = getuid(),
		.gid = getgid(),
		.exporters = (gid_t)-1,
		.busy_ms = 5000,
		.limits = WORK_LIMITS_DEFAULT,
	};
}

static int parse_number(const char *name, const char *value, int base,
			unsigned long max, unsigned long *ret, struct err *err)
{
	char *end;

	errno = 0;
	*ret = strtoul(value, &end, base);
	if (errno || *end || *value < '0' || *value > '9' || *ret > max)
		return err_set(
			err, -EINVAL,
			"option '%s': '%s' is not a number from 0 to %lu", name,
			value, max);
	return 0;
}

static int set_uid(struct mount_options *o, const char *value, struct err *err)
{
	const struct passwd *user = getpwnam(value);
	unsigned long n;
	int r;

	if (user) {
		o->uid = user->pw_uid;
		return 0;
	}
	r = parse_number("uid", value, 10, UINT32_MAX - 1, &n, err);
	if (r < 0)
		return err_set(err, r, "option 'uid': there is no user '%s'",
			       value);
	o->uid = (uid_t)n;
	return 0;
}

static int parse_group(const char *name, const char *value, gid_t *ret,
		       struct err *err)
{
	const struct group *group = getgrnam(value);
	unsigned long n;
	int r;

	if (group) {
		*ret = group->gr_gid;
		return 0;
	}
	r = parse_number(name, value, 10, UINT32_MAX - 1, &n, err);
	if (r < 0)
		return err_set(err, r, "option '%s': there is no group '%s'",
			       name, value);
	*ret = (gid_t)n;
	return 0;
}

static int set_gid(struct mount_options *o, const char *value, struct err *err)
{
	return parse_group("gid", value, &o->gid, err);
}

static int set_exporters(struct mount_options *o, const char *value,
			 struct err *err)
{
	return parse_group("exporters", value, &o->exporters, err);
}

static int set_umask(struct mount_options *o, const char *value,
		     struct err *err)
{
	unsigned long n;
	int r;

	r = parse_number("umask", value, 8, 0777, &n, err);
	o->umask = (mode_t)n;
	return r;
}

static int set_busy(struct mount_options *o, const char *value, struct err *err)
{
	unsigned long n;
	int r;

	r = parse_number("busy_timeout", value, 10, 3600, &n, err);
	o->busy_ms = (int)n * 1000;
	return r;
}

static int set_queue(struct mount_options *o, const char *value,
		     struct err *err)
{
	unsigned long n;
	int r;

	r = parse_number("queue", value, 10, 1000000, &n, err);
	if (r == 0)
		o->limits.queued_max = (unsigned)n;
	return r;
}

static int set_waiting(struct mount_options *o, const char *value,
		       struct err *err)
{
	unsigned long n;
	int r;

	r = parse_number("waiting", value, 10, 100000, &n, err);
	if (r == 0)
		o->limits.waiting_max = (unsigned)n;
	return r;
}

static int set_max_outbox(struct mount_options *o, const char *value,
			  struct err *err)
{
	unsigned long n;
	int r;

	r = parse_number("max_outbox", value, 10, 1000000000, &n, err);
	if (r == 0)
		o->limits.outbox_max = (int64_t)n;
	return r;
}

/* Bytes, or with K, M, G or T behind them: times 1024 each. */
static int set_max_store(struct mount_options *o, const char *value,
			 struct err *err)
{
	static const char units[] = "KMGT";
	const char *unit;
	char *end;
	unsigned long long n;
	unsigned shift = 0;

	errno = 0;
	n = strtoull(value, &end, 10);
	unit = *end ? strchr(units, *end) : NULL;
	if (unit) {
		shift = 10 * (unsigned)(unit - units + 1);
		end++;
	}
	if (errno || *end || *value < '0' || *value > '9' ||
	    n > (unsigned long long)INT64_MAX >> shift)
		return err_set(
			err, -EINVAL,
			"option 'max_store': '%s' is not a size such as 500M or 20G",
			value);
	o->limits.store_bytes = (int64_t)(n << shift);
	return 0;
}

static int set_allow_other(struct mount_options *o, const char *value,
			   struct err *err)
{
	(void)value;
	(void)err;
	o->allow_other = true;
	return 0;
}

static int set_ro(struct mount_options *o, const char *value, struct err *err)
{
	(void)value;
	(void)err;
	o->read_only = true;
	return 0;
}

static int set_rw(struct mount_options *o, const char *value, struct err *err)
{
	(void)value;
	(void)err;
	o->read_only = false;
	return 0;
}

static int set_kernel_cache(struct mount_options *o, const char *value,
			    struct err *err)
{
	(void)value;
	(void)err;
	o->kernel_cache = true;
	return 0;
}

/* For fstab, mount(8) and systemd; nothing for us to do. */
static int ignore(struct mount_options *o, const char *value, struct err *err)
{
	(void)o;
	(void)value;
	(void)err;
	return 0;
}

/* Goes to the kernel or fusermount3 as it is. */
#define PASS_ON NULL

static const struct {
	const char *name;
	bool has_value;
	int (*set)(struct mount_options *o, const char *value, struct err *err);
} table[] = {
	{"allow_other", false, set_allow_other},
	{"async", false, ignore},
	{"atime", false, PASS_ON},
	{"auto", false, ignore},
	{"busy_timeout", true, set_busy},
	{"default_permissions", false, ignore}, /* always */
	{"defaults", false, ignore},
	{"dev", false, ignore},
	{"exec", false, ignore},
	{"exporters", true, set_exporters},
	{"gid", true, set_gid},
	{"kernel_cache", false, set_kernel_cache},
	{"max_outbox", true, set_max_outbox},
	{"max_store", true, set_max_store},
	{"_netdev", false, ignore},
	{"noatime", false, PASS_ON},
	{"noauto", false, ignore},
	{"nodev", false, ignore},
	{"noexec", false, PASS_ON},
	{"nofail", false, ignore},
	{"nosuid", false, ignore},
	{"nouser", false, ignore},
	{"queue", true, set_queue},
	{"relatime", false, ignore},
	{"ro", false, set_ro},
	{"rw", false, set_rw},
	{"suid", false, ignore},
	{"uid", true, set_uid},
	{"umask", true, set_umask},
	{"user", false, ignore},
	{"users", false, ignore},
	{"waiting", true, set_waiting},
};

static int parse_one(struct mount_options *o, char *word, struct err *err)
{
	char *value = strchr(word, '=');
	size_t n;

	if (strncmp(word, "x-", 2) == 0 || strncmp(word, "comment=", 8) == 0)
		return 0;
	if (value)
		*value++ = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		if (strcmp(table[i].name, word) != 0)
			continue;
		if (table[i].has_value != !!value)
			return err_set(err, -EINVAL, "option '%s' %s", word,
				       value ? "takes no value"
					     : "needs a value");
		if (table[i].set)
			return table[i].set(o, value, err);
		n = strlen(o->extra);
		(void)snprintf(o->extra + n, sizeof(o->extra) - n, ",%s", word);
		return 0;
	}
	return err_set(err, -EINVAL,
		       "unknown option '%s': outboxfs(1) lists them", word);
}

int mount_options_parse(struct mount_options *options, const char *text,
			struct err *err)
{
	CLEANUP(freep) char *copy = strdup(text);
	char *save = NULL;
	int r = 0;

	if (!copy)
		return -ENOMEM;
	for (char *word = strtok_r(copy, ",", &save); r == 0 && word;
	     word = strtok_r(NULL, ",", &save))
		r = parse_one(options, word, err);
	return r;
}

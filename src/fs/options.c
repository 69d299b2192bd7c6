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

	o->has_uid = true;
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
	o->has_gid = true;
	return parse_group("gid", value, &o->gid, err);
}

static int set_exporters(struct mount_options *o, const char *value,
			 struct err *err)
{
	return parse_group("exporters", value, &o->exporters, err);
}

/* A user with a name, since groups go with names. */
static const struct passwd *find_user(const char *value)
{
	const struct passwd *user = getpwnam(value);
	unsigned long n;

	if (user ||
	    parse_number("user", value, 10, UINT32_MAX - 1, &n, NULL) < 0)
		return user;
	return getpwuid((uid_t)n);
}

/* Without a value it is fstab's: a user may mount. */
static int set_user(struct mount_options *o, const char *value, struct err *err)
{
	const struct passwd *user;

	if (!value)
		return 0;
	user = find_user(value);
	if (!user || strlen(user->pw_name) >= sizeof(o->user))
		return err_set(err, -EINVAL,
			       "option 'user': there is no user '%s'", value);
	if (geteuid() != 0 && user->pw_uid != geteuid())
		return err_set(
			err, -EPERM,
			"option 'user': only root can let '%s' serve the mount",
			value);
	memcpy(o->user, user->pw_name, strlen(user->pw_name) + 1);
	o->user_uid = user->pw_uid;
	o->user_gid = user->pw_gid;
	return 0;
}

/* The kernel wants to know what the daemon will take for one read. */
static int set_max_read(struct mount_options *o, const char *value,
			struct err *err)
{
	unsigned long n;
	int r;

	r = parse_number("max_read", value, 10, UINT32_MAX, &n, err);
	if (r == 0)
		o->max_read = (unsigned)n;
	return r;
}

static int set_umask(struct mount_options *o, const char *value,
		     struct err *err)
{
	unsigned long n;
	int r;

	r = parse_number("umask", value, 8, 0777, &n, err);
	if (r < 0)
		return err_set(
			err, r,
			"option 'umask': '%s' is not an octal number from 0 to 777",
			value);
	o->umask = (mode_t)n;
	return 0;
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
	o->allow_root = false;
	return 0;
}

static int set_allow_root(struct mount_options *o, const char *value,
			  struct err *err)
{
	(void)value;
	(void)err;
	o->allow_root = true;
	o->allow_other = false;
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

static int refuse_remount(struct mount_options *o, const char *value,
			  struct err *err)
{
	(void)o;
	(void)value;
	return err_set(
		err, -EINVAL,
		"option 'remount': a mount cannot be changed; unmount it and mount it again");
}

/* A mount that goes by itself leaves an empty directory, which lies. */
static int refuse_auto_unmount(struct mount_options *o, const char *value,
			       struct err *err)
{
	(void)o;
	(void)value;
	return err_set(
		err, -EINVAL,
		"option 'auto_unmount': not supported, since a daemon that was killed should not look like an empty directory; mounting again takes the dead mount away");
}

/* Goes to the kernel or fusermount3 as it is. */
#define PASS_ON NULL

enum takes {
	TAKES_NONE,
	TAKES_VALUE,
	TAKES_EITHER,
};

static const struct {
	const char *name;
	enum takes value;
	int (*set)(struct mount_options *o, const char *value, struct err *err);
} table[] = {
	{"allow_other", TAKES_NONE, set_allow_other},
	{"allow_root", TAKES_NONE, set_allow_root},
	{"async", TAKES_NONE, ignore},
	{"atime", TAKES_NONE, PASS_ON},
	{"auto", TAKES_NONE, ignore},
	{"auto_unmount", TAKES_NONE, refuse_auto_unmount},
	{"busy_timeout", TAKES_VALUE, set_busy},
	{"default_permissions", TAKES_NONE, ignore}, /* always */
	{"defaults", TAKES_NONE, ignore},
	{"dev", TAKES_NONE, ignore},
	{"diratime", TAKES_NONE, ignore},
	{"dirsync", TAKES_NONE, ignore},
	{"exec", TAKES_NONE, ignore},
	{"exporters", TAKES_VALUE, set_exporters},
	{"fsname", TAKES_VALUE, ignore},
	{"gid", TAKES_VALUE, set_gid},
	{"group", TAKES_NONE, ignore},
	{"iversion", TAKES_NONE, ignore},
	{"kernel_cache", TAKES_NONE, set_kernel_cache},
	{"lazytime", TAKES_NONE, ignore},
	{"loud", TAKES_NONE, ignore},
	{"mand", TAKES_NONE, ignore},
	{"max_outbox", TAKES_VALUE, set_max_outbox},
	{"max_read", TAKES_VALUE, set_max_read},
	{"max_store", TAKES_VALUE, set_max_store},
	{"_netdev", TAKES_NONE, ignore},
	{"noatime", TAKES_NONE, PASS_ON},
	{"noauto", TAKES_NONE, ignore},
	{"nodev", TAKES_NONE, ignore},
	{"nodiratime", TAKES_NONE, ignore},
	{"noexec", TAKES_NONE, PASS_ON},
	{"nofail", TAKES_NONE, ignore},
	{"nogroup", TAKES_NONE, ignore},
	{"noiversion", TAKES_NONE, ignore},
	{"nolazytime", TAKES_NONE, ignore},
	{"nomand", TAKES_NONE, ignore},
	{"noowner", TAKES_NONE, ignore},
	{"norelatime", TAKES_NONE, ignore},
	{"nostrictatime", TAKES_NONE, ignore},
	{"nosuid", TAKES_NONE, ignore},
	{"nouser", TAKES_NONE, ignore},
	{"nousers", TAKES_NONE, ignore},
	{"owner", TAKES_NONE, ignore},
	{"queue", TAKES_VALUE, set_queue},
	{"relatime", TAKES_NONE, ignore},
	{"remount", TAKES_NONE, refuse_remount},
	{"ro", TAKES_NONE, set_ro},
	{"rw", TAKES_NONE, set_rw},
	{"silent", TAKES_NONE, ignore},
	{"strictatime", TAKES_NONE, ignore},
	{"subtype", TAKES_VALUE, ignore},
	{"suid", TAKES_NONE, ignore},
	{"sync", TAKES_NONE, ignore},
	{"uid", TAKES_VALUE, set_uid},
	{"umask", TAKES_VALUE, set_umask},
	{"user", TAKES_EITHER, set_user},
	{"users", TAKES_NONE, ignore},
	{"waiting", TAKES_VALUE, set_waiting},
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
		if (table[i].value != TAKES_EITHER &&
		    (table[i].value == TAKES_VALUE) != !!value)
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

static int check_together(struct mount_options *o, struct err *err)
{
	if (o->user[0] && !o->has_uid)
		o->uid = o->user_uid;
	if (o->user[0] && !o->has_gid)
		o->gid = o->user_gid;
	/* What the kernel has it would give to anybody, without asking. */
	if (o->allow_root && o->kernel_cache)
		return err_set(
			err, -EINVAL,
			"option 'allow_root' needs each open to be asked for, which 'kernel_cache' does not do: take allow_other and umask=, or leave one out");
	return 0;
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
	return r < 0 ? r : check_together(options, err);
}

/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
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

static int refuse_remount(struct mount_options *o, const char *value,
			  struct err *err)
{
	(void)o;
	(void)value;
	return err_set(
		err, -EINVAL,
		"option 'remount': a mount cannot be changed; unmount it and mount it again");
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
	{"_netdev", false, ignore},
	{"noatime", false, PASS_ON},
	{"noauto", false, ignore},
	{"nodev", false, ignore},
	{"noexec", false, PASS_ON},
	{"nofail", false, ignore},
	{"nosuid", false, ignore},
	{"nouser", false, ignore},
	{"relatime", false, ignore},
	{"remount", false, refuse_remount},
	{"ro", false, set_ro},
	{"rw", false, set_rw},
	{"suid", false, ignore},
	{"uid", true, set_uid},
	{"umask", true, set_umask},
	{"user", false, ignore},
	{"users", false, ignore},
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

/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "outboxfs/base/log.h"
#include "outboxfs/fs/mount.h"

static int run(int argc, char **argv)
{
	struct mount_options options;
	CLEANUP(buf_deinit) struct buf text = BUF_INIT(65536);
	bool debug = false;
	bool foreground = false;
	bool verbose = false;
	const struct cli_option table[] = {
		{.name = "o", .list = &text},
		{.name = "d", .flag = &debug},
		{.name = "f", .flag = &foreground},
		{.name = "v", .flag = &verbose},
	};
	struct err err = ERR_NULL;
	int r;

	r = cli_parse(&cmd_mount, table, ARRAY_SIZE(table), &argc, argv);
	if (r != 0)
		return r == 1 ? 0 : r;
	if (argc != 2)
		return cli_usage(&cmd_mount,
				 "a database and a mount point are needed");
	mount_options_init(&options);
	options.database = argv[0];
	options.mountpoint = argv[1];
	options.foreground = foreground || debug;
	options.debug = debug;
	if (verbose)
		log_set_level(LOG_LEVEL_INFO);
	if (mount_options_parse(&options, text.len ? buf_str(&text) : "",
				&err) < 0)
		return cli_usage(&cmd_mount, "%s", err.text);
	r = mount_run(&options, &err);
	return r < 0 ? cli_fail(&err, r) : 0;
}

const struct cli_command cmd_mount = {
	.name = "mount",
	.summary = "mount a database as files",
	.usage =
		"usage: outboxfs mount DATABASE MOUNTPOINT [-f] [-d] [-v] [-o OPTION,…]\n\n"
		"Mounts an adopted database and returns when the mount works; a daemon\n"
		"serves it until umount(8), SIGTERM or SIGINT.\n\n"
		"  -f  stay in the foreground\n"
		"  -d  log every request, in the foreground\n"
		"  -v  log more\n"
		"  -o  options, separated by commas:\n"
		"      allow_other      others may look, too, as far as modes let them\n"
		"      allow_root       only root may look, too\n"
		"      user=            who serves the mount, if root makes it\n"
		"      ro               nothing can be written at all\n"
		"      kernel_cache     read-only, and as fast as a local disk: a commit\n"
		"                       shows within milliseconds instead of at once\n"
		"      uid=, gid=       owner and group of all files, by name or number\n"
		"      umask=           bits that no file's mode has, octal\n"
		"      exporters=       group that may give commands\n"
		"      busy_timeout=    seconds to wait for a locked database (5)\n",
	.run = run,
};

/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "config.h"

/* In the order of the alphabet. */
static const struct cli_command *const commands[] = {
	&cmd_abandon, &cmd_abort, &cmd_adopt, &cmd_export, &cmd_init,
	&cmd_jobs,    &cmd_model, &cmd_mount, &cmd_purge,  &cmd_status,
	&cmd_verify,  &cmd_wait,  &cmd_watch,
};

static void print_help(FILE *to)
{
	fputs("usage: outboxfs COMMAND [OPTION]… ARGUMENT…\n\n"
	      "Mounts an artifact database (SQLite) as a tree of files.\n\n",
	      to);
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		fprintf(to, "  %-9s %s\n", commands[i]->name,
			commands[i]->summary);
	fputs("\noutboxfs COMMAND --help tells more, outboxfs(1) everything.\n",
	      to);
}

int cli_fail(const struct err *err, int r)
{
	fprintf(stderr, "outboxfs: %s\n", err_text(err, r));
	return 1;
}

int cli_usage(const struct cli_command *cmd, const char *fmt, ...)
{
	va_list args;

	fputs("outboxfs: ", stderr);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fprintf(stderr, "\ntry: outboxfs %s --help\n", cmd->name);
	return EXIT_USAGE;
}

/* The option that a word names, and its value behind '=' if there is one. */
static const struct cli_option *find_option(const struct cli_option *options,
					    size_t n, const char *word,
					    char **ret_value)
{
	bool is_long = word[1] == '-';
	const char *name = word + 1 + is_long;
	size_t len = is_long ? strcspn(name, "=") : 1;

	*ret_value = NULL;
	for (size_t i = 0; i < n; i++) {
		if (strlen(options[i].name) != len ||
		    strncmp(options[i].name, name, len) != 0 ||
		    (len == 1) == is_long)
			continue;
		if (name[len])
			*ret_value = strchr(word, is_long ? '=' : name[0]) + 1;
		return &options[i];
	}
	return NULL;
}

static int take_option(const struct cli_command *cmd,
		       const struct cli_option *options, size_t n, char *word,
		       char *next, int *ret_used)
{
	const struct cli_option *option;
	char *value;

	*ret_used = 1;
	option = find_option(options, n, word, &value);
	if (!option)
		return cli_usage(cmd, "unknown option '%s'", word);
	if (option->flag) {
		if (value)
			return cli_usage(cmd, "option '%s' takes no value",
					 word);
		*option->flag = true;
		return 0;
	}
	if (!value) {
		value = next;
		*ret_used = 2;
	}
	if (!value)
		return cli_usage(cmd, "option '%s' needs a value", word);
	if (!option->list) {
		*option->value = value;
		return 0;
	}
	if (option->list->len)
		buf_putc(option->list, ',');
	buf_puts(option->list, value);
	return buf_str(option->list) ? 0 : EXIT_USAGE;
}

int cli_parse(const struct cli_command *cmd, const struct cli_option *options,
	      size_t n_options, int *argc, char **argv)
{
	int n = 0;
	int used;
	int r;

	for (int i = 0; i < *argc; i += used) {
		used = 1;
		if (strcmp(argv[i], "--help") == 0) {
			fputs(cmd->usage, stdout);
			return 1;
		}
		if (strcmp(argv[i], "--") == 0) {
			while (++i < *argc)
				argv[n++] = argv[i];
			break;
		}
		if (argv[i][0] != '-' || !argv[i][1]) {
			argv[n++] = argv[i];
			continue;
		}
		r = take_option(cmd, options, n_options, argv[i],
				i + 1 < *argc ? argv[i + 1] : NULL, &used);
		if (r != 0)
			return r;
	}
	*argc = n;
	return 0;
}

/*
 * mount(8) and fstab call us with a database and a directory, no command. What
 * cannot be a misspelt command is a database, there or not.
 */
static bool is_mount_helper_call(int argc, char *const *argv)
{
	const char *word = argv[1];

	return argc >= 3 && word[0] != '-' && argv[2][0] != '-' &&
	       (strpbrk(word, "/.") || access(word, F_OK) == 0);
}

static int unknown_command(int argc, char *const *argv)
{
	bool two = argc >= 3 && argv[1][0] != '-' && argv[2][0] != '-';

	fprintf(stderr, "outboxfs: unknown command '%s'%s\n", argv[1],
		two ? ", and no database has this name" : "");
	print_help(stderr);
	return EXIT_USAGE;
}

static int dispatch(int argc, char **argv)
{
	if (argc < 2) {
		print_help(stderr);
		return EXIT_USAGE;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
		print_help(stdout);
		return 0;
	}
	if (strcmp(argv[1], "--version") == 0) {
		puts("outboxfs " OUTBOXFS_VERSION);
		return 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (strcmp(argv[1], commands[i]->name) == 0)
			return commands[i]->run(argc - 2, argv + 2);
	if (is_mount_helper_call(argc, argv))
		return cmd_mount.run(argc - 1, argv + 1);
	return unknown_command(argc, argv);
}

/* What was printed has not arrived before this says so. */
int main(int argc, char **argv)
{
	int status = dispatch(argc, argv);
	int r = fflush(stdout) == 0 ? 0 : -errno;

	if (r == 0 && ferror(stdout))
		r = -EIO; /* a part of it, earlier */
	if (r == 0)
		return status;
	fprintf(stderr, "outboxfs: cannot write to standard output: %s\n",
		err_text(NULL, r));
	return status ? status : 1;
}

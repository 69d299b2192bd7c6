/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The command line. A command parses its words, calls the engine, prints its
 * result to stdout; everything else goes to stderr. It returns the exit
 * status: 0 done, 1 failed, 2 used wrongly.
 */

#include <stdbool.h>

#include "outboxfs/base/buf.h"
#include "outboxfs/base/err.h"

#define EXIT_USAGE 2

struct cli_command {
	const char *name;
	const char *summary; /* one line for outboxfs --help */
	const char *usage;   /* the whole of outboxfs NAME --help */
	int (*run)(int argc, char **argv);
};

extern const struct cli_command cmd_abandon;
extern const struct cli_command cmd_abort;
extern const struct cli_command cmd_adopt;
extern const struct cli_command cmd_export;
extern const struct cli_command cmd_init;
extern const struct cli_command cmd_jobs;
extern const struct cli_command cmd_model;
extern const struct cli_command cmd_mount;
extern const struct cli_command cmd_purge;
extern const struct cli_command cmd_status;
extern const struct cli_command cmd_verify;
extern const struct cli_command cmd_wait;
extern const struct cli_command cmd_watch;

/* "outboxfs: <reason>" to stderr; returns 1. */
int cli_fail(const struct err *err, int r);

/* "outboxfs: <what>", a hint at --help, to stderr; returns 2. */
int cli_usage(const struct cli_command *cmd, const char *fmt, ...) PRINTF(2, 3);

/*
 * Options of a command, a row each. Long options take their value as
 * --name=value or --name value; "--" ends them.
 */
struct cli_option {
	const char *name;   /* "model" or "f" */
	bool *flag;         /* set for an option without value */
	const char **value; /* set for one with; the last one counts */
	struct buf *list;   /* or all of them, with commas between */
};

/*
 * Takes options out of argv and counts what is left at its beginning.
 * 0; 1: --help was printed; 2: used wrongly, and said so.
 */
int cli_parse(const struct cli_command *cmd, const struct cli_option *options,
	      size_t n_options, int *argc, char **argv);

/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Commands, as they are written into control files and given on the command
 * line: key=value words with shell-like quoting, of which the first may be a
 * bare one (the type), or one JSON object with the same keys. Parsing checks
 * keys, values and what belongs together; it knows nothing of what exists.
 *
 *	export	[TYPE] file= overwrite= channel= base= orphans= wait=
 *	purge	WHAT older= keep= name= from= to= <dimension>= dry_run= wait=
 *	abort	JOB, or job=
 *
 * A struct command is immutable; any thread may read it.
 */

#include <stdbool.h>

#include "outboxfs/base/arena.h"
#include "outboxfs/base/buf.h"
#include "outboxfs/base/err.h"

#define COMMAND_BYTES_MAX 65536

enum command_kind {
	COMMAND_EXPORT,
	COMMAND_PURGE,
	COMMAND_ABORT,
};

struct command {
	struct arena arena; /* owns the strings */
	enum command_kind kind;
	/*
	 * export: "all", "all_incremental", "incremental" or "setup", lower
	 * case; purge: "outbox", "snapshots", "inbox", "jobs", "orphans",
	 * "data" or "output"; abort: NULL.
	 */
	const char *type;
	const char *file;    /* export: ends in .zip; NULL: make one up */
	const char *channel; /* export: "main" unless told otherwise */
	int64_t base;        /* export: a snapshot; 0: the channel's mark */
	bool overwrite;
	bool delete_orphans;
	bool wait;
	bool dry_run;
	int64_t older;    /* purge: seconds; -1: of any age */
	int64_t keep;     /* purge: so many; -1: not given */
	const char *name; /* purge: a pattern; NULL: all */
	/* purge data: names and values of dimensions, NULL-terminated pairs */
	const char *const *dims;
	const char *from; /* of the last dimension, inclusive; NULL */
	const char *to;
	int64_t job; /* abort */
};

/* "export", "purge", "abort": also the names of the control files. */
const char *command_kind_name(enum command_kind kind);

/*
 * 0 and *ret, the caller's; -EINVAL: err says what is wrong and what to write
 * instead; -EMSGSIZE: longer than COMMAND_BYTES_MAX; -ENOMEM.
 */
NODISCARD int command_parse(enum command_kind kind, const char *text, size_t n,
			    struct command **ret, struct err *err);
struct command *command_free(struct command *c);
DEFINE_FREEP(command)

/* As one JSON object that command_parse() takes, pretty-printed. */
NODISCARD int command_json(const struct command *c, struct buf *ret);

/* How to use a control file: a text for people. */
const char *command_usage(enum command_kind kind);

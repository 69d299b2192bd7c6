/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Requests that failed because the database could not be read, and why, for
 * status.json and the log. Any thread.
 */

#include "outboxfs/artifact/artifact.h"

#define TROUBLES_MAX 8

struct call;
struct mount;

/* A request that failed, and has not succeeded since. */
struct trouble {
	unsigned op;
	uint64_t ino; /* as stat shows it; 0: a free entry */
	char name[NAME_BYTES_MAX + 1];
	struct err why;
};

struct troubles {
	_Atomic unsigned n; /* entries in use */

	/* under the mount's texts_lock */
	uint64_t generation; /* of the database; another one has no troubles */
	struct trouble each[TROUBLES_MAX];
};

/*
 * Notes how a request ended, and returns r; or -EWOULDBLOCK: an impatient one
 * has failed, and finding out why takes patience.
 */
int trouble_check(struct call *call, struct artifact_read *rd, int r);

/* Why requests fail at present: true, and *ret. */
bool trouble_get(struct mount *m, uint64_t generation, struct err *ret);

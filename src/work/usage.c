/* SPDX-License-Identifier: MIT */
/* What a control file says of itself when it is read. */
#include "outboxfs/work/command.h"

static const char export_usage[] =
	"Write one line into this file to start an export:\n"
	"\n"
	"    all_incremental file=close.zip\n"
	"\n"
	"  all               everything, rendered afresh\n"
	"  all_incremental   everything; reads only what is new or changed\n"
	"  incremental       setup, and what is new or changed\n"
	"  setup             setup tables alone\n"
	"\n"
	"  file=NAME         name in outbox/; .zip is appended\n"
	"  overwrite=yes     take the place of a ZIP with this name\n"
	"  channel=NAME      whose mark says what is new, and moves (main)\n"
	"  base=N            new since snapshot N instead; incremental types\n"
	"  orphans=delete    delete rows of orphans, too, instead of only dropping\n"
	"                    them from the snapshot\n"
	"  wait=yes          return when the export has ended\n"
	"\n"
	"Or write a JSON object: {\"type\": \"all\", \"file\": \"close.zip\"}\n"
	"Values with blanks stand in quotes. See outboxfs-tree(5).\n";

static const char purge_usage[] =
	"Write one line into this file to start a purge:\n"
	"\n"
	"    outbox older=60d\n"
	"\n"
	"  outbox            ZIPs: older=, keep=, name=\n"
	"  snapshots         snapshots: older=, keep=\n"
	"  inbox             what was imported: older=\n"
	"  jobs              jobs that have ended: older=\n"
	"  orphans           rows of orphans in the database\n"
	"  data              rows in the database: from=, to= (of the last\n"
	"                    dimension, inclusive) and dimensions, as location=Paris\n"
	"  output            the exported state: the next incremental is an all\n"
	"\n"
	"  older=30d         what is older: s, m, h, d, w\n"
	"  keep=N            all but the latest N\n"
	"  name=PATTERN      what has such a name, as name='close-*'\n"
	"  dry_run=yes       only list, in the job's log, what would go\n"
	"  wait=yes          return when the purge has ended\n"
	"\n"
	"Or write a JSON object: {\"type\": \"outbox\", \"older\": \"60d\"}\n";

static const char abort_usage[] =
	"Write the number of a job into this file to stop it:\n"
	"\n"
	"    17\n"
	"\n"
	"It stops at the next safe point and leaves nothing but its log.\n";

const char *command_usage(enum command_kind kind)
{
	switch (kind) {
	case COMMAND_EXPORT:
		return export_usage;
	case COMMAND_PURGE:
		return purge_usage;
	case COMMAND_ABORT:
		break;
	}
	return abort_usage;
}

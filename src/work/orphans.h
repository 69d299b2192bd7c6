/* SPDX-License-Identifier: MIT */
#pragma once

#include "outboxfs/artifact/capture.h"
#include "outboxfs/store/draft.h"
#include "outboxfs/work/work.h"

/*
 * Deletes the rows of the POVs that a draft leaves out as orphans, those that
 * still are, in one transaction of the database, and logs them.
 */
NODISCARD int orphans_delete(struct work *w, struct draft *d, int64_t job,
			     struct err *err);

/* 1: the POV is an orphan in this state; 0: it is none. */
NODISCARD int orphans_check(struct artifact_read *rd,
			    const struct artifact_node *pov);

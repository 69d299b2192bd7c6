/* SPDX-License-Identifier: MIT */
#pragma once

#include "outboxfs/work/work.h"

/* -EINVAL: the command has a key that is no dimension of the model. */
NODISCARD int purge_check(struct work *w, const struct command *c,
			  struct err *err);

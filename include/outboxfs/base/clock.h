/* SPDX-License-Identifier: MIT */
#pragma once

/* Time, as numbers and as text. Any thread. */

#include "outboxfs/base/defs.h"

wall_s_t clock_wall(void);
mono_us_t clock_mono(void);

#define CLOCK_TEXT_BYTES 32

/* "2026-11-01T00:00:00Z" (ISO 8601, UTC), with a NUL; returns ret. */
const char *clock_format(wall_s_t t, char ret[CLOCK_TEXT_BYTES]);

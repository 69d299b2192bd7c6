/* SPDX-License-Identifier: MIT */
#include "outboxfs/base/clock.h"

#include <stdio.h>
#include <time.h>

wall_s_t clock_wall(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_REALTIME, &ts); /* cannot fail */
	return ts.tv_sec;
}

mono_us_t clock_mono(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts); /* cannot fail */
	return (mono_us_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

const char *clock_format(wall_s_t t, char ret[CLOCK_TEXT_BYTES])
{
	time_t time = t;
	struct tm tm;

	if (!gmtime_r(&time, &tm) ||
	    strftime(ret, CLOCK_TEXT_BYTES, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
		(void)snprintf(ret, CLOCK_TEXT_BYTES, "@%lld", (long long)t);
	return ret;
}

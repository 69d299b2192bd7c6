/* SPDX-License-Identifier: MIT */
#include "outboxfs/base/defs.h"

#include <errno.h>
#include <unistd.h>

void close_fd(int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		(void)close(
			*fd); /* nothing was written through it that counts */
	*fd = -1;
	errno = saved;
}

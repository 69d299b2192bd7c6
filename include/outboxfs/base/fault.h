/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Failpoints for the tests: named places where a test can make a call fail or
 * the process die. Built with -Dfailpoints=true only; fault-none.c has the
 * same functions, doing nothing.
 *
 * OUTBOXFS_FAULT is a list, separated by commas, of <point>:<action>[:<n>]:
 * at the n-th time (1) that a place of this name is passed. Actions: kill
 * (SIGKILL of ourselves), or the name of an errno: EIO, ENOSPC, ENOMEM, EINTR.
 * "tell" writes a line to standard error each time, and nothing happens.
 * A point that ends in '*' stands for all that begin with it.
 */

#include "outboxfs/base/defs.h"

/* 0, or -errno that is to be returned as if the call had failed. */
int fault(const char *point);

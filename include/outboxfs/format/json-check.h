/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What json-c does not tell of a document: it takes the last of two members
 * with one key, and cuts a key at a NUL.
 */

#include "outboxfs/base/err.h"

/*
 * Refuses a document in which an object has a key twice, however it is
 * escaped, or a key has a NUL. What is no JSON at all may pass: that is for
 * the parser to say. -EINVAL: err names the key and where it stands again.
 */
NODISCARD int json_check(const char *text, size_t n, struct err *err);

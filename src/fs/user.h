/* SPDX-License-Identifier: MIT */
#pragma once

#include "outboxfs/fs/mount.h"

/*
 * Serving as another user (user=NAME). In order: user_borrow(), after which
 * files are opened as that user; user_return(), to mount as root, with the
 * user's id as that of the mount; user_become(), for good. Each does nothing
 * where no user was asked for. Affects all threads.
 */

NODISCARD int user_borrow(const struct mount_options *o, struct err *err);
NODISCARD int user_return(const struct mount_options *o, struct err *err);
NODISCARD int user_become(const struct mount_options *o, struct err *err);

/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * One line a message, to stderr: with "<3>" priorities where stderr is not a
 * terminal (sd-daemon(3)), else with "outboxfs: ". Lower case, no full stop,
 * names in single quotes. An error is logged once, by whoever stops it.
 *
 * Any thread; a message is one write(2).
 */

#include "outboxfs/base/defs.h"

enum log_level {
	LOG_LEVEL_ERR = 3, /* the numbers of syslog(3) */
	LOG_LEVEL_WARN = 4,
	LOG_LEVEL_NOTICE = 5,
	LOG_LEVEL_INFO = 6,
	LOG_LEVEL_DEBUG = 7,
};

/* What is less urgent than this is dropped. At first LOG_LEVEL_NOTICE. */
void log_set_level(enum log_level level);

void log_print(enum log_level level, const char *fmt, ...) PRINTF(2, 3);

#define log_err(...)    log_print(LOG_LEVEL_ERR, __VA_ARGS__)
#define log_warn(...)   log_print(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_notice(...) log_print(LOG_LEVEL_NOTICE, __VA_ARGS__)
#define log_info(...)   log_print(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)  log_print(LOG_LEVEL_DEBUG, __VA_ARGS__)

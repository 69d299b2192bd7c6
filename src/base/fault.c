/* SPDX-License-Identifier: MIT */
#include "outboxfs/base/fault.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define RULES_MAX 16

/* "<point>:<action>[:<n>]" */
struct rule {
	char point[64];
	size_t len;      /* of point, without '*' */
	int error;       /* errno; 0: kill, or tell */
	unsigned passed; /* so many times; under mutex */
	unsigned at;
	bool prefix; /* it ended in '*' */
	bool tell;   /* every time */
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct rule rules[RULES_MAX];
static size_t n_rules;

static int find_error(const char *name)
{
	static const struct {
		const char *name;
		int error;
	} names[] = {{"EIO", EIO},
		     {"ENOSPC", ENOSPC},
		     {"ENOMEM", ENOMEM},
		     {"EINTR", EINTR}};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strcmp(names[i].name, name) == 0)
			return names[i].error;
	return 0;
}

static void add_rule(char *text)
{
	struct rule *rule = &rules[n_rules];
	char *save = NULL;
	const char *point = strtok_r(text, ":", &save);
	const char *action = strtok_r(NULL, ":", &save);
	const char *at = strtok_r(NULL, ":", &save);

	if (!point || !action || n_rules == RULES_MAX ||
	    strlen(point) >= sizeof(rule->point))
		return;
	memcpy(rule->point, point, strlen(point) + 1);
	rule->len = strlen(point);
	rule->prefix = point[rule->len - 1] == '*';
	rule->len -= rule->prefix;
	rule->error = find_error(action);
	rule->tell = strcmp(action, "tell") == 0;
	rule->at = at ? (unsigned)strtoul(at, NULL, 10) : 1;
	n_rules++;
}

static void read_rules(void)
{
	const char *text = getenv("OUTBOXFS_FAULT");
	char *copy = text ? strdup(text) : NULL;
	char *save = NULL;

	for (char *part = copy ? strtok_r(copy, ",", &save) : NULL; part;
	     part = strtok_r(NULL, ",", &save))
		add_rule(part);
	free(copy);
}

static bool matches(const struct rule *rule, const char *point)
{
	if (strncmp(rule->point, point, rule->len) != 0)
		return false;
	return rule->prefix || point[rule->len] == '\0';
}

/* 0, or what the rule says. */
static int apply(struct rule *rule, const char *point)
{
	if (rule->tell) {
		(void)dprintf(STDERR_FILENO, "fault %s\n", point);
		return 0;
	}
	if (++rule->passed != rule->at)
		return 0;
	if (rule->error == 0)
		(void)kill(getpid(), SIGKILL);
	return -rule->error;
}

int fault(const char *point)
{
	int r = 0;

	pthread_once(&once, read_rules);
	if (n_rules == 0)
		return 0;
	pthread_mutex_lock(&mutex);
	for (size_t i = 0; r == 0 && i < n_rules; i++)
		if (matches(&rules[i], point))
			r = apply(&rules[i], point);
	pthread_mutex_unlock(&mutex);
	return r;
}

/* SPDX-License-Identifier: MIT */

/*
 * Commands. The first byte says which kind; what follows is written into its
 * control file. What parses reads back from its own JSON as the same command;
 * what does not says why, in one line of valid UTF-8.
 */

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "outboxfs/base/utf8.h"
#include "outboxfs/work/command.h"

#include "fuzz.h"

static void check_error(int r, const struct err *err)
{
	size_t n = strlen(err->text);

	assert(r == -EINVAL || r == -EMSGSIZE);
	assert(n > 0 && n < sizeof(err->text) - 1);
	assert(!strchr(err->text, '\n'));
	assert(utf8_is_valid(err->text, n));
}

static void check_command(const struct command *c)
{
	assert(!c->type == (c->kind == COMMAND_ABORT));
	assert(c->base >= 0 && c->older >= -1 && c->keep >= -1);
	if (c->file) {
		size_t n = strlen(c->file);

		assert(n > 4 && n <= 255 && !strchr(c->file, '/'));
		assert(c->file[0] != '.' && utf8_is_valid(c->file, n));
	}
	assert(c->channel && c->channel[0] && c->dims);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	CLEANUP(command_freep) struct command *first = NULL;
	CLEANUP(command_freep) struct command *second = NULL;
	CLEANUP(buf_deinit) struct buf one = BUF_NULL;
	CLEANUP(buf_deinit) struct buf two = BUF_NULL;
	struct err err = ERR_NULL;
	enum command_kind kind;
	int r;

	if (n == 0)
		return 0;
	kind = (enum command_kind)(data[0] % 3);
	r = command_parse(kind, (const char *)data + 1, n - 1, &first, &err);
	if (r < 0) {
		check_error(r, &err);
		return 0;
	}
	check_command(first);
	assert(command_json(first, &one) == 0);
	assert(command_parse(kind, one.data, one.len, &second, &err) == 0);
	assert(command_json(second, &two) == 0);
	assert(one.len == two.len && memcmp(one.data, two.data, one.len) == 0);
	return 0;
}

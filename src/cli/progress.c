/* SPDX-License-Identifier: MIT */
/* One line on a terminal that is drawn again and again. */
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "cli/follow.h"
#include "outboxfs/base/clock.h"

#define BAR_MAX 30
#define BAR_MIN 5

bool progress_is_shown(void)
{
	return isatty(STDERR_FILENO);
}

static unsigned columns(void)
{
	struct winsize size;

	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_col == 0)
		return 80;
	return size.ws_col;
}

static int64_t get_int(struct json_object *o, const char *key)
{
	struct json_object *val;

	return json_object_object_get_ex(o, key, &val)
		       ? json_object_get_int64(val)
		       : 0;
}

static const char *get_string(struct json_object *o, const char *key)
{
	struct json_object *val;
	const char *s = NULL;

	if (json_object_object_get_ex(o, key, &val))
		s = json_object_get_string(val);
	return s ? s : "";
}

/* As wide as the rest of the line leaves room for. */
static void put_bar(struct buf *b, int64_t done, int64_t total, unsigned width)
{
	int64_t full;

	if (width < BAR_MIN || total <= 0)
		return;
	full = done < total ? done * width / total : width;
	buf_putc(b, '[');
	for (int64_t i = 0; i < width; i++)
		buf_putc(b, i < full ? '#' : '.');
	buf_puts(b, "] ");
}

/* How long it is until a time of ISO 8601, as "1:02:03". */
static void put_left(struct buf *b, const char *end)
{
	struct tm tm = {.tm_isdst = 0};
	long long left;

	if (!strptime(end, "%Y-%m-%dT%H:%M:%SZ", &tm))
		return;
	left = (long long)timegm(&tm) - (long long)clock_wall();
	if (left < 0)
		left = 0;
	buf_puts(b, ", ");
	if (left >= 3600)
		buf_printf(b, "%lld:%02lld:", left / 3600, left / 60 % 60);
	else
		buf_printf(b, "%lld:", left / 60);
	buf_printf(b, "%02lld left", left % 60);
}

/* What stands behind the bar. */
static void put_numbers(struct buf *b, struct json_object *o)
{
	if (get_int(o, "povs_total") > 0)
		buf_printf(b, "%lld/%lld POVs",
			   (long long)get_int(o, "povs_done"),
			   (long long)get_int(o, "povs_total"));
	if (get_int(o, "rows") > 0)
		buf_printf(b, "%s%lld rows/s",
			   get_int(o, "povs_total") > 0 ? ", " : "",
			   (long long)get_int(o, "rows_per_second"));
	put_left(b, get_string(o, "estimated_end"));
}

static void put_line(struct buf *b, struct json_object *o, size_t max)
{
	CLEANUP(buf_deinit) struct buf numbers = BUF_INIT(4096);
	const char *step = get_string(o, "step");
	size_t n;

	buf_printf(b, "job %lld: %s ", (long long)get_int(o, "job"),
		   step[0] ? step : get_string(o, "state"));
	put_numbers(&numbers, o);
	if (!buf_str(&numbers))
		return;
	n = b->len + numbers.len + strlen("[] ");
	if (get_int(o, "povs_total") > 0 && n < max)
		put_bar(b, get_int(o, "povs_done"), get_int(o, "povs_total"),
			max - n < BAR_MAX ? (unsigned)(max - n) : BAR_MAX);
	buf_puts(b, numbers.data);
}

void progress_draw(const char *json)
{
	CLEANUP(buf_deinit) struct buf b = BUF_INIT(4096);
	struct json_object *o = json ? json_tokener_parse(json) : NULL;
	/* A line that is full would wrap, and could not be drawn over. */
	size_t max = columns() - 1;

	if (o)
		put_line(&b, o, max);
	json_object_put(o);
	if (buf_str(&b))
		(void)fprintf(stderr, "\r%.*s\033[K", (int)max, buf_str(&b));
	(void)fflush(stderr);
}

/* SPDX-License-Identifier: MIT */
#include "outboxfs/base/buf.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void test_empty_is_an_empty_string(void **state)
{
	struct buf b = BUF_NULL;

	(void)state;
	assert_string_equal(buf_str(&b), "");
	assert_int_equal(b.len, 0);
	buf_add(&b, NULL, 0);
	assert_int_equal(buf_error(&b), 0);
	buf_deinit(&b);
	buf_deinit(&b);
}

static void test_appends_in_order_while_growing(void **state)
{
	struct buf b = BUF_NULL;

	(void)state;
	for (int i = 0; i < 10000; i++) {
		buf_putc(&b, 'a');
		buf_puts(&b, "bc");
		buf_add(&b, "d\0", 2);
		buf_printf(&b, "%05d", i);
	}
	assert_int_equal(buf_error(&b), 0);
	assert_int_equal(b.len, 100000);
	assert_memory_equal(b.data + 99990,
			    "abcd\0"
			    "09999",
			    10);
	assert_int_equal(strlen(buf_str(&b)), 4);
	assert_int_equal(b.len, 100000);
	buf_deinit(&b);
}

static void test_reserve_is_room_to_write(void **state)
{
	struct buf b = BUF_NULL;

	(void)state;
	for (size_t n = 1; n < 3000; n += 7) {
		char *p = buf_reserve(&b, n);

		assert_non_null(p);
		memset(p, 'x', n);
		b.len += n - 1;
	}
	buf_deinit(&b);
}

static void test_maximum_is_kept_and_stays_failed(void **state)
{
	struct buf b = BUF_INIT(10);

	(void)state;
	buf_puts(&b, "0123456789");
	assert_int_equal(buf_error(&b), 0);
	assert_int_equal(b.len, 10);
	buf_putc(&b, 'x');
	assert_int_equal(buf_error(&b), -EFBIG);
	assert_null(buf_str(&b));
	assert_int_equal(b.len, 10);

	buf_clear(&b);
	assert_int_equal(buf_error(&b), 0);
	buf_puts(&b, "again");
	assert_string_equal(buf_str(&b), "again");
	buf_puts(&b, "too long for it");
	assert_int_equal(buf_error(&b), -EFBIG);
	assert_null(buf_steal(&b));
	assert_int_equal(buf_error(&b), 0);
	assert_int_equal(b.max, 10);
	buf_deinit(&b);
}

static void test_failed_drops_what_would_fit(void **state)
{
	struct buf b = BUF_INIT(100);

	(void)state;
	buf_puts(&b, "abc");
	assert_null(buf_reserve(&b, SIZE_MAX));
	assert_int_equal(buf_error(&b), -EFBIG);
	for (int i = 0; i < 200; i++)
		buf_puts(&b, "def");
	buf_printf(&b, "%d", 1);
	assert_int_equal(b.len, 3);
	assert_null(buf_str(&b));
	buf_deinit(&b);
}

static void test_steal_hands_over_the_text(void **state)
{
	struct buf b = BUF_NULL;
	char *text;

	(void)state;
	buf_printf(&b, "%s-%d", "text", 5);
	text = buf_steal(&b);
	assert_string_equal(text, "text-5");
	free(text);
	assert_null(b.data);
	text = buf_steal(&b);
	assert_string_equal(text, "");
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_empty_is_an_empty_string),
		cmocka_unit_test(test_appends_in_order_while_growing),
		cmocka_unit_test(test_reserve_is_room_to_write),
		cmocka_unit_test(test_maximum_is_kept_and_stays_failed),
		cmocka_unit_test(test_failed_drops_what_would_fit),
		cmocka_unit_test(test_steal_hands_over_the_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
#include "outboxfs/base/hash.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* FIPS 180-4 examples. */
static const struct {
	const char *text;
	const char *hex;
} cases[] = {
	{"",
	 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
	{"abc",
	 "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
	{"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
	 "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
};

static void test_bytes_published_examples(void **state)
{
	uint8_t hash[SHA256_BYTES];
	char hex[SHA256_HEX + 1];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(sha256_bytes(cases[i].text,
					      strlen(cases[i].text), hash),
				 0);
		hex_format(hash, sizeof(hash), hex);
		assert_string_equal(hex, cases[i].hex);
	}
}

static void test_add_in_pieces_is_the_same(void **state)
{
	uint8_t hash[SHA256_BYTES];
	char hex[SHA256_HEX + 1];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct sha256 h = SHA256_NULL;

		assert_int_equal(sha256_init(&h), 0);
		for (const char *s = cases[i].text; *s; s++)
			assert_int_equal(sha256_add(&h, s, 1), 0);
		assert_int_equal(sha256_add(&h, NULL, 0), 0);
		assert_int_equal(sha256_end(&h, hash), 0);
		hex_format(hash, sizeof(hash), hex);
		assert_string_equal(hex, cases[i].hex);
		sha256_deinit(&h);
	}
}

static void test_deinit_without_end(void **state)
{
	struct sha256 h = SHA256_NULL;

	(void)state;
	sha256_deinit(&h);
	assert_int_equal(sha256_init(&h), 0);
	assert_int_equal(sha256_add(&h, "abc", 3), 0);
	sha256_deinit(&h);
	assert_null(h.ctx);
}

static void test_hex_format_is_lower_case(void **state)
{
	char hex[9];

	(void)state;
	hex_format((const uint8_t *)"\x00\x9f\xa0\xff", 4, hex);
	assert_string_equal(hex, "009fa0ff");
	hex_format(NULL, 0, hex);
	assert_string_equal(hex, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bytes_published_examples),
		cmocka_unit_test(test_add_in_pieces_is_the_same),
		cmocka_unit_test(test_deinit_without_end),
		cmocka_unit_test(test_hex_format_is_lower_case),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

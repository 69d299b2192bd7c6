/* SPDX-License-Identifier: MIT */
#include "outboxfs/base/number.h"

#include <errno.h>
#include <inttypes.h>
#include <locale.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static uint64_t seed = 88172645463325252u;

static uint64_t next_random(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static double from_bits(uint64_t bits)
{
	double v;

	memcpy(&v, &bits, sizeof(v));
	return v;
}

static uint64_t to_bits(double v)
{
	uint64_t bits;

	memcpy(&bits, &v, sizeof(bits));
	return bits;
}

static const char *format_real(double v, char text[NUMBER_BYTES_MAX])
{
	size_t n = number_format_real(v, text);

	assert_in_range(n, 1, NUMBER_BYTES_MAX - 1);
	text[n] = '\0';
	return text;
}

static void check_int(int64_t v)
{
	char text[NUMBER_BYTES_MAX];
	char expected[NUMBER_BYTES_MAX];
	int64_t back;
	size_t n = number_format_int(v, text);

	assert_int_equal(n,
			 snprintf(expected, sizeof(expected), "%" PRId64, v));
	assert_memory_equal(text, expected, n);
	assert_int_equal(number_parse(text, n, &back, NULL), NUMBER_INTEGER);
	assert_int_equal(back, v);
}

static void test_format_int_is_that_of_printf(void **state)
{
	uint64_t power = 1;

	(void)state;
	check_int(0);
	check_int(INT64_MIN);
	check_int(INT64_MAX);
	for (int i = 0; i < 19; i++, power *= 10) {
		for (int64_t d = -2; d <= 2; d++) {
			check_int((int64_t)power + d);
			check_int(-(int64_t)power + d);
		}
	}
	for (unsigned i = 0; i < 300000; i++)
		check_int((int64_t)next_random() >> i % 64);
}

/* Significant digits of what number_format_real() wrote. */
static int count_digits(const char *text)
{
	const char *end = text + strcspn(text, "e");
	const char *s;
	int n = 0;
	int n_zeros = 0;

	for (s = text; s < end && (*s == '-' || *s == '0' || *s == '.'); s++)
		;
	for (; s < end; s++) {
		if (*s == '.')
			continue;
		n_zeros = *s == '0' ? n_zeros + 1 : 0;
		n++;
	}
	return n - n_zeros;
}

static void check_back(double v, const char *text)
{
	size_t n = strlen(text);
	double back = 0.0;

	if (to_bits(strtod(text, NULL)) != to_bits(v))
		fail_msg("strtod('%s') is not %a", text, v);
	if (number_parse(text, n, NULL, &back) != NUMBER_REAL ||
	    to_bits(back) != to_bits(v))
		fail_msg("number_parse('%s') is %a, not %a", text, back, v);
}

/*
 * The slow definition: the fewest digits that read back, and of those the
 * nearest to v, which is what printf writes with that precision. Where even
 * the nearest does not read back (next to a power of two), a further one may.
 */
static void check_shortest(double v, const char *text)
{
	char expected[64];
	char rounded[64];
	int n = count_digits(text);

	if (n > 1) {
		(void)snprintf(expected, sizeof(expected), "%.*e", n - 2, v);
		if (to_bits(strtod(expected, NULL)) == to_bits(v))
			fail_msg("'%s' is longer than '%s'", text, expected);
	}
	(void)snprintf(expected, sizeof(expected), "%.*e", n - 1, v);
	if (to_bits(strtod(expected, NULL)) != to_bits(v))
		return;
	(void)snprintf(rounded, sizeof(rounded), "%.*e", n - 1,
		       strtod(text, NULL));
	assert_string_equal(rounded, expected);
}

static void check_real(double v, bool shortest)
{
	char text[NUMBER_BYTES_MAX];

	if (!isfinite(v) || v == 0.0)
		return;
	format_real(v, text);
	check_back(v, text);
	if (shortest)
		check_shortest(v, text);
}

static void test_format_real_random_bits_are_shortest(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 2000000; i++)
		check_real(from_bits(next_random()), i % 16 == 0);
}

/* Both sides of what the decimal fast path takes. */
static void test_format_real_random_decimals_are_shortest(void **state)
{
	static const double scales[] = {1,   1e1, 1e2, 1e3, 1e4,
					1e5, 1e6, 1e7, 1e9, 1e12};

	(void)state;
	for (unsigned i = 0; i < 1000000; i++) {
		uint64_t u = next_random();
		double v = (double)(int64_t)(u >> (1 + u % 63));

		v /= scales[next_random() % ARRAY_SIZE(scales)];
		check_real(i & 1 ? -v : v, i % 8 == 0);
	}
}

static void test_format_real_around_powers_is_shortest(void **state)
{
	(void)state;
	for (int e = -1074; e <= 1023; e++) {
		uint64_t bits = to_bits(ldexp(1.0, e));

		for (uint64_t d = 0; d < 4; d++) {
			check_real(from_bits(bits + d), true);
			check_real(from_bits(bits - d), true);
		}
	}
	for (int e = -323; e <= 308; e++) {
		char text[16];
		uint64_t bits;

		(void)snprintf(text, sizeof(text), "1e%d", e);
		bits = to_bits(strtod(text, NULL));
		for (uint64_t d = 0; d < 4; d++) {
			check_real(from_bits(bits + d), true);
			check_real(from_bits(bits - d), true);
		}
	}
}

static void test_format_real_small_bits_are_shortest(void **state)
{
	(void)state;
	for (uint64_t bits = 1; bits < 20000; bits++)
		check_real(from_bits(bits), true);
}

static void test_format_real_notation(void **state)
{
	static const struct {
		double v;
		const char *text;
	} cases[] = {
		{0.0, "0.0"},
		{-0.0, "-0.0"},
		{NAN, "0.0"},
		{-NAN, "0.0"},
		{INFINITY, "1.0e999"},
		{-INFINITY, "-1.0e999"},
		{1.0, "1.0"},
		{-1.5, "-1.5"},
		{10.0, "10.0"},
		{0.1, "0.1"},
		{0.01, "0.01"},
		{0.001, "0.001"},
		{123.456, "123.456"},
		{474.16, "474.16"},
		{474.1, "474.1"},
		{0.1 + 0.2, "0.30000000000000004"},
		{1.0 / 3, "0.3333333333333333"},
		{0.00001, "0.00001"},
		{0.000012, "0.000012"},
		{0.00001234567, "0.00001234567"},
		{9.999999999999999e-6, "9.999999999999999e-6"},
		{0.000001, "1.0e-6"},
		{1.5e-7, "1.5e-7"},
		{999999.999999, "999999.999999"},
		{999999999.999999, "999999999.999999"},
		{9007199254740991.0, "9007199254740991.0"},
		{9007199254740992.0, "9007199254740992.0"},
		{9007199254740994.0, "9007199254740994.0"},
		{1e13, "10000000000000.0"},
		{1e15, "1000000000000000.0"},
		{9999999999999998.0, "9999999999999998.0"},
		{1e16, "1.0e16"},
		{12345678901234567.0, "1.2345678901234568e16"},
		{1e21, "1.0e21"},
		{1e22, "1.0e22"},
		{1e23, "1.0e23"},
		{9223372036854775808.0, "9.223372036854776e18"},
		{5e-324, "5.0e-324"},
		{2.2250738585072009e-308, "2.225073858507201e-308"},
		{2.2250738585072014e-308, "2.2250738585072014e-308"},
		{1.7976931348623157e308, "1.7976931348623157e308"},
		{-1.7976931348623157e308, "-1.7976931348623157e308"},
	};
	char text[NUMBER_BYTES_MAX];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_string_equal(format_real(cases[i].v, text),
				    cases[i].text);
}

/*
 * Mostly from the test suite of Ryu (U. Adams) and from V. Paxson's "A program
 * for testing IEEE decimal-binary conversion": each has tripped someone.
 */
static void test_format_real_published_hard_cases(void **state)
{
	static const struct {
		double v;
		const char *text;
	} cases[] = {
		{2.98023223876953125e-8, "2.9802322387695312e-8"},
		{-2.109808898695963e16, "-2.109808898695963e16"},
		{4.940656e-318, "4.940656e-318"},
		{1.18575755e-316, "1.18575755e-316"},
		{2.989102097996e-312, "2.989102097996e-312"},
		{9.0608011534336e15, "9060801153433600.0"},
		{4.708356024711512e18, "4.708356024711512e18"},
		{9.409340012568248e18, "9.409340012568248e18"},
		{1.2345678, "1.2345678"},
		{9007199254740993.0, "9007199254740992.0"},
		{5.764607523034235e39, "5.764607523034235e39"},
		{1.152921504606847e40, "1.152921504606847e40"},
		{2.305843009213694e40, "2.305843009213694e40"},
		{4.294967294, "4.294967294"},
		{4.294967295, "4.294967295"},
		{4.294967296, "4.294967296"},
		{4.35, "4.35"},
		{4.349999999999999, "4.349999999999999"},
		{1.7800590868057611e-307, "1.7800590868057611e-307"},
		{2.8480945388892175e-306, "2.8480945388892175e-306"},
		{2.446494580089078e-296, "2.446494580089078e-296"},
		{4.8929891601781557e-296, "4.8929891601781557e-296"},
		{1.8014398509481984e16, "1.8014398509481984e16"},
		{3.6028797018963964e16, "3.6028797018963964e16"},
		{2.900835519859558e-216, "2.900835519859558e-216"},
		{5.801671039719115e-216, "5.801671039719115e-216"},
		{3.196104012172126e-27, "3.196104012172126e-27"},
		{9.007199254740991e15, "9007199254740991.0"},
		{2.2250738585072e-308, "2.2250738585072e-308"},
		{6.63123685e-316, "6.63123685e-316"},
		{3.23786e-319, "3.23786e-319"},
		{9.5e-323, "9.4e-323"},
		{8.5e-323, "8.4e-323"},
		{1e-323, "1.0e-323"},
		{1.5e-323, "1.5e-323"},
		{2e-323, "2.0e-323"},
		{4e-323, "4.0e-323"},
		{8.41e21, "8.41e21"},
		{2.0919495182368195e19, "2.0919495182368195e19"},
		{2.6153245263757308e19, "2.6153245263757308e19"},
		{1.9430376160308388e16, "1.9430376160308388e16"},
		{6.9741824662760956e19, "6.9741824662760956e19"},
		{4.3816050601147837e18, "4.3816050601147837e18"},
		{9.5367431640625e-7, "9.5367431640625e-7"},
		{5e-320, "5.0e-320"},
		{1.9e-322, "1.9e-322"},
		{3.5844466002796428e298, "3.5844466002796428e298"},
		{1.0e-4, "0.0001"},
		{9.8249e-318, "9.8249e-318"},
		{8.589973e9, "8589973000.0"},
		{8.98846567431158e307, "8.98846567431158e307"},
		/* Halfway between two texts: to the even one. */
		{1487858173.76171875, "1487858173.7617188"},
		{1004140033164453.75, "1004140033164453.8"},
		{16763879406709.9375, "16763879406709.938"},
		{1004140033164453.25, "1004140033164453.2"},
	};
	char text[NUMBER_BYTES_MAX];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_string_equal(format_real(cases[i].v, text),
				    cases[i].text);
		check_real(cases[i].v, true);
	}
}

static void test_parse_knows_numbers(void **state)
{
	static const struct {
		const char *text;
		enum number_kind kind;
		int64_t integer;
		double real;
	} cases[] = {
		{"0", NUMBER_INTEGER, 0, 0},
		{"-0", NUMBER_INTEGER, 0, 0},
		{"+7", NUMBER_INTEGER, 7, 0},
		{"007", NUMBER_INTEGER, 7, 0},
		{"00000000000000000000000000000000001", NUMBER_INTEGER, 1, 0},
		{"9223372036854775807", NUMBER_INTEGER, INT64_MAX, 0},
		{"-9223372036854775808", NUMBER_INTEGER, INT64_MIN, 0},
		{"9223372036854775808", NUMBER_REAL, 0, 9223372036854775808.0},
		{"-9223372036854775809", NUMBER_REAL, 0,
		 -9223372036854775808.0},
		{"99999999999999999999", NUMBER_REAL, 0, 1e20},
		{"1.0", NUMBER_REAL, 0, 1},
		{"1.", NUMBER_REAL, 0, 1},
		{".5", NUMBER_REAL, 0, 0.5},
		{"-.5e1", NUMBER_REAL, 0, -5},
		{"1e5", NUMBER_REAL, 0, 1e5},
		{"1E+5", NUMBER_REAL, 0, 1e5},
		{"1.e-5", NUMBER_REAL, 0, 1e-5},
		{"1e22", NUMBER_REAL, 0, 1e22},
		{"1e23", NUMBER_REAL, 0, 1e23},
		{"9007199254740993.0", NUMBER_REAL, 0, 9007199254740992.0},
		{"9007199254740993.00000000000000000001", NUMBER_REAL, 0,
		 9007199254740994.0},
		{"1e308", NUMBER_REAL, 0, 1e308},
		{"1.0e999", NUMBER_REAL, 0, INFINITY},
		{"-1e99999999999999999999999999", NUMBER_REAL, 0, -INFINITY},
		{"1e-99999999999999999999999999", NUMBER_REAL, 0, 0.0},
		{"0e99999999999999999999999999", NUMBER_REAL, 0, 0.0},
		{"-0.0", NUMBER_REAL, 0, -0.0},
		{"4.9e-324", NUMBER_REAL, 0, 5e-324},
		{"2e-324", NUMBER_REAL, 0, 0.0},
		{"", NUMBER_NONE, 0, 0},
		{"-", NUMBER_NONE, 0, 0},
		{"+", NUMBER_NONE, 0, 0},
		{".", NUMBER_NONE, 0, 0},
		{"-.", NUMBER_NONE, 0, 0},
		{"e5", NUMBER_NONE, 0, 0},
		{".e5", NUMBER_NONE, 0, 0},
		{"1e", NUMBER_NONE, 0, 0},
		{"1e+", NUMBER_NONE, 0, 0},
		{"1e5.0", NUMBER_NONE, 0, 0},
		{"1.2.3", NUMBER_NONE, 0, 0},
		{"--1", NUMBER_NONE, 0, 0},
		{" 1", NUMBER_NONE, 0, 0},
		{"1 ", NUMBER_NONE, 0, 0},
		{"1_000", NUMBER_NONE, 0, 0},
		{"1,5", NUMBER_NONE, 0, 0},
		{"0x10", NUMBER_NONE, 0, 0},
		{"inf", NUMBER_NONE, 0, 0},
		{"-inf", NUMBER_NONE, 0, 0},
		{"nan", NUMBER_NONE, 0, 0},
		{"1f", NUMBER_NONE, 0, 0},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		size_t n = strlen(cases[i].text);
		int64_t integer = 0;
		double real = 0.0;

		errno = 0;
		assert_int_equal(
			number_parse(cases[i].text, n, &integer, &real),
			cases[i].kind);
		assert_int_equal(integer, cases[i].integer);
		assert_int_equal(to_bits(real), to_bits(cases[i].real));
		assert_int_equal(errno, 0);
		assert_int_equal(number_parse(cases[i].text, n, NULL, NULL),
				 cases[i].kind);
	}
}

static void check_parse_like_strtod(const char *text)
{
	double v = 0.0;

	assert_int_equal(number_parse(text, strlen(text), NULL, &v),
			 NUMBER_REAL);
	if (to_bits(v) != to_bits(strtod(text, NULL)))
		fail_msg("'%s' is %a, not %a", text, v, strtod(text, NULL));
}

static void test_parse_rounds_as_strtod(void **state)
{
	char text[64];

	(void)state;
	for (unsigned i = 0; i < 300000; i++) {
		uint64_t u = next_random();

		(void)snprintf(text, sizeof(text), "%s%" PRIu64 ".%0*uE%d",
			       u & 1 ? "-" : "", next_random() >> u % 64,
			       (int)(1 + u % 9), (unsigned)(u >> 48),
			       (int)(u >> 8) % 330);
		check_parse_like_strtod(text);
	}
}

/* Halfway between two doubles, and a digit far behind that decides. */
static void test_parse_long_texts_round_correctly(void **state)
{
	static char text[5000];
	size_t n;

	(void)state;
	n = (size_t)snprintf(text, sizeof(text), "%.1100f",
			     from_bits(3) / 2 + from_bits(2) / 2);
	check_parse_like_strtod(text);
	memset(text + n, '0', 3000);
	text[n + 3000] = '\0';
	check_parse_like_strtod(text);
	text[n + 2999] = '1';
	check_parse_like_strtod(text);

	n = (size_t)snprintf(text, sizeof(text), "9007199254740993.");
	memset(text + n, '0', 2000);
	text[n + 2000] = '\0';
	check_parse_like_strtod(text);
	text[n + 1999] = '1';
	check_parse_like_strtod(text);

	memset(text, '0', 4000);
	(void)snprintf(text + 4000, 100, "12345.678e-10");
	check_parse_like_strtod(text);
	text[1] = '.';
	(void)snprintf(text + 4000, 100, "12345678e4000");
	check_parse_like_strtod(text);
	memset(text, '9', 1000);
	(void)snprintf(text + 1000, 100, "e-1000");
	check_parse_like_strtod(text);
}

static void test_locale_has_no_say(void **state)
{
	char text[NUMBER_BYTES_MAX];
	double v;

	(void)state;
	/* Where the system lacks it, this shows no more than the others. */
	(void)setlocale(LC_ALL, "de_DE.UTF-8");
	assert_string_equal(format_real(1.25e-9, text), "1.25e-9");
	assert_int_equal(number_parse("1.23456789012345678901", 22, NULL, &v),
			 NUMBER_REAL);
	setlocale(LC_ALL, "C");
	assert_int_equal(to_bits(v), to_bits(1.23456789012345678901));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_format_int_is_that_of_printf),
		cmocka_unit_test(test_format_real_random_bits_are_shortest),
		cmocka_unit_test(test_format_real_random_decimals_are_shortest),
		cmocka_unit_test(test_format_real_around_powers_is_shortest),
		cmocka_unit_test(test_format_real_small_bits_are_shortest),
		cmocka_unit_test(test_format_real_notation),
		cmocka_unit_test(test_format_real_published_hard_cases),
		cmocka_unit_test(test_parse_knows_numbers),
		cmocka_unit_test(test_parse_rounds_as_strtod),
		cmocka_unit_test(test_parse_long_texts_round_correctly),
		cmocka_unit_test(test_locale_has_no_say),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

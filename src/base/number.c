/* SPDX-License-Identifier: MIT */
#include "outboxfs/base/number.h"

#include <errno.h>
#include <float.h>
#include <math.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

/* "00" to "99": halves the divisions and the stores. */
static const char pairs[] = "00010203040506070809"
			    "10111213141516171819"
			    "20212223242526272829"
			    "30313233343536373839"
			    "40414243444546474849"
			    "50515253545556575859"
			    "60616263646566676869"
			    "70717273747576777879"
			    "80818283848586878889"
			    "90919293949596979899";

static unsigned count_digits(uint64_t v)
{
	/* The first entry is 0, not 1, so that 0 has one digit. */
	static const uint64_t pow10[] = {
		0,
		10,
		100,
		1000,
		10000,
		100000,
		1000000,
		10000000,
		100000000,
		1000000000,
		10000000000,
		100000000000,
		1000000000000,
		10000000000000,
		100000000000000,
		1000000000000000,
		10000000000000000,
		100000000000000000,
		1000000000000000000,
		10000000000000000000u,
	};
	unsigned bits = 64 - (unsigned)__builtin_clzll(v | 1);
	unsigned n = bits * 1233 >> 12; /* bits * log10(2), at most one high */

	return n + (v >= pow10[n]);
}

static void put_pair(char *p, uint32_t v)
{
	memcpy(p, pairs + 2 * v, 2);
}

static void put_eight(char *p, uint32_t v)
{
	put_pair(p, v / 1000000);
	put_pair(p + 2, v / 10000 % 100);
	put_pair(p + 4, v / 100 % 100);
	put_pair(p + 6, v % 100);
}

/*
 * Writes exactly n digits of v; the caller has counted them. Blocks of eight
 * can be computed side by side, and in 32 bits.
 */
static void put_digits(char *p, uint64_t v, unsigned n)
{
	uint32_t rest;

	p += n;
	while (v >= 100000000) {
		p -= 8;
		put_eight(p, (uint32_t)(v % 100000000));
		v /= 100000000;
	}
	rest = (uint32_t)v;
	while (rest >= 100) {
		p -= 2;
		put_pair(p, rest % 100);
		rest /= 100;
	}
	if (rest >= 10)
		put_pair(p - 2, rest);
	else
		p[-1] = (char)('0' + rest);
}

static char *put_uint(char *p, uint64_t v)
{
	unsigned n = count_digits(v);

	put_digits(p, v, n);
	return p + n;
}

static char *put_int(char *p, int64_t v)
{
	uint64_t u = (uint64_t)v;

	if (v < 0) {
		*p++ = '-';
		u = 0 - u;
	}
	return put_uint(p, u);
}

size_t number_format_int(int64_t v, char ret[NUMBER_BYTES_MAX])
{
	return (size_t)(put_int(ret, v) - ret);
}

/*
 * Most reals in a table are money and measures: few decimals, few digits.
 *
 * Where r is an integer below 1e15 and r / 1e6, which IEEE 754 rounds
 * correctly, is v again, then strtod of the text of r / 1e6 is v as well. That
 * text has at most 15 digits; no two such texts read back to the same double,
 * so that no shorter one exists either, once trailing zeros are gone. Whether
 * the multiplication was exact does not matter: a wrong r fails the division.
 * Larger values have two decimals or take the long way.
 */
static char *put_decimal(char *p, double v)
{
	int64_t r;
	uint32_t fraction; /* millionths */

	if (v < 1e9) {
		r = (int64_t)(v * 1e6 + 0.5);
		if ((double)r / 1e6 != v)
			return NULL;
		fraction = (uint32_t)((uint64_t)r % 1000000);
		p = put_uint(p, (uint64_t)r / 1000000);
	} else if (v < 1e13) {
		r = (int64_t)(v * 1e2 + 0.5);
		if ((double)r / 1e2 != v)
			return NULL;
		fraction = (uint32_t)((uint64_t)r % 100) * 10000;
		p = put_uint(p, (uint64_t)r / 100);
	} else {
		return NULL;
	}
	*p++ = '.';
	put_pair(p, fraction / 10000);
	fraction %= 10000;
	if (fraction == 0)
		return p + (p[1] == '0' ? 1 : 2);
	put_pair(p + 2, fraction / 100);
	put_pair(p + 4, fraction % 100);
	p += 6;
	while (p[-1] == '0')
		p--;
	return p;
}

/*
 * Schubfach multiplies by powers of ten that have 128 bits: entry i is
 * ceil(10^k / 2^(floor(log2(10^k)) - 127)) for k = i + POW10_MIN, the smallest
 * and largest k that a double needs. The table is computed at first use (half
 * a millisecond) rather than carried in the source, where a wrong digit among
 * 617 lines would be seen by nobody.
 */
#define POW10_MIN (-292)
#define POW10_MAX 324
#define BIG_WORDS 12 /* 5^324 has 753 bits */

struct pow10 {
	uint64_t high;
	uint64_t low;
};

static struct pow10 pow10_table[POW10_MAX - POW10_MIN + 1];
static pthread_once_t pow10_once = PTHREAD_ONCE_INIT;

struct big {
	uint64_t word[BIG_WORDS]; /* little endian */
};

static void big_times(struct big *b, unsigned factor)
{
	unsigned __int128 carry = 0;

	for (size_t i = 0; i < BIG_WORDS; i++) {
		carry += (unsigned __int128)b->word[i] * factor;
		b->word[i] = (uint64_t)carry;
		carry >>= 64;
	}
}

static unsigned big_bits(const struct big *b)
{
	size_t i = BIG_WORDS;

	while (i > 0 && b->word[i - 1] == 0)
		i--;
	if (i == 0)
		return 0;
	return (unsigned)(64 * i) - (unsigned)__builtin_clzll(b->word[i - 1]);
}

static bool big_bit(const struct big *b, unsigned i)
{
	return b->word[i / 64] >> i % 64 & 1;
}

/* a -= b unless that is negative; says whether it did. */
static bool big_subtract(struct big *a, const struct big *b)
{
	struct big diff;
	unsigned borrow = 0;

	for (size_t i = 0; i < BIG_WORDS; i++) {
		unsigned __int128 d =
			(unsigned __int128)a->word[i] - b->word[i] - borrow;

		diff.word[i] = (uint64_t)d;
		borrow = (unsigned)(d >> 64) & 1;
	}
	if (borrow)
		return false;
	*a = diff;
	return true;
}

static struct pow10 pow10_from(unsigned __int128 v)
{
	return (struct pow10){.high = (uint64_t)(v >> 64), .low = (uint64_t)v};
}

/* The upper 128 bits of five, rounded up. */
static struct pow10 pow10_positive(const struct big *five)
{
	unsigned n = big_bits(five);
	unsigned __int128 v = 0;

	for (unsigned i = 0; i < 128; i++)
		v = v << 1 | (n > i && big_bit(five, n - 1 - i));
	for (unsigned i = 0; i + 128 < n; i++) {
		if (big_bit(five, i))
			return pow10_from(v + 1);
	}
	return pow10_from(v);
}

/* 128 bits of 1 / five, rounded up: long division by hand. */
static struct pow10 pow10_negative(const struct big *five)
{
	struct big rest = {.word = {0}};
	unsigned n = big_bits(five) - 1;
	unsigned __int128 v = 0;

	rest.word[n / 64] = (uint64_t)1 << n % 64;
	for (unsigned i = 0; i < 128; i++) {
		big_times(&rest, 2);
		v = v << 1 | big_subtract(&rest, five);
	}
	return pow10_from(v + 1); /* never exact: 5 does not divide 2 */
}

/* 10^k and 5^k have the same leading bits. */
static void pow10_init(void)
{
	struct big five = {.word = {1}};

	for (int k = 0; k <= POW10_MAX; k++) {
		pow10_table[k - POW10_MIN] = pow10_positive(&five);
		if (k > 0 && -k >= POW10_MIN)
			pow10_table[-k - POW10_MIN] = pow10_negative(&five);
		big_times(&five, 5);
	}
}

/* The upper 64 bits of g * c, the lowest of them set if more bits follow. */
static uint64_t round_to_odd(struct pow10 g, uint64_t c)
{
	unsigned __int128 low = (unsigned __int128)g.low * c;
	unsigned __int128 high = (unsigned __int128)g.high * c + (low >> 64);

	return (uint64_t)(high >> 64) | ((uint64_t)high > 1);
}

#define DIGITS_BLOCK 20 /* 17 and some: whole words */

/* digits * 10^exponent */
struct decimal {
	uint64_t digits; /* up to 17, may end in zeros */
	int exponent;
};

/*
 * Figure 4 of the paper, with its names. v lies between the neighbours' middles
 * vbl and vbr; all are scaled by 4 * 10^-k. Of the decimals with exponent k + 1
 * around v at most one lies between the middles; where none does, the nearer of
 * the two with exponent k is it.
 */
static struct decimal schubfach_choose(uint64_t vb, uint64_t lower,
				       uint64_t upper, int k)
{
	uint64_t s = vb / 4;
	uint64_t tens = s / 10;
	bool below;
	bool above;

	if (s >= 10) {
		below = lower <= 40 * tens;
		above = 40 * tens + 40 <= upper;
		if (below != above)
			return (struct decimal){tens + above, k + 1};
	}
	below = lower <= 4 * s;
	above = 4 * s + 4 <= upper;
	if (below == above)
		above = vb > 4 * s + 2 || (vb == 4 * s + 2 && (s & 1));
	return (struct decimal){s + above, k};
}

/* v is positive and finite. */
static struct decimal schubfach(double v)
{
	uint64_t bits;
	uint64_t c;
	unsigned biased;
	bool irregular; /* the neighbour below is nearer: a power of two */
	bool odd;
	int q;
	int k;
	int h;
	struct pow10 g;

	memcpy(&bits, &v, sizeof(bits));
	c = bits & (((uint64_t)1 << 52) - 1);
	biased = (unsigned)(bits >> 52);
	irregular = c == 0 && biased > 1;
	if (biased)
		c |= (uint64_t)1 << 52;
	q = (biased ? (int)biased : 1) - 1075;
	odd = c & 1; /* strtod rounds a tie to even: then the middle is not v */

	/* k = floor(log10(2^q)), or of 3/4 * 2^q; h = q + floor(log2(10^-k)) +
	 * 1 */
	k = (q * 1262611 - (irregular ? 524031 : 0)) >> 22;
	h = q + ((-k * 1741647) >> 19) + 1;
	(void)pthread_once(&pow10_once, pow10_init); /* cannot fail */
	g = pow10_table[-k - POW10_MIN];
	return schubfach_choose(round_to_odd(g, (4 * c) << h),
				round_to_odd(g, (4 * c - 2 + irregular) << h) +
					odd,
				round_to_odd(g, (4 * c + 2) << h) - odd, k);
}

/*
 * The digits of a shortest text, with room behind them: they are copied in
 * blocks of a fixed size, for which no function need be called.
 */
struct digits {
	char text[2 * DIGITS_BLOCK];
	int n;
	int exponent; /* the first digit counts 10^exponent */
};

/* 1e-5 <= v < 1e16 */
static char *put_plain(char *p, const struct digits *d)
{
	int n_whole = d->exponent + 1;

	if (n_whole <= 0) {
		memcpy(p, "0.0000", 6);
		p += 2 - n_whole;
		memcpy(p, d->text, DIGITS_BLOCK);
		return p + d->n;
	}
	memcpy(p, d->text, DIGITS_BLOCK);
	if (d->n <= n_whole) {
		memset(p + d->n, '0', (size_t)(n_whole - d->n));
		p += n_whole;
		*p++ = '.';
		*p++ = '0';
		return p;
	}
	p[n_whole] = '.';
	memcpy(p + n_whole + 1, d->text + n_whole, DIGITS_BLOCK);
	return p + d->n + 1;
}

static char *put_scientific(char *p, const struct digits *d)
{
	p[0] = d->text[0];
	p[1] = '.';
	p[2] = '0';
	if (d->n > 1)
		memcpy(p + 2, d->text + 1, DIGITS_BLOCK);
	p += d->n > 1 ? d->n + 1 : 3;
	*p++ = 'e';
	return put_int(p, d->exponent);
}

static char *put_shortest(char *p, double v)
{
	struct decimal decimal = schubfach(v);
	struct digits d = {.n = (int)count_digits(decimal.digits)};

	put_digits(d.text, decimal.digits, (unsigned)d.n);
	d.exponent = decimal.exponent + d.n - 1;
	while (d.n > 1 && d.text[d.n - 1] == '0')
		d.n--;
	if (d.exponent >= -5 && d.exponent < 16)
		return put_plain(p, &d);
	return put_scientific(p, &d);
}

size_t number_format_real(double v, char ret[NUMBER_BYTES_MAX])
{
	char *p = ret;
	char *end = NULL;

	if (isnan(v))
		v = 0.0;
	if (signbit(v)) {
		*p++ = '-';
		v = -v;
	}
	if (v >= 1e-5)
		end = put_decimal(p, v);
	else if (v == 0.0)
		end = mempcpy(p, "0.0", 3);
	if (!end && isinf(v))
		end = mempcpy(p, "1.0e999", 7);
	if (!end)
		end = put_shortest(p, v);
	return (size_t)(end - ret);
}

/* A number's parts, as they stand in its text. */
struct parts {
	const char *whole;
	const char *fraction;
	size_t n_whole;
	size_t n_fraction;
	int64_t exponent; /* stops counting where it no longer matters */
	bool negative;
	bool real; /* has a point or an exponent */
};

static const char *skip_digits(const char *s, const char *end)
{
	while (s < end && *s >= '0' && *s <= '9')
		s++;
	return s;
}

/* [eE][+-]digits up to the end; false: it is not. */
static bool parse_exponent(const char *s, const char *end, int64_t *ret)
{
	bool negative = false;
	int64_t v = 0;

	s++;
	if (s < end && (*s == '+' || *s == '-'))
		negative = *s++ == '-';
	if (s == end || skip_digits(s, end) != end)
		return false;
	for (; s < end; s++) {
		if (v < (int64_t)1 << 50) /* more digits than memory has */
			v = 10 * v + (*s - '0');
	}
	*ret = negative ? -v : v;
	return true;
}

static bool parse_parts(const char *s, size_t n, struct parts *ret)
{
	const char *end = s + n;

	*ret = (struct parts){.whole = NULL};
	if (s < end && (*s == '+' || *s == '-'))
		ret->negative = *s++ == '-';
	ret->whole = s;
	s = skip_digits(s, end);
	ret->n_whole = (size_t)(s - ret->whole);
	if (s < end && *s == '.') {
		ret->real = true;
		ret->fraction = ++s;
		s = skip_digits(s, end);
		ret->n_fraction = (size_t)(s - ret->fraction);
	}
	if (ret->n_whole + ret->n_fraction == 0)
		return false;
	if (s == end)
		return true;
	if (*s != 'e' && *s != 'E')
		return false;
	ret->real = true;
	return parse_exponent(s, end, &ret->exponent);
}

/* false: does not fit. */
static bool parts_integer(const struct parts *parts, int64_t *ret)
{
	const char *s = parts->whole;
	size_t n = parts->n_whole;
	uint64_t max = (uint64_t)INT64_MAX + parts->negative;
	uint64_t v = 0;

	for (; n > 1 && *s == '0'; n--)
		s++;
	if (n > 19)
		return false;
	for (size_t i = 0; i < n; i++)
		v = 10 * v + (uint64_t)(s[i] - '0'); /* 19 digits fit */
	if (v > max)
		return false;
	*ret = (int64_t)(parts->negative ? 0 - v : v);
	return true;
}

/*
 * strtod() wants a NUL, and a point that depends on the locale: it is given
 * digits and an exponent only. A double is decided by its first 767 digits and
 * whether any other than 0 follows, so a text of any length fits.
 */
#define DIGITS_MAX 780

static double parts_slow(const struct parts *parts)
{
	char text[DIGITS_MAX + NUMBER_BYTES_MAX];
	size_t n_all = parts->n_whole + parts->n_fraction;
	int64_t exponent = parts->exponent + (int64_t)parts->n_whole;
	size_t n = 0;
	bool rest = false;
	int old_errno = errno;
	double v;

	for (size_t i = 0; i < n_all; i++) {
		char c = i < parts->n_whole
				 ? parts->whole[i]
				 : parts->fraction[i - parts->n_whole];

		if (n == 0 && c == '0')
			exponent--;
		else if (n < DIGITS_MAX)
			text[n++] = c;
		else
			rest = rest || c != '0';
	}
	if (n == 0)
		return 0.0;
	if (rest)
		text[n++] = '1';
	exponent -= (int64_t)n; /* the point stood before the first digit */
	if (exponent > 9999)
		exponent = 9999;
	if (exponent < -9999)
		exponent = -9999;
	text[n] = 'e';
	*put_int(text + n + 1, exponent) = '\0';
	v = strtod(text, NULL);
	errno = old_errno; /* too large is infinity, too small is 0 */
	return v;
}

/*
 * One multiplication or division of two exact doubles is rounded once, hence
 * right: enough for all that has few digits.
 */
static bool parts_fast(const struct parts *parts, double *ret)
{
	static const double pow10[] = {
		1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
		1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
		1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
	};
	int64_t exponent = parts->exponent - (int64_t)parts->n_fraction;
	uint64_t v = 0;

	if (FLT_EVAL_METHOD != 0)
		return false;
	if (parts->n_whole + parts->n_fraction > 19)
		return false;
	if (exponent < -22 || exponent > 22)
		return false;
	for (size_t i = 0; i < parts->n_whole; i++)
		v = 10 * v + (uint64_t)(parts->whole[i] - '0');
	for (size_t i = 0; i < parts->n_fraction; i++)
		v = 10 * v + (uint64_t)(parts->fraction[i] - '0');
	if (v > (uint64_t)1 << 53)
		return false;
	*ret = exponent < 0 ? (double)v / pow10[-exponent]
			    : (double)v * pow10[exponent];
	return true;
}

enum number_kind number_parse(const char *s, size_t n, int64_t *ret_int,
			      double *ret_real)
{
	struct parts parts;
	int64_t integer;
	double real;

	if (!parse_parts(s, n, &parts))
		return NUMBER_NONE;
	if (!parts.real && parts_integer(&parts, &integer)) {
		if (ret_int)
			*ret_int = integer;
		return NUMBER_INTEGER;
	}
	if (ret_real) {
		if (!parts_fast(&parts, &real))
			real = parts_slow(&parts);
		*ret_real = parts.negative ? -real : real;
	}
	return NUMBER_REAL;
}

/* SPDX-License-Identifier: MIT */
#include "outboxfs/base/hash.h"

#include <errno.h>
#include <openssl/evp.h>

int sha256_init(struct sha256 *h)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();

	if (!ctx)
		return -ENOMEM;
	if (EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) != 1) {
		EVP_MD_CTX_free(ctx);
		return -ENOMEM;
	}
	h->ctx = ctx;
	return 0;
}

int sha256_add(struct sha256 *h, const void *data, size_t n)
{
	return EVP_DigestUpdate(h->ctx, data, n) == 1 ? 0 : -ENOMEM;
}

int sha256_end(struct sha256 *h, uint8_t ret[SHA256_BYTES])
{
	int r = EVP_DigestFinal_ex(h->ctx, ret, NULL) == 1 ? 0 : -ENOMEM;

	sha256_deinit(h);
	return r;
}

void sha256_deinit(struct sha256 *h)
{
	EVP_MD_CTX_free(h->ctx);
	h->ctx = NULL;
}

int sha256_bytes(const void *data, size_t n, uint8_t ret[SHA256_BYTES])
{
	return EVP_Digest(data, n, ret, NULL, EVP_sha256(), NULL) == 1
		       ? 0
		       : -ENOMEM;
}

void hex_format(const uint8_t *data, size_t n, char *ret)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < n; i++) {
		ret[2 * i] = digits[data[i] >> 4];
		ret[2 * i + 1] = digits[data[i] & 15];
	}
	ret[2 * n] = '\0';
}

/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * SHA-256 (FIPS 180-4) by libcrypto, which uses the CPU's instructions.
 * A struct sha256 has one user at a time.
 */

#include "outboxfs/base/defs.h"

#define SHA256_BYTES 32
#define SHA256_HEX   64

struct sha256 {
	void *ctx; /* owned; EVP_MD_CTX */
};

#define SHA256_NULL         \
	{                   \
		.ctx = NULL \
	}

NODISCARD int sha256_init(struct sha256 *h); /* -ENOMEM */
NODISCARD int sha256_add(struct sha256 *h, const void *data, size_t n);
NODISCARD int sha256_end(struct sha256 *h, uint8_t ret[SHA256_BYTES]);
void sha256_deinit(struct sha256 *h);

/* All of it at once. 0 or -ENOMEM. */
NODISCARD int sha256_bytes(const void *data, size_t n,
			   uint8_t ret[SHA256_BYTES]);

/* Lower-case hex of n bytes; ret has room for 2 * n + 1. */
void hex_format(const uint8_t *data, size_t n, char *ret);

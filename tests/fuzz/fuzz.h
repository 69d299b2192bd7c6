/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * A fuzzer is one function that must return for every input, and asserts what
 * must hold. libFuzzer calls it with what it makes up; replay.c calls it with
 * the files of the corpus, so that what was found once is tested forever.
 */

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

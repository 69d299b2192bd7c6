/* SPDX-License-Identifier: MIT */
#pragma once

struct db;

/* The link by which a pool chains its idle connections. */
struct db **db_next(struct db *db);

/* SPDX-License-Identifier: MIT */
#pragma once

#include "outboxfs/store/package.h"
#include "work/capture.h"

/* What an export was, for its documents. */
struct params {
	const struct capture *capture;
	const struct command *command;
	const struct job *job;
	const struct model *model; /* capture->read.model */
	int64_t snapshot;
	const char *channel; /* NULL: none */
	int64_t base;        /* snapshot; 0: none */
};

/* Numbers of what a ZIP shows, documents not counted. */
struct params_counts {
	int64_t setup_files;
	int64_t povs;
	int64_t status_files;
	int64_t data_files;
	int64_t rows;
	int64_t bytes;
	int64_t deleted;
	int64_t renamed;
	int64_t orphans;
};

/* data/SnapshotParams.json, appended to ret. d has been applied. */
NODISCARD int params_json(const struct params *p, struct draft *d,
			  const struct package *files, struct buf *ret,
			  struct params_counts *ret_counts);
/* The numbers as a JSON object. */
NODISCARD int params_counts_json(const struct params_counts *counts,
				 struct buf *ret);
/*
 * datapackage.json (Frictionless Data Package v1: specs.frictionlessdata.io):
 * a resource for each table that has files.
 */
NODISCARD int params_package_json(const struct params *p,
				  const struct package *files, struct buf *ret);

/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What a ZIP shows: a selection of the files of one snapshot, by path. A
 * package is a list in memory; the ZIP is its layout (format/zip-layout.h),
 *whose sources are packs. Sizes: about 200 bytes a file while it is listed.
 *
 *	setup/<table>.csv
 *	data/<loc>/<cat>/<per>/<status table>.csv
 *	output/<loc>/<cat>/<per>/<data table>.csv
 *	data/SnapshotParams.json, datapackage.json	where they are given
 */

#include "outboxfs/base/arena.h"
#include "outboxfs/base/value.h"
#include "outboxfs/format/zip-layout.h"
#include "outboxfs/store/draft.h"

struct package_file {
	const char *path; /* owned by the package */
	int64_t table;    /* draft_table(); documents: 0 */
	int64_t pov;      /* 0: setup/, documents */
	int64_t object;
	int64_t size;
	int64_t packed;
	int64_t rows;
	int64_t pack;
	int64_t offset;
	wall_s_t time;
	uint32_t crc;
	uint16_t method;
	uint8_t sha256[SHA256_BYTES];
};

struct package {
	struct package_file *files; /* owned; sorted by path, bytewise */
	size_t n;
	struct arena arena; /* owns the paths */
};

struct package *package_free(struct package *p);
DEFINE_FREEP(package)

struct package_spec {
	int64_t snapshot;
	bool setup_only;
	bool selected;  /* POVs as draft_select() said for this outbox entry */
	int64_t outbox; /* 0: the one that the draft is about to make */
	int64_t params; /* objects, or 0: without */
	int64_t document; /* datapackage.json */
	wall_s_t time;    /* of the documents: the snapshot's */
};

/* draft NULL: what is committed. With one: its state after draft_apply(). */
NODISCARD int package_list(struct store *store, struct draft *draft,
			   const struct package_spec *spec,
			   struct package **ret);
/* Sources of the ZIP are pack ids. */
NODISCARD int package_zip(const struct package *p, struct zip_layout **ret);

/*
 * POVs that a channel at snapshot base has not seen as they are in snapshot n:
 * what (1 status, 2 data, 3 both) has changed. A POV with one changed data
 * file comes whole, with its status. What is again as it was has not changed.
 * base 0: all.
 */
typedef int (*package_pov_func_t)(int64_t pov, int what, void *arg);
NODISCARD int package_changed(struct draft *draft, int64_t base,
			      package_pov_func_t func, void *arg);

/*
 * POVs with status or data files in snapshot base and none of them in the
 * draft's: what is gone (1 status, 2 data, 3 both), and whether the POV is
 * there but an orphan. path: "Paris/Actual/2026-01", as it was in base.
 * Borrowed during the call.
 */
typedef int (*package_gone_func_t)(int64_t pov, const char *path, int what,
				   bool orphan, void *arg);
NODISCARD int package_gone(struct draft *draft, int64_t base,
			   package_gone_func_t func, void *arg);

/* POVs that the draft leaves out as orphans, with the paths they would have. */
typedef int (*package_orphan_func_t)(int64_t pov, const char *path, void *arg);
NODISCARD int package_orphans(struct draft *draft, package_orphan_func_t func,
			      void *arg);

/*
 * Values whose names differ between snapshot base and the draft's, and that
 * have something beneath them in both.
 */
typedef int (*package_renamed_func_t)(int dim, const struct value *v,
				      const char *from, const char *to,
				      void *arg);
NODISCARD int package_renamed(struct draft *draft, int64_t base,
			      package_renamed_func_t func, void *arg);

-- name: draft_last_dir
SELECT seq
FROM sqlite_sequence
WHERE name = 'dir'

-- name: draft_last_value
SELECT max(id)
FROM value

-- name: draft_last_tbl
SELECT max(coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'tbl'), 0),
           coalesce((SELECT max(id) FROM temp.staged_tbl), 0))

-- name: draft_captured
SELECT setup_change, data_change, data_snapshot, model
FROM captured

-- name: draft_tbl_find
SELECT id FROM tbl WHERE name = ?1 AND role = ?2 AND file = ?3
UNION ALL
SELECT id FROM temp.staged_tbl WHERE name = ?1 AND role = ?2 AND file = ?3

-- name: draft_tbl_add
INSERT INTO temp.staged_tbl(id, name, role, file)
VALUES (?4, ?1, ?2, ?3)

-- name: draft_value_find
SELECT v.id, coalesce(s.missing, v.missing)
FROM (SELECT id, missing FROM value WHERE dim = ?1 AND key = ?2
      UNION ALL
      SELECT id, missing FROM temp.staged_value WHERE dim = ?1 AND key = ?2) v
LEFT JOIN temp.staged_name s ON s.value = v.id

-- name: draft_value_add
INSERT INTO temp.staged_value(id, dim, key, missing)
VALUES (?1, ?2, ?3, ?4)

-- name: draft_name_set
INSERT INTO temp.staged_name(value, name, missing)
VALUES (?1, ?2, ?3)
ON CONFLICT (value) DO UPDATE
SET name = coalesce(excluded.name, name), missing = excluded.missing

-- name: draft_values
SELECT v.id, v.key, coalesce(s.missing, v.missing)
FROM (SELECT id, key, missing FROM value WHERE dim = ?1
      UNION ALL
      SELECT id, key, missing FROM temp.staged_value WHERE dim = ?1) v
LEFT JOIN temp.staged_name s ON s.value = v.id

-- name: draft_dir_find
SELECT id FROM dir WHERE parent = ?1 AND value = ?2 AND pov = ?3
UNION ALL
SELECT id FROM temp.staged_dir WHERE parent = ?1 AND value = ?2 AND pov = ?3

-- name: draft_dir_add
INSERT INTO temp.staged_dir(id, parent, value, level, pov)
VALUES (?1, ?2, ?3, ?4, ?5)

-- name: draft_povs_of
WITH RECURSIVE beneath(id) AS (
  SELECT id FROM dir WHERE value = ?1
  UNION
  SELECT dir FROM pov_rule WHERE value = ?1
  UNION
  SELECT d.id FROM beneath b CROSS JOIN dir d ON d.parent = b.id
)
SELECT d.id
FROM beneath b CROSS JOIN dir d ON d.id = b.id
WHERE d.pov = 1 AND (d.status > 0 OR d.output > 0 OR d.orphan = 1)

-- name: draft_pov_keys
WITH RECURSIVE above(parent, value, level) AS (
  SELECT parent, value, level FROM dir WHERE id = ?1
  UNION ALL
  SELECT parent, value, level FROM temp.staged_dir WHERE id = ?1
  UNION ALL
  SELECT d.parent, d.value, d.level
  FROM above a CROSS JOIN dir d ON d.id = a.parent
  WHERE d.level > 0
  UNION ALL
  SELECT d.parent, d.value, d.level
  FROM above a CROSS JOIN temp.staged_dir d ON d.id = a.parent
)
SELECT
  coalesce(
    (SELECT key FROM value WHERE id = a.value),
    (SELECT key FROM temp.staged_value WHERE id = a.value)
  ),
  a.level
FROM above a
ORDER BY a.level

-- name: draft_examined
INSERT INTO temp.staged_pov(dir, orphan)
VALUES (?1, ?2)
ON CONFLICT (dir) DO UPDATE SET orphan = excluded.orphan

-- name: draft_files_drop
DELETE FROM temp.staged_file
WHERE dir = ?1

-- name: draft_rule
INSERT OR IGNORE INTO temp.staged_rule(dir, value)
VALUES (?1, ?2)

-- name: draft_file
INSERT OR REPLACE INTO temp.staged_file(dir, tbl, sha256, time)
VALUES (?1, ?2, ?3, ?4)

-- name: draft_has_file
SELECT 1
FROM version
WHERE dir = ?1 AND tbl = ?2 AND until = 9223372036854775807

-- name: draft_known
INSERT OR REPLACE INTO temp.staged_known(pov, tbl, change, rows, bytes, sha256)
VALUES (?1, ?2, ?3, ?4, ?5, ?6)

-- name: draft_orphans
SELECT id FROM dir
WHERE orphan = 1 AND id NOT IN (SELECT dir FROM temp.staged_pov)
UNION ALL
SELECT dir FROM temp.staged_pov WHERE orphan = 1

-- name: draft_rules_of
SELECT r.value, coalesce(n.missing, v.missing, w.missing, 0)
FROM temp.staged_rule r
LEFT JOIN temp.staged_name n ON n.value = r.value
LEFT JOIN value v ON v.id = r.value
LEFT JOIN temp.staged_value w ON w.id = r.value
WHERE r.dir = ?1

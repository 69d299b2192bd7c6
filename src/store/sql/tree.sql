-- ?1 is a snapshot, or 2^63 - 2 for the present state: what is open then
-- began before and has not ended. Of each history only the last interval that
-- began by then is read.

-- name: tree_root
SELECT coalesce((SELECT s.time FROM snapshot s WHERE s.id = ?1), time)
FROM dir
WHERE id = 1

-- name: tree_setup
SELECT time
FROM snapshot
WHERE setup = 1 AND id <= ?1
ORDER BY id DESC
LIMIT 1

-- name: tree_dir
SELECT d.id, d.parent, d.pov,
       coalesce((SELECT s.time FROM snapshot s WHERE s.id = ?1), d.time),
       (SELECT n.name FROM name n WHERE n.value = d.value AND n.since <= ?1
        ORDER BY n.since DESC LIMIT 1)
FROM dir d
WHERE d.id = ?3
  AND ?1 < (SELECT q.until FROM presence q
            WHERE q.dir = d.id AND q.area = ?2 AND q.since <= ?1
            ORDER BY q.since DESC LIMIT 1)

-- name: tree_dirs
SELECT d.id, d.parent, d.pov,
       coalesce((SELECT s.time FROM snapshot s WHERE s.id = ?1), d.time),
       (SELECT n.name FROM name n WHERE n.value = d.value AND n.since <= ?1
        ORDER BY n.since DESC LIMIT 1)
FROM dir d
WHERE d.parent = ?3 AND d.id > ?4
  AND ?1 < (SELECT q.until FROM presence q
            WHERE q.dir = d.id AND q.area = ?2 AND q.since <= ?1
            ORDER BY q.since DESC LIMIT 1)
ORDER BY d.id

-- name: tree_find_dir
SELECT d.id, d.parent, d.pov,
       coalesce((SELECT s.time FROM snapshot s WHERE s.id = ?1), d.time),
       n.name
FROM name n
CROSS JOIN dir d ON d.parent = ?3 AND d.value = n.value
WHERE n.name = ?4 AND n.since <= ?1 AND n.until > ?1
  AND ?1 < (SELECT q.until FROM presence q
            WHERE q.dir = d.id AND q.area = ?2 AND q.since <= ?1
            ORDER BY q.since DESC LIMIT 1)

-- name: tree_files
SELECT v.id, v.dir, v.tbl, v.object, o.size, v.time, t.file
FROM tbl t
CROSS JOIN version v
  ON v.id = (SELECT w.id FROM version w
             WHERE w.dir = ?3 AND w.tbl = t.id AND w.since <= ?1
             ORDER BY w.since DESC LIMIT 1)
CROSS JOIN object o ON o.id = v.object
WHERE t.role = ?2 AND t.id > ?4 AND v.until > ?1
ORDER BY t.id

-- name: tree_find_file
SELECT v.id, v.dir, v.tbl, v.object, o.size, v.time, t.file
FROM tbl t
CROSS JOIN version v
  ON v.id = (SELECT w.id FROM version w
             WHERE w.dir = ?3 AND w.tbl = t.id AND w.since <= ?1
             ORDER BY w.since DESC LIMIT 1)
CROSS JOIN object o ON o.id = v.object
WHERE t.role = ?2 AND t.file = ?4 AND v.until > ?1

-- name: tree_name_time
WITH RECURSIVE above(parent, value) AS (
  SELECT parent, value FROM dir WHERE id = ?1 AND level > 0
  UNION ALL
  SELECT d.parent, d.value
  FROM above a CROSS JOIN dir d ON d.id = a.parent
  WHERE d.level > 0
)
SELECT coalesce(max(n.time), 0)
FROM above a
CROSS JOIN name n ON n.value = a.value AND n.until = 9223372036854775807

-- name: tree_version
SELECT v.id, v.dir, v.tbl, v.object, o.size, v.time, t.file
FROM version v
CROSS JOIN tbl t ON t.id = v.tbl
CROSS JOIN object o ON o.id = v.object
WHERE v.id = ?1

-- name: tree_snapshot
SELECT id, time, params
FROM snapshot
WHERE id = ?1 AND kept = 1

-- name: tree_snapshot_last
SELECT id, time, params
FROM snapshot
WHERE kept = 1
ORDER BY id DESC
LIMIT 1

-- name: tree_snapshots
SELECT id, time, params
FROM snapshot
WHERE id > ?1 AND kept = 1
ORDER BY id

-- name: tree_changes
SELECT v.dir, t.file
FROM version v CROSS JOIN tbl t ON t.id = v.tbl
WHERE v.since > ?1 AND t.role = 1
UNION ALL
SELECT v.dir, t.file
FROM version v CROSS JOIN tbl t ON t.id = v.tbl
WHERE v.until > ?1 AND v.until < 9223372036854775807 AND t.role = 1
UNION ALL
SELECT d.parent, n.name
FROM presence q
CROSS JOIN dir d ON d.id = q.dir
CROSS JOIN name n ON n.value = d.value
WHERE q.since > ?1 AND q.area = 1 AND n.until > ?1
UNION ALL
SELECT d.parent, n.name
FROM presence q
CROSS JOIN dir d ON d.id = q.dir
CROSS JOIN name n ON n.value = d.value
WHERE q.until > ?1 AND q.until < 9223372036854775807 AND q.area = 1
  AND n.until > ?1
UNION ALL
SELECT d.parent, o.name
FROM name n
CROSS JOIN name o ON o.value = n.value
CROSS JOIN dir d ON d.value = n.value
WHERE n.since > ?1 AND o.until > ?1 AND d.output > 0
LIMIT ?2

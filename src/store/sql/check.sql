-- name: check_file
PRAGMA integrity_check(20)

-- name: check_object_next
SELECT id, size, packed, rows, pack, offset, crc, method, sha256
FROM object
WHERE id > ?1
ORDER BY id
LIMIT 1

-- name: check_object_damaged
UPDATE object
SET damaged = 1
WHERE id = ?1

-- name: check_object_is_damaged
SELECT 1
FROM object
WHERE sha256 = ?1 AND damaged = 1

-- name: check_repair
UPDATE object
SET method = s.method, packed = s.packed, pack = s.pack, offset = s.offset,
    pieces = s.pieces, damaged = 0
FROM temp.staged_object AS s
WHERE s.sha256 = object.sha256 AND object.damaged = 1

-- name: check_paths
SELECT v.since, v.until,
       CASE t.role WHEN 0 THEN 'setup' WHEN 1 THEN 'output' ELSE 'data' END,
       t.file,
       (WITH RECURSIVE above(parent, value, level) AS (
          SELECT parent, value, level FROM dir WHERE id = v.dir
          UNION ALL
          SELECT d.parent, d.value, d.level
          FROM above a CROSS JOIN dir d ON d.id = a.parent
          WHERE d.level > 0)
        SELECT group_concat(component, '/')
        FROM (SELECT n.name AS component
              FROM above a
              LEFT JOIN name n ON n.value = a.value
                AND n.since <= v.since AND n.until > v.since
              WHERE v.dir > 0
              ORDER BY a.level))
FROM version v
JOIN tbl t ON t.id = v.tbl
WHERE v.object = ?1
ORDER BY v.id

-- name: check_documents
SELECT 'snapshots/' || id || '/data/SnapshotParams.json', id
FROM snapshot WHERE params = ?1
UNION ALL
SELECT 'outbox/' || name || ': SnapshotParams.json', snapshot
FROM outbox WHERE params = ?1
UNION ALL
SELECT 'outbox/' || name || ': datapackage.json', snapshot
FROM outbox WHERE package = ?1

-- name: check_overlaps
SELECT count(*)
FROM version a
JOIN version b ON b.dir = a.dir AND b.tbl = a.tbl AND b.since > a.since
  AND b.since < a.until

-- name: check_empty
SELECT count(*) FROM version WHERE since >= until

-- name: check_objects
SELECT count(*)
FROM version v
WHERE NOT EXISTS (SELECT 1 FROM object o WHERE o.id = v.object)

-- name: check_dirs
SELECT count(*)
FROM version v
WHERE v.dir > 0
  AND NOT EXISTS (SELECT 1 FROM dir d WHERE d.id = v.dir AND d.pov = 1)

-- name: check_names
SELECT count(*)
FROM dir d
WHERE d.level > 0 AND (d.status > 0 OR d.output > 0)
  AND NOT EXISTS (SELECT 1 FROM name n WHERE n.value = d.value
                  AND n.until = 9223372036854775807)

-- name: check_counts
SELECT count(*)
FROM dir d
WHERE d.pov = 1
  AND (d.output <> (SELECT count(*)
                    FROM version v JOIN tbl t ON t.id = v.tbl
                    WHERE v.dir = d.id AND v.until = 9223372036854775807
                      AND t.role = 1)
    OR d.status <> (SELECT count(*)
                    FROM version v JOIN tbl t ON t.id = v.tbl
                    WHERE v.dir = d.id AND v.until = 9223372036854775807
                      AND t.role = 2))

-- name: check_presence
SELECT count(*)
FROM dir d
WHERE d.level > 0
  AND ((d.output > 0) <> EXISTS (SELECT 1 FROM presence p
                                 WHERE p.dir = d.id AND p.area = 1
                                   AND p.until = 9223372036854775807)
    OR (d.status > 0) <> EXISTS (SELECT 1 FROM presence p
                                 WHERE p.dir = d.id AND p.area = 0
                                   AND p.until = 9223372036854775807))

-- name: check_marks
SELECT count(*)
FROM channel c
WHERE NOT EXISTS (SELECT 1 FROM snapshot s WHERE s.id = c.snapshot)

-- name: check_selections
SELECT count(*)
FROM selection s
WHERE NOT EXISTS (SELECT 1 FROM outbox o WHERE o.id = s.outbox)

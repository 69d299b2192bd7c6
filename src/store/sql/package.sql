-- ?1 is the snapshot that is shown.

-- name: snapshot_last
SELECT max(id)
FROM snapshot

-- What is open is what it shows, unless that has been purged since.
-- name: package_is_present
SELECT 1
WHERE ?1 = (SELECT max(id) FROM snapshot)
  AND NOT EXISTS (SELECT 1 FROM version
                  WHERE until = ?1 + 1 AND until < 9223372036854775807)

-- name: package_setup
SELECT 0, 0, 0, v.tbl, t.role, t.file, v.time, o.id, o.size, o.packed, o.rows,
       o.pack, o.offset, o.crc, o.method, o.sha256
FROM tbl t
CROSS JOIN version v
  ON v.id = (SELECT w.id FROM version w
             WHERE w.dir = 0 AND w.tbl = t.id AND w.since <= ?1
             ORDER BY w.since DESC LIMIT 1)
CROSS JOIN object o ON o.id = v.object
WHERE t.role = 0 AND v.until > ?1

-- name: package_present
SELECT d.id, d.parent, d.value, v.tbl, t.role, t.file, v.time, o.id, o.size,
       o.packed, o.rows, o.pack, o.offset, o.crc, o.method, o.sha256
FROM version v
CROSS JOIN tbl t ON t.id = v.tbl
CROSS JOIN dir d ON d.id = v.dir
CROSS JOIN object o ON o.id = v.object
WHERE v.until = 9223372036854775807 AND v.dir > 0 AND v.since <= ?1

-- name: package_past
SELECT d.id, d.parent, d.value, v.tbl, t.role, t.file, v.time, o.id, o.size,
       o.packed, o.rows, o.pack, o.offset, o.crc, o.method, o.sha256
FROM version v NOT INDEXED
CROSS JOIN tbl t ON t.id = v.tbl
CROSS JOIN dir d ON d.id = v.dir
CROSS JOIN object o ON o.id = v.object
WHERE v.dir > 0 AND v.since <= ?1 AND v.until > ?1

-- name: package_selected
SELECT d.id, d.parent, d.value, v.tbl, t.role, t.file, v.time, o.id, o.size,
       o.packed, o.rows, o.pack, o.offset, o.crc, o.method, o.sha256
FROM selection s
CROSS JOIN version v ON v.dir = s.dir
CROSS JOIN tbl t ON t.id = v.tbl
CROSS JOIN dir d ON d.id = v.dir
CROSS JOIN object o ON o.id = v.object
WHERE s.outbox = ?2 AND v.since <= ?1 AND v.until > ?1
  AND (s.what & CASE t.role WHEN 2 THEN 1 ELSE 2 END) <> 0

-- name: package_dir
SELECT parent, value
FROM dir
WHERE id = ?1

-- name: package_name
SELECT name
FROM name
WHERE value = ?2 AND since <= ?1 AND until > ?1
ORDER BY since DESC
LIMIT 1

-- name: package_all
SELECT id, 3
FROM dir
WHERE pov = 1 AND (status > 0 OR output > 0)

-- name: package_changed
SELECT x.dir, max(CASE t.role WHEN 1 THEN 3 ELSE 1 END)
FROM (SELECT v.dir, v.tbl
      FROM version v
      WHERE v.since > ?1 AND v.until = 9223372036854775807
        AND +v.dir > 0
        AND NOT EXISTS (SELECT 1 FROM version b
                        WHERE b.dir = v.dir AND b.tbl = v.tbl
                          AND b.since <= ?1 AND b.until > ?1
                          AND b.object = v.object)
      UNION ALL
      SELECT v.dir, v.tbl
      FROM version v
      WHERE v.until > ?1 AND v.until < 9223372036854775807
        AND v.since <= ?1 AND +v.dir > 0
        AND NOT EXISTS (SELECT 1 FROM version n
                        WHERE n.dir = v.dir AND n.tbl = v.tbl
                          AND n.until = 9223372036854775807)) x
CROSS JOIN tbl t ON t.id = x.tbl
CROSS JOIN dir d ON d.id = x.dir
WHERE d.status > 0 OR d.output > 0
GROUP BY x.dir

-- name: package_gone
SELECT d.id, sum(CASE p.area WHEN 0 THEN 1 ELSE 2 END), d.orphan
FROM presence p
CROSS JOIN dir d ON d.id = p.dir
WHERE p.until > ?1 AND p.until < 9223372036854775807 AND p.since <= ?1
  AND d.pov = 1 AND CASE p.area WHEN 0 THEN d.status ELSE d.output END = 0
GROUP BY d.id

-- name: package_orphans
SELECT id
FROM dir
WHERE orphan = 1

-- name: package_renamed
SELECT v.dim, v.key, o.name, n.name
FROM name n
CROSS JOIN name o ON o.value = n.value
CROSS JOIN value v ON v.id = n.value
WHERE n.since > ?1 AND n.until = 9223372036854775807
  AND o.since <= ?1 AND o.until > ?1 AND o.name <> n.name
  AND EXISTS (SELECT 1
              FROM dir d CROSS JOIN presence p ON p.dir = d.id
              WHERE d.value = n.value AND (d.status > 0 OR d.output > 0)
                AND p.since <= ?1 AND p.until > ?1)

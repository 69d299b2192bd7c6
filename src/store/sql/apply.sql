-- What was staged becomes part of the state, as snapshot ?1. Where a TEMP
-- table drives, CROSS JOIN and IN keep the order that costs what was staged.

-- name: apply_snapshot
INSERT INTO snapshot(time, setup, data, params, job, kept)
-- Later than the last: SnapshotParams.json has this time, and other content.
VALUES (max(?1, coalesce((SELECT time FROM snapshot ORDER BY id DESC LIMIT 1)
                         + 1, ?1)), ?2, ?3,
        coalesce((SELECT params FROM snapshot ORDER BY id DESC LIMIT 1), 0),
        ?4, 1)

-- name: apply_objects
INSERT INTO object(sha256, crc, size, rows, method, packed, pack, offset,
                   pieces)
SELECT sha256, crc, size, rows, method, packed, pack, offset, pieces
FROM temp.staged_object
WHERE 1
ON CONFLICT (sha256) DO UPDATE
SET method = excluded.method, packed = excluded.packed, pack = excluded.pack,
    offset = excluded.offset, pieces = excluded.pieces, damaged = 0
WHERE damaged = 1

-- name: apply_tbls
INSERT INTO tbl(id, name, role, file)
SELECT id, name, role, file
FROM temp.staged_tbl

-- name: apply_values
INSERT INTO value(id, dim, key, missing)
SELECT id, dim, key, missing
FROM temp.staged_value

-- name: apply_missing
UPDATE value
SET missing = (SELECT s.missing FROM temp.staged_name s WHERE s.value = id)
WHERE id IN (SELECT value FROM temp.staged_name)
  AND missing <> (SELECT s.missing FROM temp.staged_name s WHERE s.value = id)

-- name: apply_renamed
INSERT OR IGNORE INTO temp.touched(dir)
SELECT d.parent
FROM temp.staged_name s
CROSS JOIN name n ON n.value = s.value
CROSS JOIN dir d ON d.value = s.value
WHERE n.until = 9223372036854775807 AND n.name <> s.name AND d.output > 0

-- name: apply_names_end
UPDATE name
SET until = ?1
WHERE value IN (SELECT value FROM temp.staged_name)
  AND until = 9223372036854775807
  AND name <> (SELECT s.name FROM temp.staged_name s
               WHERE s.value = name.value)

-- name: apply_names
INSERT INTO name(value, since, until, name, time)
SELECT s.value, ?1, 9223372036854775807, s.name,
       CASE WHEN EXISTS (SELECT 1 FROM name n WHERE n.value = s.value)
              OR EXISTS (SELECT 1
                         FROM name n
                         CROSS JOIN value a ON a.id = n.value
                         CROSS JOIN value b ON b.id = s.value
                         WHERE n.name = s.name AND n.value <> s.value
                           AND a.dim = b.dim)
            THEN (SELECT max(c.time,
                             coalesce((SELECT max(m.time) + 1 FROM name m
                                       WHERE m.time > 0), 0))
                  FROM snapshot c WHERE c.id = ?1)
            ELSE 0
       END
FROM temp.staged_name s
WHERE s.name IS NOT NULL
  AND NOT EXISTS (SELECT 1 FROM name n
                  WHERE n.value = s.value AND n.until = 9223372036854775807)

-- name: apply_dirs
INSERT INTO dir(id, parent, value, level, pov, orphan, status, output, time)
SELECT id, parent, value, level, pov, 0, 0, 0, ?1
FROM temp.staged_dir

-- name: apply_file_objects
UPDATE temp.staged_file
SET object = (SELECT o.id FROM object o WHERE o.sha256 = staged_file.sha256)
WHERE sha256 IS NOT NULL

-- name: apply_file_lost
SELECT 1
FROM temp.staged_file
WHERE sha256 IS NOT NULL AND object IS NULL
LIMIT 1

-- name: apply_changed
INSERT OR IGNORE INTO temp.closing(version, dir, tbl)
SELECT v.id, v.dir, v.tbl
FROM temp.staged_file f
CROSS JOIN version v ON v.dir = f.dir AND v.tbl = f.tbl
WHERE v.until = 9223372036854775807 AND f.object <> v.object

-- name: apply_gone
INSERT OR IGNORE INTO temp.closing(version, dir, tbl)
SELECT v.id, v.dir, v.tbl
FROM temp.staged_pov p
CROSS JOIN version v ON v.dir = p.dir
WHERE v.until = 9223372036854775807
  AND NOT EXISTS (SELECT 1 FROM temp.staged_file f
                  WHERE f.dir = v.dir AND f.tbl = v.tbl)

-- name: apply_gone_all
INSERT OR IGNORE INTO temp.closing(version, dir, tbl)
SELECT v.id, v.dir, v.tbl
FROM version v
WHERE v.until = 9223372036854775807 AND v.dir > 0
  AND NOT EXISTS (SELECT 1 FROM temp.staged_file f
                  WHERE f.dir = v.dir AND f.tbl = v.tbl)

-- name: apply_gone_setup
INSERT OR IGNORE INTO temp.closing(version, dir, tbl)
SELECT v.id, v.dir, v.tbl
FROM version v
WHERE v.until = 9223372036854775807 AND v.dir = 0
  AND NOT EXISTS (SELECT 1 FROM temp.staged_file f
                  WHERE f.dir = v.dir AND f.tbl = v.tbl)

-- name: apply_close
UPDATE version
SET until = ?1
WHERE id IN (SELECT version FROM temp.closing)

-- name: apply_open
INSERT INTO version(dir, tbl, since, until, object, time)
SELECT f.dir, f.tbl, ?1, 9223372036854775807, f.object,
       max(f.time, coalesce((SELECT w.time + 1 FROM version w
                             WHERE w.dir = f.dir AND w.tbl = f.tbl
                             ORDER BY w.since DESC LIMIT 1), f.time))
FROM temp.staged_file f
WHERE f.object IS NOT NULL
  AND NOT EXISTS (SELECT 1 FROM version v
                  WHERE v.dir = f.dir AND v.tbl = f.tbl
                    AND v.until = 9223372036854775807)

-- name: apply_delta
INSERT INTO temp.delta(level, dir, area, n, up)
SELECT d.level, x.dir, x.area, sum(x.n), 0
FROM (SELECT v.dir, t.role = 1 AS area, 1 AS n
      FROM version v CROSS JOIN tbl t ON t.id = v.tbl
      WHERE v.since = ?1 AND v.dir > 0
      UNION ALL
      SELECT c.dir, t.role = 1, -1
      FROM temp.closing c CROSS JOIN tbl t ON t.id = c.tbl
      WHERE c.dir > 0) x
CROSS JOIN dir d ON d.id = x.dir
GROUP BY x.dir, x.area

-- name: apply_touched
INSERT OR IGNORE INTO temp.touched(dir)
SELECT dir
FROM temp.delta
WHERE area = 1 AND level > 0

-- name: apply_top
SELECT coalesce(max(level), 0)
FROM temp.delta

-- name: apply_up
UPDATE temp.delta
SET up = (SELECT (d.c + delta.n > 0) - (d.c > 0)
          FROM (SELECT CASE delta.area WHEN 0 THEN e.status ELSE e.output END
                       AS c
                FROM dir e WHERE e.id = delta.dir) d)
WHERE level = ?1

-- name: apply_count
UPDATE dir
SET status = status + coalesce((SELECT x.n FROM temp.delta x
                                WHERE x.level = ?1 AND x.dir = dir.id
                                  AND x.area = 0), 0),
    output = output + coalesce((SELECT x.n FROM temp.delta x
                                WHERE x.level = ?1 AND x.dir = dir.id
                                  AND x.area = 1), 0)
WHERE id IN (SELECT x.dir FROM temp.delta x WHERE x.level = ?1)

-- name: apply_raise
INSERT INTO temp.delta(level, dir, area, n, up)
SELECT d.level - 1, d.parent, x.area, sum(x.up), 0
FROM temp.delta x CROSS JOIN dir d ON d.id = x.dir
WHERE x.level = ?1
GROUP BY d.parent, x.area
HAVING sum(x.up) <> 0
ON CONFLICT (level, dir, area) DO UPDATE
SET n = n + excluded.n

-- name: apply_presence_end
UPDATE presence
SET until = ?1
WHERE (dir, area) IN (SELECT x.dir, x.area FROM temp.delta x WHERE x.up = -1)
  AND until = 9223372036854775807

-- name: apply_presence
INSERT INTO presence(dir, area, since, until)
SELECT dir, area, ?1, 9223372036854775807
FROM temp.delta
WHERE up = 1

-- name: apply_times
UPDATE dir
SET time = max(time + 1, ?1)
WHERE id IN (WITH RECURSIVE above(id) AS (
               SELECT t.dir FROM temp.touched t
               UNION
               SELECT e.parent
               FROM above a CROSS JOIN dir e ON e.id = a.id
               WHERE e.level > 0)
             SELECT id FROM above)

-- name: apply_orphans
UPDATE dir
SET orphan = (SELECT p.orphan FROM temp.staged_pov p WHERE p.dir = dir.id)
WHERE id IN (SELECT p.dir FROM temp.staged_pov p)
  AND orphan <> (SELECT p.orphan FROM temp.staged_pov p WHERE p.dir = dir.id)

-- name: apply_orphans_gone
UPDATE dir
SET orphan = 0
WHERE orphan = 1 AND id NOT IN (SELECT p.dir FROM temp.staged_pov p)

-- name: apply_rules_end
DELETE FROM pov_rule
WHERE dir IN (SELECT p.dir FROM temp.staged_pov p)

-- name: apply_rules_clear
DELETE FROM pov_rule

-- name: apply_rules
INSERT OR IGNORE INTO pov_rule(dir, value)
SELECT dir, value
FROM temp.staged_rule

-- name: apply_captured
UPDATE captured
SET setup_change = CASE WHEN ?2 THEN ?4 WHEN model <> ?5 THEN 0
                        ELSE setup_change END,
    data_change = CASE WHEN ?3 THEN ?4 WHEN model <> ?5 THEN 0
                       ELSE data_change END,
    data_snapshot = CASE WHEN ?3 THEN ?1 ELSE data_snapshot END,
    model = ?5

-- name: apply_last_outbox
SELECT seq
FROM sqlite_sequence
WHERE name = 'outbox'

-- name: draft_select
INSERT INTO selection(outbox, dir, what)
VALUES (?1, ?2, ?3)
ON CONFLICT (outbox, dir) DO UPDATE
SET what = what | excluded.what

-- name: draft_selection_drop
DELETE FROM selection
WHERE outbox = ?1

-- name: draft_outbox_add
INSERT INTO outbox(id, name, type, snapshot, selected, params, package, bytes,
                   entries, time, job)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)

-- name: draft_channel_set
INSERT INTO channel(name, snapshot, time)
VALUES (?1, ?2, ?3)
ON CONFLICT (name) DO UPDATE
SET snapshot = excluded.snapshot, time = excluded.time

-- name: draft_params
UPDATE snapshot
SET params = ?2
WHERE id = ?1

-- name: draft_object_id
SELECT id
FROM object
WHERE sha256 = ?1

-- name: apply_known
INSERT INTO known(pov, tbl, change, rows, bytes, sha256)
SELECT pov, tbl, change, rows, bytes, sha256
FROM temp.staged_known
WHERE 1
ON CONFLICT (pov, tbl) DO UPDATE
SET change = excluded.change, rows = excluded.rows,
    bytes = excluded.bytes, sha256 = excluded.sha256

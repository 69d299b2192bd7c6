-- name: known_get
SELECT change, rows, bytes, sha256
FROM known
WHERE pov = ?1 AND tbl = ?2

-- name: known_put
INSERT INTO known(pov, tbl, change, rows, bytes, sha256)
VALUES (?1, ?2, ?3, ?4, ?5, ?6)
ON CONFLICT (pov, tbl) DO UPDATE
SET change = excluded.change, rows = excluded.rows,
    bytes = excluded.bytes, sha256 = excluded.sha256

-- name: known_clear
DELETE FROM known

-- name: setting_get
SELECT value
FROM setting
WHERE name = ?1

-- name: setting_put
INSERT INTO setting(name, value)
VALUES (?1, ?2)
ON CONFLICT (name) DO UPDATE
SET value = excluded.value

-- name: captured_clear
UPDATE captured
SET setup_change = 0, data_change = 0, data_snapshot = 0, model = ''

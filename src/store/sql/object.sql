-- name: object_get
SELECT id, size, packed, rows, pack, offset, crc, method, sha256, pieces
FROM object
WHERE id = ?1

-- name: object_find
SELECT id, size, packed, rows, pack, offset, crc, method, sha256
FROM object
WHERE sha256 = ?1 AND damaged = 0

-- name: staged_object_find
SELECT 0, size, packed, rows, pack, offset, crc, method, sha256
FROM temp.staged_object
WHERE sha256 = ?1

-- name: staged_object_put
INSERT INTO temp.staged_object(sha256, crc, size, rows, method, packed, pack,
                               offset, pieces)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
ON CONFLICT (sha256) DO NOTHING

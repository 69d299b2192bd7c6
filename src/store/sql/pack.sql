-- name: pack_all
SELECT id, bytes
FROM pack
ORDER BY id

-- name: pack_get
SELECT bytes
FROM pack
WHERE id = ?1

-- name: pack_last
SELECT id, bytes
FROM pack
ORDER BY id DESC
LIMIT 1

-- name: pack_next
SELECT coalesce(max(seq), 0) + 1
FROM sqlite_sequence
WHERE name = 'pack'

-- name: pack_put
INSERT INTO pack(id, bytes)
VALUES (?1, ?2)
ON CONFLICT (id) DO UPDATE
SET bytes = excluded.bytes

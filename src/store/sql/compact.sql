-- name: compact_objects
DELETE FROM object
WHERE NOT EXISTS (SELECT 1 FROM version WHERE version.object = object.id)
  AND id NOT IN (SELECT params FROM snapshot
                 UNION SELECT params FROM outbox
                 UNION SELECT package FROM outbox)
RETURNING packed

-- name: compact_packs
SELECT p.id, p.bytes,
       coalesce((SELECT sum(packed) FROM object WHERE pack = p.id), 0)
FROM pack p
ORDER BY p.id

-- name: compact_live
SELECT id, offset, packed
FROM object
WHERE pack = ?1
ORDER BY offset

-- name: compact_move
UPDATE object
SET pack = ?2, offset = ?3
WHERE id = ?1

-- name: compact_drop
DELETE FROM pack
WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM object WHERE pack = ?1)

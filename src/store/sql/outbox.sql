-- name: outbox_get
SELECT id, snapshot, bytes, entries, job, time, type, name
FROM outbox
WHERE id = ?1

-- name: outbox_find
SELECT id, snapshot, bytes, entries, job, time, type, name
FROM outbox
WHERE name = ?1

-- name: outbox_list
SELECT id, snapshot, bytes, entries, job, time, type, name
FROM outbox
WHERE id > ?1
ORDER BY id

-- name: outbox_shows
SELECT o.snapshot, o.type, o.selected, o.params, o.package, s.time, o.bytes
FROM outbox o CROSS JOIN snapshot s ON s.id = o.snapshot
WHERE o.id = ?1

-- name: outbox_drop
DELETE FROM outbox
WHERE id = ?1

-- name: channel_get
SELECT snapshot
FROM channel
WHERE name = ?1

-- name: usage_limited
SELECT (SELECT coalesce(sum(bytes), 0) FROM pack),
       (SELECT count(*) FROM outbox)

-- name: usage_get
SELECT (SELECT coalesce(sum(bytes), 0) FROM pack),
       (SELECT coalesce(sum(packed), 0) FROM object),
       (SELECT count(*) FROM outbox),
       (SELECT count(*) FROM snapshot WHERE kept = 1),
       (SELECT count(*) FROM channel),
       (SELECT count(*) FROM job WHERE finished_at IS NULL)

-- What there is, latest first: id, time, name.

-- name: purge_outbox
SELECT id, time, name
FROM outbox
ORDER BY id DESC

-- name: purge_snapshots
SELECT id, time, id
FROM snapshot
WHERE kept = 1
ORDER BY id DESC

-- name: purge_jobs
SELECT id, finished_at, id
FROM job
WHERE finished_at IS NOT NULL
ORDER BY id DESC

-- name: purge_snapshot
UPDATE snapshot
SET kept = 0
WHERE id = ?1

-- name: purge_job
DELETE FROM job
WHERE id = ?1 AND finished_at IS NOT NULL

-- name: purge_job_log
DELETE FROM job_log
WHERE job = ?1

-- Snapshots of which everything must stay, and what none of them sees.

-- name: forget_needed
INSERT INTO temp.needed(id)
SELECT id FROM snapshot WHERE kept = 1
UNION
SELECT max(id) FROM snapshot HAVING max(id) IS NOT NULL
UNION
SELECT snapshot FROM channel
UNION
SELECT snapshot FROM outbox

-- name: forget_snapshots
DELETE FROM snapshot
WHERE id NOT IN (SELECT n.id FROM temp.needed n)

-- name: forget_versions
DELETE FROM version
WHERE until < 9223372036854775807
  AND NOT EXISTS (SELECT 1 FROM temp.needed n
                  WHERE n.id >= version.since AND n.id < version.until)

-- name: forget_names
DELETE FROM name
WHERE until < 9223372036854775807
  AND NOT EXISTS (SELECT 1 FROM temp.needed n
                  WHERE n.id >= name.since AND n.id < name.until)

-- name: forget_presence
DELETE FROM presence
WHERE until < 9223372036854775807
  AND NOT EXISTS (SELECT 1 FROM temp.needed n
                  WHERE n.id >= presence.since AND n.id < presence.until)

-- The present state ends with the last snapshot, ?1.

-- name: purge_output_versions
UPDATE version
SET until = ?1 + 1
WHERE until = 9223372036854775807

-- name: purge_output_presence
UPDATE presence
SET until = ?1 + 1
WHERE until = 9223372036854775807

-- name: purge_output_dirs
UPDATE dir
SET status = 0, output = 0, orphan = 0, time = max(time + 1, ?2)
WHERE status > 0 OR output > 0 OR orphan = 1

-- name: purge_output_channels
DELETE FROM channel

-- name: job_add
INSERT INTO job(kind, request, state, requested_by, queued_at)
SELECT ?1, ?2, 'queued', ?3, ?4
WHERE (SELECT count(*) FROM job
       WHERE finished_at IS NULL AND state = 'queued') < ?5

-- name: job_get
SELECT id, state, errno, snapshot, queued_at, started_at, finished_at, kind,
       request, requested_by, error, file, counts
FROM job
WHERE id = ?1

-- name: job_latest
SELECT max(id)
FROM job

-- name: job_list
SELECT id, state, coalesce(finished_at, started_at, queued_at)
FROM job
WHERE id > ?1
ORDER BY id

-- name: job_next
SELECT id
FROM job
WHERE finished_at IS NULL AND state IN ('queued', 'processing')
ORDER BY id
LIMIT 1

-- name: job_claim
UPDATE job
SET state = 'processing', started_at = coalesce(started_at, ?2)
WHERE id = ?1 AND state IN ('queued', 'processing')

-- name: job_end_aborting
UPDATE job
SET state = 'aborted', errno = ?2, error = ?3, finished_at = ?1
WHERE finished_at IS NULL AND state = 'aborting'

-- name: job_abort
UPDATE job
SET state = CASE state WHEN 'queued' THEN 'aborted' ELSE 'aborting' END,
    finished_at = CASE state WHEN 'queued' THEN ?2 END,
    errno = CASE state WHEN 'queued' THEN ?3 ELSE 0 END,
    error = CASE state WHEN 'queued' THEN ?4 END
WHERE id = ?1 AND finished_at IS NULL

-- name: job_end
UPDATE job
SET state = ?2, errno = ?3, error = ?4, counts = ?5, finished_at = ?6,
    snapshot = coalesce(?7, snapshot), file = coalesce(?8, file)
WHERE id = ?1 AND finished_at IS NULL

-- name: job_log_add
INSERT INTO job_log(job, line, time, text)
SELECT id, (SELECT coalesce(max(line), 0) + 1 FROM job_log WHERE job = ?1),
       ?2, ?3
FROM job
WHERE id = ?1

-- name: job_log_read
SELECT time, text
FROM job_log
WHERE job = ?1
ORDER BY line

SELECT
    id AS run,
    status,
    cause,
    started_at,
    round(duration_ms / 1000.0, 1) AS seconds,
    rows,
    window_from,
    window_to,
    error
FROM system.report_runs
WHERE report = :report OR :report = ''
ORDER BY started_at DESC, id DESC
LIMIT :limit

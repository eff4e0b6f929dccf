-- system.report_runs: a row is a run of a report, as the journals in the data directory tell.
SELECT
    id,
    report,
    -- Why it ran: 'schedule', 'missed' or 'manual'; and what became of it: 'running', 'succeeded', 'failed', 'timed_out', 'died' or 'skipped'.
    cause,
    status,
    arrow_cast(arrow_cast(due_ms, 'Timestamp(Millisecond, Some("UTC"))'), 'Timestamp(Nanosecond, Some("UTC"))') AS due_at,
    arrow_cast(arrow_cast(started_ms, 'Timestamp(Millisecond, Some("UTC"))'), 'Timestamp(Nanosecond, Some("UTC"))')
        AS started_at,
    arrow_cast(arrow_cast(ended_ms, 'Timestamp(Millisecond, Some("UTC"))'), 'Timestamp(Nanosecond, Some("UTC"))')
        AS ended_at,
    ended_ms - started_ms AS duration_ms,
    -- What :from and :to were; NULL for a report without a window.
    arrow_cast(arrow_cast(window_from_ms, 'Timestamp(Millisecond, Some("UTC"))'), 'Timestamp(Nanosecond, Some("UTC"))')
        AS window_from,
    arrow_cast(arrow_cast(window_to_ms, 'Timestamp(Millisecond, Some("UTC"))'), 'Timestamp(Nanosecond, Some("UTC"))')
        AS window_to,
    parameters,
    rows,
    error,
    -- The folder with the files of the result, below the data directory's folder of reports.
    result,
    -- An array of objects with name, key, status ('delivered', 'failed' or 'pending'), attempts, error and at.
    deliveries,
    report_version
FROM internal.report_runs

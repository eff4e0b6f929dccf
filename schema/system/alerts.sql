-- system.alerts: a row is a change of an alert, or that it was told again, as the journals in the data directory tell. Those with is_current are
-- the alerts as they are now.
SELECT
    report,
    rule,
    severity,
    -- The values that name the group of rows.
    labels,
    -- 'ok', 'pending', 'firing' or 'resolved', now and before.
    state,
    was,
    value,
    arrow_cast(arrow_cast(since_ms, 'Timestamp(Millisecond, Some("UTC"))'), 'Timestamp(Nanosecond, Some("UTC"))') AS since,
    arrow_cast(arrow_cast(at_ms, 'Timestamp(Millisecond, Some("UTC"))'), 'Timestamp(Nanosecond, Some("UTC"))') AS changed_at,
    run,
    summary,
    exemplars,
    silenced_by,
    told,
    is_current
FROM internal.report_alerts

-- system.audit: a row is a line of the audit log, of which the newest 100,000 are there.
SELECT
    n,
    arrow_cast(arrow_cast(at_ms, 'Timestamp(Millisecond, Some("UTC"))'), 'Timestamp(Nanosecond, Some("UTC"))') AS written_at,
    kind,
    user_name,
    client_address,
    what,
    rows,
    bytes,
    duration_ms,
    outcome,
    detail,
    tenant
FROM internal.audit

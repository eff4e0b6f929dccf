SELECT
    rule,
    state,
    was,
    severity,
    labels,
    value,
    since,
    summary,
    exemplars
FROM system.alerts
WHERE run = :run
ORDER BY rule, labels

-- Who called whom between :since and :until, which the shell's \map draws: links only where there are no calls.
SELECT
    caller,
    callee,
    sum(CASE WHEN connection = 'link' THEN 0 ELSE calls END) AS calls,
    sum(CASE WHEN connection = 'link' THEN 0 ELSE errors END) AS errors,
    sum(CASE WHEN connection = 'link' THEN calls ELSE 0 END) AS links,
    -- A service that is known as one is one, also where some of its spans have not come.
    max(callee_type) AS callee_type
FROM service_map(:since, :until)
GROUP BY caller, callee
ORDER BY caller, callee
LIMIT 2000

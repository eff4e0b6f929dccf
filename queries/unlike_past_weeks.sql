-- Unlike the weeks before
--
-- Which operations are called more or less often, or take longer, than in the same hours of the weeks before: the most certain first.
--
-- param from text 'yesterday' spans from this time on, at most a week of them
-- param to text 'now' spans before this time
-- param weeks integer 4 how many weeks before are compared with
-- param service text '%' services whose name is LIKE this
-- param limit integer 20 how many operations
SELECT
    service_name,
    span_name,
    calls,
    rate,
    expected_rate,
    rate_z,
    error_rate,
    expected_error_rate,
    p95_ms,
    expected_p95_ms,
    p95_z
FROM traces.deviations(:from, :to, :weeks)
WHERE service_name LIKE :service
ORDER BY greatest(abs(rate_z), abs(p95_z)) DESC NULLS LAST, service_name, span_name
LIMIT :limit

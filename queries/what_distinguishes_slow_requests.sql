-- What distinguishes slow requests
--
-- What requests that take longer than a number of milliseconds have more or less often than the others, the most telling first.
--
-- param service text '%' requests of services whose name is LIKE this
-- param slow_ms double 100 what is slow, in milliseconds
-- param from timestamp '1970-01-01' spans from this time on
-- param to timestamp '2100-01-01' spans before this time
-- param limit integer 20 how many properties
SELECT rank, property, comparison, key, value, selected, selected_share, baseline_share, effect, p_adjusted, selected_p50, baseline_p50
FROM traces.compare(
    service_name LIKE :service AND span_kind = 'SERVER' AND duration_ms > :slow_ms,
    service_name LIKE :service AND span_kind = 'SERVER',
    since => :from,
    until => :to
)
WHERE property <> 'duration_ms'
ORDER BY rank
LIMIT :limit

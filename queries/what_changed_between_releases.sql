-- What changed between releases
--
-- Where traces through one version of a service differ from those through another: calls that are new or gone, and paths that became slower, faster
-- or fail at another rate by more than chance.
--
-- param before text 'the old version' service.version of the one
-- param after text 'the new version' service.version of the other
-- param service text '%' services whose name is LIKE this
-- param from timestamp '1970-01-01' spans from this time on
-- param to timestamp '2100-01-01' spans before this time
SELECT span, service_name, change, a_calls, b_calls, a_p50_ms, b_p50_ms, latency_shift_ms, a_error_rate, b_error_rate, path
FROM traces.trace_diff(
    service_name LIKE :service AND resource_attributes['service.version'] = :before,
    service_name LIKE :service AND resource_attributes['service.version'] = :after,
    :from,
    :to
)
WHERE change <> 'both' OR latency_p_adjusted < 0.05 OR error_p_adjusted < 0.05
ORDER BY path, path_services

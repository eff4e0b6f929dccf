-- traces.span_metrics: a row is a series of what OpenTelemetry's span metrics connector counts by default, over all spans.
SELECT
    service_name,
    span_name,
    span_kind,
    status_code,
    calls,
    duration_sum_ms,
    duration_min_ms,
    duration_max_ms,
    duration_bounds_ms,
    duration_buckets,
    first_timestamp,
    last_timestamp
FROM traces.span_metrics()

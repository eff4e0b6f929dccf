-- title = "Retention and volume by service"
-- description = "How many spans each service sent in a week, beside the week before, how much of the store they take, and how far back its spans reach. Bytes are the service's share of the spans times the size of a span in the data files, which differs from service to service."
-- schedule = { cron = "55 0 * * 1", time_zone = "UTC" }
-- window = { length = "1 week", delay = "55m" }
-- [parameters.service]
-- type = "text"
-- default = "%"
-- description = "services whose name is LIKE this"
-- [[charts]]
-- kind = "bar"
-- title = "Spans, now and before"
-- x = "service_name"
-- y = ["spans", "spans_before"]
-- [[charts]]
-- kind = "bar"
-- title = "Days that spans reach back"
-- x = "service_name"
-- y = ["kept_days"]
-- unit = "days"
-- [[alerts]]
-- name = "volume"
-- column = "spans_change"
-- above = 1.0
-- clear_below = 0.5
-- group_by = ["service_name"]
-- severity = "info"
-- exemplars = "example_trace_id"
-- summary = "a service sends more than twice as many spans as the week before"
SELECT
    service_name,
    spans,
    spans / nullif(sum(spans) OVER (), 0) AS share,
    spans_before,
    spans / nullif(spans_before, 0) - 1 AS spans_change,
    spans * 86400 / nullif(extract(epoch FROM :to - :from), 0) AS spans_per_day,
    errors,
    CAST(round(spans * bytes_a_span) AS BIGINT) AS estimated_bytes,
    stored_spans,
    CAST(round(stored_spans * bytes_a_span) AS BIGINT) AS estimated_stored_bytes,
    oldest_timestamp,
    extract(epoch FROM :to - oldest_timestamp) / 86400 AS kept_days,
    example_trace_id
FROM (
    SELECT
        service_name,
        count(*) FILTER (WHERE timestamp >= :from) AS spans,
        count(*) FILTER (WHERE timestamp < :from AND timestamp >= ((:from AT TIME ZONE :zone) - ((:to AT TIME ZONE :zone) - (:from AT TIME ZONE :zone))) AT TIME ZONE :zone) AS spans_before,
        count(*) FILTER (WHERE timestamp >= :from AND status_code = 'ERROR') AS errors,
        count(*) AS stored_spans,
        min(timestamp) AS oldest_timestamp
    FROM spans
    WHERE timestamp < :to AND service_name LIKE :service
    GROUP BY service_name
) AS services
-- Ids are read of the spans of the window alone: they are large.
LEFT JOIN (
    SELECT service_name AS of_service, first_value(trace_id ORDER BY timestamp DESC) AS example_trace_id
    FROM spans
    WHERE timestamp >= :from AND timestamp < :to AND service_name LIKE :service
    GROUP BY service_name
) AS examples ON of_service = service_name
-- NULL as long as no span has been sealed into a file.
CROSS JOIN (SELECT sum(bytes) / nullif(sum(rows), 0) AS bytes_a_span FROM system.files) AS stored
ORDER BY spans DESC, stored_spans DESC, service_name

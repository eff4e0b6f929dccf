-- Heat map of latency
--
-- How many server and consumer spans took how long, when: a cell is an interval and a duration that doubles from one to the next but one.
-- In Grafana's heat map, take the rows as time series, with the bucket for their name.
--
-- param width text '5 minutes' how long an interval is
-- param service text '%' services whose name is LIKE this
-- param from timestamp '1970-01-01' intervals that begin at this time or later
-- param to timestamp '2100-01-01' intervals that begin before this time
SELECT time, le_ms::text AS bucket, sum(spans) AS spans
FROM traces.heatmap(:width)
WHERE span_kind IN ('SERVER', 'CONSUMER')
    AND service_name LIKE :service
    AND time >= :from AND time < :to
GROUP BY time, le_ms
ORDER BY time, le_ms

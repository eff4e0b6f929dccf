-- Rate, errors and duration over time
--
-- How each service's load, errors and latency went: its server and consumer spans, a row an interval and operation.
--
-- param width text '5 minutes' how long an interval is
-- param service text '%' services whose name is LIKE this
-- param from timestamp '1970-01-01' intervals that begin at this time or later
-- param to timestamp '2100-01-01' intervals that begin before this time
SELECT *
FROM traces.red(:width)
WHERE span_kind IN ('SERVER', 'CONSUMER')
    AND service_name LIKE :service
    AND time >= :from AND time < :to
ORDER BY time, service_name, span_name

-- Capacity forecast
--
-- How many requests a second each service will get, and how long they will take, with what 95 of 100 values are expected within.
--
-- param width text '1 hour' how long an interval is
-- param steps integer 24 how many intervals ahead
-- param season text '1 day' after how long it is the same again
-- param from timestamp '1970-01-01' spans from this time on
-- param to timestamp '2100-01-01' spans before this time
-- param service text '%' services whose name is LIKE this
SELECT *
FROM traces.forecast(:width, :steps, :season, :from, :to)
WHERE service_name LIKE :service
ORDER BY service_name, time

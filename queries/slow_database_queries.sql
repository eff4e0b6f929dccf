-- Slow database queries
--
-- Which statements take the database's time: by system and text without literals, with count, total, slow end and who asks.
-- Where no text was recorded, the operation and what it works on stand for it, else the span's name.
--
-- param from timestamp '1970-01-01' spans from this time on
-- param to timestamp '2100-01-01' spans before this time
-- param limit integer 20 how many statements
SELECT *
FROM traces.slow_queries(:from, :to)
ORDER BY total_ms DESC, query
LIMIT :limit

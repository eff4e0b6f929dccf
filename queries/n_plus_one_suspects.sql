-- N+1 suspects
--
-- Spans that make the same call again and again, one by one or at the same time, where one call might do, and the time that this costs.
--
-- param from timestamp '1970-01-01' calls from this time on
-- param to timestamp '2100-01-01' calls before this time
-- param times integer 5 the least number of equal calls under one parent
-- param limit integer 20 how many suspects
SELECT *
FROM n_plus_one(:times, :from, :to)
ORDER BY wasted_ms DESC, service_name, parent_name, call
LIMIT :limit

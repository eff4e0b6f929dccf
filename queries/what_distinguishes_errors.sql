-- What distinguishes errors
--
-- Which services, operations, attributes and numbers spans that failed have more or less often than those that did not, the most telling first.
--
-- param from timestamp '1970-01-01' spans from this time on
-- param to timestamp '2100-01-01' spans before this time
-- param limit integer 20 how many properties
SELECT rank, property, comparison, key, value, selected, selected_share, baseline_share, effect, p_adjusted, selected_p50, baseline_p50
FROM traces.compare(status_code = 'ERROR', since => :from, until => :to)
WHERE property NOT IN ('status', 'error')
ORDER BY rank
LIMIT :limit

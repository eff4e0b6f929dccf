-- Flame graph
--
-- What the time of traces went to, as folded stacks of own time in microseconds: one line a stack, as flamegraph.pl, speedscope and their like read it.
--
-- param service text '%' traces whose root's service has a name LIKE this
-- param from timestamp '1970-01-01' spans that began at this time or later
-- param to timestamp '2100-01-01' spans that began before this time
SELECT stack || ' ' || self_us AS folded
FROM flamegraph(coalesce(root_service, '') LIKE :service AND timestamp >= :from AND timestamp < :to)
WHERE self_us > 0
ORDER BY stack

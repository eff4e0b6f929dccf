-- Folded stacks as viewers of flame graphs take them: the names from a root down, and the time of their own in microseconds.
SELECT stack || ' ' || self_us AS folded FROM flamegraph(
:predicate
)
WHERE self_us > 0
ORDER BY stack

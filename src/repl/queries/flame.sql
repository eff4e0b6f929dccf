-- The stacks of own time that the shell's \flame draws, of the spans of which :condition is true.
SELECT stack, self_us, spans
FROM flamegraph(:condition)
ORDER BY self_us DESC, stack
LIMIT 20000

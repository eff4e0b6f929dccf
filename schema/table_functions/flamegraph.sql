-- Folded stacks of the spans of which a condition on the columns of span_tree is true, as viewers of flame graphs take them.
CREATE FUNCTION flamegraph(predicate boolean DEFAULT true) RETURN (
    SELECT stack, CAST(round(sum(self_ms) * 1000.0) AS BIGINT) AS self_us, count(*) AS spans
    FROM (
        -- A name's own semicolons would be steps, and its ends of lines would be stacks.
        SELECT translate(array_to_string(path, chr(1)), ';' || chr(1) || chr(10) || chr(13), ':;  ') AS stack, self_ms
        FROM traces.span_tree
        WHERE predicate
    )
    GROUP BY stack
    ORDER BY stack
);

-- The spans that are anywhere below a span of which a condition on the columns of span_tree is true, each once, with all columns of span_tree.
CREATE FUNCTION descendants_of(predicate boolean) RETURN (
    SELECT *
    FROM traces.span_tree
    WHERE traces_with(predicate)
    QUALIFY is_below(nset_left, nset_right, predicate) OVER (PARTITION BY trace_id)
);

-- The spans with the parent of another span of which a condition on the columns of span_tree is true, each once, with all columns of span_tree.
CREATE FUNCTION siblings_of(predicate boolean) RETURN (
    SELECT *
    FROM traces.span_tree
    WHERE traces_with(predicate)
    QUALIFY is_beside(nset_left, nset_right, parent_span_id, predicate) OVER (PARTITION BY trace_id)
);

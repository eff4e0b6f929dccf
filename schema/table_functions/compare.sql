-- What distinguishes the spans of which a condition is true from others. Each row is a property's value, the absence of a key, or a property's
-- numbers, with how many spans of each side have it, Cohen's h as the size of the effect, and a p-value with its correction for
-- all rows by Benjamini and Hochberg (1995). What is certain comes first, the largest effect before others.
CREATE FUNCTION compare(
    selection boolean,
    baseline boolean DEFAULT true,
    since timestamptz DEFAULT NULL,
    until timestamptz DEFAULT NULL,
    with_paths boolean DEFAULT false
) RETURN (
    SELECT
        -- The last digits of an effect are the rounding's.
        row_number() OVER (ORDER BY p_adjusted >= 0.05, round(abs(effect) * 1e9) DESC, p_value, property, comparison, key, value) AS rank,
        property,
        comparison,
        key,
        value,
        selected,
        others AS baseline,
        selected_share,
        others_share AS baseline_share,
        CASE WHEN comparison <> 'numbers' THEN selected_share / nullif(others_share, 0.0) END AS lift,
        effect,
        p_value,
        p_adjusted,
        sketch_quantile(selected_numbers, 0.5) AS selected_p50,
        sketch_quantile(other_numbers, 0.5) AS baseline_p50
    FROM (
        -- Benjamini and Hochberg: of the tests from this p-value on upwards, the least p × tests / rank.
        SELECT *, least(min(p_value * tests / p_rank) OVER (ORDER BY p_rank DESC ROWS UNBOUNDED PRECEDING), 1.0) AS p_adjusted
        FROM (
            SELECT *, count(*) OVER () AS tests, row_number() OVER (ORDER BY p_value) AS p_rank
            FROM (
                SELECT
                    *,
                    CASE comparison WHEN 'numbers' THEN cohens_h(above, 1.0 - above) ELSE cohens_h(selected_share, others_share) END AS effect,
                    CASE comparison
                        WHEN 'numbers' THEN mann_whitney_test(selected_numbers, other_numbers)
                        ELSE proportion_test(selected, selected_of, others, others_of)
                    END AS p_value
                FROM (
                    SELECT
                        contrast['property'] AS property,
                        contrast['comparison'] AS comparison,
                        contrast['key'] AS key,
                        contrast['value'] AS value,
                        contrast['selected'] AS selected,
                        contrast['selected_of'] AS selected_of,
                        contrast['others'] AS others,
                        contrast['others_of'] AS others_of,
                        contrast['selected'] / contrast['selected_of'] AS selected_share,
                        contrast['others'] / contrast['others_of'] AS others_share,
                        contrast['selected_numbers'] AS selected_numbers,
                        contrast['other_numbers'] AS other_numbers,
                        -- The chance that a number of the selection is above one of the others.
                        superiority(contrast['selected_numbers'], contrast['other_numbers']) AS above
                    FROM (
                        SELECT unnest(contrasts(
                            selection IS TRUE,
                            'service', service_name,
                            'operation', make_array(service_name, span_name),
                            'kind', span_kind,
                            'status', status_code,
                            'error', error_message,
                            'duration_ms', duration_ms,
                            'attribute', attributes,
                            'resource', resource_attributes,
                            'scope', scope_attributes,
                            'scope_name', scope_name,
                            'caller', CASE WHEN with_paths THEN make_array(parent_service, parent_name) END,
                            'path', CASE WHEN with_paths THEN path END
                        )) AS contrast
                        FROM traces.span_tree
                        WHERE (selection OR baseline) AND (since IS NULL OR timestamp >= since) AND (until IS NULL OR timestamp < until)
                    ) AS counted
                ) AS told
            ) AS tested
        ) AS ranked
    ) AS corrected
    ORDER BY rank
);

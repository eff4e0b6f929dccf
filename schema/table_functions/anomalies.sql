-- The traces that are unlike those they are compared with, and in what. An isolation forest learns what the traces of each root
-- were like in training, and scores the judged ones; three rules say what is wrong. A root needs 32 traces of training to be judged by it.
CREATE FUNCTION anomalies(
    training boolean,
    judged boolean,
    threshold double precision DEFAULT 0.6,
    min_errors int DEFAULT 3,
    min_services int DEFAULT 2,
    seed int DEFAULT 0,
    trees int DEFAULT 100
) RETURN (
    SELECT
        trace_id,
        timestamp,
        root_service,
        root_name,
        duration_ms,
        span_count,
        error_count,
        hops,
        longest_ms,
        score,
        p99_ms,
        reasons
    FROM (
        SELECT
            *,
            array_except(ARRAY[
                CASE WHEN score > within(threshold, 0, 1, 'the threshold of anomalies') AND duration_ms > 2.0 * p99_ms THEN 'latency spike' END,
                CASE WHEN cardinality(unknown) > 0 THEN 'unusual path: ' || array_to_string(array_slice(unknown, 1, 10), ', ') END,
                CASE
                    WHEN error_count >= within(min_errors, 1, 1000000, 'min_errors of anomalies')
                        AND cardinality(error_services) >= within(min_services, 1, 1000000, 'min_services of anomalies')
                        THEN 'cascading failure: ' || error_count || ' errors in ' || array_to_string(array_slice(error_services, 1, 10), ', ')
                END
            ], ARRAY[CAST(NULL AS TEXT)]) AS reasons
        FROM (
            SELECT
                seen.*,
                known.p99_ms,
                isolation_score(
                    known.model, seen.duration_ms, seen.span_count, seen.error_count, seen.hops, seen.longest_ms
                ) AS score,
                array_concat(array_except(seen.services, known.services), array_except(seen.edges, known.edges)) AS unknown
            FROM (SELECT * FROM traces.traces WHERE judged) AS seen
            JOIN (
                SELECT
                    root_service,
                    root_name,
                    quantile(duration_ms, 0.99) AS p99_ms,
                    -- Rows that a join puts beside an item of a dictionary share it.
                    arrow_cast(
                        isolation_forest(trace_id, seed, trees, duration_ms, span_count, error_count, hops, longest_ms),
                        'Dictionary(Int32, Binary)'
                    ) AS model,
                    distinct_texts(services) AS services,
                    distinct_texts(edges) AS edges
                FROM traces.traces
                WHERE training
                GROUP BY root_service, root_name
                HAVING count(*) >= 32
            ) AS known ON seen.root_service = known.root_service AND seen.root_name = known.root_name
        ) AS scored
    ) AS explained
    WHERE score > threshold OR cardinality(reasons) > 0
    ORDER BY score DESC, trace_id
)

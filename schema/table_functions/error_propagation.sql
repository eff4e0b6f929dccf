-- Where errors began, how far up they went and what they took along: a row for each service, operation and error that errors began with, of traces
-- with a span of which a condition on the columns of span_tree is true. An error goes from a span to the next one above that failed, past those
-- inside a process whose status says nothing; any other has dealt with it. The times are those of the spans that errors began with.
CREATE FUNCTION error_propagation(
    predicate boolean DEFAULT true,
    since timestamptz DEFAULT NULL,
    until timestamptz DEFAULT NULL
) RETURN (
    SELECT
        service_name AS origin_service,
        span_name AS origin_name,
        error,
        count(DISTINCT trace_id) AS traces,
        count(*) AS origins,
        sum(way['errors']) AS spans,
        cardinality(distinct_texts(way['services'])) AS service_count,
        distinct_texts(way['services']) AS services,
        sum(way['requests']) AS requests,
        count(*) FILTER (WHERE way['reached_root']) / count(*) AS reached_root,
        mode() WITHIN GROUP (ORDER BY way['chain']) AS chain,
        mode() WITHIN GROUP (ORDER BY way['stopped_at']) AS stopped_at,
        min(timestamp) AS first_seen,
        max(timestamp) AS last_seen,
        min(trace_id) AS example_trace_id
    FROM (
        SELECT
            trace_id,
            timestamp,
            service_name,
            span_name,
            error,
            error_chain(
                nset_left, nset_right, parent_span_id IS NULL, outcome, service_name, span_name, error,
                (since IS NULL OR timestamp >= since) AND (until IS NULL OR timestamp < until)
            ) OVER (PARTITION BY trace_id) AS way
        FROM (
            SELECT
                *,
                -- What crosses to another process is marked as failed when it does: what is not, went well.
                CASE WHEN status_code = 'UNSET' AND span_kind IN ('CLIENT', 'SERVER', 'PRODUCER', 'CONSUMER') THEN 'OK' ELSE status_code END AS outcome,
                CASE WHEN status_code = 'ERROR' THEN without_ids(coalesce(exception_text(events), error_message)) END AS error
            FROM traces.span_tree
            WHERE traces_with(predicate)
                AND traces_with((since IS NULL OR timestamp >= since) AND (until IS NULL OR timestamp < until))
            QUALIFY is_in_trace(predicate) OVER (PARTITION BY trace_id)
        ) AS chosen
    ) AS followed
    WHERE way IS NOT NULL
    GROUP BY service_name, span_name, error
    ORDER BY traces DESC, origin_service, origin_name, error
);

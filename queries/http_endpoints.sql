-- HTTP endpoints
--
-- What each HTTP route answers: requests, client and server errors, and latency.
--
-- param from timestamp '1970-01-01' requests from this time on
-- param to timestamp '2100-01-01' requests before this time
-- param limit integer 50 how many routes
SELECT
    service_name,
    method,
    coalesce(path, span_name) AS route,
    count(*) AS requests,
    count(*) FILTER (WHERE status BETWEEN 400 AND 499) AS client_errors,
    count(*) FILTER (WHERE status >= 500) AS server_errors,
    quantile(0.5)(duration_ms) AS p50_ms,
    quantile(0.95)(duration_ms) AS p95_ms
FROM (
    SELECT
        service_name,
        coalesce(attributes['http.request.method'], attributes['http.method']) AS method,
        coalesce(attributes['http.route'], attributes['url.path'], attributes['http.target']) AS path,
        span_name,
        CAST(coalesce(attributes['http.response.status_code'], attributes['http.status_code']) AS BIGINT) AS status,
        duration_ms
    FROM spans
    WHERE span_kind = 'SERVER' AND timestamp >= :from AND timestamp < :to
) AS served
-- Some instrumentations name the route and not the method.
WHERE coalesce(method, path) IS NOT NULL
GROUP BY service_name, method, route
ORDER BY requests DESC, service_name, method, route
LIMIT :limit

-- Service health
--
-- What stands on the service map, what fails most first: how often each service, database, broker and third party is asked, how often it fails, and how much goes by way of it.
--
-- param from timestamp '1970-01-01' spans that began at this time or later
-- param to timestamp '2100-01-01' spans that began before this time
-- param limit integer 50 how many services
SELECT service_name, type, health, error_rate, requests, request_rate, in_degree, out_degree, betweenness, on_critical_path
FROM service_nodes(:from, :to)
ORDER BY error_rate DESC NULLS LAST, requests DESC, service_name, type
LIMIT :limit

SELECT service_name, count(*) AS spans, max(timestamp) AS newest
FROM traces.spans
GROUP BY service_name
ORDER BY newest DESC, service_name
LIMIT 1000

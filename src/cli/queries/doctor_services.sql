SELECT service_name, count(*) AS spans, max(timestamp) AS newest
FROM traces.spans
GROUP BY service_name
ORDER BY newest DESC
LIMIT 1000

-- traces.service_nodes: a row is what stands on the service map, over all spans.
SELECT * FROM traces.service_nodes()

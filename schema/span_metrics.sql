-- traces.span_metrics: a row is a series of what OpenTelemetry's span metrics connector counts by default, over all spans.
SELECT * FROM traces.span_metrics()

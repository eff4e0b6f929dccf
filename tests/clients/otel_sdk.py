"""Exports spans of every shape with the OpenTelemetry SDK for Python.

usage: otel_sdk.py grpc|http ENDPOINT SERVICE SPANS

What lets it in, and which authority it trusts, comes in the SDK's own variables (OTEL_EXPORTER_OTLP_…).
"""

import sys

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, SpanKind, Status, StatusCode

protocol, endpoint, service, spans = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
if protocol == "grpc":
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

    exporter = OTLPSpanExporter(endpoint=endpoint, insecure=endpoint.startswith("http://"))
else:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import Compression, OTLPSpanExporter

    exporter = OTLPSpanExporter(endpoint=f"{endpoint}/v1/traces", compression=Compression.Gzip)

provider = TracerProvider(resource=Resource.create({"service.name": service, "host.cpus": 2}))
provider.add_span_processor(BatchSpanProcessor(exporter, max_export_batch_size=64))
tracer = provider.get_tracer("checkout", "1.2.3")

with tracer.start_as_current_span("root", kind=SpanKind.SERVER) as root:
    for number in range(spans - 2):
        with tracer.start_as_current_span("child", kind=SpanKind.CLIENT) as child:
            child.set_attribute("number", number)
            child.set_attribute("ratio", number / 4)
            child.set_attribute("even", number % 2 == 0)
            child.set_attribute("tags", ["a", "b"])
    with tracer.start_as_current_span("failing", links=[Link(root.get_span_context(), {"why": "test"})]) as failing:
        try:
            raise ValueError("no such cart")
        except ValueError as error:
            failing.record_exception(error)
            failing.set_status(Status(StatusCode.ERROR, "cart lookup failed"))

assert provider.force_flush(30_000)
provider.shutdown()

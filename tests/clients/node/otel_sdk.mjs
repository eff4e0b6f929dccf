// Exports spans of every shape with the OpenTelemetry SDK for Node.
//
// usage: otel_sdk.mjs grpc|proto|json ENDPOINT SERVICE SPANS

import { SpanKind, SpanStatusCode, context, trace } from '@opentelemetry/api';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { BatchSpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace';

const exporters = {
  grpc: () => import('@opentelemetry/exporter-trace-otlp-grpc'),
  proto: () => import('@opentelemetry/exporter-trace-otlp-proto'),
  json: () => import('@opentelemetry/exporter-trace-otlp-http'),
};

const [protocol, endpoint, service, spans] = process.argv.slice(2);
const { OTLPTraceExporter } = await exporters[protocol]();
const url = protocol === 'grpc' ? endpoint : `${endpoint}/v1/traces`;
const exporter = new OTLPTraceExporter({ url, compression: protocol === 'proto' ? 'gzip' : 'none' });
const provider = new TracerProvider({
  resource: resourceFromAttributes({ 'service.name': service, 'host.cpus': 2 }),
  spanProcessors: [new BatchSpanProcessor({ exporter, maxExportBatchSize: 64 })],
});
const tracer = provider.getTracer('checkout', '1.2.3');

const root = tracer.startSpan('root', { kind: SpanKind.SERVER });
const inRoot = trace.setSpan(context.active(), root);
for (let number = 0; number < Number(spans) - 2; number += 1) {
  const child = tracer.startSpan('child', { kind: SpanKind.CLIENT }, inRoot);
  child.setAttributes({ number, ratio: number / 4, even: number % 2 === 0, tags: ['a', 'b'] });
  child.end();
}
const links = [{ context: root.spanContext(), attributes: { why: 'test' } }];
const failing = tracer.startSpan('failing', { links }, inRoot);
failing.recordException(new TypeError('no such cart'));
failing.setStatus({ code: SpanStatusCode.ERROR, message: 'cart lookup failed' });
failing.end();
root.end();

await provider.forceFlush();
await provider.shutdown();

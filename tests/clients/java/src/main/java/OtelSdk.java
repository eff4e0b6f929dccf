import io.opentelemetry.api.common.AttributeKey;
import io.opentelemetry.api.common.Attributes;
import io.opentelemetry.api.trace.Span;
import io.opentelemetry.api.trace.SpanKind;
import io.opentelemetry.api.trace.StatusCode;
import io.opentelemetry.api.trace.Tracer;
import io.opentelemetry.context.Scope;
import io.opentelemetry.exporter.otlp.http.trace.OtlpHttpSpanExporter;
import io.opentelemetry.exporter.otlp.http.trace.OtlpHttpSpanExporterBuilder;
import io.opentelemetry.exporter.otlp.trace.OtlpGrpcSpanExporter;
import io.opentelemetry.exporter.otlp.trace.OtlpGrpcSpanExporterBuilder;
import io.opentelemetry.sdk.resources.Resource;
import io.opentelemetry.sdk.trace.SdkTracerProvider;
import io.opentelemetry.sdk.trace.export.BatchSpanProcessor;
import io.opentelemetry.sdk.trace.export.SpanExporter;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.concurrent.TimeUnit;

/** Exports spans of every shape with the OpenTelemetry SDK for Java. Usage: OtelSdk grpc|http ENDPOINT SERVICE SPANS. */
public final class OtelSdk {
  public static void main(String[] arguments) {
    OtlpGrpcSpanExporterBuilder grpc = OtlpGrpcSpanExporter.builder().setEndpoint(arguments[1]);
    OtlpHttpSpanExporterBuilder http = OtlpHttpSpanExporter.builder().setEndpoint(arguments[1] + "/v1/traces").setCompression("gzip");
    // The agent and autoconfiguration read this variable themselves.
    String headers = System.getenv("OTEL_EXPORTER_OTLP_HEADERS");
    if (headers != null) {
      String[] header = headers.split("=", 2);
      String value = URLDecoder.decode(header[1], StandardCharsets.UTF_8);
      grpc.addHeader(header[0], value);
      http.addHeader(header[0], value);
    }
    SpanExporter exporter = arguments[0].equals("grpc") ? grpc.build() : http.build();
    Resource resource = Resource.create(Attributes.of(AttributeKey.stringKey("service.name"), arguments[2], AttributeKey.longKey("host.cpus"), 2L));
    int spans = Integer.parseInt(arguments[3]);
    SdkTracerProvider provider = SdkTracerProvider.builder()
        .setResource(resource)
        .addSpanProcessor(BatchSpanProcessor.builder(exporter).setMaxExportBatchSize(64).build())
        .build();
    Tracer tracer = provider.tracerBuilder("checkout").setInstrumentationVersion("1.2.3").build();
    Span root = tracer.spanBuilder("root").setSpanKind(SpanKind.SERVER).startSpan();
    try (Scope inRoot = root.makeCurrent()) {
      for (int number = 0; number < spans - 2; number++) {
        Span child = tracer.spanBuilder("child").setSpanKind(SpanKind.CLIENT).startSpan();
        child.setAttribute("number", number);
        child.setAttribute("ratio", number / 4.0);
        child.setAttribute("even", number % 2 == 0);
        child.setAttribute(AttributeKey.stringArrayKey("tags"), List.of("a", "b"));
        child.end();
      }
      Span failing = tracer.spanBuilder("failing").addLink(root.getSpanContext(), Attributes.of(AttributeKey.stringKey("why"), "test")).startSpan();
      failing.recordException(new IllegalStateException("no such cart"));
      failing.setStatus(StatusCode.ERROR, "cart lookup failed");
      failing.end();
    }
    root.end();
    boolean flushed = provider.forceFlush().join(60, TimeUnit.SECONDS).isSuccess();
    provider.shutdown().join(10, TimeUnit.SECONDS);
    if (!flushed) {
      throw new AssertionError("not all was exported");
    }
  }
}

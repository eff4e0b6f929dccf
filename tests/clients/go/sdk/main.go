// Exports spans of every shape with the OpenTelemetry SDK for Go.
//
// Usage: sdk grpc|http ENDPOINT SERVICE SPANS
package main

import (
	"context"
	"errors"
	"log"
	"os"
	"strconv"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	protocol, endpoint, service := os.Args[1], os.Args[2], os.Args[3]
	spans, err := strconv.Atoi(os.Args[4])
	try(err)
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Fatal(err) }))

	var exporter sdktrace.SpanExporter
	if protocol == "grpc" {
		exporter, err = otlptracegrpc.New(ctx, otlptracegrpc.WithEndpointURL(endpoint))
	} else {
		exporter, err = otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(endpoint+"/v1/traces"), otlptracehttp.WithCompression(otlptracehttp.GzipCompression))
	}
	try(err)
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithResource(resource.NewSchemaless(attribute.String("service.name", service), attribute.Int("host.cpus", 2))),
		sdktrace.WithBatcher(exporter, sdktrace.WithMaxExportBatchSize(64)),
	)
	tracer := provider.Tracer("checkout", trace.WithInstrumentationVersion("1.2.3"))

	inRoot, root := tracer.Start(ctx, "root", trace.WithSpanKind(trace.SpanKindServer))
	for number := range spans - 2 {
		_, child := tracer.Start(inRoot, "child", trace.WithSpanKind(trace.SpanKindClient))
		child.SetAttributes(
			attribute.Int("number", number), attribute.Float64("ratio", float64(number)/4),
			attribute.Bool("even", number%2 == 0), attribute.StringSlice("tags", []string{"a", "b"}),
		)
		child.End()
	}
	link := trace.Link{SpanContext: root.SpanContext(), Attributes: []attribute.KeyValue{attribute.String("why", "test")}}
	_, failing := tracer.Start(inRoot, "failing", trace.WithLinks(link))
	failing.RecordError(errors.New("no such cart"))
	failing.SetStatus(codes.Error, "cart lookup failed")
	failing.End()
	root.End()

	try(provider.ForceFlush(ctx))
	try(provider.Shutdown(ctx))
}

func try(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

//! Rows become the bytes of a format, a batch at a time.

use std::io::Write;

use datafusion::arrow::array::{AsArray, RecordBatch};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;
use futures::StreamExt;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;

use super::format::Format;
use crate::engine::Rows;
use crate::error::{Error, Result};
use crate::formats::jaeger::{JaegerTraces, trace_json};
use crate::formats::otlp_json::request_json;
use crate::formats::perfetto::{self, Layout};
use crate::formats::{regrouped, rows_to_request, service_of};
use crate::render::{self, RenderOptions, write_all};

/// Spans in a request.
const REQUEST_SPANS: usize = 1_000;

/// A request that is larger is written as several: no reader need take more than OTLP's 64 MiB.
const MAX_REQUEST_BYTES: usize = 32 << 20;

/// Writes all rows in a format; gives the number of rows, and the output back.
pub(super) async fn write<W: Write + Send>(format: Format, rows: Rows, mut out: W) -> Result<(u64, W)> {
    let Rows { schema, mut stream, .. } = rows;
    let rendered = match format {
        Format::Csv => Some(render::Format::Csv),
        Format::Ndjson => Some(render::Format::Ndjson),
        Format::Parquet => Some(render::Format::Parquet),
        _ => None,
    };
    if let Some(rendered) = rendered {
        return write_all(rendered, schema, stream, &RenderOptions::default(), out).await;
    }
    let mut body: Box<dyn Body + Send> = match format {
        Format::Jaeger => Box::new(JaegerBody::default()),
        Format::Perfetto => Box::new(PerfettoBody::default()),
        Format::Folded => Box::new(FoldedBody),
        Format::OtlpJson => Box::new(OtlpBody { json: true }),
        _ => Box::new(OtlpBody { json: false }),
    };
    let mut count = 0;
    let mut text = Vec::new();
    body.begin(&mut text);
    while let Some(batch) = stream.next().await {
        let batch = batch?;
        for first in (0..batch.num_rows()).step_by(REQUEST_SPANS) {
            let rows = batch.slice(first, REQUEST_SPANS.min(batch.num_rows() - first));
            body.rows(&rows, &mut text)?;
            out.write_all(&text).map_err(write_failed)?;
            text.clear();
            count += rows.num_rows() as u64;
        }
    }
    body.end(&mut text)?;
    out.write_all(&text).map_err(write_failed)?;
    Ok((count, out))
}

fn write_failed(error: std::io::Error) -> Error {
    Error::io("cannot write the export", error)
}

/// What a format makes of rows.
trait Body {
    fn begin(&mut self, _: &mut Vec<u8>) {}
    fn rows(&mut self, rows: &RecordBatch, out: &mut Vec<u8>) -> Result<()>;
    fn end(&mut self, _: &mut Vec<u8>) -> Result<()> {
        Ok(())
    }
}

/// The rows as a request, in their order.
fn request(rows: &RecordBatch) -> Result<ExportTraceServiceRequest> {
    let bytes = rows_to_request(rows)?;
    ExportTraceServiceRequest::decode(&*bytes).map_err(|error| Error::internal(format!("a request of ours: {error}")))
}

struct OtlpBody {
    json: bool,
}

impl Body for OtlpBody {
    fn rows(&mut self, rows: &RecordBatch, out: &mut Vec<u8>) -> Result<()> {
        let request = regrouped(request(rows)?);
        let count = rows.num_rows();
        if count > 1 && request.encoded_len() > MAX_REQUEST_BYTES {
            self.rows(&rows.slice(0, count / 2), out)?;
            return self.rows(&rows.slice(count / 2, count - count / 2), out);
        }
        match self.json {
            true => {
                serde_json::to_writer(&mut *out, &request_json(&request))
                    .map_err(|error| Error::internal(error.to_string()))?;
                out.push(b'\n');
            }
            false => out.extend(request.encode_length_delimited_to_vec()),
        }
        Ok(())
    }
}

/// Holds one trace.
#[derive(Default)]
struct JaegerBody {
    trace_id: String,
    trace: ExportTraceServiceRequest,
    has_written: bool,
}

impl JaegerBody {
    fn flush(&mut self, out: &mut Vec<u8>) -> Result<()> {
        let trace = std::mem::take(&mut self.trace);
        if trace.resource_spans.is_empty() {
            return Ok(());
        }
        if std::mem::replace(&mut self.has_written, true) {
            out.extend_from_slice(JaegerTraces::BETWEEN.as_bytes());
        }
        let json = trace_json(&regrouped(trace));
        serde_json::to_writer(out, &json).map_err(|error| Error::internal(error.to_string()))
    }
}

impl Body for JaegerBody {
    fn begin(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(JaegerTraces::BEFORE.as_bytes());
    }

    fn rows(&mut self, rows: &RecordBatch, out: &mut Vec<u8>) -> Result<()> {
        let ids = rows.column_by_name("trace_id").and_then(|ids| cast(ids, &DataType::Utf8).ok());
        let ids = ids.ok_or_else(|| Error::internal("spans to export have no trace ids"))?;
        let ids = ids.as_string::<i32>();
        let mut first = 0;
        while first < rows.num_rows() {
            let id = ids.value(first);
            let count = (first..rows.num_rows()).take_while(|row| ids.value(*row) == id).count();
            if id != self.trace_id {
                self.flush(out)?;
                id.clone_into(&mut self.trace_id);
            }
            self.trace.resource_spans.extend(request(&rows.slice(first, count))?.resource_spans);
            first += count;
        }
        Ok(())
    }

    fn end(&mut self, out: &mut Vec<u8>) -> Result<()> {
        self.flush(out)?;
        out.extend_from_slice(JaegerTraces::AFTER.as_bytes());
        Ok(())
    }
}

#[derive(Default)]
struct PerfettoBody {
    layout: Layout,
    has_written: bool,
}

impl Body for PerfettoBody {
    fn begin(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(perfetto::BEFORE.as_bytes());
    }

    fn rows(&mut self, rows: &RecordBatch, out: &mut Vec<u8>) -> Result<()> {
        for resource_spans in &request(rows)?.resource_spans {
            let service = service_of(resource_spans);
            for span in resource_spans.scope_spans.iter().flat_map(|scope_spans| &scope_spans.spans) {
                for event in self.layout.push(service, span) {
                    let between = if std::mem::replace(&mut self.has_written, true) { perfetto::BETWEEN } else { "" };
                    out.extend_from_slice(between.as_bytes());
                    out.extend_from_slice(event.as_bytes());
                }
            }
        }
        Ok(())
    }

    fn end(&mut self, out: &mut Vec<u8>) -> Result<()> {
        out.extend_from_slice(perfetto::AFTER.as_bytes());
        Ok(())
    }
}

/// The statement's only column is the line.
struct FoldedBody;

impl Body for FoldedBody {
    fn rows(&mut self, rows: &RecordBatch, out: &mut Vec<u8>) -> Result<()> {
        let lines = cast(rows.column(0), &DataType::Utf8).map_err(|error| Error::internal(error.to_string()))?;
        for line in lines.as_string::<i32>().iter().flatten() {
            out.extend_from_slice(line.as_bytes());
            out.push(b'\n');
        }
        Ok(())
    }
}

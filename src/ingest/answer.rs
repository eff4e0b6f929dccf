//! `ExportTraceServiceResponse` in both encodings.

use opentelemetry_proto::tonic::collector::trace::v1::{ExportTracePartialSuccess, ExportTraceServiceResponse};
use prost::Message;
use serde_json::json;

use super::front::{ExportAnswer, Format};

/// The body that answers a success. `partial_success` stands only when spans were refused.
pub(super) fn encode(answer: &ExportAnswer, format: Format) -> Vec<u8> {
    let refusals = &answer.refusals;
    if refusals.rejected_spans == 0 {
        return if format == Format::Json { b"{}".to_vec() } else { Vec::new() };
    }
    if format == Format::Json {
        let partial = json!({ "rejectedSpans": refusals.rejected_spans.to_string(), "errorMessage": refusals.message });
        return json!({ "partialSuccess": partial }).to_string().into_bytes();
    }
    let partial = ExportTracePartialSuccess {
        rejected_spans: i64::try_from(refusals.rejected_spans).unwrap_or(i64::MAX),
        error_message: refusals.message.clone(),
    };
    ExportTraceServiceResponse { partial_success: Some(partial) }.encode_to_vec()
}

//! Jaeger's JSON, as its API and its UI give and take it: `{"data":[TRACE, …]}`, one trace, or one span with its process.
//!
//! Both ways follow the OpenTelemetry specification, *Mapping to non-OTLP formats* and *OpenTelemetry to Jaeger Transformation*
//! (`specification/common/mapping-to-non-otlp.md`, `specification/trace/sdk_exporters/jaeger.md`), and, where that is silent, what the
//! Collector's translator does: `opentracing.ref_type` on links, `w3c.tracestate`, the reference that is the parent. Times are
//! microseconds, so that nanoseconds are lost on the way out; arrays become JSON texts.

mod read;
mod write;

#[cfg(test)]
mod tests;

pub use read::from_json;
pub use write::{JaegerTraces, trace_json};

/// Tags that stand for what OTLP has a field for.
mod tag {
    pub const ERROR: &str = "error";
    pub const KIND: &str = "span.kind";
    pub const STATUS_CODE: &str = "otel.status_code";
    pub const STATUS_DESCRIPTION: &str = "otel.status_description";
    pub const TRACE_STATE: &str = "w3c.tracestate";
    pub const SCOPE_NAME: &str = "otel.scope.name";
    pub const SCOPE_VERSION: &str = "otel.scope.version";
    /// What the scope was called before.
    pub const LIBRARY_NAME: &str = "otel.library.name";
    pub const LIBRARY_VERSION: &str = "otel.library.version";
    pub const DROPPED_ATTRIBUTES: &str = "otel.dropped_attributes_count";
    pub const DROPPED_EVENTS: &str = "otel.dropped_events_count";
    pub const DROPPED_LINKS: &str = "otel.dropped_links_count";
    pub const SERVICE_NAME: &str = "service.name";
    /// The field of a log that is the event's name.
    pub const EVENT: &str = "event";
    pub const REF_TYPE: &str = "opentracing.ref_type";
}

/// The service that Jaeger's translator names where a resource names none.
const NO_SERVICE: &str = "OTLPResourceNoServiceName";
const CHILD_OF: &str = "CHILD_OF";
const FOLLOWS_FROM: &str = "FOLLOWS_FROM";

//! What a JSON document is a document of, told by its keys.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

/// What a JSON object holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JsonShape {
    /// An OTLP `ExportTraceServiceRequest`, perhaps an empty one.
    Otlp,
    /// Traces as Jaeger's API gives them, in `data`.
    JaegerTraces,
    /// One trace, or one span with its process.
    Jaeger,
    /// One span of Zipkin's, of either version.
    Zipkin,
    OtlpLogs,
    OtlpMetrics,
    Unknown,
}

impl JsonShape {
    /// Tells the shape of a whole JSON object; `None` when it is no JSON object.
    pub fn of(json: &[u8]) -> Option<Self> {
        let keys: Keys = serde_json::from_slice(json).ok()?;
        Some(Self::of_keys(keys.0.keys().map(String::as_str)))
    }

    /// Tells the shape by the keys of an object, of which the last may be missing.
    pub fn of_keys<'k>(keys: impl Iterator<Item = &'k str>) -> Self {
        let keys: Vec<&str> = keys.collect();
        let has = |key: &str| keys.contains(&key);
        match () {
            () if keys.is_empty() || has("resourceSpans") || has("resource_spans") => Self::Otlp,
            () if has("resourceLogs") || has("resource_logs") => Self::OtlpLogs,
            () if has("resourceMetrics") || has("resource_metrics") => Self::OtlpMetrics,
            () if has("data") => Self::JaegerTraces,
            () if has("traceID") || has("spanID") || has("processes") => Self::Jaeger,
            () if has("traceId") && has("id") || has("localEndpoint") || has("binaryAnnotations") => Self::Zipkin,
            () => Self::Unknown,
        }
    }
}

#[derive(Deserialize)]
struct Keys(BTreeMap<String, IgnoredAny>);

/// The keys of the JSON object that a text begins with, as far as the text goes.
pub fn first_keys(text: &str) -> Vec<String> {
    let (bytes, mut keys) = (text.as_bytes(), Vec::new());
    let (mut at, mut depth) = (0, 0_u32);
    while at < bytes.len() {
        match bytes[at] {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    break;
                }
            }
            b'"' => {
                let Some(end) = end_of_string(&text[at + 1..]) else { break };
                if depth == 1 && text[at + end + 2..].trim_ascii_start().starts_with(':') {
                    keys.push(text[at + 1..at + 1 + end].to_owned());
                }
                at += end + 1;
            }
            _ => {}
        }
        at += 1;
    }
    keys
}

/// Where a string's closing quote stands.
fn end_of_string(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_told_by_their_keys() {
        let cases = [
            (r#"{"resourceSpans":[]}"#, JsonShape::Otlp),
            ("{}", JsonShape::Otlp),
            (r#"{"data":[{"traceID":"1"}],"total":0}"#, JsonShape::JaegerTraces),
            (r#"{"traceID":"1","spans":[],"processes":{}}"#, JsonShape::Jaeger),
            (r#"{"traceId":"1","id":"2","localEndpoint":{"serviceName":"a"}}"#, JsonShape::Zipkin),
            (r#"{"traceId":"1","id":"2","annotations":[{"value":"cs"}]}"#, JsonShape::Zipkin),
            (r#"{"traceId":"1","id":"2","name":"a"}"#, JsonShape::Zipkin),
            (r#"{"resourceLogs":[]}"#, JsonShape::OtlpLogs),
            (r#"{"traceId":"1","spanId":"2"}"#, JsonShape::Unknown),
        ];
        for (json, shape) in cases {
            assert_eq!(JsonShape::of(json.as_bytes()), Some(shape), "{json}");
            assert_eq!(JsonShape::of_keys(first_keys(json).iter().map(String::as_str)), shape, "{json}");
        }
        assert_eq!(JsonShape::of(b"[1]"), None);
        assert_eq!(first_keys(r#"{"a":{"b\"":1},"c" : "d:","#), ["a", "c"]);
        assert_eq!(first_keys(r#"{"a\\":[{"x":1}],"é"#), ["a\\\\"]);
    }
}

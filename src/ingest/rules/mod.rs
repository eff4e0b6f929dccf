//! Rules for sensitive data: what of a request is deleted, hashed or masked before anything of it is kept.
//!
//! A request is written anew without it before it is decoded and logged, so that neither the log nor the table ever hold it, and a replay needs no
//! rules. The same request under the same rules becomes the same bytes: a retry is still known as one.

mod censor;
mod file;
mod patterns;
mod rule;

use std::path::Path;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use self::censor::RuleCensor;
use self::rule::Rule;
use crate::error::Result;
use crate::otlp::rewrite_export;

/// The rules of a file, in its order.
#[derive(Debug)]
pub struct Rules(Vec<Rule>);

/// What a rule has done since the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleCount {
    pub rule: String,
    /// `deleted`, `hashed` or `masked`.
    pub outcome: &'static str,
    /// Attributes, and texts that are none.
    pub values: u64,
}

impl Rules {
    /// Reads a file of rules.
    ///
    /// # Errors
    /// [`crate::error::Kind::BadInput`] that tells every mistake with its line.
    pub fn read(path: &Path) -> Result<Self> {
        file::read(path).map(Self)
    }

    /// What the rules have done since the start.
    pub fn counts(&self) -> Vec<RuleCount> {
        let count = |rule: &Rule| RuleCount {
            rule: rule.name.clone(),
            outcome: rule.action.outcome(),
            values: rule.values.load(Ordering::Relaxed),
        };
        self.0.iter().map(count).collect()
    }

    /// Applies the rules to a protobuf `ExportTraceServiceRequest`; gives what is left of it.
    pub(super) fn apply(&self, payload: &[u8]) -> Result<Bytes> {
        let mut censor = RuleCensor::new(&self.0);
        let written = rewrite_export(payload, &mut censor)?;
        for (rule, values) in self.0.iter().zip(censor.counts()) {
            rule.values.fetch_add(*values, Ordering::Relaxed);
        }
        Ok(written.into())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList};
    use opentelemetry_proto::tonic::resource::v1::Resource;
    use opentelemetry_proto::tonic::trace::v1::span::Event;
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
    use prost::Message;

    use super::*;

    fn rules(text: &str) -> Rules {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("key"), "a key of more than sixteen bytes\n").expect("written");
        let path = folder.path().join("rules.toml");
        fs::write(&path, text).expect("written");
        Rules::read(&path).expect("rules")
    }

    fn attribute(key: &str, value: Value) -> KeyValue {
        KeyValue { key: key.into(), value: Some(AnyValue { value: Some(value) }), key_strindex: 0 }
    }

    fn text(key: &str, value: &str) -> KeyValue {
        attribute(key, Value::StringValue(value.into()))
    }

    fn sent(attributes: Vec<KeyValue>) -> Vec<u8> {
        let event = Event {
            name: "exception".into(),
            attributes: vec![text("exception.message", "no such user ann@example.org")],
            ..Event::default()
        };
        let span = Span {
            name: "GET /users/ann@example.org".into(),
            attributes,
            events: vec![event],
            status: Some(Status { code: 2, message: "card 4111 1111 1111 1111 was refused".into() }),
            ..Span::default()
        };
        let resource = Resource {
            attributes: vec![text("service.name", "shop"), text("host.name", "node-7")],
            ..Resource::default()
        };
        let scope_spans = vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }];
        let resource_spans = vec![ResourceSpans { resource: Some(resource), scope_spans, schema_url: String::new() }];
        ExportTraceServiceRequest { resource_spans }.encode_to_vec()
    }

    /// What is left: resource, span.
    fn left(rules: &Rules, payload: &[u8]) -> (Resource, Span) {
        let written = rules.apply(payload).expect("a request");
        let mut request = ExportTraceServiceRequest::decode(written).expect("a request");
        let mut of_resource = request.resource_spans.remove(0);
        (of_resource.resource.expect("a resource"), of_resource.scope_spans.remove(0).spans.remove(0))
    }

    fn counts(rules: &Rules) -> Vec<u64> {
        rules.counts().iter().map(|count| count.values).collect()
    }

    #[test]
    fn keys_are_deleted_hashed_and_masked() {
        let rules = rules(
            r#"
            [[rule]]
            name = "passwords"
            action = "delete"
            keys = ["*.password"]
            [[rule]]
            name = "users"
            action = "hash"
            keys = ["user.id"]
            key_file = "key"
            [[rule]]
            name = "queries"
            action = "mask"
            keys = ["DB.query"]
            with = "?"
            "#,
        );
        let attributes = vec![
            text("db.password", "hunter2"),
            text("user.id", "ann"),
            text("db.query", "SELECT 1"),
            attribute("n", Value::IntValue(5)),
        ];
        let (_, span) = left(&rules, &sent(attributes));
        // HMAC-SHA-256 of "ann" as Python's hmac has it.
        const HASHED: &str = "a4577c6ac59ea6a80625c9dd3581c95ee1c5d298c89391a5f8dc9dec0ccb1b32";
        let expected = [text("user.id", HASHED), text("db.query", "?"), attribute("n", Value::IntValue(5))];
        assert_eq!(span.attributes, expected);
        assert_eq!(counts(&rules), [1, 1, 1]);
    }

    #[test]
    fn patterns_are_found_in_every_text() {
        let rules =
            rules("[[rule]]\nname = \"ready-made\"\naction = \"mask\"\npatterns = [\"card\", \"token\", \"email\"]\n");
        let attributes = vec![
            text("note", "mail ann@example.org or bob@example.org"),
            attribute("number", Value::IntValue(4_111_111_111_111_111)),
            attribute("double", Value::DoubleValue(4_111_111_111_111_111.0)),
            attribute("bytes", Value::BytesValue(b"Bearer abcdefgh12345678".to_vec())),
            text("url.full", "https://ann:hunter2@shop.example/?page=2&api_key=abcdef123"),
            text("plain", "order 12345"),
        ];
        let (resource, span) = left(&rules, &sent(attributes));
        let expected = [
            text("note", "mail *** or ***"),
            text("number", "***"),
            text("double", "***"),
            text("bytes", "***"),
            text("url.full", "https://***@shop.example/?page=2&***"),
            text("plain", "order 12345"),
        ];
        assert_eq!(span.attributes, expected);
        assert_eq!(span.name, "GET /users/***");
        assert_eq!(span.status.as_ref().map(|status| status.message.as_str()), Some("card *** was refused"));
        assert_eq!(span.events[0].attributes, [text("exception.message", "no such user ***")]);
        assert_eq!(resource.attributes, [text("service.name", "shop"), text("host.name", "node-7")]);
        assert_eq!(counts(&rules), [8]);
    }

    #[test]
    fn keys_with_patterns_look_into_lists_and_arrays() {
        let rules = rules(
            r#"
            [[rule]]
            name = "bodies"
            action = "mask"
            keys = ["http.request.body", "form.*"]
            patterns = ["card"]
            "#,
        );
        const CARD: &str = "4111111111111111";
        let list = |values: Vec<KeyValue>| Value::KvlistValue(KeyValueList { values });
        let array = |values: Vec<Value>| {
            Value::ArrayValue(ArrayValue {
                values: values.into_iter().map(|of| AnyValue { value: Some(of) }).collect(),
            })
        };
        let string = |of: &str| Value::StringValue(of.into());
        // Keys that are long together, and around one another.
        let deep = |number: &str| {
            (0..4).fold(list(vec![text("number", number)]), |inner, _| list(vec![attribute(&"k".repeat(200), inner)]))
        };
        let with = |number: &str, other: &str| {
            vec![
                attribute("http.request.body", list(vec![text("number", number), text("name", "ann")])),
                attribute("http.request.body", array(vec![string(number), list(vec![text("number", number)])])),
                attribute("form", deep(number)),
                attribute("other", list(vec![text("number", other)])),
            ]
        };
        let (_, span) = left(&rules, &sent(with(CARD, CARD)));
        assert_eq!(span.attributes, with("***", CARD));
        assert_eq!(counts(&rules), [4]);
    }

    #[test]
    fn a_mask_in_bytes_that_are_no_text_leaves_bytes() {
        let rules = rules("[[rule]]\nname = \"a\"\naction = \"mask\"\npatterns = [\"email\"]\n");
        let bytes = |of: &[u8]| attribute("raw", Value::BytesValue(of.to_vec()));
        let payload = sent(vec![bytes(b"\xff ann@example.org \xfe")]);
        assert_eq!(left(&rules, &payload).1.attributes, [bytes(b"\xff *** \xfe")]);
    }

    #[test]
    fn an_allow_list_deletes_the_others_of_its_owners() {
        let rules = rules(
            r#"
            [[rule]]
            name = "known"
            action = "allow"
            keys = ["http.*"]
            on = ["resource", "span"]
            "#,
        );
        let attributes = vec![text("http.route", "/"), text("secret", "x")];
        let (resource, span) = left(&rules, &sent(attributes));
        assert_eq!(span.attributes, [text("http.route", "/")]);
        assert_eq!(resource.attributes, [text("service.name", "shop")], "without it no span would be found by service");
        assert_eq!(span.events[0].attributes.len(), 1);
        assert_eq!(counts(&rules), [2]);
    }

    #[test]
    fn the_same_request_becomes_the_same_bytes() {
        let rules = rules("[[rule]]\nname = \"a\"\naction = \"hash\"\npatterns = [\"email\"]\nkey_file = \"key\"\n");
        let payload = sent(vec![text("to", "ann@example.org")]);
        let once = rules.apply(&payload).expect("a request");
        assert_eq!(rules.apply(&payload).expect("a request"), once);
        assert_ne!(once, payload);
        assert!(!once.windows(3).any(|part| part == b"ann"), "{once:?}");
    }
}

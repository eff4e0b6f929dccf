//! Documents of Jaeger's and Zipkin's own tests.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use serde_json::Value;
use spanhouse::formats::jaeger::trace_json;
use spanhouse::formats::{Converted, jaeger, zipkin};
use spanhouse::otlp::json_to_protobuf;

use super::{Folder, SUCCESS, fixtures, flat};
use crate::support::shared_data;

/// Where Jaeger's pair of OTLP and its own JSON lies.
const PAIR: &str = "fixtures/jaegertracing__jaeger/cmd/jaeger/internal/extension/jaegerquery/internal/fixture";
/// Where its UI's pairs lie.
const UI: &str = "fixtures/jaegertracing__jaeger-ui/packages/jaeger-ui/src/utils/fixtures";

fn read(path: &std::path::Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).expect("readable")).expect("JSON")
}

fn otlp(json: &Value) -> ExportTraceServiceRequest {
    let bytes = json_to_protobuf(json.to_string().as_bytes()).expect("OTLP JSON");
    ExportTraceServiceRequest::decode(&*bytes).expect("protobuf")
}

/// A trace of Jaeger's with what its UI adds taken away, and the old name of scopes.
fn plain(trace: &Value) -> Value {
    let mut trace = trace.clone();
    for span in trace["spans"].as_array_mut().expect("spans") {
        let fields = span.as_object_mut().expect("a span");
        for added in ["process", "relativeStartTime", "depth", "hasChildren", "childSpanIds", "warnings"] {
            fields.remove(added);
        }
        for reference in span["references"].as_array_mut().expect("references") {
            reference.as_object_mut().expect("a reference").remove("span");
        }
        for tag in span["tags"].as_array_mut().expect("tags") {
            let key = tag["key"].as_str().expect("a key").replace("otel.library.", "otel.scope.");
            tag["key"] = key.into();
        }
    }
    trace.as_object_mut().expect("a trace").remove("warnings");
    trace
}

#[test]
fn otlp_becomes_what_jaeger_makes_of_it_and_the_other_way_round() {
    let Some(shared) = shared_data("otlp_becomes_what_jaeger_makes_of_it_and_the_other_way_round") else { return };
    let pairs = [
        (shared.join(PAIR), "otlp2jaeger-in.json", "otlp2jaeger-out.json"),
        (shared.join(UI), "otlp2jaeger-in.json", "otlp2jaeger-out.json"),
        (shared.join(UI), "otlp2jaeger-multi-in-combined.json", "oltp2jaeger-multi-out.json"),
    ];
    for (folder, otlp_file, jaeger_file) in pairs {
        let (request, document) = (otlp(&read(&folder.join(otlp_file))), read(&folder.join(jaeger_file)));
        let wanted = plain(&document["data"][0]);
        assert_eq!(plain(&trace_json(&request)), wanted, "{otlp_file}");
        let Converted { request: back, refused } =
            jaeger::from_json(document.to_string().as_bytes()).expect("Jaeger JSON");
        assert_eq!(refused, []);
        // Jaeger has microseconds and no URLs of schemas.
        let mut known = request.clone();
        for resource in &mut known.resource_spans {
            resource.schema_url.clear();
            for span in resource.scope_spans.iter_mut().flat_map(|scope| &mut scope.spans) {
                let micros = |ns: u64| ns / 1_000 * 1_000;
                let duration = micros(span.end_time_unix_nano - span.start_time_unix_nano);
                span.start_time_unix_nano = micros(span.start_time_unix_nano);
                span.end_time_unix_nano = span.start_time_unix_nano + duration;
            }
        }
        assert_eq!(flat(&[back]), flat(&[known]), "{jaeger_file}");
    }
}

#[test]
fn jaegers_pair_holds_through_the_commands() {
    let Some(shared) = shared_data("jaegers_pair_holds_through_the_commands") else { return };
    let folder = Folder::new();
    let file = shared.join(PAIR).join("otlp2jaeger-in.json");
    folder.done(&["import", file.to_str().expect("UTF-8")]);
    let trace = "83a9efd15c1c98a977e0711cc93ee28b";
    let exported = folder.done(&["export", "--trace", trace, "--format", "jaeger"]);
    assert_eq!(exported.json(), read(&shared.join(PAIR).join("otlp2jaeger-out.json")));
    // What was written is taken again, as the same spans.
    folder.write("out.json", &exported.out);
    let other = Folder::new();
    let again = other.run(&["import", folder.path("out.json").to_str().expect("UTF-8")]);
    assert_eq!(again.code, SUCCESS, "{}", again.err);
    let columns = "trace_id, span_id, parent_span_id, timestamp, duration_ns, span_name, span_kind, service_name, \
        scope_name, attributes";
    let rows = |folder: &Folder| folder.rows(&format!("SELECT {columns} FROM spans ORDER BY span_id"));
    assert_eq!(rows(&other), rows(&folder));
}

#[test]
fn a_document_of_elasticsearch_keeps_the_types_of_its_tags() {
    let Some(shared) = shared_data("a_document_of_elasticsearch_keeps_the_types_of_its_tags") else { return };
    let path = shared.join("fixtures/jaegertracing__jaeger/internal/uimodel/converter/v1/json/fixtures/es_01.json");
    let converted = jaeger::from_json(&std::fs::read(path).expect("readable")).expect("Jaeger JSON");
    let json = spanhouse::formats::otlp_json::request_json(&converted.request);
    let span = &json["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
    let wanted = serde_json::json!([
        {"key": "peer.service", "value": {"stringValue": "service-y"}},
        {"key": "peer.ipv4", "value": {"intValue": "23456"}},
        {"key": "temperature", "value": {"doubleValue": 72.5}},
        {"key": "blob", "value": {"bytesValue": "AAAwOQ=="}}
    ]);
    assert_eq!(span["attributes"], wanted);
    assert_eq!((&span["status"]["code"], &span["parentSpanId"]), (&2.into(), &"0000000000000003".into()));
    assert_eq!(span["links"].as_array().map(Vec::len), Some(2));
}

#[test]
fn every_document_of_jaeger_and_zipkin_is_taken_or_refused_span_by_span() {
    let Some(shared) = shared_data("every_document_of_jaeger_and_zipkin_is_taken_or_refused_span_by_span") else {
        return;
    };
    let mut documents = 0;
    for (path, entry) in fixtures(&shared) {
        let bytes = std::fs::read(&path).expect("readable");
        let converted = match entry["format"].as_str().unwrap_or_default() {
            "Zipkin JSON v2" => zipkin::from_json(&bytes),
            "Jaeger UI JSON" | "Jaeger ES span doc" => jaeger::from_json(&bytes),
            "Jaeger JSON" if is_of_the_ui(&path) => jaeger::from_json(&bytes),
            _ => continue,
        };
        documents += 1;
        let converted = converted.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let count = flat(&[converted.request]).len() + converted.refused.len();
        assert_eq!(Some(count as u64), entry["spans"].as_u64(), "{}", path.display());
        // Some of the UI's documents have ids such as `span-1`, and in one of Zipkin's some spans have no times at all.
        let is_odd = |why: &str| why.contains("is no id of up to") || why == "it has no timestamp";
        assert!(
            converted.refused.iter().all(|refused| is_odd(&refused.why)),
            "{}: {:?}",
            path.display(),
            converted.refused
        );
    }
    assert!(documents >= 28, "{documents}");
}

/// Others are Jaeger's inner model and its Thrift, in JSON that no API gives.
fn is_of_the_ui(path: &std::path::Path) -> bool {
    let path = path.to_string_lossy();
    path.contains("jaegertracing__jaeger-ui") || path.ends_with("ui_01.json")
}

/// `skew.json` and `yelp.json` are of Zipkin's own tests, with servers that share their clients' ids.
#[test]
fn zipkins_shared_spans_become_trees() {
    let Some(shared) = shared_data("zipkins_shared_spans_become_trees") else { return };
    let folder = Folder::new();
    let zipkin = shared.join("fixtures/openzipkin__zipkin/zipkin-lens/testdata");
    folder.done(&["import", zipkin.join("skew.json").to_str().expect("UTF-8")]);
    let rows = folder.rows("SELECT path_services, path, depth FROM span_tree ORDER BY depth, span_name");
    let told: Vec<String> =
        rows.iter().map(|row| format!("{} {} {}", row["depth"], row["path_services"], row["path"])).collect();
    assert_eq!(
        told,
        [
            r#"0 ["servicea"] ["get"]"#,
            r#"1 ["servicea","servicea"] ["get","post"]"#,
            r#"2 ["servicea","servicea","serviceb"] ["get","post","post"]"#,
        ]
        .iter()
        .map(ToString::to_string)
        .chain([r#"3 ["servicea","servicea","serviceb","serviceb"] ["get","post","post","async"]"#.to_owned()])
        .take(told.len())
        .collect::<Vec<_>>()
    );
    assert_eq!(told.len(), 4);
}

//! Hostile exports against real listeners, numbered as the list of faults has them.

use std::io::Write;
use std::time::{Duration, Instant};

use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use spanhouse::ingest::{ClientSettings, ExportClient, IngestSettings};
use spanhouse::model::schema;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::Code;
use tonic::codec::CompressionEncoding;
use tonic::transport::Endpoint;

use crate::otlp_server::*;

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";
const MIB: usize = 1 << 20;

/// A server that takes requests of 1 MiB.
async fn small_server() -> Server {
    Server::start(IngestSettings { max_request_bytes: MIB, max_in_flight_bytes: 8 * MIB, ..Default::default() }).await
}

async fn server() -> Server {
    Server::start(IngestSettings::default()).await
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).expect("written");
    encoder.finish().expect("finished")
}

/// The server takes a good export over both listeners and holds nothing of earlier ones.
async fn assert_lives(server: &Server) {
    let before = server.spans().await;
    assert_eq!(server.grpc(request(vec![span(1_000_001)])).await.expect("taken").partial_success, None);
    assert_eq!(server.post(PROTOBUF, request(vec![span(1_000_002)])).await.status, 200);
    assert_eq!(server.spans().await, before + 2);
    assert_eq!(server.ingest.counters().in_flight_bytes, 0);
}

#[tokio::test]
async fn row_01_empty_requests_succeed_without_partial_success() {
    let server = server().await;
    assert_eq!(server.grpc(Vec::new()).await.expect("taken").partial_success, None);
    assert_eq!(server.grpc(request(Vec::new())).await.expect("taken").partial_success, None);
    let answer = server.post(PROTOBUF, Vec::new()).await;
    assert_eq!((answer.status, answer.body.len()), (200, 0));
    let answer = server.post(JSON, b"{}".to_vec()).await;
    assert_eq!((answer.status, answer.json()), (200, serde_json::json!({})));
    assert_eq!(server.spans().await, 0);
    assert_lives(&server).await;
}

#[tokio::test]
async fn row_02_a_message_over_the_limit_is_refused_for_good() {
    let server = small_server().await;
    let mut large = span(1);
    large.attributes.push(text("big", &"x".repeat(MIB)));
    let payload = request(vec![large]);
    let (code, status) = refused(server.grpc(payload.clone()).await);
    assert_eq!(code, Code::ResourceExhausted, "{status:?}");
    assert!(status.details().is_empty(), "no RetryInfo, or clients would come again");
    let answer = server.post(PROTOBUF, payload.clone()).await;
    assert_eq!((answer.status, answer.rpc_status().code), (413, Code::ResourceExhausted as i32));
    assert!(answer.rpc_status().details.is_empty());
    assert_eq!(server.post(JSON, payload).await.json()["code"], Code::ResourceExhausted as i32);
    assert_eq!(IngestSettings::default().max_request_bytes, 64 * MIB, "the specification's default");
    assert_lives(&server).await;
}

#[tokio::test]
async fn row_03_a_bomb_is_refused_within_the_budget() {
    let server = small_server().await;
    let mut large = span(1);
    large.attributes = (0..64).map(|index| text(&format!("k{index}"), &"0".repeat(MIB))).collect();
    let payload = request(vec![large]);
    for (encoding, name) in [(CompressionEncoding::Gzip, "gzip"), (CompressionEncoding::Zstd, "zstd")] {
        let (code, status) = refused(server.grpc_call(EXPORT, payload.clone(), Some(encoding)).await);
        assert_eq!(code, Code::ResourceExhausted, "{status:?}");
        assert!(status.details().is_empty());
        let bomb = if name == "gzip" { gzip(&payload) } else { zstd::encode_all(&*payload, 1).expect("encoded") };
        assert!(bomb.len() < payload.len() / 900, "{} bytes become {}", bomb.len(), payload.len());
        let headers = [("content-type", PROTOBUF), ("content-encoding", name)];
        assert_eq!(server.http("POST", "/v1/traces", &headers, bomb).await.status, 413);
    }
    assert_lives(&server).await;
}

/// What a server with the default budgets may take when bombs come to it, most of it without them; those of this test would be 8 GB.
const MOST_BYTES_OF_BOMBS: u64 = 1_200_000_000;

#[tokio::test(flavor = "multi_thread")]
async fn row_03_many_bombs_at_once_take_bounded_memory() {
    const BOMB_BYTES: usize = 256 * MIB;
    const AT_ONCE: usize = 16;
    let folder = tempfile::tempdir().expect("a folder");
    let server = crate::support::Server::start_in(folder.path(), &[]);
    let zeros = vec![0; BOMB_BYTES];
    let bombs = [("gzip", gzip(&zeros)), ("zstd", zstd::encode_all(&*zeros, 1).expect("encoded"))];
    drop(zeros);
    let client = Client::builder(TokioExecutor::new()).build_http();
    for (encoding, bomb) in bombs {
        assert!(bomb.len() < BOMB_BYTES / 900, "{} bytes", bomb.len());
        let uri = format!("{}/v1/traces", server.otlp_http_url());
        let headers = [("content-type", PROTOBUF), ("content-encoding", encoding)];
        let posts = (0..AT_ONCE).map(|_| send(client.clone(), "POST", uri.clone(), &headers, bomb.clone()));
        for answer in futures::future::join_all(posts).await {
            // Those that found no room to be unpacked in are asked to come again.
            assert!(matches!(answer.status, 413 | 503), "{answer:?}");
        }
    }
    server.post_traces(request(vec![span(1)])).await;
    if let Some(peak) = crate::support::peak_bytes(folder.path()) {
        assert!(peak < MOST_BYTES_OF_BOMBS, "{peak} bytes");
    }
}

#[tokio::test]
async fn compressed_exports_are_taken() {
    let server = server().await;
    let payload = request(vec![span(1)]);
    for encoding in [CompressionEncoding::Gzip, CompressionEncoding::Zstd] {
        server.grpc_call(EXPORT, payload.clone(), Some(encoding)).await.expect("taken");
    }
    let headers = [("content-type", "application/x-protobuf; charset=utf-8"), ("content-encoding", "gzip")];
    assert_eq!(server.http("POST", "/v1/traces", &headers, gzip(&request(vec![span(2)]))).await.status, 200);
    let json = br#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"5b8efff798038103d269b633813fc60c",
        "spanId":"eee19b7ec3c1b174","startTimeUnixNano":"1","endTimeUnixNano":"2"}]}]}]}"#;
    let headers = [("content-type", JSON), ("content-encoding", "zstd")];
    let body = zstd::encode_all(&json[..], 1).expect("encoded");
    assert_eq!(server.http("POST", "/v1/traces", &headers, body).await.status, 200);
    assert_eq!(server.ingest.counters().accepted_spans, 4);
}

#[tokio::test]
async fn row_04_truncated_messages_are_invalid_in_the_requests_encoding() {
    let server = server().await;
    let payload = request(vec![span(1)]);
    let truncated = payload[..payload.len() - 3].to_vec();
    let (code, status) = refused(server.grpc(truncated.clone()).await);
    assert_eq!(code, Code::InvalidArgument);
    assert!(status.message().contains("runs past the end"), "{status:?}");
    let answer = server.post(PROTOBUF, truncated.clone()).await;
    assert_eq!((answer.status, answer.rpc_status().code), (400, Code::InvalidArgument as i32));
    let answer = server.post(JSON, b"{\"resourceSpans\": [{".to_vec()).await;
    assert_eq!((answer.status, &answer.json()["code"]), (400, &serde_json::json!(Code::InvalidArgument as i32)));
    let headers = [("content-type", PROTOBUF), ("content-encoding", "gzip")];
    let cut = gzip(&payload);
    let answer = server.http("POST", "/v1/traces", &headers, cut[..cut.len() / 2].to_vec()).await;
    assert_eq!((answer.status, answer.rpc_status().code), (400, Code::InvalidArgument as i32));
    assert_lives(&server).await;
}

#[tokio::test]
async fn row_05_sixty_levels_of_values_are_refused() {
    let server = server().await;
    let deepest = AnyValue { value: Some(Value::BoolValue(true)) };
    let deep = (1..60)
        .fold(deepest, |inner, _| AnyValue { value: Some(Value::ArrayValue(ArrayValue { values: vec![inner] })) });
    let mut deep_span = span(1);
    deep_span.attributes.push(KeyValue { key: "deep".into(), value: Some(deep), key_strindex: 0 });
    let (code, status) = refused(server.grpc(request(vec![deep_span])).await);
    assert_eq!(code, Code::InvalidArgument);
    assert!(status.message().contains("32 levels"), "{status:?}");
    let nested = (1..60)
        .fold(r#"{"boolValue":true}"#.to_owned(), |inner, _| format!(r#"{{"arrayValue":{{"values":[{inner}]}}}}"#));
    let json = format!(
        r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{"attributes":[{{"key":"deep","value":{nested}}}]}}]}}]}}]}}"#
    );
    assert_eq!(server.post(JSON, json.into_bytes()).await.status, 400);
    let endless = format!("{{\"resourceSpans\":{}", "[".repeat(MIB));
    assert_eq!(server.post(JSON, endless.into_bytes()).await.status, 400);
    assert_lives(&server).await;
}

#[tokio::test]
async fn row_06_json_with_nan_empty_arrays_and_null_lists_is_accepted() {
    let server = server().await;
    let json = br#"{"resourceSpans":[{"resource":null,"schemaUrl":null,"scopeSpans":[{"scope":{"attributes":null},"spans":[{
        "traceId":"5B8EFFF798038103D269B633813FC60C","spanId":"EEE19B7EC3C1B174","startTimeUnixNano":"1","endTimeUnixNano":2,
        "events":null,"links":null,"attributes":[{"key":"nan","value":{"doubleValue":"NaN"}},{"key":"number","value":{"doubleValue":"1.5"}},
        {"key":"array","value":{"arrayValue":{}}},{"key":"bytes","value":{"bytesValue":"-_8"}},{"key":"none","value":null}]}]}]}]}"#;
    let answer = server.post(JSON, json.to_vec()).await;
    assert_eq!((answer.status, answer.json()), (200, serde_json::json!({})));
    let kept = attributes(&server.fresh().await);
    let pair = |key: &str, value: Option<&str>| (key.to_owned(), value.map(str::to_owned));
    let expected = [
        pair("nan", Some("NaN")),
        pair("number", Some("1.5")),
        pair("array", Some("[]")),
        pair("bytes", Some("+/8=")),
        pair("none", None),
    ];
    assert_eq!(kept, [expected]);
}

#[tokio::test]
async fn row_07_spans_with_bad_trace_ids_are_refused_and_the_others_kept() {
    let server = server().await;
    let bad = |trace_id: Vec<u8>| Span { trace_id, ..span(9) };
    let payload = request(vec![span(1), bad(vec![0; 16]), span(2), bad(vec![1, 2])]);
    let partial = server.grpc(payload.clone()).await.expect("taken").partial_success.expect("partial success");
    assert_eq!(partial.rejected_spans, 2);
    assert!(partial.error_message.contains("2 with a trace id"), "{}", partial.error_message);
    assert!(partial.error_message.contains("spans[1]"), "{}", partial.error_message);
    assert_eq!(server.spans().await, 2);
    let json = br#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"00","spanId":"EEE19B7EC3C1B174"}]}]}]}"#;
    let answer = server.post(JSON, json.to_vec()).await;
    assert_eq!((answer.status, &answer.json()["partialSuccess"]["rejectedSpans"]), (200, &serde_json::json!("1")));
    let counters = server.ingest.counters();
    assert_eq!((counters.accepted_spans, counters.refused_spans[0]), (2, ("trace_id", 3)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_taken_and_refused_is_counted_in_sql() {
    let server = crate::support::Server::start();
    let bad = Span { trace_id: vec![0; 16], ..span(9) };
    let payload = request(vec![span(1), bad]);
    let bytes = format!("bytes accepted {}", payload.len());
    assert!(server.try_post_traces(payload).await);
    assert!(!server.try_post_traces(b"\xff\xff".to_vec()).await);
    let counts = "SELECT concat_ws(' ', what, outcome, reason, count) FROM system.ingest WHERE count > 0 ORDER BY 1";
    let rows = server.postgres().await.query(counts, &[]).await.expect("counts");
    let counts: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let expected = [
        bytes.as_str(),
        "requests accepted 1",
        "requests refused bad_input 1",
        "spans accepted 1",
        "spans refused trace_id 1",
    ];
    assert_eq!(counts, expected);
}

#[tokio::test]
async fn row_08_impossible_times_are_refused_span_by_span() {
    let server = server().await;
    let times = |number: u64, start: u64, end: u64| Span {
        start_time_unix_nano: start,
        end_time_unix_nano: end,
        ..span(number)
    };
    let spans = vec![
        times(1, 10, 9),
        times(2, 0, 0),
        times(3, u64::MAX, u64::MAX),
        times(4, 1, u64::MAX),
        times(5, 1, 1),
        times(6, 4_102_444_799_999_999_999, 4_102_444_800_000_000_000),
    ];
    let partial = server.grpc(request(spans)).await.expect("taken").partial_success.expect("partial success");
    assert_eq!(partial.rejected_spans, 4, "{}", partial.error_message);
    assert_eq!(server.spans().await, 2);
    server.store.seal().await.expect("sealed");
    let snapshot = spanhouse::store::SnapshotSource::snapshot(&*server.store).await.expect("a snapshot");
    assert!(snapshot.files.iter().all(|file| *file.date < *"2100-01-01"), "{:?}", snapshot.files);
    assert_lives(&server).await;
}

#[tokio::test]
async fn row_09_giant_and_countless_attributes_are_capped_and_counted() {
    let server = server().await;
    let mut giant = span(1);
    giant.attributes.push(text("giant", &"x".repeat(10 * MIB)));
    let mut countless = span(2);
    countless.attributes = (0..100_000).map(|index| text(&format!("key{index}"), "v")).collect();
    server.grpc(request(vec![giant, countless])).await.expect("taken");
    let fresh = server.fresh().await;
    let kept = attributes(&fresh);
    assert_eq!(kept[0][0].1.as_ref().map(String::len), Some(MIB));
    assert_eq!(kept[1].len(), 1_024);
    assert_eq!(ints(&fresh, schema::DROPPED_ATTRIBUTES_COUNT), [1, 100_000 - 1_024]);
}

#[tokio::test]
async fn row_10_service_names_are_text_and_never_a_path() {
    let server = server().await;
    let long = "s".repeat(70_000);
    let names = ["../../etc", "a\0b", &long, ""];
    for (number, name) in names.iter().enumerate() {
        server.grpc(request_of(name, vec![span(number as u64 + 1)]).encode_to_vec()).await.expect("taken");
    }
    let mut stored = texts(&server.fresh().await, schema::SERVICE_NAME);
    stored.sort();
    let mut expected = vec![Some("../../etc"), Some("a\0b"), Some(&long[..64 << 10]), Some("unknown_service")];
    expected.sort();
    assert_eq!(stored.iter().map(Option::as_deref).collect::<Vec<_>>(), expected);
    server.store.seal().await.expect("sealed");
    assert_eq!(server.spans().await, 4);
    let mut folders = vec![server.dir.path().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("readable").map(|entry| entry.expect("an entry")) {
            let name = entry.file_name().to_string_lossy().into_owned();
            assert!(!name.contains("etc") && !name.starts_with("sss"), "{name}");
            if entry.path().is_dir() {
                folders.push(entry.path());
            }
        }
    }
}

#[tokio::test]
async fn row_11_an_explosion_of_keys_names_and_services_stays_bounded() {
    let server = server().await;
    const SERVICES: u64 = 5_000;
    let resources = (1..=SERVICES).flat_map(|number| {
        let mut one = span(number);
        one.name = format!("operation {number}");
        one.attributes = (0..8).map(|index| text(&format!("key.{number}.{index}"), &number.to_string())).collect();
        request_of(&format!("service-{number}"), vec![one]).resource_spans
    });
    let request = opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest {
        resource_spans: resources.collect(),
    };
    server.grpc(request.encode_to_vec()).await.expect("taken");
    assert_eq!(server.spans().await, SERVICES);
    for batch in server.fresh().await {
        assert_eq!(batch.schema(), schema::physical_schema(), "no column of its own for any key");
    }
    server.store.seal().await.expect("sealed");
    let snapshot = spanhouse::store::SnapshotSource::snapshot(&*server.store).await.expect("a snapshot");
    let dates: std::collections::HashSet<_> = snapshot.files.iter().map(|file| file.date.clone()).collect();
    assert!(dates.len() <= 1 && snapshot.files.len() <= 2, "partitions follow dates, not names: {:?}", snapshot.files);
    assert!(
        snapshot.promoted.columns().len() < 1_000,
        "{} of 40,000 keys have columns",
        snapshot.promoted.columns().len()
    );
    assert_lives(&server).await;
}

#[tokio::test]
async fn row_12_unknown_encodings_types_methods_and_paths_are_named() {
    let server = server().await;
    let payload = || request(vec![span(1)]);
    let headers = [("content-type", PROTOBUF), ("content-encoding", "br")];
    let answer = server.http("POST", "/v1/traces", &headers, payload()).await;
    assert_eq!((answer.status, answer.rpc_status().code), (400, Code::InvalidArgument as i32));
    let answer = server.post("text/plain", payload()).await;
    assert_eq!(answer.status, 415);
    assert!(answer.json()["message"].as_str().is_some_and(|text| text.contains("application/x-protobuf")));
    assert_eq!(server.http("POST", "/v1/traces", &[], payload()).await.status, 415);
    for method in ["GET", "PUT", "DELETE"] {
        let answer = server.http(method, "/v1/traces", &[("content-type", PROTOBUF)], Vec::new()).await;
        assert_eq!((answer.status, answer.headers["allow"].to_str().expect("text")), (405, "POST"), "{method}");
    }
    assert_eq!(server.http("POST", "/v1/spans", &[("content-type", JSON)], payload()).await.status, 404);
    let answer = server.http("POST", "/v1/metrics", &[("content-type", JSON)], payload()).await;
    assert_eq!(answer.status, 404);
    assert!(answer.json()["message"].as_str().is_some_and(|text| text.contains("traces only")));

    let call = |path| server.grpc_call(path, payload(), None);
    let (code, _) = refused(call("/opentelemetry.proto.collector.trace.v1.TraceService/Import").await);
    assert_eq!(code, Code::Unimplemented);
    let metrics = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";
    let (code, status) = refused(call(metrics).await);
    assert_eq!(code, Code::Unimplemented);
    assert!(status.message().contains("traces only"), "{status:?}");
    let answer = server.http_on_grpc(EXPORT, &[("content-type", PROTOBUF)], payload()).await;
    assert_eq!(answer.status, 415);
    let headers = [("content-type", "application/grpc"), ("grpc-encoding", "br")];
    let answer = server.http_on_grpc(EXPORT, &headers, payload()).await;
    assert_eq!((answer.status, answer.headers["grpc-status"].to_str().expect("text")), (200, "12"));
    // Eight over HTTP and four over gRPC.
    assert_eq!(server.ingest.counters().refused_requests[0], ("bad_input", 12));
    assert_eq!(server.spans().await, 0);
    assert_lives(&server).await;
}

#[tokio::test]
async fn row_13_a_slow_body_times_out_while_others_are_served() {
    let settings = IngestSettings { body_timeout: Duration::from_millis(400), ..Default::default() };
    let server = Server::start(settings).await;
    let mut slow = TcpStream::connect(server.http).await.expect("a connection");
    let head =
        format!("POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: {PROTOBUF}\r\ncontent-length: 1000\r\n\r\n");
    slow.write_all(head.as_bytes()).await.expect("written");
    let started = Instant::now();
    let mut answer = Vec::new();
    let mut chunk = [0; 1024];
    let drip = async {
        loop {
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(50)) => {
                    // The server may have closed its side already; then the read says so.
                    let _ = slow.write_all(b"x").await;
                }
                read = slow.read(&mut chunk) => match read {
                    Ok(0) | Err(_) => return,
                    Ok(count) => answer.extend_from_slice(&chunk[..count]),
                }
            }
        }
    };
    let (ended, ()) = tokio::join!(tokio::time::timeout(Duration::from_secs(5), drip), assert_lives_at_last(&server));
    assert!(ended.is_ok(), "the slow sender was not cut off in {:?}", started.elapsed());
    // What senders of OTLP send again; 408 they would not.
    assert!(answer.starts_with(b"HTTP/1.1 503"), "{}", String::from_utf8_lossy(&answer));
    assert_eq!(server.ingest.counters().refused_requests[5], ("incomplete", 1));
    assert_lives(&server).await;
}

/// Others are served although a body is under way.
async fn assert_lives_at_last(server: &Server) {
    for number in 1..=5 {
        server.grpc(request(vec![span(number)])).await.expect("taken");
        assert_eq!(server.post(PROTOBUF, request(vec![span(number)])).await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_13_ten_thousand_idle_connections_do_not_keep_others_out() {
    let server = Server::start(IngestSettings { max_connections: 64, ..Default::default() }).await;
    let mut idle = Vec::new();
    for number in 0..idle_connections() {
        let address = if number % 2 == 0 { server.http } else { server.grpc };
        idle.push(TcpStream::connect(address).await.expect("a connection"));
    }
    let started = Instant::now();
    assert_lives(&server).await;
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    drop(idle);
}

/// 10,000, or what the limit of open files leaves room for.
fn idle_connections() -> usize {
    const WANTED: usize = 10_000;
    const LEFT_TO_OTHERS: usize = 2_000;
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let open_files = limits.lines().find(|line| line.starts_with("Max open files"));
    let soft = open_files.and_then(|line| line.split_whitespace().nth(3)?.parse::<usize>().ok()).unwrap_or(1_024);
    soft.saturating_sub(LEFT_TO_OTHERS).clamp(200, WANTED)
}

#[tokio::test]
async fn row_14_without_room_in_flight_senders_come_again_and_nothing_is_lost() {
    let settings = IngestSettings { max_request_bytes: MIB, max_in_flight_bytes: MIB, ..Default::default() };
    let server = Server::start(settings).await;
    let mut hog = TcpStream::connect(server.http).await.expect("a connection");
    let body_bytes = MIB - 64;
    let head = format!(
        "POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: {PROTOBUF}\r\ncontent-length: {body_bytes}\r\n\r\n"
    );
    hog.write_all(head.as_bytes()).await.expect("written");
    hog.write_all(&vec![0; body_bytes - 1]).await.expect("written");
    while server.ingest.counters().in_flight_bytes < (body_bytes - 1) as u64 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let payload = request(vec![span(1)]);
    let (code, status) = refused(server.grpc(payload.clone()).await);
    assert_eq!(code, Code::Unavailable);
    let details = RpcStatus::decode(status.details()).expect("a status");
    assert_eq!(details.details[0].type_url, "type.googleapis.com/google.rpc.RetryInfo");
    let answer = server.post(JSON, vec![b' '; 200]).await;
    assert_eq!((answer.status, answer.headers["retry-after"].to_str().expect("text")), (503, "1"));
    assert_eq!(answer.json()["details"][0]["retryDelay"], "1s");

    let client = ExportClient::new(&format!("http://{}", server.grpc), &ClientSettings::default()).expect("a client");
    let release = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        drop(hog);
    };
    let (receipt, ()) = tokio::join!(client.export(payload.into()), release);
    assert!(receipt.expect("taken at last").attempts > 1);
    assert_eq!(server.spans().await, 1);
}

#[tokio::test]
async fn the_client_exports_over_both_protocols_and_tells_refusals_for_good() {
    let server = server().await;
    let http = format!("http://{}/v1/traces", server.http);
    for (endpoint, number) in [(format!("http://{}", server.grpc), 1), (http, 2)] {
        let client = ExportClient::new(&endpoint, &ClientSettings::default()).expect("a client");
        let bad = Span { span_id: vec![1], ..span(9) };
        let receipt = client.export(request(vec![span(number), bad]).into()).await.expect("taken");
        assert_eq!((receipt.rejected_spans, receipt.attempts), (1, 1));
        assert!(receipt.message.contains("span id"), "{}", receipt.message);
        let error = client.export(b"no protobuf".as_slice().into()).await.expect_err("refused");
        assert_eq!(error.kind, spanhouse::error::Kind::BadInput, "{error}");
    }
    assert_eq!(server.spans().await, 2);
    assert!(ExportClient::new("localhost:4317", &ClientSettings::default()).is_err());
}

#[tokio::test]
async fn concurrent_exports_are_all_kept_and_a_shutdown_finishes_them() {
    let server = server().await;
    let settings = ClientSettings { max_in_flight: 16, ..Default::default() };
    let client = ExportClient::new(&format!("http://{}", server.grpc), &settings).expect("a client");
    let exports = (1..=200).map(|number| client.export(request(vec![span(number)]).into()));
    for receipt in futures::future::join_all(exports).await {
        receipt.expect("taken");
    }
    assert_eq!(server.spans().await, 200);
    let mut late = TcpStream::connect(server.http).await.expect("a connection");
    let body = request(vec![span(201)]);
    let head = format!(
        "POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: {PROTOBUF}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    late.write_all(head.as_bytes()).await.expect("written");
    tokio::time::sleep(Duration::from_millis(100)).await;
    server.shutdown.cancel();
    tokio::time::sleep(Duration::from_millis(100)).await;
    late.write_all(&body).await.expect("written");
    let mut answer = Vec::new();
    late.read_to_end(&mut answer).await.expect("an answer");
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    assert_eq!(server.ingest.counters().accepted_spans, 201);
    server.stop().await;
}

#[tokio::test]
async fn who_comes_to_the_wrong_port_is_told_so() {
    let server = server().await;
    let client = Client::builder(TokioExecutor::new()).build_http();
    let headers = [("content-type", PROTOBUF)];
    let answer =
        send(client, "POST", format!("http://{}/v1/traces", server.grpc), &headers, request(vec![span(1)])).await;
    assert_eq!(answer.status, 415);
    assert!(answer.rpc_status().message.contains("OTLP/HTTP has a port of its own"), "{answer:?}");
    let channel = Endpoint::from_shared(format!("http://{}", server.http)).expect("an address");
    let (code, status) =
        refused(unary(channel.connect().await.expect("a connection"), EXPORT, request(vec![span(1)]), None).await);
    assert_eq!(code, Code::Unimplemented);
    assert!(status.message().contains("OTLP/gRPC has a port of its own"), "{status:?}");
    server.grpc(request(vec![span(1)])).await.expect("taken at the right port");
}

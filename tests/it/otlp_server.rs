//! Real OTLP listeners over a store in a temporary folder, and plain clients to talk to them.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use datafusion::arrow::datatypes::Int32Type;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use spanhouse::access::Gate;
use spanhouse::ingest::{Ingest, IngestSettings, RawCodec, serve_grpc, serve_http};
use spanhouse::store::{SnapshotSource, Store, StoreSettings};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::codec::CompressionEncoding;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

pub const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// `google.rpc.Status`, written down from its proto file.
#[derive(Clone, PartialEq, Message)]
pub struct RpcStatus {
    #[prost(int32, tag = "1")]
    pub code: i32,
    #[prost(string, tag = "2")]
    pub message: String,
    #[prost(message, repeated, tag = "3")]
    pub details: Vec<RpcAny>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
pub struct RpcAny {
    #[prost(string, tag = "1")]
    pub type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    pub value: Vec<u8>,
}

/// Both listeners on free ports.
pub struct Server {
    pub grpc: SocketAddr,
    pub http: SocketAddr,
    pub store: Arc<Store>,
    pub ingest: Arc<Ingest>,
    pub shutdown: CancellationToken,
    pub dir: TempDir,
    tasks: Vec<JoinHandle<spanhouse::error::Result<()>>>,
}

impl Server {
    pub async fn start(settings: IngestSettings) -> Self {
        Self::guarded(settings, Gate::for_this_machine()).await
    }

    /// Starts a server that lets in whom `gate` does.
    pub async fn guarded(settings: IngestSettings, gate: Arc<Gate>) -> Self {
        let dir = TempDir::new().expect("a temporary folder");
        let store = Store::open(dir.path(), StoreSettings::default()).await.expect("a store");
        let ingest = Ingest::new(store.clone(), settings);
        let shutdown = CancellationToken::new();
        let (grpc_listener, grpc) = listen().await;
        let (http_listener, http) = listen().await;
        let tasks = vec![
            tokio::spawn(serve_grpc(grpc_listener, gate.clone(), ingest.clone(), shutdown.clone())),
            tokio::spawn(serve_http(http_listener, gate, ingest.clone(), shutdown.clone())),
        ];
        Self { grpc, http, store, ingest, shutdown, dir, tasks }
    }

    /// Ends both listeners, waiting for requests in flight.
    pub async fn stop(self) {
        self.shutdown.cancel();
        for task in self.tasks {
            task.await.expect("no panic").expect("a clean end");
        }
        self.store.close().await.expect("closed");
    }

    /// The batches of all spans that are not sealed.
    pub async fn fresh(&self) -> Vec<RecordBatch> {
        let snapshot = self.store.snapshot().await.expect("a snapshot");
        snapshot.fresh.iter().map(|batch| batch.to_record_batch().expect("expanded")).collect()
    }

    /// The number of spans that a new statement sees.
    pub async fn spans(&self) -> u64 {
        let snapshot = self.store.snapshot().await.expect("a snapshot");
        let fresh: u64 = snapshot.fresh.iter().map(|batch| batch.num_rows() as u64).sum();
        fresh + snapshot.files.iter().map(|file| file.rows).sum::<u64>()
    }

    /// Exports over gRPC with tonic's own client.
    pub async fn grpc(&self, payload: Vec<u8>) -> Result<ExportTraceServiceResponse, Status> {
        self.grpc_call(EXPORT, payload, None).await
    }

    pub async fn grpc_call(
        &self,
        path: &'static str,
        payload: Vec<u8>,
        compression: Option<CompressionEncoding>,
    ) -> Result<ExportTraceServiceResponse, Status> {
        let channel = Endpoint::from_shared(format!("http://{}", self.grpc)).expect("an address");
        unary(channel.connect().await.expect("a connection"), path, payload, compression).await
    }

    /// Posts to `/v1/traces`.
    pub async fn post(&self, content_type: &str, body: Vec<u8>) -> HttpAnswer {
        self.http("POST", "/v1/traces", &[("content-type", content_type)], body).await
    }

    pub async fn http(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> HttpAnswer {
        let client = Client::builder(TokioExecutor::new()).build_http();
        send(client, method, format!("http://{}{path}", self.http), headers, body).await
    }

    /// Posts to the gRPC listener as no gRPC library would.
    pub async fn http_on_grpc(&self, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> HttpAnswer {
        let client = Client::builder(TokioExecutor::new()).http2_only(true).build_http();
        send(client, "POST", format!("http://{}{path}", self.grpc), headers, body).await
    }
}

pub async fn unary(
    channel: Channel,
    path: &'static str,
    payload: Vec<u8>,
    compression: Option<CompressionEncoding>,
) -> Result<ExportTraceServiceResponse, Status> {
    let mut client = tonic::client::Grpc::new(channel);
    if let Some(compression) = compression {
        client = client.send_compressed(compression);
    }
    client.ready().await.expect("ready");
    let path = http::uri::PathAndQuery::from_static(path);
    let answer = client.unary(tonic::Request::new(Bytes::from(payload)), path, RawCodec).await?;
    ExportTraceServiceResponse::decode(answer.into_inner()).map_err(|error| Status::internal(error.to_string()))
}

pub async fn send(
    client: Client<HttpConnector, Full<Bytes>>,
    method: &str,
    uri: String,
    headers: &[(&str, &str)],
    body: Vec<u8>,
) -> HttpAnswer {
    let mut request = http::Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(body.into())).expect("a request");
    let (parts, body) = client.request(request).await.expect("an answer").into_parts();
    let body = body.collect().await.expect("a body").to_bytes();
    HttpAnswer { status: parts.status.as_u16(), headers: parts.headers, body }
}

/// An answer over HTTP.
#[derive(Debug)]
pub struct HttpAnswer {
    pub status: u16,
    pub headers: http::HeaderMap,
    pub body: Bytes,
}

impl HttpAnswer {
    /// The error of a protobuf answer.
    pub fn rpc_status(&self) -> RpcStatus {
        assert_eq!(self.headers["content-type"], "application/x-protobuf");
        RpcStatus::decode(self.body.clone()).expect("a status")
    }

    /// The body of a JSON answer.
    pub fn json(&self) -> serde_json::Value {
        assert_eq!(self.headers["content-type"], "application/json");
        serde_json::from_slice(&self.body).expect("JSON")
    }
}

/// The status of a refused call.
pub fn refused(answer: Result<ExportTraceServiceResponse, Status>) -> (Code, Status) {
    let status = answer.expect_err("a refusal");
    (status.code(), status)
}

pub fn text(key: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::StringValue(value.into())) });
    KeyValue { key: key.into(), value, key_strindex: 0 }
}

/// A span whose ids are made from `number`, which is not 0.
pub fn span(number: u64) -> Span {
    Span {
        trace_id: u128::from(number).to_be_bytes().to_vec(),
        span_id: number.to_be_bytes().to_vec(),
        name: "GET /".into(),
        start_time_unix_nano: 1_700_000_000_000_000_000,
        end_time_unix_nano: 1_700_000_000_000_000_001,
        ..Span::default()
    }
}

pub fn request_of(service: &str, spans: Vec<Span>) -> ExportTraceServiceRequest {
    let resource = Resource { attributes: vec![text("service.name", service)], ..Resource::default() };
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { resource: Some(resource), scope_spans, schema_url: String::new() }];
    ExportTraceServiceRequest { resource_spans }
}

/// An encoded request of one resource.
pub fn request(spans: Vec<Span>) -> Vec<u8> {
    request_of("shop", spans).encode_to_vec()
}

/// The values of a text column.
pub fn texts(batches: &[RecordBatch], column: &str) -> Vec<Option<String>> {
    let columns = batches.iter().map(|batch| batch.column_by_name(column).expect("a column").as_string_view());
    columns.flat_map(|column| column.iter().map(|text| text.map(str::to_owned))).collect()
}

/// The values of a column of 32-bit integers.
pub fn ints(batches: &[RecordBatch], column: &str) -> Vec<i32> {
    let column = |batch: &RecordBatch| batch.column_by_name(column).expect("a column").clone();
    batches.iter().flat_map(|batch| column(batch).as_primitive::<Int32Type>().values().to_vec()).collect()
}

/// The attributes of each span, as keys and texts.
pub fn attributes(batches: &[RecordBatch]) -> Vec<Vec<(String, Option<String>)>> {
    let maps = batches.iter().map(|batch| batch.column_by_name("attributes").expect("a column").as_map());
    let rows = maps.flat_map(|map| (0..map.len()).map(|row| map.value(row)));
    rows.map(|entries| {
        let (keys, values) = (entries.column(0).as_string::<i32>(), entries.column(1).as_string::<i32>());
        keys.iter().zip(values).map(|(key, value)| (key.unwrap_or("").to_owned(), value.map(str::to_owned))).collect()
    })
    .collect()
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    (listener, address)
}

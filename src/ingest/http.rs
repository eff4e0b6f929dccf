//! OTLP/HTTP: `POST /v1/traces` with protobuf or JSON.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use prost::Message;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::answer;
use super::authentication::{CHALLENGE, admit};
use super::body::{Compression, collect, drain, too_large};
use super::connections::{Busy, serve_guarded};
use super::doors::Doors;
use super::front::{Format, Ingest, Received};
use super::grpc;
use super::status::RpcStatus;
use crate::access::{Gate, Listener};
use crate::error::{Error, Kind, Result};

/// Where traces are posted.
const TRACES_PATH: &str = "/v1/traces";

/// What a sender of OTLP/gRPC is told here.
const NOT_HTTP: &str = "this port takes OTLP/HTTP; OTLP/gRPC has a port of its own (4317 unless set otherwise)";

/// How long a sender may go on writing a body that is refused already.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Serves OTLP/HTTP to those whom `gate` lets in until `shutdown`, then finishes the requests in flight.
pub async fn serve_http(
    listener: TcpListener,
    gate: Arc<Gate>,
    doors: impl Into<Doors>,
    shutdown: CancellationToken,
) -> Result<()> {
    let doors = doors.into();
    let (max_connections, guard) = (doors.own().settings().max_connections, gate.clone());
    let handle = move |request| {
        let (gate, doors) = (gate.clone(), doors.clone());
        async move { Ok::<_, Infallible>(answer_request(&gate, &doors, request).await) }
    };
    serve_guarded(listener, (guard, Listener::OtlpHttp), max_connections, handle, shutdown).await
}

pub(super) type Answer = Response<Full<Bytes>>;

async fn answer_request(gate: &Gate, doors: &Doors, request: Request<Incoming>) -> Answer {
    let (parts, body) = request.into_parts();
    let ingest = doors.own();
    let format = format_of(&parts.headers);
    let refuse = |error: Error, status: u16| {
        let error = ingest.refuse(error);
        error_answer(&error, status, format.unwrap_or(Format::Json))
    };
    if grpc::is_grpc(&parts.headers) {
        let error = ingest.refuse(Error::new(Kind::NotFound, NOT_HTTP));
        let mut answer = Answer::default();
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        let status = RpcStatus { code: grpc::UNIMPLEMENTED, ..RpcStatus::of(&error) };
        grpc::write_status(&status, answer.headers_mut());
        return answer;
    }
    let pass = match admit(gate, &parts).await {
        Ok(pass) => pass,
        Err(error) => {
            // A sender that writes first would otherwise see a connection that breaks, and no reason.
            drain(body, ingest.settings().max_request_bytes, DRAIN_TIMEOUT).await;
            let status = error.http_status();
            return refuse(error, status);
        }
    };
    let _busy = Busy::of(&parts.extensions);
    let door = match doors.of(pass.tenant()) {
        Ok(door) => door,
        Err(error) => {
            drain(body, ingest.settings().max_request_bytes, DRAIN_TIMEOUT).await;
            let status = error.http_status();
            return refuse(error, status);
        }
    };
    let ingest = &*door;
    let refuse = |error: Error, status: u16| {
        let error = ingest.refuse(error);
        error_answer(&error, status, format.unwrap_or(Format::Json))
    };
    if parts.uri.path() != TRACES_PATH {
        return refuse(Error::new(Kind::NotFound, not_here(parts.uri.path())), 404);
    }
    if parts.method != Method::POST {
        let mut answer = refuse(Error::bad_input(format!("{TRACES_PATH} takes POST, not {}", parts.method)), 405);
        answer.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
        return answer;
    }
    let Some(format) = format else {
        let message = "the content type must be application/x-protobuf or application/json";
        return refuse(Error::bad_input(message), 415);
    };
    let Some(compression) = compression_of(&parts.headers) else {
        let message = format!("the content encoding must be one of {}", Compression::ACCEPTED);
        return refuse(Error::bad_input(message), 400);
    };
    let received = match receive(ingest, body, format, compression).await {
        Ok(received) => received,
        Err(error) => {
            let status = error.http_status();
            return refuse(error, status);
        }
    };
    match ingest.export_received(received).await {
        Ok(answer) => {
            pass.had(answer.spans());
            respond(StatusCode::OK, format, answer::encode(&answer, format))
        }
        Err(error) => error_answer(&error, error.http_status(), format),
    }
}

/// Takes the body in.
async fn receive(ingest: &Ingest, mut body: Incoming, format: Format, compression: Compression) -> Result<Received> {
    let settings = ingest.settings();
    let mut reservation = ingest.open_reservation();
    let max_bytes = settings.max_request_bytes;
    let collected = match body.size_hint().lower() > max_bytes as u64 {
        true => Err(too_large(max_bytes)),
        false => collect(&mut body, max_bytes, |_| 0, settings.body_timeout, &mut reservation).await,
    };
    match collected {
        Ok(body) => Ok(Received { body, compression, format, reservation }),
        Err(error) => {
            if error.kind != Kind::Incomplete {
                drain(body, max_bytes, DRAIN_TIMEOUT).await;
            }
            // Not 408 for a body that did not come: senders of OTLP drop what gets that answer.
            Err(error)
        }
    }
}

fn not_here(path: &str) -> String {
    match path {
        "/v1/metrics" | "/v1/logs" => format!("{path} is not taken: spanhouse keeps traces only, at {TRACES_PATH}"),
        _ => format!("there is nothing at this path; post traces to {TRACES_PATH}"),
    }
}

/// In which form a request is, and its answer has to be.
pub(super) fn format_of(headers: &HeaderMap) -> Option<Format> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    match value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
        "application/x-protobuf" => Some(Format::Protobuf),
        "application/json" => Some(Format::Json),
        _ => None,
    }
}

fn compression_of(headers: &HeaderMap) -> Option<Compression> {
    match headers.get(CONTENT_ENCODING) {
        None => Some(Compression::Identity),
        Some(name) => Compression::from_name(name.to_str().ok()?),
    }
}

/// An error as the protocol has it.
pub(super) fn error_answer(error: &Error, status: u16, format: Format) -> Answer {
    let rpc = RpcStatus::of(error);
    let body = match format {
        Format::Json => rpc.to_json(),
        Format::Protobuf => rpc.encode_to_vec(),
    };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut answer = respond(status, format, body);
    if error.kind == Kind::Unauthenticated {
        answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(CHALLENGE));
    }
    if let Kind::Overloaded { retry_after } | Kind::OverRate { retry_after } = error.kind {
        // Whole seconds, rounded up, so that nobody comes too early.
        let seconds = retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0);
        insert(answer.headers_mut(), RETRY_AFTER, &seconds.max(1).to_string());
    }
    answer
}

fn respond(status: StatusCode, format: Format, body: Vec<u8>) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = status;
    let content_type = match format {
        Format::Json => "application/json",
        Format::Protobuf => "application/x-protobuf",
    };
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

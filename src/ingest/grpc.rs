//! OTLP/gRPC: the unary `Export` of `TraceService`.
//!
//! The framing is read here and not by a gRPC library, so that a message is admitted by its declared length before it is
//! buffered, and its bytes go to the decoder as they are. A message is:
//!
//! ```text
//! 0        1                 5                 5 + length
//! ├────────┼─────────────────┼─────────────────┤
//! │ 0 or 1 │ length, u32, BE │ message         │   1: compressed as grpc-encoding says
//! └────────┴─────────────────┴─────────────────┘
//! ```

use std::convert::Infallible;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use bytes::{BufMut, Bytes, BytesMut};
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use prost::Message;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::answer;
use super::authentication::admit;
use super::body::{Compression, collect, too_large};
use super::connections::{Busy, serve_guarded};
use super::doors::Doors;
use super::front::{ExportAnswer, Format, Ingest, Received};
use super::http as otlp_http;
use super::status::RpcStatus;
use crate::access::{Gate, Listener};
use crate::error::{Error, Kind, Result};

/// The method that takes traces.
pub(super) const EXPORT_PATH: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// Bytes before each message: the compression flag and the length.
pub(super) const PREFIX_BYTES: usize = 5;

pub(super) const UNIMPLEMENTED: i32 = 12;

/// What a sender of OTLP/HTTP is told here.
const NOT_GRPC: &str = "this port takes OTLP/gRPC, whose content type is application/grpc; OTLP/HTTP has a port of its own (4318 unless set otherwise)";

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const GRPC_STATUS_DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");
const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const GRPC_ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");

/// Serves OTLP/gRPC to those whom `gate` lets in until `shutdown`, then finishes the requests in flight.
pub async fn serve_grpc(
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
    serve_guarded(listener, (guard, Listener::OtlpGrpc), max_connections, handle, shutdown).await
}

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

async fn answer_request(gate: &Gate, doors: &Doors, request: Request<Incoming>) -> Answer {
    let (parts, body) = request.into_parts();
    let ingest = doors.own();
    if !is_grpc(&parts.headers) {
        let error = ingest.refuse(Error::bad_input(NOT_GRPC));
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE.as_u16();
        return otlp_http::error_answer(&error, status, otlp_http::format_of(&parts.headers).unwrap_or(Format::Json))
            .map(BodyExt::boxed_unsync);
    }
    let pass = match admit(gate, &parts).await {
        Ok(pass) => pass,
        Err(error) => return status_answer(&RpcStatus::of(&ingest.refuse(error))),
    };
    let _busy = Busy::of(&parts.extensions);
    let door = match doors.of(pass.tenant()) {
        Ok(door) => door,
        Err(error) => return status_answer(&RpcStatus::of(&ingest.refuse(error))),
    };
    let ingest = &*door;
    if parts.uri.path() != EXPORT_PATH {
        return unimplemented(ingest, Error::new(Kind::NotFound, not_here(parts.uri.path())));
    }
    let Some(compression) = compression_of(&parts.headers) else {
        let message = format!("the grpc-encoding must be one of {}", Compression::ACCEPTED);
        return unimplemented(ingest, Error::bad_input(message));
    };
    let received = receive(ingest, body, compression).await.map_err(|error| ingest.refuse(error));
    let exported = match received {
        Ok(received) => ingest.export_received(received).await,
        Err(error) => Err(error),
    };
    match exported {
        Ok(answer) => {
            pass.had(answer.spans());
            success(&answer)
        }
        Err(error) => status_answer(&RpcStatus::of(&error)),
    }
}

/// Whether a request says that it is one of gRPC.
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

/// Refuses what gRPC has a code of its own for.
fn unimplemented(ingest: &Ingest, error: Error) -> Answer {
    let error = ingest.refuse(error);
    status_answer(&RpcStatus { code: UNIMPLEMENTED, ..RpcStatus::of(&error) })
}

/// Takes the one message in.
async fn receive(ingest: &Ingest, body: Incoming, compression: Compression) -> Result<Received> {
    let settings = ingest.settings();
    let mut reservation = ingest.open_reservation();
    let max_bytes = settings.max_request_bytes;
    let framed = collect(body, max_bytes + PREFIX_BYTES, framed_bytes, settings.body_timeout, &mut reservation).await?;
    let Some((prefix, message)) = framed.split_first_chunk::<PREFIX_BYTES>() else {
        return Err(Error::bad_input("the request holds no gRPC message"));
    };
    let [flag, length @ ..] = *prefix;
    let length = u32::from_be_bytes(length) as usize;
    if length > max_bytes {
        return Err(too_large(max_bytes));
    }
    if length != message.len() {
        return Err(Error::bad_input(format!(
            "the gRPC message says {length} bytes and has {}; a unary call holds one message",
            message.len()
        )));
    }
    let compression = match flag {
        0 => Compression::Identity,
        1 if compression != Compression::Identity => compression,
        _ => return Err(Error::bad_input("the gRPC message is flagged as compressed and grpc-encoding names nothing")),
    };
    Ok(Received { body: framed.slice(PREFIX_BYTES..), compression, format: Format::Protobuf, reservation })
}

/// The length that the prefix of a message says, with the prefix.
fn framed_bytes(start: &[u8]) -> usize {
    let Some(([_, length @ ..], _)) = start.split_first_chunk::<PREFIX_BYTES>() else { return 0 };
    PREFIX_BYTES + u32::from_be_bytes(*length) as usize
}

fn compression_of(headers: &HeaderMap) -> Option<Compression> {
    match headers.get(GRPC_ENCODING) {
        None => Some(Compression::Identity),
        Some(name) => Compression::from_name(name.to_str().ok()?),
    }
}

fn not_here(path: &str) -> String {
    let is_other_signal = ["metrics", "logs", "profiles"]
        .iter()
        .any(|signal| path.starts_with(&format!("/opentelemetry.proto.collector.{signal}.")));
    match is_other_signal {
        true => {
            format!("{path} is not taken: spanhouse keeps traces only; switch this exporter off or point it elsewhere")
        }
        false => format!("there is no method {path}; traces go to {EXPORT_PATH}"),
    }
}

fn success(answer: &ExportAnswer) -> Answer {
    let message = answer::encode(answer, Format::Protobuf);
    let mut framed = BytesMut::with_capacity(PREFIX_BYTES + message.len());
    framed.put_u8(0);
    framed.put_u32(message.len() as u32);
    framed.extend_from_slice(&message);
    let mut trailers = HeaderMap::new();
    trailers.insert(GRPC_STATUS, HeaderValue::from_static("0"));
    let body = Full::new(framed.freeze()).with_trailers(std::future::ready(Some(Ok(trailers))));
    grpc_response(body.boxed_unsync())
}

/// An answer that is nothing but a status, which stands in the headers.
fn status_answer(status: &RpcStatus) -> Answer {
    let mut answer = grpc_response(Empty::new().boxed_unsync());
    write_status(status, answer.headers_mut());
    answer
}

/// What a sender of gRPC reads of an answer that is nothing but a status.
pub(super) fn write_status(status: &RpcStatus, headers: &mut HeaderMap) {
    headers.insert(GRPC_STATUS, HeaderValue::from(status.code));
    if let Ok(message) = HeaderValue::from_str(&percent_encode(&status.message)) {
        headers.insert(GRPC_MESSAGE, message);
    }
    if let (false, Ok(details)) =
        (status.details.is_empty(), HeaderValue::from_str(&BASE64.encode(status.encode_to_vec())))
    {
        headers.insert(GRPC_STATUS_DETAILS, details);
    }
}

fn grpc_response(body: UnsyncBoxBody<Bytes, Infallible>) -> Answer {
    let mut answer = Response::new(body);
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    answer.headers_mut().insert(GRPC_ACCEPT_ENCODING, HeaderValue::from_static("identity,gzip,zstd"));
    answer
}

/// The escape of `grpc-message`: everything but printable ASCII, and `%` itself.
fn percent_encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_escaped_as_grpc_says() {
        assert_eq!(percent_encode("10 % of é\n"), "10 %25 of %C3%A9%0A");
    }
}

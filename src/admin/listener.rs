//! The listener: four paths that are read, over HTTP or HTTPS.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use serde::Serialize;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::exposition;
use super::vitals::Watched;
use crate::access::{Gate, Peer};
use crate::error::Result;
use crate::ingest::serve_connections;

/// A scraper, a load balancer and a person hold a connection each; the one that is idle longest makes room.
const MAX_CONNECTIONS: usize = 32;

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const PATHS: &str = "/healthz  whether the process lives\n/readyz   whether exports and statements are taken\n\
                     /metrics  figures for Prometheus\n/status   the same as JSON\n";

/// Serves what `watched` says of itself until `shutdown`.
pub async fn serve(
    listener: TcpListener,
    gate: Arc<Gate>,
    watched: Arc<Watched>,
    shutdown: CancellationToken,
) -> Result<()> {
    let guard = gate.clone();
    let handle = move |request: Request<Incoming>| {
        let (gate, watched) = (gate.clone(), watched.clone());
        async move {
            let (parts, _) = request.into_parts();
            let admitted = parts.extensions.get::<Peer>().map_or(Ok(()), |peer| gate.check_watcher(peer));
            Ok::<_, Infallible>(match admitted {
                Ok(()) => answer(&watched, &parts).await,
                Err(error) => respond(StatusCode::FORBIDDEN, TEXT, format!("{error}\n")),
            })
        }
    };
    serve_connections(listener, guard, MAX_CONNECTIONS, handle, shutdown).await
}

type Answer = Response<Full<Bytes>>;

async fn answer(watched: &Watched, request: &Parts) -> Answer {
    if !matches!(request.method, Method::GET | Method::HEAD) {
        let mut answer = respond(StatusCode::METHOD_NOT_ALLOWED, TEXT, "this port is read with GET\n");
        answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return answer;
    }
    match request.uri.path() {
        "/healthz" => respond(StatusCode::OK, TEXT, "ok\n"),
        "/readyz" => ready(&watched.hindrances(), wants_json(&request.headers)),
        "/metrics" => {
            let text = watched.families().await.and_then(exposition::text);
            text.map_or_else(|error| failed(&error), |text| respond(StatusCode::OK, exposition::CONTENT_TYPE, text))
        }
        "/status" => {
            watched.vitals().await.map_or_else(|error| failed(&error), |vitals| respond_json(StatusCode::OK, &vitals))
        }
        "/" => respond(StatusCode::OK, TEXT, PATHS),
        _ => respond(StatusCode::NOT_FOUND, TEXT, PATHS),
    }
}

fn ready(hindrances: &[String], as_json: bool) -> Answer {
    let is_ready = hindrances.is_empty();
    let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    match (as_json, is_ready) {
        (true, _) => respond_json(status, &json!({ "ready": is_ready, "reasons": hindrances })),
        (false, true) => respond(status, TEXT, "ready\n"),
        (false, false) => respond(status, TEXT, hindrances.join("\n") + "\n"),
    }
}

fn wants_json(headers: &HeaderMap) -> bool {
    headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).is_some_and(|accept| accept.contains(JSON))
}

fn failed(error: &crate::error::Error) -> Answer {
    tracing::warn!("the server's figures cannot be told: {error}");
    respond(StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("{error}\n"))
}

fn respond_json(status: StatusCode, body: &impl Serialize) -> Answer {
    match serde_json::to_string(body) {
        Ok(text) => respond(status, JSON, text + "\n"),
        Err(error) => respond(StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("{error}\n")),
    }
}

fn respond(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    async fn told(answer: Answer) -> (u16, String) {
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_server_that_is_not_open_lives_and_is_not_ready() {
        let watched = Watched::of(Gate::for_this_machine());
        let (status, text) = told(ready(&watched.hindrances(), false)).await;
        assert_eq!((status, text.as_str()), (503, "the server is starting: it reads its log\n"));
        watched.stops();
        let (status, text) = told(ready(&watched.hindrances(), true)).await;
        let reasons = serde_json::from_str::<serde_json::Value>(&text).unwrap();
        assert_eq!((status, &reasons["ready"], reasons["reasons"].as_array().unwrap().len()), (503, &json!(false), 2));
        assert_eq!(told(ready(&[], false)).await, (200, "ready\n".to_owned()));
        let text = exposition::text(watched.families().await.unwrap()).unwrap();
        assert!(text.contains("spanhouse_build_info{version=") && text.ends_with("# EOF\n"), "{text}");
    }
}

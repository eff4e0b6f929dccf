//! A client that sends encoded exports to an OTLP listener, ours or another's.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::uri::PathAndQuery;
use http::{HeaderMap, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Extensions, Status};
use tower::Service;

use super::authentication::TENANT;
use super::connector::Connector;
use super::grpc::EXPORT_PATH;
use super::raw_codec::RawCodec;
use super::status::{RETRY_INFO_TYPE, RetryInfo, RpcStatus};
use crate::access::TenantName;
use crate::error::{Error, Kind, Result};

/// How a client sends.
#[derive(Debug, Clone)]
pub struct ClientSettings {
    /// Exports under way at once; further ones wait.
    pub max_in_flight: usize,
    /// How long one export is tried again while the answers are retryable.
    pub retry_for: Duration,
    /// What lets it in; it is not shown.
    pub authorization: Option<HeaderValue>,
    /// Whose spans they are, where that is not said by what lets it in.
    pub tenant: Option<TenantName>,
    /// The authority of the server's certificate; those that the system trusts without it.
    pub tls_ca: Option<PathBuf>,
}

impl Default for ClientSettings {
    fn default() -> Self {
        Self { max_in_flight: 8, retry_for: Duration::from_secs(60), authorization: None, tenant: None, tls_ca: None }
    }
}

impl ClientSettings {
    /// Sends `token` with each export.
    pub fn with_token(mut self, token: &str) -> Result<Self> {
        let value = HeaderValue::from_str(&format!("Bearer {token}"));
        let mut value = value.map_err(|_| Error::bad_input("the token holds what no header can"))?;
        value.set_sensitive(true);
        self.authorization = Some(value);
        Ok(self)
    }
}

/// What the server said to an export that it took.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Receipt {
    /// Spans that it refused by partial success.
    pub rejected_spans: u64,
    /// Why, in its words.
    pub message: String,
    /// Requests that this took; more than one when the server asked to come again.
    pub attempts: u32,
}

/// Sends encoded exports to one endpoint.
#[derive(Debug)]
pub struct ExportClient {
    endpoint: String,
    /// Host and port.
    authority: String,
    uri: Uri,
    connector: Connector,
    transport: Transport,
    /// What each export has beside its content.
    headers: HeaderMap,
    in_flight: Semaphore,
    retry_for: Duration,
    /// When a retry was last told of.
    told: Mutex<Instant>,
}

type HttpClient = HyperClient<Connector, Full<Bytes>>;

#[derive(Debug)]
enum Transport {
    Grpc(Channel),
    Http(Box<HttpClient>, Uri),
}

/// The first pause after a retryable answer without a delay of its own, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How often retries are told of, at most; those that succeed sooner are not worth a word.
const TELL_EVERY: Duration = Duration::from_secs(3);

/// How long a connection may take to open, and an export to be answered.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const EXPORT_TIMEOUT: Duration = Duration::from_secs(60);

/// Bytes of an answer. An honest one is a few hundred.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// Why one attempt failed.
struct Failure {
    error: Box<Error>,
    /// Whether to come again, and after which delay when the server named one.
    retry: Option<Option<Duration>>,
}

impl ExportClient {
    /// Prepares a client for `endpoint`; it connects with the first export.
    ///
    /// `http://host:4317` means OTLP/gRPC; a path that ends in `/v1/traces` means OTLP/HTTP with protobuf; `https` encrypts either.
    pub fn new(endpoint: &str, settings: &ClientSettings) -> Result<Self> {
        let wrong = |why: String| Error::bad_input(format!("the endpoint {endpoint:?} cannot be used: {why}"));
        let uri: Uri = endpoint.parse().map_err(|error| wrong(format!("{error}")))?;
        let default_port = match uri.scheme_str() {
            Some("http") => 80,
            Some("https") => 443,
            _ => 0,
        };
        if default_port == 0 || uri.authority().is_none() {
            return Err(wrong("it must look like http://127.0.0.1:4317 or http://127.0.0.1:4318/v1/traces".into()));
        }
        let authority = format!("{}:{}", uri.host().unwrap_or_default(), uri.port_u16().unwrap_or(default_port));
        let is_http = uri.path().ends_with("/v1/traces");
        let mut tcp = HttpConnector::new();
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        tcp.set_nodelay(true);
        let connector = match uri.scheme_str() {
            Some("https") => {
                let protocol: &[u8] = if is_http { b"http/1.1" } else { b"h2" };
                Connector::encrypted(tcp, settings.tls_ca.as_deref(), protocol)?
            }
            _ => Connector::plain(tcp),
        };
        let transport = if is_http {
            let client = HyperClient::builder(TokioExecutor::new()).build(connector.clone());
            Transport::Http(Box::new(client), uri.clone())
        } else {
            let channel = Endpoint::from_shared(endpoint.to_owned()).map_err(|error| wrong(error.to_string()))?;
            let channel = channel.connect_timeout(CONNECT_TIMEOUT).timeout(EXPORT_TIMEOUT);
            Transport::Grpc(channel.connect_with_connector_lazy(connector.clone()))
        };
        let in_flight = Semaphore::new(settings.max_in_flight.max(1));
        let (endpoint, told) = (endpoint.to_owned(), Mutex::new(Instant::now()));
        let mut headers = HeaderMap::new();
        headers.extend(settings.authorization.clone().map(|value| (AUTHORIZATION, value)));
        let tenant = settings.tenant.as_ref().and_then(|name| HeaderValue::from_str(name.as_str()).ok());
        headers.extend(tenant.map(|name| (TENANT, name)));
        let retry_for = settings.retry_for;
        Ok(Self { endpoint, authority, uri, connector, transport, headers, in_flight, retry_for, told })
    }

    /// Opens a connection and closes it again: a wrong endpoint is told at once and not after all retries.
    pub async fn reach(&self) -> Result<()> {
        let why = match tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(&self.authority)).await {
            Ok(Ok(_)) if self.uri.scheme_str() != Some("https") => return Ok(()),
            Ok(Ok(_)) => {
                match tokio::time::timeout(CONNECT_TIMEOUT, self.connector.clone().call(self.uri.clone())).await {
                    Ok(Ok(_)) => return Ok(()),
                    Ok(Err(error)) => chain(&*error),
                    Err(_) => format!("no TLS within {} s", CONNECT_TIMEOUT.as_secs()),
                }
            }
            Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                "nothing listens there (connection refused)".to_owned()
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no connection within {} s", CONNECT_TIMEOUT.as_secs()),
        };
        Err(Error::new(Kind::Io, format!("{} cannot be reached: {why}", self.endpoint))
            .with_hint("start `spanhouse serve`, or check the host and the port"))
    }

    /// Sends a protobuf `ExportTraceServiceRequest` until it is taken, refused for good, or the time for retries is over.
    pub async fn export(&self, payload: Bytes) -> Result<Receipt> {
        let _permit =
            self.in_flight.acquire().await.map_err(|_| Error::new(Kind::Closed, "the export client is closed"))?;
        let started = Instant::now();
        let give_up = started + self.retry_for;
        let mut pause = FIRST_PAUSE;
        let mut attempts = 1;
        loop {
            let failure = match self.attempt(payload.clone()).await {
                Ok(mut receipt) => {
                    receipt.attempts = attempts;
                    return Ok(receipt);
                }
                Err(failure) => failure,
            };
            let Some(delay) = failure.retry else { return Err(*failure.error) };
            // Spread, so that senders that were refused together do not come back together.
            let wait = delay.unwrap_or(Duration::ZERO).max(pause.mul_f64(rand::random_range(0.5..1.0)));
            if Instant::now() + wait > give_up {
                return Err(*failure.error);
            }
            if started.elapsed() >= TELL_EVERY {
                self.tell_of_retry(&failure.error);
            }
            tokio::time::sleep(wait).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
            attempts += 1;
        }
    }

    /// Says that an export is tried again, unless that was said a moment ago.
    fn tell_of_retry(&self, error: &Error) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.elapsed() >= TELL_EVERY {
            *told = Instant::now();
            tracing::warn!("trying again to send to {}: {error}", self.endpoint);
        }
    }

    async fn attempt(&self, payload: Bytes) -> Result<Receipt, Failure> {
        match &self.transport {
            Transport::Grpc(channel) => attempt_grpc(channel.clone(), &self.headers, payload).await,
            Transport::Http(client, uri) => {
                let attempt = attempt_http(client, uri, &self.headers, payload);
                match tokio::time::timeout(EXPORT_TIMEOUT, attempt).await {
                    Ok(outcome) => outcome,
                    Err(_) => Err(unreachable_server("no answer in time")),
                }
            }
        }
    }
}

async fn attempt_grpc(channel: Channel, headers: &HeaderMap, payload: Bytes) -> Result<Receipt, Failure> {
    let mut client = tonic::client::Grpc::new(channel).max_decoding_message_size(MAX_ANSWER_BYTES);
    client.ready().await.map_err(|error| unreachable_server(chain(&error)))?;
    let path = PathAndQuery::from_static(EXPORT_PATH);
    let request = tonic::Request::from_parts(MetadataMap::from_headers(headers.clone()), Extensions::new(), payload);
    let answer = client.unary(request, path, RawCodec).await;
    answer.map_err(|status| grpc_failure(&status)).and_then(|answer| receipt(&answer.into_inner()))
}

async fn attempt_http(client: &HttpClient, uri: &Uri, headers: &HeaderMap, payload: Bytes) -> Result<Receipt, Failure> {
    let mut request = Request::post(uri.clone()).header(CONTENT_TYPE, "application/x-protobuf");
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let request = request
        .body(Full::new(payload))
        .map_err(|error| permanent(Error::internal(format!("cannot build a request: {error}"))))?;
    let answer = client.request(request).await.map_err(|error| unreachable_server(chain(&error)))?;
    let (parts, body) = answer.into_parts();
    let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await;
    let body = body.map_err(|error| unreachable_server(error.to_string()))?.to_bytes();
    match parts.status {
        StatusCode::OK => receipt(&body),
        status => Err(http_failure(status, &parts.headers, &body)),
    }
}

fn receipt(answer: &[u8]) -> Result<Receipt, Failure> {
    let answer = ExportTraceServiceResponse::decode(answer).map_err(|error| {
        permanent(Error::bad_input(format!("the server's answer is not an ExportTraceServiceResponse: {error}")))
    })?;
    let partial = answer.partial_success.unwrap_or_default();
    let rejected_spans = u64::try_from(partial.rejected_spans).unwrap_or(0);
    Ok(Receipt { rejected_spans, message: partial.error_message, attempts: 1 })
}

fn permanent(error: Error) -> Failure {
    Failure { error: Box::new(error), retry: None }
}

fn unreachable_server(why: impl std::fmt::Display) -> Failure {
    let error = Error::new(Kind::Io, format!("the server cannot be reached: {why}"));
    Failure { error: Box::new(error), retry: Some(None) }
}

/// The texts of an error and its causes, each once; the outermost alone often says nothing.
fn chain(error: &dyn std::error::Error) -> String {
    let texts = std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string);
    let mut told: Vec<String> = Vec::new();
    for text in texts {
        if !told.iter().any(|earlier| earlier.contains(&text)) {
            told.push(text);
        }
    }
    told.join(": ")
}

fn grpc_failure(status: &Status) -> Failure {
    let delay = retry_delay(status.details());
    let retry = match status.code() {
        Code::ResourceExhausted => delay.map(Some),
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => Some(delay),
        _ => None,
    };
    let kind = match status.code() {
        Code::InvalidArgument => Kind::BadInput,
        Code::ResourceExhausted if retry.is_none() => Kind::TooLarge,
        Code::Unauthenticated => Kind::Unauthenticated,
        Code::PermissionDenied => Kind::Denied,
        Code::Unimplemented | Code::NotFound => Kind::NotFound,
        _ if retry.is_some() => Kind::Overloaded { retry_after: delay.unwrap_or(LONGEST_PAUSE) },
        _ => Kind::Internal,
    };
    // A status with a cause was made here and is no answer.
    let text = match std::error::Error::source(status) {
        Some(cause) => format!("the server cannot be reached: {}", chain(cause)),
        None => format!("the server answers {}", status.message()),
    };
    let error = Error::new(kind, text);
    Failure { error: Box::new(error), retry }
}

fn http_failure(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Failure {
    let after = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok()).map(Duration::from_secs);
    let delay = after.or_else(|| retry_delay(body));
    let retry = matches!(status.as_u16(), 429 | 502 | 503 | 504).then_some(delay);
    let kind = match status.as_u16() {
        413 => Kind::TooLarge,
        401 => Kind::Unauthenticated,
        403 => Kind::Denied,
        404 | 405 => Kind::NotFound,
        _ if retry.is_some() => Kind::Overloaded { retry_after: delay.unwrap_or(LONGEST_PAUSE) },
        400..500 => Kind::BadInput,
        _ => Kind::Internal,
    };
    let message = RpcStatus::decode(body).map_or_else(|_| String::new(), |status| status.message);
    let error = Error::new(kind, format!("the server answers {status}: {message}"));
    Failure { error: Box::new(error), retry }
}

/// The delay of the `RetryInfo` in a `google.rpc.Status`.
fn retry_delay(status: &[u8]) -> Option<Duration> {
    let status = RpcStatus::decode(status).ok()?;
    let info = status.details.iter().find(|detail| detail.type_url == RETRY_INFO_TYPE)?;
    let delay = RetryInfo::decode(&*info.value).ok()?.retry_delay?;
    Some(Duration::new(u64::try_from(delay.seconds).ok()?, u32::try_from(delay.nanos).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Cause(&'static str, #[source] Option<Box<Cause>>);

    #[test]
    fn a_cause_is_told_once() {
        let cause = ["refused (os error 111)", "tcp connect error", "transport error", "tcp connect error"]
            .into_iter()
            .fold(None, |cause, text| Some(Box::new(Cause(text, cause))));
        let text = cause.map(|cause| chain(&*cause)).unwrap_or_default();
        assert_eq!(text, "tcp connect error: transport error: refused (os error 111)");
    }
}

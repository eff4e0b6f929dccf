//! Exports that show what lets them in, or do not: what each is answered, and that nothing of those refused is kept.

use std::collections::BTreeSet;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use prost::Message;
use spanhouse::access::{AccessFile, Gate, GateSettings, NewToken, Plaintext, Role, TokenEntry, UserEntry, Verifier};
use spanhouse::ingest::{IngestSettings, RawCodec};
use tempfile::TempDir;
use tonic::transport::Endpoint;
use tonic::{Code, Status};

use crate::otlp_server::{EXPORT, HttpAnswer, RpcStatus, Server, request, span};

const JSON: &str = "application/json";
const PROTOBUF: &str = "application/x-protobuf";

/// Listeners with a token that sends, one that reads, one that is slow, and users.
struct Guarded {
    server: Server,
    _folder: TempDir,
    sends: String,
    reads: String,
    slow: String,
}

impl Guarded {
    async fn start(plaintext: Plaintext) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let [sends, reads, slow] = ["sends", "reads", "slow"].map(NewToken::new);
        AccessFile::edit(folder.path(), |file| {
            for (id, token, role, spans_per_second) in [
                ("sends", &sends, Role::Ingest, None),
                ("reads", &reads, Role::Reader, None),
                ("slow", &slow, Role::Ingest, Some(1)),
            ] {
                file.tokens
                    .insert(id.into(), TokenEntry { sha256: token.digest, role, spans_per_second, tenant: None });
            }
            for (name, role) in [("bot", Role::Ingest), ("ada", Role::Reader)] {
                let user = UserEntry::new(Verifier::of_password("pencil"), BTreeSet::from([role]));
                file.users.insert(name.into(), user);
            }
            Ok(())
        })
        .expect("written");
        let gate: Arc<Gate> = Gate::open(folder.path(), GateSettings { tls: None, plaintext }).expect("a gate");
        let server = Server::guarded(IngestSettings::default(), gate).await;
        Self { server, _folder: folder, sends: sends.text, reads: reads.text, slow: slow.text }
    }

    async fn post(&self, content_type: &str, authorization: &str, body: Vec<u8>) -> HttpAnswer {
        let mut headers = vec![("content-type", content_type)];
        if !authorization.is_empty() {
            headers.push(("authorization", authorization));
        }
        self.server.http("POST", "/v1/traces", &headers, body).await
    }

    async fn grpc(&self, authorization: &str, body: Vec<u8>) -> Result<(), Status> {
        let channel = Endpoint::from_shared(format!("http://{}", self.server.grpc)).expect("an address");
        let mut client = tonic::client::Grpc::new(channel.connect().await.expect("a connection"));
        client.ready().await.expect("ready");
        let mut request = tonic::Request::new(Bytes::from(body));
        if !authorization.is_empty() {
            request.metadata_mut().insert("authorization", authorization.parse().expect("a value"));
        }
        client.unary(request, http::uri::PathAndQuery::from_static(EXPORT), RawCodec).await.map(drop)
    }

    /// Requests refused for a reason.
    fn refused(&self, reason: &str) -> u64 {
        let counters = self.server.ingest.counters();
        counters.refused_requests.iter().find(|(name, _)| *name == reason).expect("a reason").1
    }
}

fn basic(text: &str) -> String {
    format!("Basic {}", BASE64.encode(text))
}

#[tokio::test]
async fn row_15_exports_without_a_good_token_are_refused_and_nothing_is_written() {
    let guarded = Guarded::start(Plaintext::Loopback).await;
    let forged = guarded.sends.replacen("sends", "slow", 1);
    for (authorization, status, code) in [
        (String::new(), 401, Code::Unauthenticated),
        ("Bearer nonsense".into(), 401, Code::Unauthenticated),
        (format!("Bearer {forged}"), 401, Code::Unauthenticated),
        (guarded.sends.clone(), 401, Code::Unauthenticated),
        (basic("bot:pen"), 401, Code::Unauthenticated),
        (basic("eve:pencil"), 401, Code::Unauthenticated),
        (format!("Bearer {}", guarded.reads), 403, Code::PermissionDenied),
        (basic("ada:pencil"), 403, Code::PermissionDenied),
    ] {
        let payload = request(vec![span(1)]);
        let answer = guarded.post(PROTOBUF, &authorization, payload.clone()).await;
        assert_eq!(answer.status, status, "{authorization}");
        assert_eq!(answer.headers.contains_key("www-authenticate"), status == 401, "{authorization}");
        assert_eq!(answer.rpc_status().code, code as i32, "{authorization}");
        let answer = guarded.post(JSON, &authorization, b"{\"resourceSpans\":[]}".to_vec()).await;
        assert_eq!((answer.status, answer.json()["code"].as_i64()), (status, Some(code as i64)), "{authorization}");
        let refusal = guarded.grpc(&authorization, payload).await.expect_err("refused");
        assert_eq!(refusal.code(), code, "{authorization}: {refusal}");
    }
    let challenge = guarded.post(JSON, "", b"{}".to_vec()).await.headers["www-authenticate"].clone();
    assert!(challenge.to_str().expect("text").starts_with("Bearer, Basic realm="), "{challenge:?}");
    assert_eq!(guarded.server.spans().await, 0);
    assert_eq!([guarded.refused("unauthenticated"), guarded.refused("denied")], [6 * 3 + 1, 2 * 3]);
    // A path that is not there tells a stranger no more than one that is.
    let answer = guarded.server.http("GET", "/nowhere", &[], Vec::new()).await;
    assert_eq!(answer.status, 401);
    let good = [format!("Bearer {}", guarded.sends), basic("bot:pencil"), format!("bearer  {}", guarded.sends)];
    for (number, authorization) in (1..).zip(&good) {
        assert_eq!(
            guarded.post(PROTOBUF, authorization, request(vec![span(number * 2)])).await.status,
            200,
            "{authorization}"
        );
        guarded.grpc(authorization, request(vec![span(number * 2 + 1)])).await.expect("taken");
    }
    assert_eq!(guarded.server.spans().await, 6);
    guarded.server.stop().await;
}

#[tokio::test]
async fn row_15_a_token_over_its_rate_is_told_when_to_come_again() {
    let guarded = Guarded::start(Plaintext::Loopback).await;
    let slow = format!("Bearer {}", guarded.slow);
    let many = |from: u64| request((from..from + 1_000).map(span).collect());
    assert_eq!(guarded.post(PROTOBUF, &slow, many(1)).await.status, 200);
    let answer = guarded.post(PROTOBUF, &slow, many(10_000)).await;
    let wait: u64 = answer.headers["retry-after"].to_str().expect("text").parse().expect("seconds");
    assert_eq!((answer.status, answer.rpc_status().code), (429, Code::ResourceExhausted as i32));
    assert!((900..=999).contains(&wait), "999 spans are owed, one a second: {wait}");
    let refusal = guarded.grpc(&slow, many(10_000)).await.expect_err("refused");
    assert_eq!(refusal.code(), Code::ResourceExhausted);
    let details = RpcStatus::decode(refusal.details()).expect("a status");
    assert_eq!(details.details[0].type_url, "type.googleapis.com/google.rpc.RetryInfo");
    let other = guarded.post(PROTOBUF, &format!("Bearer {}", guarded.sends), request(vec![span(5_000)])).await;
    assert_eq!(other.status, 200, "others are not held up");
    assert_eq!((guarded.server.spans().await, guarded.refused("over_rate")), (1_001, 2));
    guarded.server.stop().await;
}

#[tokio::test]
async fn row_39_exports_that_are_not_encrypted_are_refused_where_that_is_due() {
    let guarded = Guarded::start(Plaintext::Never).await;
    let sends = format!("Bearer {}", guarded.sends);
    let answer = guarded.post(JSON, &sends, b"{}".to_vec()).await;
    let told = answer.json()["message"].as_str().expect("a text").to_owned();
    assert!(answer.status == 403 && told.contains("is not encrypted"), "{told}");
    let refusal = guarded.grpc(&sends, request(vec![span(1)])).await.expect_err("refused");
    assert_eq!(refusal.code(), Code::PermissionDenied, "{refusal}");
    assert_eq!(guarded.server.spans().await, 0);
    guarded.server.stop().await;
}

//! Whether spans arrive, and how to send one when none does.

use std::net::SocketAddr;

use super::access::names_senders;
use super::ports::reached_at;
use super::seen::Seen;
use crate::access::{GateSettings, Plaintext};
use crate::cli::note::{Note, duration};
use crate::cli::status::{labelled, listed};
use crate::model::{SpanId, TraceId};
use crate::render::count;

/// A sender that is at work exports at least every minute, and services have calls more often than this.
const LONG_SILENCE_SECONDS: f64 = 900.0;

/// What the server has got since its start.
struct Got {
    up_seconds: f64,
    requests: u64,
    spans: u64,
    refused: Vec<(String, u64)>,
    /// Open connections of the OTLP listeners.
    connections: u64,
    /// How long ago the newest span began.
    newest_ago_seconds: Option<f64>,
}

/// Where one sends to.
struct Way {
    grpc: Option<SocketAddr>,
    http: Option<SocketAddr>,
    needs_tls: bool,
    /// A file that holds the server's certificate.
    certificate: Option<String>,
    needs_token: bool,
    tenant: Option<String>,
}

/// Nothing, where no server tells.
pub(super) fn check(seen: &Seen) -> Option<Note> {
    let (server, vitals) = (seen.server.as_ref()?, seen.vitals.as_ref()?);
    let tenant = seen.settings.tenant();
    let figure = |what: &str| {
        let name = match &tenant {
            Some(tenant) => format!("spanhouse_tenant_accepted_{what}_total{{tenant=\"{tenant}\"}}"),
            None => format!("spanhouse_ingest_accepted_{what}_total"),
        };
        seen.figure(&name).unwrap_or(0.0) as u64
    };
    let connections = labelled(&vitals.figures, "spanhouse_connections")
        .into_iter()
        .filter(|(listener, _)| listener.starts_with("otlp"));
    let got = Got {
        up_seconds: seen.up_seconds()?,
        requests: figure("requests"),
        spans: figure("spans"),
        refused: labelled(&vitals.figures, "spanhouse_ingest_refused_requests_total"),
        connections: connections.map(|(_, open)| open).sum(),
        newest_ago_seconds: seen.newest_ns().map(|ns| seen.now_s() - ns as f64 / 1e9),
    };
    let GateSettings { tls, plaintext } = seen.settings.gate();
    let way = Way {
        grpc: server.otlp_grpc,
        http: server.otlp_http,
        needs_tls: server.tls && plaintext == Plaintext::Never,
        certificate: tls.map(|files| files.cert.display().to_string()),
        needs_token: seen.access.as_ref().is_ok_and(names_senders),
        tenant,
    };
    Some(judge(&got, &way))
}

fn judge(got: &Got, way: &Way) -> Note {
    let Got { up_seconds, requests, spans, refused, connections, newest_ago_seconds } = got;
    let listeners: Vec<String> =
        [way.grpc, way.http].into_iter().flatten().map(|address| address.port().to_string()).collect();
    let (ports, up) = (listeners.join(" or "), duration(*up_seconds));
    if listeners.is_empty() {
        return Note::warn(
            "senders",
            "both OTLP listeners are off",
            "set otlp_grpc or otlp_http, and restart the server",
        );
    }
    match (*requests, refused.is_empty()) {
        (0, false) => {
            let text =
                format!("nothing of what arrived on {ports} since the start {up} ago was taken: {}", listed(refused));
            Note::bad(
                "senders",
                text,
                "docs/ingest.md says what each reason means, and the log of events whose requests they were",
            )
        }
        (0, true) => {
            let open = match connections {
                0 => "nobody is connected".to_owned(),
                open => format!("{} open", count(*open, "connection")),
            };
            let text = format!("nothing arrived on {ports} since the start {up} ago; {open}");
            Note::warn(
                "senders",
                text,
                format!("{}\ndocs/ingest.md has what SDKs and the Collector want to be told", how_to_send(way)),
            )
        }
        (requests, _) => {
            let took = format!("{} of {} since the start {up} ago", count(*spans, "span"), count(requests, "request"));
            match newest_ago_seconds {
                Some(seconds) if *seconds > LONG_SILENCE_SECONDS => {
                    let text = format!("{took}; the newest began {} ago", duration(*seconds));
                    let advice =
                        format!("senders have stopped, or send what is old. Try the way:\n{}", how_to_send(way));
                    Note::warn("senders", text, advice)
                }
                Some(seconds) => {
                    Note::ok("senders", format!("{took}; the newest began {} ago", duration(seconds.max(0.0))))
                }
                None => Note::ok("senders", took),
            }
        }
    }
}

/// Commands that send a span, and one that asks for it.
fn how_to_send(way: &Way) -> String {
    let mut lines = Vec::new();
    let scheme = if way.needs_tls { "https" } else { "http" };
    let tenant = way.tenant.as_deref();
    if let Some(address) = way.http {
        let (trace, span) = (random_trace(), random_span());
        let url = format!("{scheme}://{}/v1/traces", reached_at(address));
        let mut flags = String::new();
        if let (true, Some(certificate)) = (way.needs_tls, &way.certificate) {
            flags += &format!(" --cacert '{certificate}'");
        }
        if way.needs_token {
            flags += " -H \"Authorization: Bearer $SPANHOUSE_TOKEN\"";
        }
        flags += &tenant.map_or(String::new(), |tenant| format!(" -H 'X-Scope-OrgID: {tenant}'"));
        lines.push("here is a command that sends one, and is answered {} when it is kept:".to_owned());
        lines.push(format!("curl -sS {url} -H 'Content-Type: application/json'{flags} -d '{}'", body(&trace, &span)));
        lines.push(format!("and one that looks for it: spanhouse doctor --trace {trace}"));
    }
    if let Some(address) = way.grpc {
        let tenant = tenant.map_or(String::new(), |tenant| format!(" --tenant {tenant}"));
        let ca = match (way.needs_tls, &way.certificate) {
            (true, Some(certificate)) => format!(" --tls-ca '{certificate}'"),
            _ => String::new(),
        };
        lines.push(format!(
            "over gRPC: spanhouse generate --traces 10 --start now --to {scheme}://{}{ca}{tenant}",
            reached_at(address)
        ));
    }
    if way.needs_token {
        lines.push("SPANHOUSE_TOKEN is to hold a token of this server: spanhouse token add NAME".to_owned());
    }
    lines.join("\n")
}

/// A request with one span that begins now, in quotes of the shell.
fn body(trace: &str, span: &str) -> String {
    format!(
        "{{\"resourceSpans\":[{{\"resource\":{{\"attributes\":[{{\"key\":\"service.name\",\"value\":{{\"stringValue\":\"doctor\"}}}}]}},\
         \"scopeSpans\":[{{\"spans\":[{{\"traceId\":\"{trace}\",\"spanId\":\"{span}\",\"name\":\"hello\",\"kind\":1,\
         \"startTimeUnixNano\":\"'$(date +%s)'000000000\",\"endTimeUnixNano\":\"'$(date +%s)'001000000\"}}]}}]}}]}}"
    )
}

fn random_trace() -> String {
    TraceId::from_bytes(&rand::random::<[u8; TraceId::LEN]>()).map_or_else(|| "1".repeat(32), |id| id.to_string())
}

fn random_span() -> String {
    SpanId::from_bytes(&rand::random::<[u8; SpanId::LEN]>()).map_or_else(|| "1".repeat(16), |id| id.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::note::Level;

    fn way() -> Way {
        let address = |text: &str| Some(text.parse().expect("an address"));
        Way {
            grpc: address("0.0.0.0:4317"),
            http: address("127.0.0.1:4318"),
            needs_tls: false,
            certificate: None,
            needs_token: false,
            tenant: None,
        }
    }

    fn got(requests: u64, refused: &[(&str, u64)], newest_ago_seconds: Option<f64>) -> Got {
        let refused = refused.iter().map(|(reason, count)| ((*reason).to_owned(), *count)).collect();
        Got { up_seconds: 600.0, requests, spans: requests * 2, refused, connections: 0, newest_ago_seconds }
    }

    #[test]
    fn senders_are_judged_by_what_arrived() {
        for (got, level, text) in [
            (
                got(0, &[], None),
                Level::Warn,
                "nothing arrived on 4317 or 4318 since the start 10 min ago; nobody is connected",
            ),
            (
                got(0, &[("unauthenticated", 3)], None),
                Level::Bad,
                "nothing of what arrived on 4317 or 4318 since the start 10 min ago was taken: 3 unauthenticated",
            ),
            (
                got(2, &[("bad_input", 1)], Some(5.0)),
                Level::Ok,
                "4 spans of 2 requests since the start 10 min ago; the newest began 5 s ago",
            ),
            (
                got(1, &[], Some(-3.0)),
                Level::Ok,
                "2 spans of 1 request since the start 10 min ago; the newest began 0 s ago",
            ),
            (
                got(1, &[], Some(7_200.0)),
                Level::Warn,
                "2 spans of 1 request since the start 10 min ago; the newest began 2 h ago",
            ),
        ] {
            let note = judge(&got, &way());
            assert_eq!((note.level, note.text.as_str()), (level, text));
        }
        let off = Way { grpc: None, http: None, ..way() };
        assert_eq!(judge(&got(0, &[], None), &off).text, "both OTLP listeners are off");
    }

    #[test]
    fn the_command_goes_the_way_that_the_server_takes() {
        let plain = how_to_send(&way());
        assert!(
            plain.contains("curl -sS http://127.0.0.1:4318/v1/traces -H 'Content-Type: application/json' -d '{"),
            "{plain}"
        );
        assert!(
            plain.contains("--to http://127.0.0.1:4317"),
            "all addresses are reached at this machine's own: {plain}"
        );
        let kept = Way {
            needs_tls: true,
            certificate: Some("/etc/s.crt".into()),
            needs_token: true,
            tenant: Some("acme".into()),
            ..way()
        };
        let kept = how_to_send(&kept);
        let flags = "--cacert '/etc/s.crt' -H \"Authorization: Bearer $SPANHOUSE_TOKEN\" -H 'X-Scope-OrgID: acme' -d";
        assert!(kept.contains("https://127.0.0.1:4318") && kept.contains(flags), "{kept}");
        assert!(kept.contains("--to https://127.0.0.1:4317 --tls-ca '/etc/s.crt' --tenant acme"), "{kept}");
        let grpc_only = how_to_send(&Way { http: None, ..way() });
        assert!(!grpc_only.contains("curl") && grpc_only.starts_with("over gRPC: spanhouse generate"), "{grpc_only}");
    }
}

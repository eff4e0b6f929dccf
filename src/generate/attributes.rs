//! What each kind of span says about itself, by OpenTelemetry's semantic conventions (1.40).

use super::fleet::Instance;
use super::random::Random;
use super::span::{Attributes, Event, Value};
use super::topology::{External, Fault, Store, Topic};
use super::visitor::Visitor;

/// How many attributes a span is likely to have.
const TYPICAL: usize = 20;

/// Names and versions of the instrumentation libraries; a span names one by its place.
pub(super) const SCOPES: [(&str, &str); 5] = [
    ("shop.application", "3.1.0"),
    ("opentelemetry.instrumentation.http", "0.61.0"),
    ("opentelemetry.instrumentation.grpc", "0.61.0"),
    ("opentelemetry.instrumentation.db", "0.61.0"),
    ("opentelemetry.instrumentation.messaging", "0.61.0"),
];
pub(super) const APPLICATION: usize = 0;
pub(super) const HTTP: usize = 1;
pub(super) const GRPC: usize = 2;
pub(super) const DATABASE: usize = 3;
pub(super) const MESSAGING: usize = 4;

/// An HTTP exchange as its two ends see it.
pub(super) struct Exchange<'a> {
    pub(super) method: &'static str,
    pub(super) route: &'static str,
    pub(super) path: &'a str,
    pub(super) status: u16,
    pub(super) host: &'a str,
    pub(super) port: u16,
    pub(super) peer_ip: &'a str,
    pub(super) resend: u32,
}

pub(super) fn http_server(exchange: &Exchange, visitor: &Visitor, random: &mut Random) -> Attributes {
    let mut out = Attributes::with_capacity(TYPICAL);
    out.push("http.request.method", exchange.method);
    out.push("http.route", exchange.route);
    out.push("http.response.status_code", exchange.status);
    out.push("url.scheme", "https");
    out.push("url.path", exchange.path.to_owned());
    if exchange.route == "/search" {
        out.push("url.query", format!("q={}&page={}", visitor.wish, 1 + random.below(4)));
    }
    out.push("server.address", exchange.host.to_owned());
    out.push("server.port", exchange.port);
    out.push("client.address", visitor.ip.clone());
    out.push("network.peer.address", exchange.peer_ip.to_owned());
    out.push("network.peer.port", random.between(32_768, 60_999));
    out.push("network.protocol.name", "http");
    out.push("network.protocol.version", "1.1");
    out.push("user_agent.original", visitor.agent);
    out.push("http.request.body.size", if exchange.method == "POST" { random.between(80, 4_000) } else { 0 });
    out.push("http.response.body.size", random.between(200, 90_000));
    push_visitor(visitor, &mut out);
    push_thread(random, &mut out);
    if exchange.status >= 500 {
        out.push("error.type", exchange.status.to_string());
    }
    out
}

pub(super) fn http_client(exchange: &Exchange, visitor: &Visitor, random: &mut Random) -> Attributes {
    let mut out = Attributes::with_capacity(TYPICAL);
    out.push("http.request.method", exchange.method);
    out.push("url.full", format!("https://{}{}", exchange.host, exchange.path));
    out.push("url.template", exchange.route);
    out.push("http.response.status_code", exchange.status);
    out.push("server.address", exchange.host.to_owned());
    out.push("server.port", exchange.port);
    out.push("network.peer.address", exchange.peer_ip.to_owned());
    out.push("network.peer.port", exchange.port);
    out.push("network.protocol.version", "1.1");
    out.push("http.request.body.size", random.between(0, 3_000));
    out.push("http.response.body.size", random.between(120, 30_000));
    if exchange.resend > 0 {
        out.push("http.request.resend_count", exchange.resend);
    }
    push_visitor(visitor, &mut out);
    push_thread(random, &mut out);
    if exchange.status >= 400 {
        out.push("error.type", exchange.status.to_string());
    }
    out
}

/// What is common to both ends of a remote call.
pub(super) fn rpc(
    method: &'static str,
    status: &'static str,
    server: &Instance,
    peer_ip: &str,
    visitor: &Visitor,
    random: &mut Random,
) -> Attributes {
    let mut out = Attributes::with_capacity(TYPICAL);
    out.push("rpc.system.name", "grpc");
    out.push("rpc.method", method);
    out.push("rpc.response.status_code", status);
    out.push("server.address", server.service.name);
    out.push("server.port", server.service.port);
    out.push("network.peer.address", peer_ip.to_owned());
    out.push("network.peer.port", random.between(32_768, 60_999));
    out.push("network.transport", "tcp");
    out.push("network.type", "ipv4");
    out.push("network.protocol.name", "http");
    out.push("network.protocol.version", "2");
    push_visitor(visitor, &mut out);
    push_thread(random, &mut out);
    if status != "OK" {
        out.push("error.type", status);
    }
    out
}

pub(super) fn database(store: &Store, failed: bool, visitor: &Visitor, random: &mut Random) -> Attributes {
    let mut out = Attributes::with_capacity(TYPICAL);
    out.push("db.system.name", store.system);
    out.push("db.namespace", store.namespace);
    out.push("db.collection.name", store.collection);
    out.push("db.operation.name", store.operation);
    out.push("db.query.text", store.text);
    out.push("db.query.summary", format!("{} {}", store.operation, store.collection));
    out.push("server.address", store.host);
    out.push("server.port", store.port);
    out.push("network.peer.address", format!("10.20.0.{}", 10 + store.port % 100));
    out.push("network.peer.port", store.port);
    out.push("db.client.connection.pool.name", format!("{}-pool", store.host));
    if !failed {
        out.push("db.response.returned_rows", random.below(40));
    }
    out.push("session.id", visitor.session_id.clone());
    push_thread(random, &mut out);
    if failed {
        out.push("db.response.status_code", if store.system == "postgresql" { "40P01" } else { "TIMEOUT" });
        out.push("error.type", store.fault.exception);
    }
    out
}

pub(super) fn external<'a>(external: &External, status: u16, peer_ip: &'a str) -> Exchange<'a> {
    Exchange {
        method: external.method,
        route: external.route,
        path: external.route,
        status,
        host: external.host,
        port: 443,
        peer_ip,
        resend: 0,
    }
}

/// What sender and receiver of a message say; `operation` is `send` or `process`.
pub(super) fn message(
    topic: &Topic,
    operation: &'static str,
    service: &'static str,
    visitor: &Visitor,
    random: &mut Random,
) -> Attributes {
    let mut out = Attributes::with_capacity(TYPICAL);
    out.push("messaging.system", topic.system);
    out.push("messaging.destination.name", topic.name);
    out.push("messaging.operation.name", operation);
    out.push("messaging.operation.type", operation);
    out.push("messaging.message.id", super::fleet::uuid(random));
    out.push("messaging.message.conversation_id", visitor.order_id.clone());
    out.push("messaging.message.body.size", random.between(180, 6_000));
    out.push("messaging.client.id", format!("{service}-{operation}er"));
    if topic.system == "kafka" {
        out.push("messaging.destination.partition.id", random.below(12).to_string());
        out.push("messaging.kafka.offset", Value::Int((random.bits() >> 40) as i64));
        out.push("messaging.kafka.message.key", visitor.user_id.clone());
    } else {
        out.push("messaging.rabbitmq.destination.routing_key", topic.name);
    }
    if operation == "process" {
        out.push("messaging.consumer.group.name", service);
    }
    out.push("server.address", topic.host);
    out.push("server.port", topic.port);
    push_thread(random, &mut out);
    out
}

/// Work inside a process.
pub(super) fn work(name: &'static str, visitor: &Visitor, random: &mut Random) -> Attributes {
    let mut out = Attributes::with_capacity(TYPICAL);
    out.push("code.function.name", name);
    out.push("code.line.number", random.between(20, 400));
    out.push("app.feature.flag", random.pick(&["control", "variant-a", "variant-b"]));
    out.push("app.cache.hit", Value::Bool(random.chance(700)));
    out.push("app.items.count", random.below(50));
    out.push("app.score", Value::Double(f64::from(random.below(1000)) / 8.0));
    out.push(
        "app.product.ids",
        Value::Texts(vec![visitor.product_id.clone().into(), format!("P-{:05}", random.below(20_000)).into()]),
    );
    push_visitor(visitor, &mut out);
    push_thread(random, &mut out);
    out
}

/// The event of an exception that was met at this time.
pub(super) fn exception(fault: &Fault, message: String, time_ns: u64) -> Event {
    let mut attributes = Attributes::with_capacity(4);
    let separator = "\n    ";
    let stacktrace = format!("{}: {}{separator}{}", fault.exception, message, fault.frames.join(separator));
    attributes.push("exception.type", fault.exception);
    attributes.push("exception.message", message);
    attributes.push("exception.stacktrace", stacktrace);
    Event { time_ns, name: "exception", attributes }
}

fn push_visitor(visitor: &Visitor, out: &mut Attributes) {
    out.push("session.id", visitor.session_id.clone());
    out.push("user.id", visitor.user_id.clone());
    out.push("app.user.tier", visitor.tier);
}

fn push_thread(random: &mut Random, out: &mut Attributes) {
    out.push("thread.id", random.between(1, 64));
}

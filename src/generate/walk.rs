//! One visit to the shop: walks an operation's steps and leaves the spans that its services would send.
//!
//! Spans come parent first. Times are true times until [`Walk::finish`] puts each span on its host's clock.

use std::borrow::Cow;

use super::attributes::{self, APPLICATION, DATABASE, Exchange, GRPC, HTTP, MESSAGING};
use super::fleet::Fleet;
use super::incident::failing_permille;
use super::random::Random;
use super::shop::STOREFRONT;
use super::span::{Attributes, Event, Kind, Link, Span, Status};
use super::topology::{Entry, External, Fault, Operation, Step, Store, Topic, Weighted};
use super::visitor::Visitor;

/// How often a query fails on a good day, of 10,000.
const QUERY_FAULT_PERMYRIAD: u32 = 1;
/// How often a third party fails on a good day, of 10,000.
const EXTERNAL_FAULT_PERMYRIAD: u32 = 60;
/// How long a message waits for its consumer: the median, in microseconds.
const QUEUE_WAIT_US: u32 = 40_000;

const LOCAL_PARENT: u32 = 0x101;
const REMOTE_PARENT: u32 = 0x301;

/// A span as the start of a link or of a child.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context {
    pub(super) trace_id: [u8; 16],
    pub(super) span_id: [u8; 8],
}

/// A failure on its way up: what went wrong, and where.
#[derive(Debug, Clone, Copy)]
struct Failure {
    fault: &'static Fault,
    origin: &'static str,
}

/// When something ended and whether it failed.
struct Done {
    end_ns: u64,
    failure: Option<Failure>,
}

/// Who asks: the process and the span in which it does.
#[derive(Clone, Copy)]
struct Caller {
    instance: usize,
    span_id: [u8; 8],
}

pub(super) struct Walk<'a> {
    random: &'a mut Random,
    fleet: &'a Fleet,
    /// The time of the first trace, from which incidents count.
    origin_ns: u64,
    turn: u64,
    visitor: Visitor,
    trace_id: [u8; 16],
    trace_state: &'static str,
    spans: Vec<Span>,
    clicks: Vec<Context>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(random: &'a mut Random, fleet: &'a Fleet, origin_ns: u64, turn: u64) -> Self {
        const STATES: [&str; 5] = ["", "", "", "congo=t61rcWkgMzE", "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"];
        let visitor = Visitor::new(random);
        let (trace_id, trace_state) = (random.trace_id(), random.pick(&STATES));
        Self { random, fleet, origin_ns, turn, visitor, trace_id, trace_state, spans: Vec::new(), clicks: Vec::new() }
    }

    /// What starts this visit, by weight.
    pub(super) fn pick_root(&mut self, roots: &'static [Weighted]) -> &'static Weighted {
        let mut left = self.random.below(roots.iter().map(|root| root.weight).sum());
        for root in roots {
            if left < root.weight {
                return root;
            }
            left -= root.weight;
        }
        &roots[0]
    }

    /// A visit that starts in a browser.
    pub(super) fn visit_by_browser(&mut self, operation: &'static Operation, start_ns: u64) {
        let instance = self.fleet.pick(&STOREFRONT, self.random);
        let root = self.open(None, instance, APPLICATION, Kind::Internal, "page view".into(), start_ns);
        let caller = Caller { instance, span_id: self.spans[root].span_id };
        let think_ns = self.random.lognormal_ns(3_000, 60);
        let done = self.call(operation, caller, start_ns + think_ns, 0);
        let end_ns = done.end_ns + self.random.lognormal_ns(20_000, 60);
        let mut attributes = attributes::work("page view", &self.visitor, self.random);
        attributes.push("user_agent.original", self.visitor.agent);
        attributes.push("browser.page.title", "The Shop");
        let loaded = Event { time_ns: end_ns, name: "documentLoad", attributes: Attributes::default() };
        self.spans[root].events.push(loaded);
        self.close(root, end_ns, attributes, None);
    }

    /// A request or job without a caller that sends spans.
    pub(super) fn visit_without_caller(&mut self, operation: &'static Operation, start_ns: u64) {
        self.serve(operation, None, start_ns);
    }

    /// One consumer span that takes many messages, linked to each of their producers.
    pub(super) fn batch(
        &mut self,
        operation: &'static Operation,
        topic: &'static Topic,
        from: &[Context],
        start_ns: u64,
    ) {
        let links = from.iter().map(|context| link(*context)).collect();
        self.consume(operation, topic, None, links, start_ns);
    }

    /// The spans by their hosts' clocks, and the producers of clicks that wait for a consumer.
    pub(super) fn finish(mut self) -> (Vec<Span>, Vec<Context>) {
        for span in &mut self.spans {
            let skew_ns = self.fleet.instances[span.instance].skew_ns;
            span.start_ns = span.start_ns.saturating_add_signed(skew_ns);
            span.end_ns = span.end_ns.saturating_add_signed(skew_ns);
            for event in &mut span.events {
                event.time_ns = event.time_ns.saturating_add_signed(skew_ns);
            }
        }
        (self.spans, self.clicks)
    }

    /// Calls `operation` from `caller`: a client span here and what the callee sends.
    fn call(&mut self, operation: &'static Operation, caller: Caller, start_ns: u64, resend: u32) -> Done {
        let (scope, name): (usize, Cow<'static, str>) = match operation.entry {
            Entry::Http { method, route } => (HTTP, format!("{method} {route}").into()),
            Entry::Rpc { method } => (GRPC, method.into()),
            Entry::Message | Entry::Job { .. } => (APPLICATION, "call".into()),
        };
        let index = self.open(Some((caller.span_id, false)), caller.instance, scope, Kind::Client, name, start_ns);
        let parent = self.spans[index].span_id;
        let way_ns = self.random.lognormal_ns(250, 40);
        let callee = self.fleet.pick(operation.service, self.random);
        let done = self.serve_at(operation, callee, Some(parent), start_ns + way_ns);
        let end_ns = done.end_ns + way_ns;
        let server = &self.fleet.instances[callee];
        let attributes = match operation.entry {
            Entry::Http { method, route } => {
                let path = self.visitor_path(route);
                let status = done.failure.map_or(200, |failure| failure.fault.http_status);
                let (host, port) = (server.service.name, server.service.port);
                let exchange = Exchange { method, route, path: &path, status, host, port, peer_ip: &server.ip, resend };
                attributes::http_client(&exchange, &self.visitor, self.random)
            }
            Entry::Rpc { method } => {
                let status = done.failure.map_or("OK", |failure| failure.fault.rpc_status);
                attributes::rpc(method, status, server, &server.ip, &self.visitor, self.random)
            }
            Entry::Message | Entry::Job { .. } => Attributes::default(),
        };
        let status = done.failure.map(|failure| format!("{}: {}", failure.origin, failure.fault.message).into());
        self.close(index, end_ns, attributes, status);
        Done { end_ns, failure: done.failure }
    }

    fn serve(&mut self, operation: &'static Operation, parent: Option<[u8; 8]>, start_ns: u64) -> Done {
        let instance = self.fleet.pick(operation.service, self.random);
        self.serve_at(operation, instance, parent, start_ns)
    }

    /// What the called process does and sends.
    fn serve_at(
        &mut self,
        operation: &'static Operation,
        instance: usize,
        parent: Option<[u8; 8]>,
        start_ns: u64,
    ) -> Done {
        let (scope, kind, name): (usize, Kind, Cow<'static, str>) = match operation.entry {
            Entry::Http { method, route } => (HTTP, Kind::Server, format!("{method} {route}").into()),
            Entry::Rpc { method } => (GRPC, Kind::Server, method.into()),
            Entry::Message => (MESSAGING, Kind::Consumer, "process".into()),
            Entry::Job { name } => (APPLICATION, Kind::Internal, name.into()),
        };
        let index = self.open(parent.map(|id| (id, true)), instance, scope, kind, name, start_ns);
        let done = self.perform(operation, index, start_ns);
        let fault = done.failure.map(|failure| failure.fault);
        let server = &self.fleet.instances[instance];
        let attributes = match operation.entry {
            Entry::Http { method, route } => {
                let path = self.visitor_path(route);
                let missing = route != "/healthz" && self.random.chance(6);
                let status = fault.map_or(if missing { 404 } else { 200 }, |fault| fault.http_status.max(500));
                let (host, port) = ("shop.example", server.service.port);
                let exchange =
                    Exchange { method, route, path: &path, status, host, port, peer_ip: "10.0.0.7", resend: 0 };
                attributes::http_server(&exchange, &self.visitor, self.random)
            }
            Entry::Rpc { method } => {
                let status = fault.map_or("OK", |fault| fault.rpc_status);
                attributes::rpc(method, status, server, "10.0.3.9", &self.visitor, self.random)
            }
            Entry::Message | Entry::Job { .. } => attributes::work("run", &self.visitor, self.random),
        };
        // A server that answers HTTP leaves the reason to its exception event, as instrumentation libraries do.
        let status = done.failure.map(|failure| match operation.entry {
            Entry::Http { .. } => "".into(),
            _ => failure.fault.message.into(),
        });
        self.close(index, done.end_ns, attributes, status);
        done
    }

    /// Does the operation's own work and its steps; records the exception that ends it on the span at `index`.
    fn perform(&mut self, operation: &'static Operation, index: usize, start_ns: u64) -> Done {
        let caller = Caller { instance: self.spans[index].instance, span_id: self.spans[index].span_id };
        let own_ns = self.random.lognormal_ns(operation.self_us, operation.spread);
        let share_ns = own_ns / (operation.steps.len() as u64 + 1);
        let own_fault = self.own_fault(operation, start_ns);
        let fails_early = own_fault.is_some() && self.random.chance(500);
        let mut done = Done { end_ns: start_ns + share_ns, failure: None };
        for step in operation.steps {
            if done.failure.is_some() || fails_early {
                break;
            }
            done = self.step(step, caller, done.end_ns);
            done.end_ns += share_ns;
        }
        if let (None, Some(fault)) = (done.failure, own_fault) {
            done.end_ns += own_ns * fault.slow_factor;
            done.failure = Some(Failure { fault, origin: operation.service.name });
        }
        if let Some(failure) = done.failure {
            let message = match failure.origin == operation.service.name {
                true => failure.fault.message.to_owned(),
                false => format!("call to {} failed: {}", failure.origin, failure.fault.message),
            };
            let event = attributes::exception(failure.fault, message, done.end_ns);
            self.spans[index].events.push(event);
        }
        done
    }

    /// The fault with which the operation fails by itself at this time, if it does.
    fn own_fault(&mut self, operation: &'static Operation, start_ns: u64) -> Option<&'static Fault> {
        let burst = failing_permille(operation, start_ns.saturating_sub(self.origin_ns), self.turn);
        let fails = self.random.chance(burst) || self.random.below(10_000) < operation.base_fault_permyriad;
        fails.then_some(operation.fault)
    }

    fn step(&mut self, step: &'static Step, caller: Caller, start_ns: u64) -> Done {
        match step {
            Step::Call(operation) => self.call(operation, caller, start_ns, 0),
            Step::Retry(attempts, operation) => self.retry(*attempts, operation, caller, start_ns),
            Step::Optional(operation) => {
                let done = self.call(operation, caller, start_ns, 0);
                Done { failure: None, ..done }
            }
            Step::All(steps) => self.all(steps, caller, start_ns),
            Step::Times(low, high, step) => {
                let mut done = Done { end_ns: start_ns, failure: None };
                for _ in 0..self.random.between(*low, *high) {
                    done = self.step(step, caller, done.end_ns);
                    if done.failure.is_some() {
                        break;
                    }
                }
                done
            }
            Step::Maybe(permille, step) => match self.random.chance(*permille) {
                true => self.step(step, caller, start_ns),
                false => Done { end_ns: start_ns, failure: None },
            },
            Step::Query(store) => self.query(store, caller, start_ns),
            Step::Fetch(external) => self.fetch(external, caller, start_ns),
            Step::Publish(topic) => self.publish(topic, caller, start_ns),
            Step::Work(name, median_us) => self.work(name, *median_us, caller, start_ns),
        }
    }

    fn retry(&mut self, attempts: u32, operation: &'static Operation, caller: Caller, start_ns: u64) -> Done {
        let mut done = self.call(operation, caller, start_ns, 0);
        for attempt in 1..attempts {
            if done.failure.is_none() {
                break;
            }
            let pause_ns = self.random.lognormal_ns(20_000 << attempt, 20);
            done = self.call(operation, caller, done.end_ns + pause_ns, attempt);
        }
        done
    }

    fn all(&mut self, steps: &'static [Step], caller: Caller, start_ns: u64) -> Done {
        let mut all = Done { end_ns: start_ns, failure: None };
        for (place, step) in steps.iter().enumerate() {
            let done = self.step(step, caller, start_ns + 15_000 * place as u64);
            all.end_ns = all.end_ns.max(done.end_ns);
            all.failure = all.failure.or(done.failure);
        }
        all
    }

    fn query(&mut self, store: &'static Store, caller: Caller, start_ns: u64) -> Done {
        let name = format!("{} {}", store.operation, store.collection).into();
        let index = self.open(Some((caller.span_id, false)), caller.instance, DATABASE, Kind::Client, name, start_ns);
        let failed = self.random.below(10_000) < QUERY_FAULT_PERMYRIAD;
        let slow = if failed { store.fault.slow_factor } else { 1 };
        let end_ns = start_ns + self.random.lognormal_ns(store.median_us, 55) * slow;
        let attributes = attributes::database(store, failed, &self.visitor, self.random);
        if failed {
            self.spans[index].events.push(attributes::exception(store.fault, store.fault.message.to_owned(), end_ns));
        }
        let failure = failed.then_some(Failure { fault: store.fault, origin: store.host });
        self.close(index, end_ns, attributes, failed.then_some(store.fault.message.into()));
        Done { end_ns, failure }
    }

    fn fetch(&mut self, external: &'static External, caller: Caller, start_ns: u64) -> Done {
        let name = format!("{} {}", external.method, external.route).into();
        let index = self.open(Some((caller.span_id, false)), caller.instance, HTTP, Kind::Client, name, start_ns);
        let failed = self.random.below(10_000) < EXTERNAL_FAULT_PERMYRIAD;
        let slow = if failed { external.fault.slow_factor } else { 1 };
        let end_ns = start_ns + self.random.lognormal_ns(external.median_us, external.spread) * slow;
        let status = if failed { external.fault.http_status } else { 200 };
        let exchange = attributes::external(external, status, "203.0.113.20");
        let attributes = attributes::http_client(&exchange, &self.visitor, self.random);
        let failure = failed.then_some(Failure { fault: external.fault, origin: external.host });
        self.close(index, end_ns, attributes, failed.then_some(external.fault.message.into()));
        Done { end_ns, failure }
    }

    fn work(&mut self, name: &'static str, median_us: u32, caller: Caller, start_ns: u64) -> Done {
        let index = self.open(
            Some((caller.span_id, false)),
            caller.instance,
            APPLICATION,
            Kind::Internal,
            name.into(),
            start_ns,
        );
        let end_ns = start_ns + self.random.lognormal_ns(median_us, 40);
        let attributes = attributes::work(name, &self.visitor, self.random);
        self.close(index, end_ns, attributes, None);
        Done { end_ns, failure: None }
    }

    /// Sends a message; its consumers work later, and the sender does not wait for them.
    fn publish(&mut self, topic: &'static Topic, caller: Caller, start_ns: u64) -> Done {
        let name = format!("send {}", topic.name).into();
        let index =
            self.open(Some((caller.span_id, false)), caller.instance, MESSAGING, Kind::Producer, name, start_ns);
        let end_ns = start_ns + self.random.lognormal_ns(900, 50);
        let service = self.fleet.instances[caller.instance].service.name;
        let attributes = attributes::message(topic, "send", service, &self.visitor, self.random);
        let producer = Context { trace_id: self.trace_id, span_id: self.spans[index].span_id };
        self.close(index, end_ns, attributes, None);
        if topic.consumers.is_empty() {
            self.clicks.push(producer);
        }
        for consumer in topic.consumers {
            let wait_ns = self.random.lognormal_ns(QUEUE_WAIT_US, 90);
            let parent = (!topic.own_trace).then_some(producer.span_id);
            let outer = self.trace_id;
            if topic.own_trace {
                self.trace_id = self.random.trace_id();
            }
            self.consume(consumer, topic, parent, vec![link(producer)], end_ns + wait_ns);
            self.trace_id = outer;
        }
        Done { end_ns, failure: None }
    }

    fn consume(
        &mut self,
        operation: &'static Operation,
        topic: &'static Topic,
        parent: Option<[u8; 8]>,
        links: Vec<Link>,
        start_ns: u64,
    ) {
        let instance = self.fleet.pick(operation.service, self.random);
        let name = format!("process {}", topic.name).into();
        let index = self.open(parent.map(|id| (id, true)), instance, MESSAGING, Kind::Consumer, name, start_ns);
        let done = self.perform(operation, index, start_ns);
        let mut attributes = attributes::message(topic, "process", operation.service.name, &self.visitor, self.random);
        if links.len() > 1 {
            attributes.push("messaging.batch.message_count", links.len() as u32);
        }
        self.spans[index].links = links;
        let status = done.failure.map(|failure| failure.fault.message.into());
        self.close(index, done.end_ns, attributes, status);
    }

    /// Starts a span under `parent`, of which it is told whether another process sent it.
    fn open(
        &mut self,
        parent: Option<([u8; 8], bool)>,
        instance: usize,
        scope: usize,
        kind: Kind,
        name: Cow<'static, str>,
        start_ns: u64,
    ) -> usize {
        self.spans.push(Span {
            trace_id: self.trace_id,
            span_id: self.random.span_id(),
            parent: parent.map(|(id, _)| id),
            trace_state: self.trace_state,
            flags: if parent.is_some_and(|(_, remote)| remote) { REMOTE_PARENT } else { LOCAL_PARENT },
            instance,
            scope,
            kind,
            name,
            start_ns,
            end_ns: start_ns,
            attributes: Attributes::default(),
            events: Vec::new(),
            links: Vec::new(),
            status: Status::Unset,
        });
        self.spans.len() - 1
    }

    fn close(&mut self, index: usize, end_ns: u64, attributes: Attributes, error: Option<Cow<'static, str>>) {
        let ok = error.is_none() && self.random.chance(20);
        let span = &mut self.spans[index];
        span.end_ns = end_ns.max(span.start_ns);
        span.attributes = attributes;
        span.status = match error {
            Some(message) => Status::Error(message),
            None if ok => Status::Ok,
            None => Status::Unset,
        };
    }

    fn visitor_path(&self, route: &'static str) -> Cow<'static, str> {
        match route.split_once('{') {
            Some((before, _)) => format!("{before}{}", self.visitor.product_id).into(),
            None => route.into(),
        }
    }
}

fn link(context: Context) -> Link {
    let mut attributes = Attributes::with_capacity(1);
    attributes.push("messaging.operation.type", "send");
    Link { trace_id: context.trace_id, span_id: context.span_id, attributes }
}

//! What is true of the generated spans, counted while they are made and not by whatever is tested with them.

use std::collections::BTreeMap;

use serde::Serialize;

use super::fleet::Fleet;
use super::span::{Kind, Span};

/// Counts over all spans that were given out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Facts {
    pub spans: u64,
    /// Distinct trace ids.
    pub traces: u64,
    /// Spans without a parent id.
    pub roots: u64,
    /// Spans whose status is an error.
    pub errors: u64,
    /// Spans with a parent id that no span has.
    pub orphans: u64,
    /// Spans that are given out minutes after the rest of their trace.
    pub late: u64,
    /// Spans that were made and then lost on purpose, the orphans' parents.
    pub lost: u64,
    pub events: u64,
    /// Events named `exception`.
    pub exceptions: u64,
    pub links: u64,
    pub attributes: u64,
    /// By the hosts' clocks.
    pub first_start_ns: u64,
    pub last_end_ns: u64,
    pub kinds: BTreeMap<&'static str, u64>,
    pub services: BTreeMap<&'static str, ServiceFacts>,
    /// Caller, callee: a span and its parent in another service, both there.
    pub edges: Vec<EdgeFacts>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ServiceFacts {
    pub spans: u64,
    pub errors: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EdgeFacts {
    pub caller: &'static str,
    pub callee: &'static str,
    pub calls: u64,
    /// Calls whose callee's span is an error.
    pub errors: u64,
}

impl Facts {
    /// Counts the spans of whole traces; `order` is room to sort in.
    pub(super) fn observe(&mut self, spans: &[Span], fleet: &Fleet, order: &mut Vec<([u8; 16], [u8; 8], usize)>) {
        order.clear();
        order.extend(spans.iter().enumerate().map(|(index, span)| (span.trace_id, span.span_id, index)));
        order.sort_unstable();
        self.traces += order.chunk_by(|left, right| left.0 == right.0).count() as u64;
        for span in spans {
            let service = fleet.instances[span.instance].service.name;
            self.count(span, service);
            let Some(parent) = span.parent else {
                self.roots += 1;
                continue;
            };
            let found = order.binary_search_by_key(&(span.trace_id, parent), |(trace, id, _)| (*trace, *id));
            match found {
                Err(_) => self.orphans += 1,
                Ok(place) => {
                    let caller = fleet.instances[spans[order[place].2].instance].service.name;
                    if caller != service {
                        self.edge(caller, service, span.is_error());
                    }
                }
            }
        }
    }

    fn count(&mut self, span: &Span, service: &'static str) {
        let errors = u64::from(span.is_error());
        self.first_start_ns = if self.spans == 0 { span.start_ns } else { self.first_start_ns.min(span.start_ns) };
        self.last_end_ns = self.last_end_ns.max(span.end_ns);
        self.spans += 1;
        self.errors += errors;
        self.events += span.events.len() as u64;
        self.exceptions += span.events.iter().filter(|event| event.name == "exception").count() as u64;
        self.links += span.links.len() as u64;
        self.attributes += span.attributes.0.len() as u64;
        *self.kinds.entry(kind_name(span.kind)).or_default() += 1;
        let entry = self.services.entry(service).or_default();
        entry.spans += 1;
        entry.errors += errors;
    }

    fn edge(&mut self, caller: &'static str, callee: &'static str, error: bool) {
        let place = match self.edges.binary_search_by_key(&(caller, callee), |edge| (edge.caller, edge.callee)) {
            Ok(place) => place,
            Err(place) => {
                self.edges.insert(place, EdgeFacts { caller, callee, calls: 0, errors: 0 });
                place
            }
        };
        self.edges[place].calls += 1;
        self.edges[place].errors += u64::from(error);
    }
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Internal => "INTERNAL",
        Kind::Server => "SERVER",
        Kind::Client => "CLIENT",
        Kind::Producer => "PRODUCER",
        Kind::Consumer => "CONSUMER",
    }
}

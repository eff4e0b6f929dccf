//! Who calls whom.

use super::tree::Tree;

/// What a span is in a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// It calls and waits, or sends: CLIENT, PRODUCER.
    Caller,
    /// It answers: SERVER.
    Server,
    /// It takes what was sent: CONSUMER.
    Consumer,
    /// Neither, and of a service that has no name: below another span it is counted as that one's.
    Between,
    /// Neither.
    Inside,
}

/// A span's place among the calls of its trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Call {
    /// The row whose service called the span's own; `None` where the span is in the service of its parent, or has none.
    pub caller: Option<u32>,
    /// Whether it is counted as its parent's.
    pub is_between: bool,
    /// Whether it calls somebody of whom no span has come.
    pub lacks_callee: bool,
    /// Whether it takes what somebody sent of whom no span has come.
    pub lacks_caller: bool,
}

/// The place of each span among the calls of its trace.
///
/// A call is where the service changes from a parent to its child; a span that is [`Part::Between`] is as if it were the parent's own. A caller's
/// span lacks its callee when nothing below it answers: neither a span of another service, nor one that is a server's or a consumer's, below spans of its own
/// service however many. Of callers below each other in one service the topmost that lacks its callee is the call, and the others are part of it, as
/// the request by HTTP is that a database's client makes. A consumer's span lacks its caller when it is not below another service, a sender, or
/// another consumer of its own service that does.
pub fn calls(
    tree: &Tree,
    count: usize,
    part: impl Fn(usize) -> Part,
    same_service: impl Fn(usize, usize) -> bool,
) -> Vec<Call> {
    let mut calls = vec![Call::default(); count];
    // The row whose service a span is counted for.
    let mut counts_as: Vec<u32> = (0..count as u32).collect();
    let above = |row: u32| (row as usize, tree.parent(row as usize));
    for (row, parent) in tree.pre_order().iter().map(|row| above(*row)) {
        let Some(parent) = parent.map(|parent| counts_as[parent]) else { continue };
        if part(row) == Part::Between {
            counts_as[row] = parent;
            calls[row].is_between = true;
        } else if !same_service(row, parent as usize) {
            calls[row].caller = Some(parent);
        }
    }
    let mut is_answered = vec![false; count];
    for (row, parent) in tree.pre_order().iter().rev().map(|row| above(*row)) {
        let Some(parent) = parent else { continue };
        let answers = calls[row].caller.is_some() || matches!(part(row), Part::Server | Part::Consumer);
        is_answered[parent] |= answers || is_answered[row];
    }
    // Whether a span is below one of its own service that lacks somebody.
    let (mut in_call, mut in_taking) = (vec![false; count], vec![false; count]);
    for (row, parent) in tree.pre_order().iter().map(|row| above(*row)) {
        let own_parent = parent.filter(|_| calls[row].caller.is_none());
        if let Some(parent) = own_parent {
            in_call[row] = in_call[parent] || calls[parent].lacks_callee;
            in_taking[row] = in_taking[parent] || calls[parent].lacks_caller;
        }
        match part(row) {
            Part::Caller => calls[row].lacks_callee = !is_answered[row] && !in_call[row],
            Part::Consumer => {
                let is_sent = own_parent.is_some_and(|parent| part(parent) == Part::Caller);
                calls[row].lacks_caller = calls[row].caller.is_none() && !is_sent && !in_taking[row];
            }
            _ => {}
        }
    }
    calls
}

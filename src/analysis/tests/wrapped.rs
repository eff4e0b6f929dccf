//! Calls in spans of their own, in traces drawn by hand.

use super::*;

/// The outermost span of each span by id, from 1. A span is (service and step, parent): c calls, i works for the one above it, s stands for itself.
fn wrapped(drawn: &[(&str, u64)]) -> Vec<u32> {
    let spans: Vec<_> =
        drawn.iter().zip(1..).map(|((_, parent), id)| (id, *parent, id as i64, id as i64 + 1)).collect();
    let trace = Trace::of(&spans);
    let step = |row: usize| match &drawn[row].0[1..] {
        "c" => Step::Call,
        "i" => Step::Inner,
        _ => Step::Other,
    };
    let same_service = |a: usize, b: usize| drawn[a].0[..1] == drawn[b].0[..1];
    outermost(&trace.tree(), drawn.len(), step, same_service).into_iter().map(|row| row + 1).collect()
}

#[test]
fn a_span_around_one_call_is_its_outermost() {
    // A server that twice calls by way of a repository; in the second, a span around the driver's.
    assert_eq!(wrapped(&[("as", 0), ("ai", 1), ("ac", 2), ("ai", 1), ("ai", 4), ("ac", 5)]), [1, 2, 2, 4, 4, 4]);
    // The waiting for a connection beside the call changes nothing.
    assert_eq!(wrapped(&[("as", 0), ("ai", 1), ("ai", 2), ("ac", 2)]), [1, 2, 2, 2]);
    // Calls that are recorded as INTERNAL are the ends.
    assert_eq!(wrapped(&[("as", 0), ("ai", 1), ("ai", 2), ("ai", 1), ("ai", 4)]), [1, 2, 2, 4, 4]);
}

#[test]
fn what_makes_several_calls_is_who_calls() {
    assert_eq!(wrapped(&[("as", 0), ("ai", 1), ("ac", 2), ("ac", 2)]), [1, 2, 3, 4]);
    // Each call has its own span below who calls.
    assert_eq!(wrapped(&[("ai", 0), ("ai", 1), ("ac", 2), ("ai", 1), ("ac", 4)]), [1, 2, 2, 4, 4]);
    // A server stands for itself, and so does a span of another service, whatever calls it.
    assert_eq!(wrapped(&[("as", 0), ("ac", 1)]), [1, 2]);
    assert_eq!(wrapped(&[("bi", 0), ("ac", 1)]), [1, 2]);
    // What a call makes of its own is part of it.
    assert_eq!(wrapped(&[("ai", 0), ("ac", 1), ("ac", 2), ("ac", 2)]), [1, 1, 3, 4]);
}

#[test]
fn circles_and_missing_parents_end_it() {
    assert_eq!(wrapped(&[("ai", 2), ("ai", 1), ("ac", 2)]), [1, 1, 1]);
    assert_eq!(wrapped(&[("ai", 9), ("ac", 1)]), [1, 1]);
    assert_eq!(wrapped(&[]), [0; 0]);
}

//! Each answer to the question why a trace is not seen, as a person reads it.

use std::time::Duration;

use super::super::around::{Blind, Refused};
use super::*;
use crate::cli::note::Level;
use crate::store::Retention;

const S: i64 = 1_000_000_000;
const NOW: i64 = 1_900_000_000 * S;
const ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// A trace of a server that has refused nothing.
fn facts() -> Facts {
    let around = Around { refused: Some(Refused { up_seconds: 600.0, ..Refused::default() }), ..Around::default() };
    Facts { id: TraceId::from_hex(ID), around, now_ns: NOW, ..Facts::default() }
}

/// The same that is here, and started so many seconds ago.
fn present(ago_seconds: i64) -> Facts {
    let ns = NOW - ago_seconds * S;
    let shown =
        Shown { spans: 3, orphans: 0, services: "cart, shop".into(), starts: Starts { first_ns: ns, last_ns: ns } };
    let kept = Kept { spans: 3, fresh: 3, files: Vec::new() };
    Facts { shown: Some(shown), kept, fresh_seconds: Some(20.0), ..facts() }
}

fn told(facts: &Facts) -> Vec<String> {
    let mark = |level| match level {
        Level::Ok => '✓',
        Level::Warn => '!',
        Level::Bad => '✗',
    };
    judge(facts).iter().map(|note| format!("{} {}: {}", mark(note.level), note.subject, note.text)).collect()
}

const HERE: &str = "✓ trace: it is here: 3 spans of cart, shop, from 2030-03-17 17:45:40Z. See it: SELECT * FROM trace_tree('4bf92f3577b34da6a3ce929d0e0e4736')";
const FRESH: &str = "✓ fresh: 3 spans in the log, to be moved into the table; statements see them";
const ABSENT: &str = "✗ trace: no span of 4bf92f3577b34da6a3ce929d0e0e4736 is here";
const NOT_REFUSED: &str = "✓ refused: nothing was, since the start 10 min ago";

#[test]
fn it_is_fresh() {
    assert_eq!(told(&present(60)), [HERE, FRESH]);
}

#[test]
fn it_is_stored() {
    let files =
        (1..=4).map(|number| (format!("date=2030-03-17/{number}.parquet"), 1, (NOW - 30 * S) / 1_000_000)).collect();
    let facts = Facts { kept: Kept { spans: 4, fresh: 0, files }, ..present(60) };
    let facts = Facts { shown: facts.shown.clone().map(|shown| Shown { spans: 4, ..shown }), ..facts };
    let written = "(1, written 2030-03-17 17:46:10Z)";
    let wanted = format!(
        "✓ stored: 4 spans in 4 files: date=2030-03-17/1.parquet {written}, date=2030-03-17/2.parquet {written}, date=2030-03-17/3.parquet {written}, and 1 more"
    );
    assert_eq!(told(&facts)[1], wanted);
}

#[test]
fn it_was_typed_in_another_way() {
    let upper = Facts { how: Some("in upper case"), ..present(60) };
    assert_eq!(told(&upper)[1], "! spelling: it was typed in upper case; SQL has ids as 32 hex digits in lower case");
    let of_span =
        Facts { how: Some("as the id of a span"), of_span: SpanId::from_hex("00f067aa0ba902b7"), ..present(60) };
    assert_eq!(
        told(&of_span)[1],
        "! spelling: that is the span 00f067aa0ba902b7: its trace is 4bf92f3577b34da6a3ce929d0e0e4736"
    );
    let nobody = Facts { id: None, ..of_span };
    let nobody = Facts { shown: None, kept: Kept::default(), ..nobody };
    assert_eq!(told(&nobody), ["✗ trace: no span is here that has the id 00f067aa0ba902b7", NOT_REFUSED]);
}

#[test]
fn the_time_that_is_asked_for_misses_it() {
    assert_eq!(
        told(&present(-7_200))[2],
        "! time: it starts 2 h from now: the sender's clock is ahead by whole hours, as when a local time is sent as UTC"
    );
    let behind = told(&present(7_220)).remove(2);
    assert!(
        behind.starts_with(
            "! time: it arrived within the last 20 s and says that it started 2 h ago: the sender's clock is behind"
        ),
        "{behind}"
    );
}

#[test]
fn it_has_expired_or_a_part_of_it() {
    let retention = Retention { age: Some(Duration::from_secs(86_400)), rules: Vec::new() };
    let with = |facts: Facts| Facts { around: Around { retention: retention.clone(), ..facts.around }, ..facts };
    let files = vec![("a.parquet".to_owned(), 5, 0)];
    let all = with(Facts { kept: Kept { spans: 5, fresh: 0, files }, ..facts() });
    let cutoff = "what started before 2030-03-16 17:46:40Z is not seen any more; spans are kept for 1d";
    assert_eq!(told(&all)[0], format!("✗ expired: all of it expired: {cutoff}"));
    let part = with(present(60));
    let part = Facts { kept: Kept { spans: 5, ..part.kept }, ..part };
    assert!(told(&part).contains(&format!("! expired: of it, 2 spans expired: {cutoff}")), "{:?}", told(&part));
    let gone = told(&with(facts()));
    assert_eq!(
        gone,
        [
            ABSENT,
            NOT_REFUSED,
            "! expired: if it started before 2030-03-16 17:46:40Z, it has expired: spans are kept for 1d"
        ]
    );
}

#[test]
fn it_may_have_been_refused() {
    let refused = Refused { up_seconds: 60.0, requests: vec![("too_large".into(), 1)], spans: Vec::new() };
    let facts = Facts { around: Around { refused: Some(refused), ..Around::default() }, ..facts() };
    let note = judge(&facts).remove(1);
    assert_eq!((note.subject, note.level), ("refused", Level::Warn));
    assert_eq!(
        note.advice.as_deref(),
        Some("1 request too_large: larger than max_request_size: let the sender send smaller batches")
    );
    let unknown = Facts { around: Around::default(), ..facts };
    assert!(told(&unknown)[1].starts_with("! refused: whether it was refused is not known"), "{:?}", told(&unknown));
}

#[test]
fn it_was_sampled_away() {
    let header = |sampled| Facts { how: Some("as a traceparent header"), sampled: Some(sampled), ..facts() };
    assert!(told(&header(false))[2].starts_with("! sampled away: its traceparent ends with an even number"));
    assert!(told(&header(true))[2].starts_with("✓ sampled: its traceparent says that it is exported"));
    for (flags, wanted) in [
        (
            0x100,
            "! sampled away: the span \"pay\" of cart links to it and says that it is not sampled: nothing of it is exported",
        ),
        (
            0x101,
            "✓ sampled: the span \"pay\" of cart links to it and says that it is exported: look at the exporter of its sender",
        ),
        (
            0,
            "! sampled: the span \"pay\" of cart links to it, so that there was one; whether it was sampled is not told",
        ),
    ] {
        let links = vec![Link { service: "cart".into(), span: "pay".into(), flags }];
        assert_eq!(told(&Facts { links, ..facts() }), [ABSENT, wanted, NOT_REFUSED]);
    }
    let shown = present(60).shown.map(|shown| Shown { orphans: 2, ..shown });
    assert_eq!(told(&Facts { shown, ..present(60) })[2], "! incomplete: 2 spans of it name a parent that has not come");
}

#[test]
fn it_is_anothers_or_hidden() {
    let around = Around { elsewhere: vec![("acme".into(), 3)], ..facts().around };
    let elsewhere = Facts { around, ..facts() };
    assert_eq!(told(&elsewhere), [ABSENT, "! tenant: the tenant acme has 3 spans of it", NOT_REFUSED]);
    let blind = Blind { user: "ada".into(), sees: 0, rights: "sees the services web".into() };
    let hidden = Facts { around: Around { blind: vec![blind], ..facts().around }, ..present(60) };
    assert_eq!(told(&hidden), [HERE, FRESH, "! rights: hidden from the user ada, who sees the services web"]);
}

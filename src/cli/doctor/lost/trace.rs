//! Why is a trace not seen?

use std::sync::Arc;

use super::super::ask::ask;
use super::super::seen::{Seen, Stored};
use super::around::{Around, Counted, around};
use super::causes;
use super::spelling::{Id, Reading};
use super::times::{Starts, at, seen_by_now};
use crate::cli::note::Note;
use crate::error::Result;
use crate::model::{SpanId, TraceId};
use crate::render::count;
use crate::store::{FoundSpans, TraceFilter, find_spans};

/// More files are for `SELECT * FROM system.files` to list.
const MOST_FILES: usize = 3;

/// What is known of a trace that is looked for.
#[derive(Debug, Default)]
struct Facts {
    /// As SQL has it; nothing where only the id of a span was given, of which there is none.
    id: Option<TraceId>,
    /// The span whose id was given.
    of_span: Option<SpanId>,
    /// How it was typed, where that was not as SQL has it.
    how: Option<&'static str>,
    /// What the sender says of its sampling.
    sampled: Option<bool>,
    shown: Option<Shown>,
    /// What there is on disk and in the log, what has expired among it.
    kept: Kept,
    /// Before when fresh spans have arrived at the earliest, in seconds, where the server tells.
    fresh_seconds: Option<f64>,
    /// What links to it, where it is not here.
    links: Vec<Link>,
    around: Around,
    now_ns: i64,
}

/// What statements see of it.
#[derive(Debug, Clone, PartialEq)]
struct Shown {
    spans: u64,
    orphans: u64,
    services: String,
    starts: Starts,
}

#[derive(Debug, Default)]
struct Kept {
    spans: u64,
    fresh: u64,
    /// Path, spans of the trace, and when it was written.
    files: Vec<(String, u64, i64)>,
}

/// A span that links to a trace.
#[derive(Debug)]
struct Link {
    service: String,
    span: String,
    flags: i64,
}

/// Looks for the trace that one of the readings is, and says what there is of it or why there may be nothing.
pub(in crate::cli::doctor) async fn answer(seen: &Seen, readings: &[Reading]) -> Vec<Note> {
    const ADVICE: &str = "mend what is told below, and ask again";
    let Some(stored) = &seen.stored else {
        return vec![Note::bad(
            "trace",
            "nothing is known of it: the data directory is not there or cannot be read",
            ADVICE,
        )];
    };
    match look(seen, stored, readings).await {
        Ok(facts) => judge(&facts),
        Err(error) => vec![Note::bad("trace", format!("looking for it failed: {error}"), ADVICE)],
    }
}

async fn look(seen: &Seen, stored: &Stored, readings: &[Reading]) -> Result<Facts> {
    let mut facts = Facts { now_ns: seen.now_ns, ..Facts::default() };
    for candidate in candidates(stored, readings).await? {
        let found = find_spans(&stored.snapshot, Arc::new(TraceFilter::new([candidate.id]))).await?;
        // The first that was read as a trace stands for all where none is here.
        if facts.id.is_none() || found.spans > 0 {
            facts = Facts {
                id: Some(candidate.id),
                of_span: candidate.of_span,
                how: candidate.how,
                sampled: candidate.sampled,
                ..facts
            };
        }
        if found.spans > 0 {
            facts.kept = kept(found);
            break;
        }
    }
    if facts.id.is_none() {
        facts.of_span = readings.iter().find_map(|reading| match reading.id {
            Id::Span(id) => Some(id),
            Id::Trace(_) => None,
        });
    }
    let Some(id) = facts.id.map(|id| id.to_string()) else {
        facts.around = around(seen, &Counted { question: SPANS_OF_TRACE, of: "" }, 0).await;
        return Ok(facts);
    };
    facts.shown = shown(stored, &id).await?;
    facts.links = if facts.kept.spans == 0 { links(stored, &id).await? } else { Vec::new() };
    facts.fresh_seconds = seen.figure("spanhouse_log_oldest_seconds").filter(|_| facts.kept.fresh > 0);
    let spans = facts.shown.as_ref().map_or(0, |shown| shown.spans);
    facts.around = around(seen, &Counted { question: SPANS_OF_TRACE, of: &id }, spans).await;
    Ok(facts)
}

const SPANS_OF_TRACE: &str = include_str!("../../queries/doctor_spans_of_trace.sql");

struct Candidate {
    id: TraceId,
    of_span: Option<SpanId>,
    how: Option<&'static str>,
    sampled: Option<bool>,
}

/// The traces that the readings may mean: those of a span that is here among them.
async fn candidates(stored: &Stored, readings: &[Reading]) -> Result<Vec<Candidate>> {
    let mut candidates = Vec::new();
    for Reading { id, how, sampled } in readings {
        match id {
            Id::Trace(id) => candidates.push(Candidate { id: *id, of_span: None, how: *how, sampled: *sampled }),
            Id::Span(span) => {
                let question = include_str!("../../queries/doctor_trace_of_span.sql");
                let answer = ask(&stored.engine.session(), question, Some(&span.to_string())).await?;
                let traces = (0..answer.rows()).filter_map(|row| TraceId::from_hex(&answer.text("trace_id", row)?));
                candidates.extend(traces.map(|id| Candidate {
                    id,
                    of_span: Some(*span),
                    how: *how,
                    sampled: *sampled,
                }));
            }
        }
    }
    Ok(candidates)
}

fn kept(found: FoundSpans) -> Kept {
    let files = found.files.iter().map(|(file, spans)| (file.location.to_string(), *spans, file.written_unix_ms));
    Kept { spans: found.spans, fresh: found.fresh_spans, files: files.collect() }
}

async fn shown(stored: &Stored, id: &str) -> Result<Option<Shown>> {
    let answer = ask(&stored.engine.session(), include_str!("../../queries/doctor_trace.sql"), Some(id)).await?;
    let number = |column: &str| answer.number(column, 0).unwrap_or(0).unsigned_abs();
    let starts = (answer.rows() > 0)
        .then(|| Some((answer.time_ns("first_start", 0)?, answer.time_ns("last_start", 0)?)))
        .flatten();
    Ok(starts.map(|(first_ns, last_ns)| Shown {
        spans: number("span_count"),
        orphans: number("orphan_count"),
        services: answer.text("services", 0).unwrap_or_default(),
        starts: Starts { first_ns, last_ns },
    }))
}

async fn links(stored: &Stored, id: &str) -> Result<Vec<Link>> {
    let answer = ask(&stored.engine.session(), include_str!("../../queries/doctor_links.sql"), Some(id)).await?;
    let link = |row| Link {
        service: answer.text("service_name", row).unwrap_or_default(),
        span: answer.text("span_name", row).unwrap_or_default(),
        flags: answer.number("linked_flags", row).unwrap_or(0),
    };
    Ok((0..answer.rows()).map(link).collect())
}

fn judge(facts: &Facts) -> Vec<Note> {
    let mut notes = Vec::new();
    let id = facts.id.map_or_else(|| "it".to_owned(), |id| id.to_string());
    match &facts.shown {
        Some(shown) => {
            notes.push(here(&id, shown));
            notes.extend(spelling(facts));
            notes.extend(places(&facts.kept, true));
            if facts.kept.spans > shown.spans {
                notes.push(causes::expired(
                    facts.kept.spans - shown.spans,
                    false,
                    &facts.around.retention,
                    facts.now_ns,
                ));
            }
            notes.extend(orphans(shown));
            notes.extend(seen_by_now(shown.starts, facts.fresh_seconds, facts.now_ns));
            notes.extend(causes::of_surroundings(&facts.around));
        }
        None if facts.kept.spans > 0 => {
            notes.push(causes::expired(facts.kept.spans, true, &facts.around.retention, facts.now_ns));
            notes.extend(spelling(facts));
            notes.extend(places(&facts.kept, false));
            notes.extend(causes::of_surroundings(&facts.around));
        }
        None => {
            notes.push(absent(facts));
            notes.extend(spelling(facts));
            notes.extend(causes::of_surroundings(&facts.around));
            notes.extend(sampling(facts));
            notes.extend(causes::of_absence(&facts.around, facts.now_ns));
        }
    }
    notes
}

fn here(id: &str, shown: &Shown) -> Note {
    let Shown { spans, services, starts, .. } = shown;
    let spans = count(*spans, "span");
    Note::ok(
        "trace",
        format!(
            "it is here: {spans} of {services}, from {}. See it: SELECT * FROM trace_tree('{id}')",
            at(starts.first_ns)
        ),
    )
}

fn spelling(facts: &Facts) -> Option<Note> {
    let (id, how) = (facts.id?, facts.how?);
    let text = match facts.of_span {
        Some(span) => format!("that is the span {span}: its trace is {id}"),
        None => format!("it was typed {how}; SQL has ids as 32 hex digits in lower case"),
    };
    Some(Note::warn("spelling", text, format!("WHERE trace_id = '{id}'")))
}

fn places(kept: &Kept, is_seen: bool) -> Vec<Note> {
    let Kept { spans, fresh, files } = kept;
    let mut notes = Vec::new();
    if *fresh > 0 {
        let seen = if is_seen { "; statements see them" } else { "" };
        let text = format!("{} in the log, to be moved into the table{seen}", count(*fresh, "span"));
        notes.push(Note::ok("fresh", text));
    }
    if spans > fresh {
        let written = |unix_ms: i64| at(unix_ms.saturating_mul(1_000_000));
        let mut listed: Vec<String> = files
            .iter()
            .take(MOST_FILES)
            .map(|(path, spans, unix_ms)| format!("{path} ({spans}, written {})", written(*unix_ms)))
            .collect();
        if files.len() > MOST_FILES {
            listed.push(format!("and {} more", files.len() - MOST_FILES));
        }
        let text =
            format!("{} in {}: {}", count(spans - fresh, "span"), count(files.len() as u64, "file"), listed.join(", "));
        notes.push(Note::ok("stored", text));
    }
    notes
}

fn orphans(shown: &Shown) -> Option<Note> {
    let name = if shown.orphans == 1 { "names" } else { "name" };
    let text = format!("{} of it {name} a parent that has not come", count(shown.orphans, "span"));
    let advice = "the parent is late, was refused or lost, or its service does not sample as these do: a sampler that follows its parent \
                  (parentbased_…) keeps traces whole";
    (shown.orphans > 0).then(|| Note::warn("incomplete", text, advice))
}

fn absent(facts: &Facts) -> Note {
    let advice = "what the server acknowledges is seen by the next statement: has its sender exported it, and to this server? \
                  A batch waits there for some seconds";
    match (facts.id, facts.of_span) {
        (Some(id), _) => Note::bad("trace", format!("no span of {id} is here"), advice),
        (None, Some(span)) => Note::bad(
            "trace",
            format!("no span is here that has the id {span}"),
            format!("a trace's id has 32 hex digits. {advice}"),
        ),
        (None, None) => Note::bad("trace", "it is not here", advice),
    }
}

fn sampling(facts: &Facts) -> Vec<Note> {
    /// OpenTelemetry's flags of spans and links: the lowest bit is that of W3C, and this one tells that all were set by their sender.
    const IS_KNOWN: i64 = 0x100;
    const MORE: &str = "let the sampler keep more (OTEL_TRACES_SAMPLER, OTEL_TRACES_SAMPLER_ARG), or have the Collector decide with tail_sampling";
    let of_header = match facts.sampled {
        Some(false) => Some(Note::warn(
            "sampled away",
            "its traceparent ends with an even number: the sender decided to export nothing of it",
            MORE,
        )),
        Some(true) => Some(Note::ok(
            "sampled",
            "its traceparent says that it is exported: look at the sender's exporter and what lies between",
        )),
        None => None,
    };
    let of_link = |Link { service, span, flags }: &Link| {
        let who = format!("the span \"{span}\" of {service} links to it");
        match (flags & 1 == 1, flags & IS_KNOWN != 0) {
            (true, _) => {
                Note::ok("sampled", format!("{who} and says that it is exported: look at the exporter of its sender"))
            }
            (false, true) => Note::warn(
                "sampled away",
                format!("{who} and says that it is not sampled: nothing of it is exported"),
                MORE,
            ),
            (false, false) => {
                Note::warn("sampled", format!("{who}, so that there was one; whether it was sampled is not told"), MORE)
            }
        }
    };
    of_header.into_iter().chain(facts.links.first().map(of_link)).collect()
}

#[cfg(test)]
mod tests;

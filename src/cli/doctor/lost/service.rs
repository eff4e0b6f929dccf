//! Why are spans of a service not seen?

use std::sync::Arc;

use datafusion::arrow::array::{AsArray, BooleanArray, RecordBatch};

use super::super::ask::ask;
use super::super::seen::{Seen, Stored};
use super::around::{Around, Counted, around};
use super::causes;
use super::times::{Starts, at, seen_by_now};
use crate::cli::note::{Note, duration};
use crate::error::{Error, Result};
use crate::model::schema::SERVICE_NAME;
use crate::render::count;
use crate::store::{DataFile, Snapshot, SpanFilter, find_spans};
use crate::typed::nearest;

/// What SDKs call a service that has no name; some put the name of the program after it.
const NAMELESS: &str = "unknown_service";
/// As many names as one reads.
const MOST_NAMES: usize = 8;
/// A service that is at work has calls more often than this.
const LONG_SILENCE_SECONDS: f64 = 900.0;

/// What is known of a service that is looked for.
#[derive(Debug, Default)]
struct Facts {
    name: String,
    shown: Option<Shown>,
    fresh_spans: u64,
    /// Spans on disk and in the log that no statement sees any more.
    expired_spans: u64,
    /// The other services, those with the newest spans first, where this one is not here.
    others: Vec<Other>,
    around: Around,
    now_ns: i64,
}

/// What statements see of it.
#[derive(Debug, Clone)]
struct Shown {
    spans: u64,
    oldest_ns: i64,
    newest_ns: i64,
    /// The most spans that one of its stands for.
    stands_for: f64,
}

#[derive(Debug, Clone)]
struct Other {
    name: String,
    spans: u64,
    newest_ns: i64,
}

/// Looks for spans of the service, and says what there is of them or why there may be none.
pub(in crate::cli::doctor) async fn answer(seen: &Seen, name: &str) -> Vec<Note> {
    const ADVICE: &str = "mend what is told below, and ask again";
    let Some(stored) = &seen.stored else {
        return vec![Note::bad(
            "service",
            "nothing is known of it: the data directory is not there or cannot be read",
            ADVICE,
        )];
    };
    match look(seen, stored, name).await {
        Ok(facts) => judge(&facts),
        Err(error) => vec![Note::bad("service", format!("looking for it failed: {error}"), ADVICE)],
    }
}

async fn look(seen: &Seen, stored: &Stored, name: &str) -> Result<Facts> {
    let session = stored.engine.session();
    let answer = ask(&session, include_str!("../../queries/doctor_service.sql"), Some(name)).await?;
    let times = answer.time_ns("oldest", 0).zip(answer.time_ns("newest", 0));
    let shown = times.map(|(oldest_ns, newest_ns)| Shown {
        spans: answer.number("spans", 0).unwrap_or(0).unsigned_abs(),
        oldest_ns,
        newest_ns,
        stands_for: answer.double("stands_for", 0).unwrap_or(1.0),
    });
    let here = shown.as_ref().map_or(0, |shown| shown.spans);
    let filter = Arc::new(OfService(name.to_owned()));
    let fresh_only = Snapshot { files: Arc::from([]), ..stored.snapshot.clone() };
    let fresh_spans = find_spans(&fresh_only, filter.clone()).await?.spans;
    let counted = Counted { question: include_str!("../../queries/doctor_spans_of_service.sql"), of: name };
    let mut facts = Facts { name: name.to_owned(), fresh_spans, now_ns: seen.now_ns, ..Facts::default() };
    if shown.is_none() {
        // Only where something may have expired is it worth to read what no statement would.
        if stored.snapshot.expiry.is_some() {
            facts.expired_spans = find_spans(&stored.snapshot, filter).await?.spans;
        }
        facts.others = others(stored).await?;
    }
    facts.around = around(seen, &counted, here).await;
    facts.shown = shown;
    Ok(facts)
}

async fn others(stored: &Stored) -> Result<Vec<Other>> {
    let answer = ask(&stored.engine.session(), include_str!("../../queries/doctor_services.sql"), None).await?;
    let other = |row| {
        Some(Other {
            name: answer.text("service_name", row)?,
            spans: answer.number("spans", row)?.unsigned_abs(),
            newest_ns: answer.time_ns("newest", row)?,
        })
    };
    Ok((0..answer.rows()).filter_map(other).collect())
}

/// All spans of a service.
#[derive(Debug)]
struct OfService(String);

impl SpanFilter for OfService {
    fn columns(&self) -> Vec<String> {
        vec![SERVICE_NAME.to_owned()]
    }

    fn may_match(&self, files: &[DataFile]) -> Vec<bool> {
        vec![true; files.len()]
    }

    fn matches(&self, batch: &RecordBatch) -> Result<BooleanArray> {
        let names = batch.column_by_name(SERVICE_NAME).and_then(|column| column.as_string_view_opt());
        let names = names.ok_or_else(|| Error::internal("a batch of spans lacks its services"))?;
        Ok(names.iter().map(|name| Some(name == Some(self.0.as_str()))).collect())
    }
}

fn judge(facts: &Facts) -> Vec<Note> {
    let mut notes = Vec::new();
    match &facts.shown {
        Some(shown) => {
            notes.push(here(facts, shown));
            notes.extend(times(shown, facts.now_ns));
            notes.extend(sampling(shown));
            notes.extend(causes::of_surroundings(&facts.around));
        }
        None if facts.expired_spans > 0 => {
            notes.push(causes::expired(facts.expired_spans, true, &facts.around.retention, facts.now_ns));
            notes.extend(causes::of_surroundings(&facts.around));
        }
        None => {
            notes.push(absent(facts));
            notes.extend(alike(facts));
            notes.extend(nameless(facts));
            notes.extend(causes::of_surroundings(&facts.around));
            notes.extend(causes::of_absence(&facts.around, facts.now_ns));
        }
    }
    notes
}

fn here(facts: &Facts, shown: &Shown) -> Note {
    let Shown { spans, oldest_ns, newest_ns, .. } = shown;
    let fresh = match facts.fresh_spans {
        0 => String::new(),
        fresh => format!(", {fresh} of them in the log and not in the table yet"),
    };
    Note::ok(
        "service",
        format!(
            "{} is here: {} from {} to {}{fresh}",
            facts.name,
            count(*spans, "span"),
            at(*oldest_ns),
            at(*newest_ns)
        ),
    )
}

fn times(shown: &Shown, now_ns: i64) -> Option<Note> {
    let newest = Starts { first_ns: shown.newest_ns, last_ns: shown.newest_ns };
    let ago = newest.ago_seconds(now_ns);
    if ago <= LONG_SILENCE_SECONDS {
        return seen_by_now(newest, None, now_ns);
    }
    let text = format!("its newest span started {} ago: a shorter range does not see it", duration(ago));
    let advice = "it has no calls, has stopped to export, or its clock is behind: look at its own log for errors of its exporter";
    Some(Note::warn("time", text, advice))
}

fn sampling(shown: &Shown) -> Option<Note> {
    let text = format!(
        "its trace state says that a span stands for {:.0} at most: the others are sampled away",
        shown.stands_for
    );
    let advice = "sum(adjusted_count(trace_state)) counts those too. To keep more: OTEL_TRACES_SAMPLER_ARG of the service, or the Collector's sampler";
    (shown.stands_for > 1.0).then(|| Note::warn("sampled", text, advice))
}

fn absent(facts: &Facts) -> Note {
    let text = format!("no span of {} is here", facts.name);
    let names: Vec<&str> = facts.others.iter().take(MOST_NAMES).map(|other| other.name.as_str()).collect();
    match names.is_empty() {
        true => Note::bad("service", text + ", nor of any other", "nothing has arrived yet, or all of it has expired"),
        false => Note::bad("service", text, format!("those with the newest spans: {}", names.join(", "))),
    }
}

/// A service whose name is nearly the one that was typed.
fn alike(facts: &Facts) -> Option<Note> {
    let same = facts.others.iter().find(|other| other.name.eq_ignore_ascii_case(&facts.name));
    let near = || {
        let name = nearest(&facts.name, facts.others.iter().map(|other| other.name.as_str()))?;
        facts.others.iter().find(|other| other.name == name)
    };
    let other = same.or_else(near)?;
    let text = format!(
        "did you mean {}? It has {}, the newest of {}",
        other.name,
        count(other.spans, "span"),
        at(other.newest_ns)
    );
    Some(Note::warn("spelling", text, "names of services are compared letter by letter, upper and lower case too"))
}

fn nameless(facts: &Facts) -> Option<Note> {
    let nameless: Vec<&Other> = facts.others.iter().filter(|other| other.name.starts_with(NAMELESS)).collect();
    let spans: u64 = nameless.iter().map(|other| other.spans).sum();
    let names: Vec<&str> = nameless.iter().map(|other| other.name.as_str()).collect();
    let are = if spans == 1 { "is" } else { "are" };
    let text = format!("{} {are} of {}: their senders have no name", count(spans, "span"), names.join(", "));
    let advice = format!("if it is one of them, tell it its name: OTEL_SERVICE_NAME={}", facts.name);
    (spans > 0).then(|| Note::warn("name", text, advice))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::around::Refused;
    use super::*;
    use crate::store::Retention;

    const S: i64 = 1_000_000_000;
    const NOW: i64 = 1_900_000_000 * S;

    fn facts() -> Facts {
        let around = Around { refused: Some(Refused { up_seconds: 600.0, ..Refused::default() }), ..Around::default() };
        Facts { name: "cart".into(), around, now_ns: NOW, ..Facts::default() }
    }

    fn shown(newest_ago_seconds: i64) -> Option<Shown> {
        Some(Shown { spans: 5, oldest_ns: NOW - 90_000 * S, newest_ns: NOW - newest_ago_seconds * S, stands_for: 1.0 })
    }

    fn told(facts: &Facts) -> Vec<String> {
        judge(facts).iter().map(|note| format!("{} {}: {}", note.level.word(), note.subject, note.text)).collect()
    }

    #[test]
    fn a_service_that_is_here_is_told_with_its_times_and_its_sampling() {
        let well = Facts { shown: shown(10), fresh_spans: 2, ..facts() };
        let here = "OK service: cart is here: 5 spans from 2030-03-16 16:46:40Z to 2030-03-17 17:46:30Z, 2 of them in the log and not in the table yet";
        assert_eq!(told(&well), [here]);
        let silent = Facts { shown: shown(7_200), ..facts() };
        assert_eq!(told(&silent)[1], "WARN time: its newest span started 2 h ago: a shorter range does not see it");
        let ahead = Facts { shown: shown(-300), ..facts() };
        assert_eq!(told(&ahead)[1], "WARN time: it starts 5 min from now: the sender's clock is ahead");
        let sampled = Facts { shown: shown(10).map(|shown| Shown { stands_for: 10.0, ..shown }), ..facts() };
        assert_eq!(
            told(&sampled)[1],
            "WARN sampled: its trace state says that a span stands for 10 at most: the others are sampled away"
        );
    }

    #[test]
    fn a_service_that_is_not_here_is_looked_for_under_other_names() {
        let nothing = told(&facts());
        assert_eq!(
            nothing,
            [
                "BAD service: no span of cart is here, nor of any other",
                "OK refused: nothing was, since the start 10 min ago"
            ]
        );
        let other = |name: &str| Other { name: name.into(), spans: 1, newest_ns: NOW };
        let of = |names: &[&str]| told(&Facts { others: names.iter().map(|name| other(name)).collect(), ..facts() });
        assert_eq!(
            of(&["web", "Cart"])[1],
            "WARN spelling: did you mean Cart? It has 1 span, the newest of 2030-03-17 17:46:40Z"
        );
        assert_eq!(
            of(&["web", "card"])[1],
            "WARN spelling: did you mean card? It has 1 span, the newest of 2030-03-17 17:46:40Z"
        );
        assert_eq!(
            of(&["unknown_service", "unknown_service:java"])[1],
            "WARN name: 2 spans are of unknown_service, unknown_service:java: their senders have no name"
        );
        assert_eq!(of(&["web"])[1], "OK refused: nothing was, since the start 10 min ago");
    }

    #[test]
    fn a_service_all_of_whose_spans_have_expired_is_told_so() {
        let retention = Retention { age: Some(Duration::from_secs(86_400)), rules: Vec::new() };
        let expired = Facts { expired_spans: 4, around: Around { retention, ..Around::default() }, ..facts() };
        assert_eq!(
            told(&expired),
            [
                "BAD expired: all of it expired: what started before 2030-03-16 17:46:40Z is not seen any more; spans are kept for 1d"
            ]
        );
    }
}

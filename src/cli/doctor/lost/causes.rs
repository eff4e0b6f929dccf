//! Why spans may not be seen, a note for each cause that there is.

use super::around::{Around, Blind, Refused};
use super::times::at;
use crate::access::DEFAULT_TENANT;
use crate::cli::note::{Note, duration};
use crate::otlp::RefusalReason;
use crate::render::count;
use crate::store::{Retention, RetentionRule};
use crate::typed::duration_text;

/// The causes that have to do with neither the spans nor their times.
pub(super) fn of_surroundings(around: &Around) -> Vec<Note> {
    let mut notes = Vec::new();
    notes.extend(around.elsewhere.iter().map(|(tenant, spans)| in_tenant(tenant, *spans)));
    notes.extend(around.unread.iter().map(|(tenant, why)| {
        Note::warn(
            "tenant",
            format!("that of {tenant} could not be looked into: {why}"),
            "spanhouse status --tenant tells more",
        )
    }));
    notes.extend(around.blind.iter().map(hidden));
    notes
}

fn in_tenant(tenant: &str, spans: u64) -> Note {
    let text = format!("the tenant {tenant} has {} of it", count(spans, "span"));
    let flag = if tenant == DEFAULT_TENANT { "no --tenant".to_owned() } else { format!("--tenant {tenant}") };
    let advice = format!(
        "spans go to the tenant of the token or user that sends them, or to that of the header X-Scope-OrgID. Look there: \
         psql … {tenant}, or {flag}"
    );
    Note::warn("tenant", text, advice)
}

fn hidden(Blind { user, sees, rights }: &Blind) -> Note {
    let text = match sees {
        0 => format!("hidden from the user {user}, who {rights}"),
        sees => format!("the user {user} sees {} of it only: who {rights}", count(*sees, "span")),
    };
    Note::warn(
        "rights",
        text,
        format!("let {user} see more: spanhouse user grant {user} --services SERVICE, or --all-spans"),
    )
}

/// Why spans are nowhere: what may have become of them.
pub(super) fn of_absence(around: &Around, now_ns: i64) -> Vec<Note> {
    let mut notes = Vec::new();
    match &around.refused {
        Some(refused) => notes.extend(refusals(refused)),
        None => notes.push(Note::warn(
            "refused",
            "whether it was refused is not known: no server runs that would have counted it",
            "the log of events of the server that ran then tells of refused senders",
        )),
    }
    if !around.retention.is_off() {
        let text = format!(
            "if it started before {}, it has expired: {}",
            oldest_kept(&around.retention, now_ns),
            kept_for(&around.retention)
        );
        notes.push(Note::warn(
            "expired",
            text,
            "`retention` says how long spans are kept, docs/storage.md what rules do",
        ));
    }
    if around.quarantined_files > 0 {
        let text = format!("{} in quarantine may hold it", count(around.quarantined_files, "file"));
        notes.push(Note::warn(
            "quarantine",
            text,
            "they could not be stored or were damaged: the log of events says why",
        ));
    }
    notes
}

fn refusals(refused: &Refused) -> Option<Note> {
    let Refused { up_seconds, requests, spans } = refused;
    let up = duration(*up_seconds);
    if requests.is_empty() && spans.is_empty() {
        return Some(Note::ok("refused", format!("nothing was, since the start {up} ago")));
    }
    let of_requests = requests
        .iter()
        .map(|(reason, number)| format!("{} {reason}: {}", count(*number, "request"), about_request(reason)));
    let of_spans =
        spans.iter().map(|(reason, number)| format!("{} {reason}: {}", count(*number, "span"), about_span(reason)));
    let lines: Vec<String> = of_requests.chain(of_spans).collect();
    let all: u64 = requests.iter().chain(spans).map(|(_, number)| number).sum();
    let text = format!(
        "it may have been: the server has refused {all} since its start {up} ago. The sender's own log says so too"
    );
    Some(Note::warn("refused", text, lines.join("\n")))
}

/// What a reason to refuse a request means, and what mends it.
fn about_request(reason: &str) -> &'static str {
    match reason {
        "bad_input" => "no OTLP of traces, or on the wrong port: docs/ingest.md, Endpoints",
        "too_large" => "larger than max_request_size: let the sender send smaller batches",
        "overloaded" => "there was no room, and the sender was told to come again: log_size, fresh_memory, the disk",
        "unavailable" => "the server was stopping or could not write: the sender comes again",
        "incomplete" => "the body broke off or came too late: a proxy between, or a sender that was stopped",
        "unauthenticated" => "without a token or password, or with a wrong one: spanhouse token add",
        "denied" => "the token or user may not send, or the tenant is not its own",
        "over_rate" => "more than the rate of its token or tenant",
        _ => "a fault of the server, which its log of events tells of",
    }
}

fn about_span(reason: &str) -> &'static str {
    RefusalReason::ALL
        .into_iter()
        .find(|known| known.name() == reason)
        .map_or("what cannot be kept", RefusalReason::text)
}

/// Spans that are on disk and no statement sees any more.
pub(super) fn expired(spans: u64, of_all: bool, retention: &Retention, now_ns: i64) -> Note {
    let some =
        if of_all { "all of it expired:".to_owned() } else { format!("of it, {} expired:", count(spans, "span")) };
    let text = format!(
        "{some} what started before {} is not seen any more; {}",
        oldest_kept(retention, now_ns),
        kept_for(retention)
    );
    let advice = "it lies on disk still and is removed soon: a longer `retention` shows it again until then";
    if of_all { Note::bad("expired", text, advice) } else { Note::warn("expired", text, advice) }
}

/// How long spans are kept, in words.
fn kept_for(retention: &Retention) -> String {
    let age = match retention.age {
        Some(age) => format!("spans are kept for {}", duration_text(age)),
        None => "spans are kept for ever".to_owned(),
    };
    let rules: Vec<String> = retention.rules.iter().map(in_words).collect();
    match rules.is_empty() {
        true => age,
        false => format!("{age}, but {}", rules.join(", ")),
    }
}

fn in_words(rule: &RetentionRule) -> String {
    let mut conditions = Vec::new();
    conditions.extend(rule.service.iter().map(|service| format!("of {service}")));
    conditions.extend(rule.errors.then(|| "with errors".to_owned()));
    conditions.extend(rule.slower_than.map(|limit| format!("slower than {}", duration_text(limit))));
    format!("traces {} for {}", conditions.join(" "), duration_text(rule.keep))
}

/// Before when spans have expired that no rule is about; those of rules where there is no age.
fn oldest_kept(retention: &Retention, now_ns: i64) -> String {
    let shortest = retention.rules.iter().map(|rule| rule.keep).min();
    let keep = retention.age.or(shortest).unwrap_or_default();
    at(now_ns.saturating_sub(i64::try_from(keep.as_nanos()).unwrap_or(i64::MAX)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cli::note::Level;

    const DAY: Duration = Duration::from_secs(86_400);
    const NOW: i64 = 1_900_000_000_000_000_000;

    #[test]
    fn each_cause_that_there_is_is_told() {
        let rule = RetentionRule { service: Some("shop".into()), errors: true, slower_than: None, keep: 90 * DAY };
        let counts = |reason: &str| vec![(reason.to_owned(), 2)];
        let around = Around {
            retention: Retention { age: Some(30 * DAY), rules: vec![rule] },
            refused: Some(Refused { up_seconds: 60.0, requests: counts("unauthenticated"), spans: counts("trace_id") }),
            quarantined_files: 1,
            ..Around::default()
        };
        let notes = of_absence(&around, NOW);
        let subjects: Vec<&str> = notes.iter().map(|note| note.subject).collect();
        assert_eq!(subjects, ["refused", "expired", "quarantine"]);
        assert_eq!(
            notes[0].text,
            "it may have been: the server has refused 4 since its start 60 s ago. The sender's own log says so too"
        );
        assert_eq!(
            notes[0].advice.as_deref(),
            Some(
                "2 requests unauthenticated: without a token or password, or with a wrong one: spanhouse token add\n\
                 2 spans trace_id: with a trace id that is not 16 bytes or is all zero"
            )
        );
        assert_eq!(
            notes[1].text,
            "if it started before 2030-02-15 17:46:40Z, it has expired: spans are kept for 30d, but traces of shop with errors for 90d"
        );
        let without = of_absence(&Around { refused: None, ..Around::default() }, NOW);
        assert_eq!((without.len(), without[0].subject), (1, "refused"));
        let nothing = of_absence(
            &Around { refused: Some(Refused { up_seconds: 60.0, ..Refused::default() }), ..Around::default() },
            NOW,
        );
        assert_eq!((nothing.len(), nothing[0].level), (1, Level::Ok));
    }

    #[test]
    fn tenants_and_rights_are_told() {
        let around = Around {
            elsewhere: vec![("acme".into(), 3)],
            unread: vec![("beta".into(), "why".into())],
            blind: vec![
                Blind { user: "ada".into(), sees: 0, rights: "sees the services cart".into() },
                Blind { user: "bob".into(), sees: 1, rights: "sees the services shop".into() },
            ],
            ..Around::default()
        };
        let texts: Vec<String> = of_surroundings(&around).into_iter().map(|note| note.text).collect();
        assert_eq!(
            texts,
            [
                "the tenant acme has 3 spans of it",
                "that of beta could not be looked into: why",
                "hidden from the user ada, who sees the services cart",
                "the user bob sees 1 span of it only: who sees the services shop",
            ]
        );
    }

    #[test]
    fn what_has_expired_is_told_with_its_rule_and_its_cutoff() {
        let retention = Retention {
            age: None,
            rules: vec![RetentionRule {
                service: None,
                errors: false,
                slower_than: Some(Duration::from_secs(2)),
                keep: DAY,
            }],
        };
        let note = expired(4, false, &retention, NOW);
        assert_eq!(
            (note.level, note.text.as_str()),
            (
                Level::Warn,
                "of it, 4 spans expired: what started before 2030-03-16 17:46:40Z is not seen any more; spans are kept for ever, but traces slower than 2s for 1d"
            )
        );
        assert_eq!(expired(4, true, &retention, NOW).level, Level::Bad);
    }
}

//! The ready-made reports say of real traces what their JSON says: each is run over a minute of the sample and compared with the minute before.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use datafusion::arrow::array::{Array, AsArray};
use datafusion::arrow::datatypes::TimestampNanosecondType;
use spanhouse::engine::{Engine, EngineSettings};
use spanhouse::report::library::READY_MADE;
use spanhouse::report::{Frame, check};
use spanhouse::store::{Store, StoreSettings};
use tempfile::TempDir;

use super::sample::{
    BEFORE, BEGIN_NS, MINUTE_NS, NEVER, NOW, Sample, assert_close, assert_p95, counts, names, numbers, ready_made,
    texts, values,
};
use super::truth::{self, Figures, Span};
use crate::support::shared_data;

#[tokio::test(flavor = "multi_thread")]
async fn every_report_is_right_for_a_store_without_spans() {
    let folder = TempDir::new().expect("folder");
    let store = Store::open(folder.path(), StoreSettings::default()).await.expect("store");
    let engine = Engine::new(store, EngineSettings::default()).expect("engine");
    let reports = ready_made(&folder.path().join("reports"));
    assert!(reports.mistakes().is_empty(), "{:?}", reports.mistakes());
    let definitions = reports.definitions();
    assert_eq!(definitions.len(), READY_MADE.len());
    for definition in &definitions {
        let report = &definition.report;
        let mistakes = check(&engine, definition).await.expect("checked");
        assert!(mistakes.is_empty(), "{}: {mistakes:?}", report.name);
        assert!(!report.title.is_empty() && !report.description.is_empty(), "{}", report.name);
        assert!(report.schedule.is_some() && report.window.is_some() && !report.charts.is_empty(), "{}", report.name);
        let tells_traces = report.alerts.iter().all(|rule| rule.exemplars.is_some());
        assert!(tells_traces, "{}: a message has the ids of traces to look at", report.name);
        assert!(report.parameters.iter().all(|parameter| parameter.default.is_some()), "{}", report.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_report_answers_windows_of_any_length_whatever_was_before() {
    let Some(data) = shared_data("every_report_answers_windows_of_any_length_whatever_was_before") else { return };
    let sample = Sample::load(&data).await;
    let century = 0..100 * 365 * 86_400 * 1_000_000_000;
    for report in READY_MADE {
        for range in [&NOW, &NEVER, &century, &(NOW.start..NOW.start + 1_000_000)] {
            let frame = sample.report(report.name, range, &[]).await;
            let is_empty = frame.rows == 0;
            // A forecast takes hours of traffic, and the sample has minutes; burn rates are those of the last days of the window.
            let may_be_empty = match report.name {
                "capacity_forecast" => true,
                "slo_burn" => *range != NOW,
                // Nobody makes five equal calls in that minute.
                "n_plus_one_suspects" => *range != century,
                _ => *range != NOW && *range != century,
            };
            assert!(!is_empty || may_be_empty, "{} gives nothing of {range:?}", report.name);
            assert!(*range != NEVER || is_empty, "{} makes rows of nothing", report.name);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn service_health_is_that_of_the_window_and_of_the_time_before() {
    let Some(data) = shared_data("service_health_is_that_of_the_window_and_of_the_time_before") else { return };
    let sample = Sample::load(&data).await;
    let frame = sample.report("daily_service_health", &NOW, &[("ago", "1 minute")]).await;
    let key = |span: &Span| span.service.clone();
    let (now, before) = (Figures::of(sample.requests(), &NOW, key), Figures::of(sample.requests(), &BEFORE, key));
    let services = names(&frame, "service_name");
    let all: BTreeSet<&String> = now.keys().chain(before.keys()).collect();
    assert_eq!(services.iter().collect::<BTreeSet<_>>(), all);
    assert_eq!(services.len(), all.len());
    let (requests, requests_before) = (counts(&frame, "requests"), counts(&frame, "requests_before"));
    let (p95, p95_before) = (numbers(&frame, "p95_ms"), numbers(&frame, "p95_before_ms"));
    let (rates, rates_before) = (numbers(&frame, "error_rate"), numbers(&frame, "error_rate_before"));
    let (changes, examples) = (numbers(&frame, "requests_change"), texts(&frame, "example_trace_id"));
    for (at, service) in services.iter().enumerate() {
        let (now, before) = (now.get(service), before.get(service));
        assert_eq!(requests[at], now.map_or(0, |now| now.calls), "{service}");
        assert_eq!(requests_before[at], before.map_or(0, |before| before.calls), "{service}");
        assert_p95(p95[at], now, service);
        assert_p95(p95_before[at], before, service);
        for (told, group) in [(rates[at], now), (rates_before[at], before)] {
            assert_eq!(told, group.map(Figures::error_rate), "{service}");
        }
        match before {
            Some(before) => {
                assert_close(changes[at], requests[at] as f64 / before.calls as f64 - 1.0, service);
            }
            None => assert_eq!(changes[at], None, "{service}"),
        }
        let of_service: Vec<&Span> =
            sample.requests().filter(|span| span.service == *service && NOW.contains(&span.start_ns)).collect();
        let worst = of_service.iter().filter(|span| span.failed).max_by_key(|span| span.duration_ns);
        let worst = worst.or_else(|| of_service.iter().max_by_key(|span| span.duration_ns));
        assert_eq!(examples[at], worst.map(|span| span.trace.clone()), "{service}");
    }
    // What fails most comes first.
    assert_eq!(services[0], "ts-preserve-service");
    // Nobody was asked a week before.
    let frame = sample.report("daily_service_health", &NOW, &[]).await;
    assert!(counts(&frame, "requests_before").iter().all(|count| *count == 0));
    assert!(numbers(&frame, "p95_change").iter().all(Option::is_none));
    // A window that is longer than what lies between is compared with what is before all of it.
    let both = BEFORE.start..NOW.end;
    let frame = sample.report("daily_service_health", &both, &[("ago", "1 minute"), ("service", "ts-order-s%")]).await;
    assert_eq!((counts(&frame, "requests"), counts(&frame, "requests_before")), {
        let all = Figures::of(sample.requests(), &both, key);
        (vec![all["ts-order-service"].calls], vec![0])
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn trends_and_latencies_are_counted_interval_by_interval() {
    let Some(data) = shared_data("trends_and_latencies_are_counted_interval_by_interval") else { return };
    let sample = Sample::load(&data).await;
    let range = BEFORE.start..NOW.end;
    let width = MINUTE_NS / 4;
    let bin = |span: &Span| span.start_ns / width * width;
    let times = |frame: &Frame| values(frame, "time").as_primitive::<TimestampNanosecondType>().values().to_vec();
    let frame = sample.report("service_trends", &range, &[("width", "15 seconds")]).await;
    let wanted = Figures::of(sample.requests(), &range, |span| (bin(span), span.service.clone()));
    let keys: Vec<(i64, String)> = times(&frame).into_iter().zip(names(&frame, "service_name")).collect();
    assert_eq!(keys.iter().collect::<Vec<_>>(), wanted.keys().collect::<Vec<_>>());
    let (requests, errors) = (counts(&frame, "requests"), counts(&frame, "errors"));
    let (rates, p95) = (numbers(&frame, "rate"), numbers(&frame, "p95_ms"));
    for (at, (key, group)) in wanted.iter().enumerate() {
        assert_eq!((requests[at], errors[at]), (group.calls, group.errors), "{key:?}");
        assert_close(rates[at], group.calls as f64 / 15.0, "rate");
        assert_p95(p95[at], Some(group), "p95");
    }

    let frame = sample.report("latency_heatmap", &range, &[("width", "15 seconds")]).await;
    let mut wanted: BTreeMap<(i64, i32), i64> = BTreeMap::new();
    for span in sample.requests().filter(|span| range.contains(&span.start_ns)) {
        // The step of the square root of two that the duration does not exceed.
        let step = ((span.duration_ns as f64 / 1e6).log2() * 2.0).ceil() as i32;
        *wanted.entry((bin(span), step)).or_default() += 1;
    }
    let steps = numbers(&frame, "le_ms").into_iter().map(|le| (le.expect("not NULL").log2() * 2.0).round() as i32);
    let told: BTreeMap<(i64, i32), i64> =
        times(&frame).into_iter().zip(steps).zip(counts(&frame, "requests")).collect();
    assert_eq!(told, wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_slowest_operations_come_first_with_their_slowest_trace() {
    let Some(data) = shared_data("the_slowest_operations_come_first_with_their_slowest_trace") else { return };
    let sample = Sample::load(&data).await;
    let parameters = [("ago", "1 minute"), ("least_requests", "2"), ("limit", "1000")];
    let frame = sample.report("slowest_operations", &NOW, &parameters).await;
    let key = |span: &Span| format!("{}: {}", span.service, span.name);
    let (mut now, before) = (Figures::of(sample.requests(), &NOW, key), Figures::of(sample.requests(), &BEFORE, key));
    now.retain(|_, group| group.calls >= 2);
    let operations = names(&frame, "operation");
    assert_eq!(operations.iter().collect::<BTreeSet<_>>(), now.keys().collect::<BTreeSet<_>>());
    let (p95, p95_before, max) =
        (numbers(&frame, "p95_ms"), numbers(&frame, "p95_before_ms"), numbers(&frame, "max_ms"));
    let (requests, totals, traces) =
        (counts(&frame, "requests"), numbers(&frame, "total_ms"), names(&frame, "trace_id"));
    assert!(p95.is_sorted_by(|one, next| one >= next));
    for (at, operation) in operations.iter().enumerate() {
        let group = &now[operation];
        assert_eq!(requests[at], group.calls, "{operation}");
        assert_p95(p95[at], Some(group), operation);
        assert_p95(p95_before[at], before.get(operation), operation);
        assert_close(max[at], group.max_ms(), operation);
        assert_close(totals[at], group.total_ms(), operation);
        let of_operation = sample.requests().filter(|span| key(span) == *operation && NOW.contains(&span.start_ns));
        let slowest = of_operation.max_by_key(|span| span.duration_ns).expect("a span");
        assert_eq!(traces[at], slowest.trace, "{operation}");
    }
    let few = sample.report("slowest_operations", &NOW, &[("least_requests", "2"), ("limit", "3")]).await;
    assert_eq!(names(&few, "operation"), operations[..3]);
}

/// What an error says, without what differs from one time to the next: enough for those of the sample.
fn without_ids(error: &str) -> String {
    error
        .split(['[', ']', ' '])
        .filter(|word| !word.contains(|c: char| c.is_ascii_digit()))
        .collect::<Vec<_>>()
        .join(" ")
}

#[tokio::test(flavor = "multi_thread")]
async fn new_errors_are_those_that_did_not_begin_before() {
    let Some(data) = shared_data("new_errors_are_those_that_did_not_begin_before") else { return };
    let sample = Sample::load(&data).await;
    let kind =
        |span: &Span| (span.service.clone(), span.name.clone(), without_ids(span.error.as_deref().unwrap_or_default()));
    let known: BTreeSet<_> = truth::origins(&sample.spans, &BEFORE).into_iter().map(kind).collect();
    assert_eq!(known.len(), 1, "one error of the sample is older");
    for (lookback, older) in [("1 minute", &known), ("1 second", &BTreeSet::new())] {
        let frame = sample.report("new_errors", &NOW, &[("lookback", lookback)]).await;
        let mut wanted: BTreeMap<_, BTreeSet<&str>> = BTreeMap::new();
        for origin in truth::origins(&sample.spans, &NOW) {
            wanted.entry(kind(origin)).or_default().insert(&origin.trace);
        }
        wanted.retain(|kind, _| !older.contains(kind));
        assert!(wanted.len() >= 4, "{wanted:?}");
        let columns = ["origin_service", "origin_name", "error"].map(|column| names(&frame, column));
        let traces = counts(&frame, "traces");
        let told: BTreeMap<_, usize> = (0..traces.len())
            .map(|at| {
                let [service, name, error] = [0, 1, 2].map(|column: usize| columns[column][at].clone());
                ((service, name, without_ids(&error.replace('?', "0"))), usize::try_from(traces[at]).expect("a count"))
            })
            .collect();
        assert_eq!(told, wanted.into_iter().map(|(kind, traces)| (kind, traces.len())).collect(), "{lookback}");
        let examples = names(&frame, "example_trace_id");
        let is_failed = |id: &String| sample.spans.iter().any(|span| span.failed && span.trace == *id);
        assert!(examples.iter().all(is_failed), "{examples:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dependencies_that_appeared_vanished_or_changed_are_told() {
    let Some(data) = shared_data("dependencies_that_appeared_vanished_or_changed_are_told") else { return };
    let sample = Sample::load(&data).await;
    let calls = truth::calls(&sample.spans);
    let callers: HashMap<(&str, &str), &str> =
        calls.iter().map(|(caller, span)| ((span.trace.as_str(), span.id.as_str()), *caller)).collect();
    let key = |span: &Span| (callers[&(span.trace.as_str(), span.id.as_str())].to_owned(), span.service.clone());
    let edges = |range| Figures::of(calls.iter().map(|(_, span)| *span), range, key);
    for (now, before, ago) in [(&NOW, &BEFORE, "1 minute"), (&BEFORE, &NEVER, "7 days")] {
        let frame = sample.report("dependency_changes", now, &[("ago", ago), ("least_calls", "5")]).await;
        let (now, before) = (edges(now), edges(before));
        let (callers, callees) = (names(&frame, "caller"), names(&frame, "callee"));
        let (types, changes) = (names(&frame, "callee_type"), names(&frame, "change"));
        let (calls, calls_before) = (counts(&frame, "calls"), counts(&frame, "calls_before"));
        let (new, lost) = (counts(&frame, "new_calls"), counts(&frame, "lost_calls"));
        let (p95, p95_before) = (numbers(&frame, "p95_ms"), numbers(&frame, "p95_before_ms"));
        let mut seen = BTreeSet::new();
        for at in (0..types.len()).filter(|at| types[*at] == "service") {
            let edge = (callers[at].clone(), callees[at].clone());
            let what = format!("{edge:?}");
            let (now, earlier) = (now.get(&edge), before.get(&edge));
            let (is, was) = (now.map_or(0, |now| now.calls), earlier.map_or(0, |earlier| earlier.calls));
            assert_eq!((calls[at], calls_before[at]), (is, was), "{what}");
            assert_p95(p95[at], now, &what);
            assert_p95(p95_before[at], earlier, &what);
            let change = match (is, was) {
                _ if before.is_empty() => "nothing before",
                (_, 0) => "appeared",
                (0, _) => "vanished",
                (is, was) if is.max(was) < 5 => "same",
                (is, was) => {
                    let ratio = |now: f64, before: f64| (now / before - 1.0).abs() > 0.5;
                    let rates = now.zip(earlier).map_or(0.0, |(now, then)| now.error_rate() - then.error_rate());
                    let slower = p95[at].zip(p95_before[at]).is_some_and(|(now, before)| ratio(now, before));
                    if ratio(is as f64, was as f64) || slower || rates.abs() > 0.05 { "changed" } else { "same" }
                }
            };
            assert_eq!(changes[at], change, "{what}");
            assert_eq!(new[at], if change == "appeared" { is } else { 0 }, "{what}");
            assert_eq!(lost[at], if change == "vanished" { was } else { 0 }, "{what}");
            assert!(seen.insert(edge), "{what} is there twice");
        }
        assert_eq!(seen, now.keys().chain(before.keys()).cloned().collect());
        let rank =
            |change: &str| ["appeared", "vanished", "changed"].iter().position(|known| *known == change).unwrap_or(3);
        assert!(changes.is_sorted_by_key(|change| rank(change)), "{changes:?}");
        if !before.is_empty() {
            // The sample has each of them, so that none of the above is idle.
            for change in ["appeared", "vanished", "changed", "same"] {
                assert!(changes.iter().any(|told| told == change), "{change} in {changes:?}");
            }
        }
    }
}

/// The outermost span around a call that makes no other.
fn outermost<'a>(
    call: &'a Span,
    by_id: &HashMap<(&str, &str), &'a Span>,
    children: &HashMap<(&str, &str), Vec<&'a Span>>,
) -> &'a Span {
    let Some(above) = by_id.get(&(call.trace.as_str(), call.parent.as_str())) else { return call };
    let (mut calls, mut ends, mut below) = (0, 0, vec![*above]);
    while let Some(span) = below.pop() {
        let own = children.get(&(span.trace.as_str(), span.id.as_str()));
        match span.kind {
            "CLIENT" => calls += 1,
            "INTERNAL" if own.is_none() => ends += 1,
            "INTERNAL" => {
                below.extend(own.into_iter().flatten().copied().filter(|child| child.service == span.service))
            }
            _ => {}
        }
    }
    let is_around =
        above.kind == "INTERNAL" && above.service == call.service && matches!((calls, ends), (1, _) | (0, 1));
    if is_around { outermost(above, by_id, children) } else { call }
}

#[tokio::test(flavor = "multi_thread")]
async fn repeated_calls_under_one_parent_are_suspects() {
    let Some(data) = shared_data("repeated_calls_under_one_parent_are_suspects") else { return };
    let sample = Sample::load(&data).await;
    let by_id: HashMap<(&str, &str), &Span> =
        sample.spans.iter().map(|span| ((span.trace.as_str(), span.id.as_str()), span)).collect();
    let mut answered: HashMap<(&str, &str), String> = HashMap::new();
    for span in sample.spans.iter().filter(|span| span.kind == "SERVER") {
        answered.insert((&span.trace, &span.parent), format!("{}: {}", span.service, span.name));
    }
    let is_call = |span: &&Span| span.kind == "CLIENT" || span.kind == "INTERNAL" && span.has_database;
    let mut children: HashMap<(&str, &str), Vec<&Span>> = HashMap::new();
    for span in &sample.spans {
        children.entry((&span.trace, &span.parent)).or_default().push(span);
    }
    let whole = BEFORE.start..BEGIN_NS + 60 * MINUTE_NS;
    let mut repeats: HashMap<_, i64> = HashMap::new();
    for span in sample.spans.iter().filter(is_call) {
        let caller = &outermost(span, &by_id, &children).parent;
        if caller.is_empty() {
            continue;
        }
        let call = answered.get(&(span.trace.as_str(), span.id.as_str())).cloned();
        let call = call.unwrap_or_else(|| span.name.clone());
        *repeats.entry((&span.trace, caller, &span.service, &span.name, call)).or_default() += 1;
    }
    for least in [3, 5] {
        let mut wanted: BTreeMap<_, (BTreeSet<&str>, i64, i64)> = BTreeMap::new();
        for ((trace, parent, service, _, call), times) in repeats.iter().filter(|(_, times)| **times >= least) {
            let parent = by_id[&(trace.as_str(), parent.as_str())].name.clone();
            // A call to a database is told by what it does and to which table: those of the sample are all of one.
            let call = if call.starts_with("ts-") { call.clone() } else { call.replace("ts.", "") };
            let group = wanted.entry(((*service).clone(), parent, call)).or_default();
            group.0.insert(trace);
            group.1 += 1;
            group.2 += times;
        }
        let times = least.to_string();
        let frame = sample.report("n_plus_one_suspects", &whole, &[("times", &times), ("limit", "1000")]).await;
        let columns = ["service_name", "parent_name", "call"].map(|column| names(&frame, column));
        let figures = ["traces", "parents", "calls"].map(|column| counts(&frame, column));
        let told: BTreeMap<_, _> = (0..columns[0].len())
            .map(|at| {
                let [service, parent, call] = [0, 1, 2].map(|column: usize| columns[column][at].clone());
                ((service, parent, call), [0, 1, 2].map(|column: usize| figures[column][at]))
            })
            .collect();
        let wanted: BTreeMap<_, _> = wanted
            .into_iter()
            .map(|(key, (traces, parents, calls))| (key, [traces.len() as i64, parents, calls]))
            .collect();
        assert!(!wanted.is_empty());
        assert_eq!(told, wanted, "{least}");
        let wasted = numbers(&frame, "wasted_ms");
        assert!(wasted.is_sorted_by(|one, next| one >= next), "{wasted:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn error_budgets_burn_as_the_workbook_counts() {
    let Some(data) = shared_data("error_budgets_burn_as_the_workbook_counts") else { return };
    let sample = Sample::load(&data).await;
    let key = |span: &Span| span.service.clone();
    // The five minutes have part of the traces, the others all of them.
    let to = BEGIN_NS + MINUTE_NS * 19 / 3;
    let range = to - 3 * 86_400 * 1_000_000_000..to;
    for (objective, slow_ms, shown) in [(0.99, f64::INFINITY, "0"), (0.5, 100.0, "100")] {
        let is_bad = |span: &Span| span.failed || span.duration_ns as f64 / 1e6 > slow_ms;
        let parameters = [("objective", objective.to_string()), ("slow_ms", shown.to_owned())];
        let parameters = parameters.each_ref().map(|(name, value)| (*name, value.as_str()));
        let frame = sample.report("slo_burn", &range, &parameters).await;
        let services = names(&frame, "service_name");
        let all = Figures::of(sample.requests(), &range, key);
        assert_eq!(services.iter().collect::<BTreeSet<_>>(), all.keys().collect::<BTreeSet<_>>());
        let burn = |service: &str, minutes: i64| {
            let range = to - minutes * MINUTE_NS..to;
            let of = sample.requests().filter(|span| span.service == service && range.contains(&span.start_ns));
            let (bad, all) = of.fold((0, 0), |(bad, all), span| (bad + i32::from(is_bad(span)), all + 1));
            (all > 0).then(|| f64::from(bad) / f64::from(all) / (1.0 - objective))
        };
        let windows = [("burn_5m", 5), ("burn_30m", 30), ("burn_1h", 60), ("burn_6h", 360), ("burn_3d", 4320)];
        let pairs = [("fast_burn", 60, 5), ("slow_burn", 360, 30), ("long_burn", 4320, 360)];
        let examples = texts(&frame, "example_trace_id");
        for (at, service) in services.iter().enumerate() {
            for (column, minutes) in windows {
                match (numbers(&frame, column)[at], burn(service, minutes)) {
                    (None, None) => {}
                    (told, wanted) => assert_close(told, wanted.expect("requests"), &format!("{column} of {service}")),
                }
            }
            for (column, long, short) in pairs {
                let wanted = burn(service, long).unwrap_or(0.0).min(burn(service, short).unwrap_or(0.0));
                assert_close(numbers(&frame, column)[at], wanted, &format!("{column} of {service}"));
            }
            let bad = sample.requests().filter(|span| span.service == *service && is_bad(span));
            let last = bad.filter(|span| range.contains(&span.start_ns)).max_by_key(|span| span.start_ns);
            assert_eq!(examples[at], last.map(|span| span.trace.clone()), "{service}");
        }
        assert!(numbers(&frame, "burn_5m").iter().any(Option::is_none), "some service was not asked");
        assert!(numbers(&frame, "fast_burn").iter().flatten().any(|burn| *burn > 0.0), "some budget burns");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn volume_is_counted_by_service_and_retention_by_its_oldest_span() {
    let Some(data) = shared_data("volume_is_counted_by_service_and_retention_by_its_oldest_span") else { return };
    let sample = Sample::load(&data).await;
    let frame = sample.report("volume_by_service", &NOW, &[]).await;
    let key = |span: &Span| span.service.clone();
    let until = i64::MIN..NOW.end;
    let [now, before, stored] = [&NOW, &BEFORE, &until].map(|range| Figures::of(sample.spans.iter(), range, key));
    let services = names(&frame, "service_name");
    assert_eq!(services.iter().collect::<BTreeSet<_>>(), stored.keys().collect::<BTreeSet<_>>());
    let oldest = values(&frame, "oldest_timestamp");
    let oldest = oldest.as_primitive::<TimestampNanosecondType>();
    let share: f64 = numbers(&frame, "share").iter().flatten().sum();
    assert_close(Some(share), 1.0, "all shares");
    for (at, service) in services.iter().enumerate() {
        let of =
            |group: &BTreeMap<String, Figures>| group.get(service).map_or((0, 0), |group| (group.calls, group.errors));
        let told = ["spans", "spans_before", "stored_spans", "errors"].map(|column| counts(&frame, column)[at]);
        assert_eq!(told, [of(&now).0, of(&before).0, of(&stored).0, of(&now).1], "{service}");
        let first = sample.spans.iter().filter(|span| span.service == *service).map(|span| span.start_ns).min();
        assert_eq!(Some(oldest.value(at)), first, "{service}");
        let kept_days = (NOW.end - oldest.value(at)) as f64 / 86_400e9;
        let told = numbers(&frame, "kept_days")[at].expect("not NULL");
        assert!((told - kept_days).abs() < 1e-6, "{service}: {told} and not {kept_days}");
    }
    // Nothing is in files yet.
    assert_eq!(values(&frame, "estimated_bytes").null_count(), services.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn forecasts_follow_the_last_whole_interval() {
    let Some(data) = shared_data("forecasts_follow_the_last_whole_interval") else { return };
    let sample = Sample::load(&data).await;
    let range = BEFORE.start..NOW.end;
    let parameters = [("width", "10 seconds"), ("steps", "3"), ("season", "10 seconds")];
    let frame = sample.report("capacity_forecast", &range, &parameters).await;
    let width = MINUTE_NS / 6;
    let requests = || sample.requests().filter(|span| range.contains(&span.start_ns));
    // The last interval may be filled in part, and is what comes first.
    let last = requests().map(|span| span.start_ns).max().expect("requests") / width * width;
    let services: BTreeSet<&str> = requests().map(|span| span.service.as_str()).collect();
    let wanted: Vec<(&str, i64)> =
        services.iter().flat_map(|service| (0..3).map(move |step| (*service, last + step * width))).collect();
    let times = values(&frame, "time");
    let times = times.as_primitive::<TimestampNanosecondType>();
    let told = names(&frame, "service_name");
    let told: Vec<(&str, i64)> = told.iter().map(String::as_str).zip(times.values().iter().copied()).collect();
    assert_eq!(told, wanted);
    let [low, rate, high] = ["rate_low", "rate", "rate_high"].map(|column| numbers(&frame, column));
    let most = requests().count() as f64 / 10.0;
    for at in 0..told.len() {
        let [low, rate, high] = [&low, &rate, &high].map(|of| of[at].expect("not NULL"));
        assert!(0.0 <= low && low <= rate && rate <= high && rate < most, "{:?}: {low} {rate} {high}", told[at]);
    }
}

//! What whole runs say, and that a book rebuilt from its lines says the same.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use datafusion::arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray};
use proptest::prelude::*;

use super::testing::{frame, report, rule};
use super::{AlertBook, AlertLine, AlertState, Notice, Silence};
use crate::report::definition::{AlertRule, Report, Test};
use crate::report::frame::Frame;
use crate::report::history::Run;
use crate::report::history::tests::run;

type Rows<'a> = &'a [(&'a str, Option<f64>)];

const MINUTE_MS: i64 = 60_000;

/// A book that is rebuilt from its lines before each run, beside one that is not.
#[derive(Default)]
struct Books {
    kept: AlertBook,
    lines: Vec<AlertLine>,
    runs: i64,
}

impl Books {
    fn judge(&mut self, report: &Report, rows: Rows<'_>) -> Vec<Notice> {
        self.judge_silenced(report, rows, &[])
    }

    fn judge_silenced(&mut self, report: &Report, rows: Rows<'_>, silences: &[Silence]) -> Vec<Notice> {
        self.runs += 1;
        let now_ms = self.runs * MINUTE_MS;
        let (run, frame): (Run, _) = (run("health", now_ms), frame(rows));
        let lines = self.lines.iter().map(|line| {
            let text = serde_json::to_string(line).expect("JSON");
            serde_json::from_str(&text).expect("what was written")
        });
        let mut rebuilt = AlertBook::from_lines(lines);
        let notices = self.kept.judge(report, &run, &frame, silences, now_ms).expect("judged");
        assert_eq!(rebuilt.judge(report, &run, &frame, silences, now_ms).expect("judged"), notices);
        let lines = self.kept.take_lines();
        assert_eq!(rebuilt.take_lines(), lines);
        assert!(self.kept.take_lines().is_empty(), "taken once");
        self.lines.extend(lines);
        notices
    }
}

/// `group state!` for each notice; the mark stands for news.
fn told(notices: &[Notice]) -> String {
    let told = notices.iter().map(|notice| {
        let group = notice.labels.iter().map(|(_, value)| value.as_str()).collect::<Vec<_>>().join("/");
        format!("{group} {}{}", notice.state, if notice.is_news { "!" } else { "" })
    });
    told.collect::<Vec<_>>().join(", ")
}

fn absent(group_by: &[&str]) -> AlertRule {
    let group_by = group_by.iter().map(|name| (*name).to_owned()).collect();
    AlertRule { test: Test::Absent, group_by, ..rule("service", 0.0) }
}

fn change(baseline_runs: u32) -> AlertRule {
    let test = Test::Change { column: "value".to_owned(), ratio: 0.5, baseline_runs, least: 0.0 };
    AlertRule { test, ..rule("service", 0.0) }
}

#[test]
fn groups_fire_and_resolve_each_by_itself() {
    let report = report(vec![rule("service", 5.0)]);
    let mut books = Books::default();
    for (rows, expected) in [
        (&[("cart", Some(1.0)), ("shop", Some(1.0))][..], ""),
        (&[("cart", Some(9.0)), ("shop", Some(1.0))][..], "cart firing!"),
        (&[("cart", Some(9.0)), ("shop", Some(6.0))][..], "cart firing, shop firing!"),
        (&[("cart", Some(1.0)), ("shop", Some(6.0))][..], "cart resolved!, shop firing"),
        // A group without a row is not beyond any limit.
        (&[("cart", Some(1.0))][..], "shop resolved!"),
        (&[("cart", Some(1.0))][..], ""),
        (&[][..], ""),
    ] {
        assert_eq!(told(&books.judge(&report, rows)), expected, "{rows:?}");
    }
    assert_eq!(books.kept.current().count(), 0, "nothing needs to be remembered");
}

#[test]
fn a_value_that_is_not_there_keeps_the_state_and_says_so() {
    let report = report(vec![rule("service", 5.0)]);
    let mut books = Books::default();
    assert_eq!(books.judge(&report, &[("cart", Some(9.0))])[0].summary, "value is 9, above 5");
    for rows in [&[("cart", None)][..], &[("cart", Some(f64::NAN))][..]] {
        let notices = books.judge(&report, rows);
        assert_eq!(told(&notices), "cart firing");
        assert_eq!((notices[0].value, notices[0].summary.as_str()), (None, "value has no value in this run"));
    }
    assert_eq!(told(&books.judge(&report, &[("cart", Some(1.0))])), "cart resolved!");
    assert_eq!(told(&books.judge(&report, &[("cart", None)])), "", "neither bad nor good is no beginning");
}

#[test]
fn absence_is_of_all_rows_or_of_a_group_that_was_there() {
    let whole = report(vec![absent(&[])]);
    let mut books = Books::default();
    for (rows, expected) in [
        (&[][..], " firing!"),
        (&[][..], " firing"),
        (&[("cart", None)][..], " resolved!"),
        (&[("cart", None)][..], ""),
    ] {
        assert_eq!(told(&books.judge(&whole, rows)), expected, "{rows:?}");
    }
    assert_eq!(books.kept.current().count(), 0);

    let grouped = report(vec![absent(&["service"])]);
    let mut books = Books::default();
    for (rows, expected) in [
        (&[("cart", None), ("shop", None)][..], ""),
        (&[("shop", None)][..], "cart firing!"),
        (&[("shop", None)][..], "cart firing"),
        // Without any row that is said once; what is known of groups stays.
        (&[][..], " firing!, cart firing"),
        (&[("cart", None)][..], " resolved!, cart resolved!, shop firing!"),
        (&[("cart", None), ("shop", None), ("new", None)][..], "shop resolved!"),
        (&[("cart", None), ("shop", None), ("new", None)][..], ""),
    ] {
        assert_eq!(told(&books.judge(&grouped, rows)), expected, "{rows:?}");
    }
    assert_eq!(books.kept.current().count(), 3, "groups are remembered that may go missing");
}

#[test]
fn a_group_that_is_gone_for_good_is_forgotten() {
    let report = Report { keep: Duration::from_millis(5 * MINUTE_MS as u64), ..report(vec![absent(&["service"])]) };
    let mut books = Books::default();
    assert_eq!(told(&books.judge(&report, &[("cart", None), ("shop", None)])), "");
    for _ in 0..5 {
        assert!(told(&books.judge(&report, &[("shop", None)])).starts_with("cart firing"));
    }
    let notices = books.judge(&report, &[("shop", None)]);
    assert_eq!(told(&notices), "cart resolved!");
    assert!(notices[0].summary.ends_with("is forgotten"), "{}", notices[0].summary);
    assert_eq!(told(&books.judge(&report, &[("shop", None)])), "");
    assert_eq!(books.kept.current().count(), 1);
}

#[test]
fn a_change_is_judged_once_enough_runs_are_known() {
    let report = report(vec![change(3)]);
    let mut books = Books::default();
    for value in [10.0, 11.0, 9.0] {
        assert_eq!(told(&books.judge(&report, &[("cart", Some(value))])), "", "{value} is learned from");
    }
    assert_eq!(told(&books.judge(&report, &[("cart", Some(14.0))])), "");
    let notices = books.judge(&report, &[("cart", Some(34.0))]);
    assert_eq!(told(&notices), "cart firing!");
    assert_eq!(notices[0].summary, "value is 34, 200 % above 11.3333, the mean of 3 earlier runs");
    // A new level is the usual one after a while.
    for expected in ["cart firing", "cart resolved!", ""] {
        assert_eq!(told(&books.judge(&report, &[("cart", Some(34.0))])), expected);
    }
    let values = &books.kept.current().next().expect("remembered").memory.values;
    assert_eq!(values, &[34.0, 34.0, 34.0]);
}

#[test]
fn a_silence_keeps_an_alert_from_being_told_and_nothing_else() {
    let report = report(vec![rule("service", 5.0)]);
    let until_ms = 3 * MINUTE_MS;
    let labels = vec![("service".to_owned(), "c*".to_owned())];
    let silences = [Silence { labels, until_ms, reason: "deploy".to_owned(), line: 7, ..Silence::default() }];
    let rows = &[("cart", Some(9.0)), ("shop", Some(9.0))][..];
    let mut books = Books::default();
    let notices = books.judge_silenced(&report, rows, &silences);
    assert_eq!(told(&notices), "cart firing, shop firing!");
    assert_eq!(notices[0].silenced_by.as_deref(), Some("deploy (silences.toml, line 7)"));
    assert!(!notices[0].is_firing() && notices[1].is_firing());
    assert_eq!(told(&books.judge_silenced(&report, rows, &silences)), "cart firing, shop firing");
    assert_eq!(told(&books.judge_silenced(&report, rows, &silences)), "cart firing!, shop firing", "it is over");
}

#[test]
fn a_firing_is_told_again_as_often_as_its_rule_says() {
    let repeat_every = Some(Duration::from_millis(3 * MINUTE_MS as u64));
    let report = report(vec![AlertRule { repeat_every, ..rule("service", 5.0) }]);
    let mut books = Books::default();
    let told: Vec<_> = (0..8).map(|_| told(&books.judge(&report, &[("cart", Some(9.0))]))).collect();
    let news: Vec<_> = told.iter().map(|told| told.ends_with('!')).collect();
    assert_eq!(news, [true, false, false, true, false, false, true, false], "{told:?}");
}

#[test]
fn a_limit_to_clear_many_runs_and_two_columns_hold_for_each_group() {
    let both = |rows: &[(&str, &str, f64)]| {
        let column = |names: Vec<&str>| Arc::new(StringArray::from(names)) as ArrayRef;
        let zones = column(rows.iter().map(|(zone, ..)| *zone).collect());
        let services = column(rows.iter().map(|(_, service, _)| *service).collect());
        let values = Arc::new(Float64Array::from_iter_values(rows.iter().map(|(.., value)| *value))) as ArrayRef;
        let batch = RecordBatch::try_from_iter([("zone", zones), ("service", services), ("value", values)]);
        let batch = batch.expect("a batch");
        Frame { schema: batch.schema(), rows: batch.num_rows() as u64, batches: vec![batch] }
    };
    let test = Test::Above { column: "value".to_owned(), limit: 5.0, clear: 2.0 };
    let group_by = vec!["zone".to_owned(), "service".to_owned()];
    let report = report(vec![AlertRule { test, group_by, bad_runs: 2, of_runs: 3, clear_runs: 2, ..rule("", 5.0) }]);
    let mut book = AlertBook::default();
    // One zone is bad in two of three runs, then between the limits, then good; the other has one bad run.
    for (at, (east, west, expected)) in [
        (9.0, 1.0, "e/cart pending"),
        (1.0, 9.0, "e/cart pending, w/cart pending"),
        (9.0, 1.0, "e/cart firing!, w/cart pending"),
        (3.0, 1.0, "e/cart firing, w/cart pending"),
        (1.0, 1.0, "e/cart firing"),
        (3.0, 1.0, "e/cart firing"),
        (2.0, 1.0, "e/cart firing"),
        (0.0, 1.0, "e/cart resolved!"),
        (0.0, 1.0, ""),
    ]
    .into_iter()
    .enumerate()
    {
        let (now_ms, frame) = (at as i64 * MINUTE_MS, both(&[("e", "cart", east), ("w", "cart", west)]));
        let notices = book.judge(&report, &run("health", now_ms), &frame, &[], now_ms).expect("judged");
        assert_eq!(told(&notices), expected, "run {at}");
        book = AlertBook::from_lines(book.current().cloned().collect::<Vec<_>>());
    }
}

#[test]
fn every_message_of_a_firing_has_its_traces() {
    let id = |byte: u8| format!("{byte:02x}").repeat(16);
    let traced = |rows: &[(f64, &str)]| {
        let services = Arc::new(StringArray::from(vec!["cart"; rows.len()])) as ArrayRef;
        let values = Arc::new(Float64Array::from_iter_values(rows.iter().map(|(value, _)| *value))) as ArrayRef;
        let traces = Arc::new(StringArray::from_iter_values(rows.iter().map(|(_, trace)| *trace))) as ArrayRef;
        let batch = RecordBatch::try_from_iter([("service", services), ("value", values), ("trace_id", traces)]);
        let batch = batch.expect("a batch");
        Frame { schema: batch.schema(), rows: rows.len() as u64, batches: vec![batch] }
    };
    let ruled = report(vec![AlertRule { clear_runs: 2, ..rule("service", 5.0) }]);
    let (one, two) = (id(1), id(2));
    let mut lines = Vec::new();
    let mut judge = |report: &Report, now_ms, rows: &[(f64, &str)]| {
        let mut book = AlertBook::from_lines(lines.clone());
        let notices = book.judge(report, &run("health", now_ms), &traced(rows), &[], now_ms).expect("judged");
        lines.extend(book.take_lines());
        notices.into_iter().map(|notice| (notice.state, notice.exemplars)).collect::<Vec<_>>()
    };
    // The bad row's, and not the good one's.
    let first = [(AlertState::Firing, vec![one.clone()])];
    assert_eq!(judge(&ruled, 0, &[(1.0, &two), (9.0, &one)]), first);
    // A run in which the group is gone, or good, says what it was about.
    assert_eq!(judge(&ruled, 1, &[]), first);
    assert_eq!(judge(&ruled, 2, &[(1.0, &two)]), [(AlertState::Resolved, vec![one.clone()])]);
    // The next firing is about something else.
    assert_eq!(judge(&ruled, 3, &[(9.0, "none")]), [(AlertState::Firing, vec![])]);
    assert_eq!(judge(&ruled, 4, &[(9.0, &two)]), [(AlertState::Firing, vec![two.clone()])]);
    assert_eq!(judge(&report(vec![]), 5, &[]).len(), 1);
}

#[test]
fn a_rule_that_is_no_more_ends_what_it_began() {
    let first = report(vec![rule("service", 5.0), AlertRule { name: "s".to_owned(), ..rule("service", 8.0) }]);
    let mut books = Books::default();
    assert_eq!(told(&books.judge(&first, &[("cart", Some(9.0))])), "cart firing!, cart firing!");
    let fewer = report(vec![rule("service", 5.0)]);
    let notices = books.judge(&fewer, &[("cart", Some(9.0))]);
    assert_eq!(told(&notices), "cart firing, cart resolved!");
    assert_eq!((notices[1].rule.as_str(), notices[1].summary.as_str()), ("s", "the report judges this no more"));
    let other_columns = report(vec![AlertRule { group_by: vec![], ..rule("service", 5.0) }]);
    assert_eq!(told(&books.judge(&other_columns, &[("cart", Some(9.0))])), " firing!, cart resolved!");
    let nothing = report(vec![]);
    assert_eq!(told(&books.judge(&nothing, &[("cart", Some(9.0))])), " resolved!");
    assert_eq!(books.kept.current().count(), 0);
}

#[test]
fn reports_do_not_see_each_others_alerts() {
    let mut books = Books::default();
    let health = report(vec![rule("service", 5.0)]);
    let other = Report { name: "healthy".to_owned(), ..report(vec![]) };
    assert_eq!(told(&books.judge(&health, &[("cart", Some(9.0))])), "cart firing!");
    assert_eq!(told(&books.judge(&other, &[])), "");
    assert_eq!(told(&books.judge(&health, &[("cart", Some(9.0))])), "cart firing");
}

#[test]
fn a_rule_that_cannot_be_judged_changes_nothing() {
    let good = rule("service", 5.0);
    let bad = AlertRule { name: "s".to_owned(), ..rule("zone", 5.0) };
    let mut book = AlertBook::default();
    let (run, frame) = (run("health", 0), frame(&[("cart", Some(9.0))]));
    book.judge(&report(vec![good, bad]), &run, &frame, &[], 0).expect_err("no such column");
    assert!(book.take_lines().is_empty() && book.current().count() == 0);
}

#[test]
fn groups_that_come_and_go_are_forgotten_before_there_are_too_many() {
    let absence = report(vec![AlertRule { bad_runs: 2, of_runs: 2, ..absent(&["service"]) }]);
    let names: Vec<String> = (0..1500).map(|at| format!("s{at:04}")).collect();
    let rows: Vec<(&str, Option<f64>)> = names.iter().map(|name| (name.as_str(), None)).collect();
    let mut book = AlertBook::default();
    let mut judge = |rows: Rows<'_>, now_ms| book.judge(&absence, &run("health", now_ms), &frame(rows), &[], now_ms);
    assert!(judge(&rows[..900], 0).expect("judged").is_empty());
    let error = judge(&rows[900..], MINUTE_MS).expect_err("600 are there and 900 are missing");
    assert!(error.message.contains("more than 1000 groups"), "{error}");
    // A change does not mind what is gone.
    let change = report(vec![change(2)]);
    let mut book = AlertBook::default();
    for (at, rows) in rows.chunks(400).enumerate() {
        let now_ms = at as i64 * MINUTE_MS;
        let rows: Vec<_> = rows.iter().map(|(name, _)| (*name, Some(1.0))).collect();
        assert!(book.judge(&change, &run("health", now_ms), &frame(&rows), &[], now_ms).expect("judged").is_empty());
    }
    assert!(book.current().count() <= 1000);
    let newest = book.current().filter(|line| line.labels[0].1.as_str() >= "s0800").count();
    assert_eq!(newest, 700, "the oldest went");
}

/// What runs say of one rule, told from the whole history of one group's values.
fn model(rule: &AlertRule, values: &[Option<Option<f64>>]) -> Vec<AlertState> {
    let (limit, clear) = match rule.test {
        Test::Above { limit, clear, .. } => (limit, clear),
        _ => panic!("thresholds only"),
    };
    let (mut states, mut bad, mut good, mut firing) = (Vec::new(), Vec::new(), 0, false);
    for value in values {
        // A group without a row is good, one without a value is nothing.
        let value = match value {
            None => Some(f64::NEG_INFINITY),
            Some(value) => *value,
        };
        let last = states.last().copied().unwrap_or_default();
        states.push(match value {
            None if firing => AlertState::Firing,
            None if last == AlertState::Resolved => AlertState::Ok,
            None => last,
            Some(value) if firing => {
                good = if value <= clear { good + 1 } else { 0 };
                if good >= rule.clear_runs {
                    (firing, good) = (false, 0);
                    AlertState::Resolved
                } else {
                    AlertState::Firing
                }
            }
            Some(value) => {
                bad.push(value > limit);
                let count = bad.iter().rev().take(rule.of_runs as usize).filter(|bad| **bad).count() as u32;
                if value > limit && count >= rule.bad_runs {
                    firing = true;
                    bad.clear();
                    AlertState::Firing
                } else if count > 0 {
                    AlertState::Pending
                } else {
                    AlertState::Ok
                }
            }
        });
    }
    states
}

fn value() -> impl Strategy<Value = Option<Option<f64>>> {
    prop_oneof![
        1 => Just(None),
        1 => Just(Some(None)),
        8 => prop_oneof![Just(1.0), Just(2.0), Just(3.0), Just(5.0), Just(6.0), Just(f64::INFINITY)].prop_map(|v| Some(Some(v))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_book_says_of_each_group_what_the_groups_whole_history_says(
        (of_runs, bad_runs) in (1u32..4).prop_flat_map(|of| (Just(of), 1..=of)),
        clear_runs in 1u32..3,
        runs in prop::collection::vec((value(), value(), value()), 0..24),
    ) {
        let test = Test::Above { column: "value".to_owned(), limit: 5.0, clear: 2.0 };
        let rule = AlertRule { test, bad_runs, of_runs, clear_runs, ..rule("service", 5.0) };
        let report = report(vec![rule.clone()]);
        let mut books = Books::default();
        let mut said: BTreeMap<&str, Vec<AlertState>> = BTreeMap::new();
        for (a, b, c) in &runs {
            let rows: Vec<_> = [("a", a), ("b", b), ("c", c)].into_iter().filter_map(|(name, value)| Some((name, (*value)?))).collect();
            let notices = books.judge(&report, &rows);
            for name in ["a", "b", "c"] {
                let notice = notices.iter().find(|notice| notice.labels[0].1 == name);
                said.entry(name).or_default().push(notice.map(|notice| notice.state).unwrap_or_default());
            }
        }
        let each: [(&str, Vec<_>); 3] = [
            ("a", runs.iter().map(|run| run.0).collect()),
            ("b", runs.iter().map(|run| run.1).collect()),
            ("c", runs.iter().map(|run| run.2).collect()),
        ];
        for (name, values) in each {
            prop_assert_eq!(said.remove(name).unwrap_or_default(), model(&rule, &values), "{}: {:?}", name, values);
        }
    }
}

//! All that is remembered of alerts, and the judging of a run.

use std::collections::{BTreeMap, HashSet};

use super::group::{self, Group, Labels, MOST_GROUPS};
use super::line::AlertLine;
use super::notice::{AlertState, Notice};
use super::silence::Silence;
use super::state::{GroupState, is_news};
use super::verdict::{self, Verdict};
use super::{exemplars, wording};
use crate::error::{Error, Result};
use crate::report::definition::{AlertRule, Report, Test};
use crate::report::frame::Frame;
use crate::report::history::Run;
use crate::report::journal::Told;

/// The groups of all rules of all reports that something is remembered of.
///
/// It is rebuilt from the lines that it gave out, whatever else happened to the process between them.
#[derive(Debug, Clone, Default)]
pub struct AlertBook {
    groups: BTreeMap<Key, AlertLine>,
    /// Lines that nobody took yet.
    news: Vec<AlertLine>,
}

/// A group's place in the book.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    report: String,
    rule: String,
    labels: Labels,
}

impl Key {
    fn of(line: &AlertLine) -> Self {
        Self { report: line.report.clone(), rule: line.rule.clone(), labels: line.labels.clone() }
    }
}

/// What a run says about one group, before it is written into the book.
struct Judged<'a> {
    /// The rule; `None` when the report has it no more.
    rule: Option<&'a AlertRule>,
    severity: String,
    key: Key,
    before: GroupState,
    after: GroupState,
    value: Option<f64>,
    summary: String,
    exemplars: Vec<String>,
    silenced_by: Option<String>,
    is_news: bool,
    /// Whether the result has the group.
    is_there: bool,
    forget: bool,
}

/// A run and its moment.
struct Moment<'a> {
    report: &'a Report,
    run: &'a Run,
    frame: &'a Frame,
    silences: &'a [Silence],
    now_ms: i64,
}

/// The parts of a report's `keep` after which "this group was there" is written down again.
const SEEN_PARTS: i64 = 16;

impl Told for AlertBook {
    fn take(&mut self, line: &str) -> Result<()> {
        self.keep(AlertLine::parse(line).map_err(|error| Error::corrupt(error.to_string()))?);
        Ok(())
    }
}

impl AlertBook {
    /// The book as its lines tell it, the oldest line first.
    pub fn from_lines(lines: impl IntoIterator<Item = AlertLine>) -> Self {
        let mut book = Self::default();
        for line in lines {
            book.keep(line);
        }
        book
    }

    /// Judges the result of a run: what it says of each group that is not simply good, and what is remembered for later runs.
    ///
    /// # Errors
    /// When a rule cannot be judged; then nothing of the run is remembered.
    pub fn judge(
        &mut self,
        report: &Report,
        run: &Run,
        frame: &Frame,
        silences: &[Silence],
        now_ms: i64,
    ) -> Result<Vec<Notice>> {
        let moment = Moment { report, run, frame, silences, now_ms };
        let mut judged = Vec::new();
        for rule in &report.alerts {
            judged.extend(self.judge_rule(&moment, rule)?);
        }
        judged.extend(self.judge_without_rule(&moment));
        let mut notices = Vec::new();
        for judged in judged {
            if judged.after.state != AlertState::Ok {
                notices.push(judged.notice());
            }
            if let Some(line) = judged.line(&moment) {
                self.keep(line.clone());
                self.news.push(line);
            }
        }
        Ok(notices)
    }

    /// What a report's alerts have firing, as the last run that judged them found it: no news, and for whoever takes for ended what is not told again.
    pub fn firing(&self, report: &str, silences: &[Silence], now_ms: i64) -> Vec<Notice> {
        let first = Key { report: report.to_owned(), rule: String::new(), labels: Vec::new() };
        let of_report = self.groups.range(first..).take_while(|(key, _)| key.report == report);
        let firing = of_report.filter(|(_, line)| line.state == AlertState::Firing);
        let notice = |(key, line): (&Key, &AlertLine)| {
            let silence = silences.iter().find(|silence| silence.holds(&key.report, &key.rule, &key.labels, now_ms));
            Notice { silenced_by: silence.map(ToString::to_string), is_news: false, ..Notice::from(line.clone()) }
        };
        firing.map(notice).collect()
    }

    /// The lines for the journal since this was last asked.
    pub fn take_lines(&mut self) -> Vec<AlertLine> {
        std::mem::take(&mut self.news)
    }

    /// Whether a run was the last one to change something about a group.
    pub(in crate::report) fn has_judged(&self, run_id: &str) -> bool {
        self.groups.values().any(|line| line.run == run_id)
    }

    /// The last line of each group that something is remembered of.
    #[cfg(test)]
    pub(super) fn current(&self) -> impl Iterator<Item = &AlertLine> {
        self.groups.values()
    }

    fn keep(&mut self, line: AlertLine) {
        let key = Key::of(&line);
        match line.forgotten {
            true => self.groups.remove(&key),
            false => self.groups.insert(key, line),
        };
    }

    /// What is remembered of a rule's groups.
    fn remembered<'a>(&'a self, report: &str, rule: &str) -> impl Iterator<Item = (&'a Key, &'a AlertLine)> {
        let first = Key { report: report.to_owned(), rule: rule.to_owned(), labels: Vec::new() };
        let (report, rule) = (first.report.clone(), first.rule.clone());
        self.groups.range(first..).take_while(move |(key, _)| key.report == report && key.rule == rule)
    }

    fn judge_rule<'a>(&self, moment: &Moment<'_>, rule: &'a AlertRule) -> Result<Vec<Judged<'a>>> {
        let report = moment.report;
        let mut groups = group::gather(report, rule, moment.frame)?;
        if rule.test == Test::Absent && (groups.is_empty() || !rule.group_by.is_empty()) {
            // The group that is bad when there is no row at all.
            groups.insert(0, Group { labels: Vec::new(), rows: Vec::new(), value: None });
        }
        let there: HashSet<&Labels> = groups.iter().map(|group| &group.labels).collect();
        let remembered = self.remembered(&report.name, &rule.name);
        let gone = remembered.filter(|(key, _)| !there.contains(&key.labels) && has_columns(rule, &key.labels));
        let gone: Vec<_> =
            gone.map(|(key, _)| Group { labels: key.labels.clone(), rows: Vec::new(), value: None }).collect();
        let mut judged: Vec<_> = groups.iter().map(|group| self.judge_group(moment, rule, group, true)).collect();
        judged.extend(gone.iter().map(|group| self.judge_group(moment, rule, group, false)));
        bound(moment, rule, &mut judged)?;
        Ok(judged)
    }

    fn judge_group<'a>(&self, moment: &Moment<'_>, rule: &'a AlertRule, group: &Group, is_there: bool) -> Judged<'a> {
        let Moment { report, frame, now_ms, .. } = *moment;
        let key = Key { report: report.name.clone(), rule: rule.name.clone(), labels: group.labels.clone() };
        let known = self.groups.get(&key);
        let before = known.map(state_of).unwrap_or_default();
        let is_expired = !is_there && is_older(&before, report, now_ms);
        let verdict = match is_expired {
            true => Verdict::Good,
            false => verdict_on(rule, group, is_there, frame, &before),
        };
        let mut after = before.clone().after(rule, verdict, now_ms);
        if is_expired && before.state == AlertState::Firing {
            // However many good runs the rule wants: none will come.
            (after.state, after.since_ms) = (AlertState::Resolved, now_ms);
        }
        let said = wording::Said { rule, group, is_there, is_expired, verdict, before: &before, state: after.state };
        let summary = said.summary();
        remember_value(rule, group, &mut after);
        if is_there && frame.rows > 0 && is_waited_for(rule, &group.labels) {
            remember_seen(report, &mut after, now_ms);
        }
        let silence = moment.silences.iter().find(|silence| silence.holds(&key.report, &key.rule, &key.labels, now_ms));
        let is_news = is_news(rule, &mut after, before.state, silence.is_some(), now_ms);
        let needs_no_memory = is_expired || !is_waited_for(rule, &key.labels);
        let is_over = after.is_quiet() || (is_expired && after.state == AlertState::Resolved);
        Judged {
            rule: Some(rule),
            severity: rule.severity.clone(),
            key,
            value: group.value,
            summary,
            exemplars: exemplars_of(rule, frame, group, after.state, known),
            silenced_by: silence.map(ToString::to_string),
            is_news,
            is_there,
            forget: is_over && needs_no_memory,
            before,
            after,
        }
    }

    /// Ends what rules began that the report has no more, or has by other columns now.
    fn judge_without_rule<'a>(&self, moment: &Moment<'_>) -> Vec<Judged<'a>> {
        let report = moment.report;
        let is_of =
            |key: &Key| report.alerts.iter().any(|rule| rule.name == key.rule && has_columns(rule, &key.labels));
        let first = Key { report: report.name.clone(), rule: String::new(), labels: Vec::new() };
        let all = self.groups.range(first..).take_while(|(key, _)| key.report == report.name);
        let orphans = all.filter(|(key, _)| !is_of(key));
        let ended = orphans.map(|(key, line)| {
            let before = state_of(line);
            let mut after = GroupState { since_ms: moment.now_ms, ..GroupState::default() };
            let was_told = before.state == AlertState::Firing && before.memory.told_ms.is_some();
            if before.state == AlertState::Firing {
                after.state = AlertState::Resolved;
                after.memory.fired_ms = before.memory.fired_ms;
            }
            let mut silences = moment.silences.iter();
            let silence = silences.find(|silence| silence.holds(&key.report, &key.rule, &key.labels, moment.now_ms));
            Judged {
                rule: None,
                severity: line.severity.clone(),
                key: key.clone(),
                before,
                after,
                value: None,
                summary: "the report judges this no more".to_owned(),
                exemplars: exemplars_of_firing(Some(line)),
                silenced_by: silence.map(ToString::to_string),
                is_news: was_told,
                is_there: false,
                forget: true,
            }
        });
        ended.collect()
    }
}

/// Whether a group's labels are those that the rule makes. The group of "no row at all" has none.
fn has_columns(rule: &AlertRule, labels: &Labels) -> bool {
    let has_same = rule.group_by.iter().eq(labels.iter().map(|(name, _)| name));
    has_same || (rule.test == Test::Absent && labels.is_empty())
}

fn state_of(line: &AlertLine) -> GroupState {
    GroupState { state: line.state, since_ms: line.since_ms, memory: line.memory.clone() }
}

/// Whether a group was last there so long ago that nobody waits for it.
fn is_older(state: &GroupState, report: &Report, now_ms: i64) -> bool {
    state.memory.seen_ms.is_some_and(|seen_ms| now_ms.saturating_sub(seen_ms) > keep_ms(report))
}

/// Traces that show what is wrong: those of the bad rows. Where a run has none, a firing that goes on or ends has those that it had.
fn exemplars_of(
    rule: &AlertRule,
    frame: &Frame,
    group: &Group,
    state: AlertState,
    known: Option<&AlertLine>,
) -> Vec<String> {
    let found = match state {
        AlertState::Firing | AlertState::Pending => exemplars::of_rows(rule, frame, &group.rows),
        AlertState::Ok | AlertState::Resolved => Vec::new(),
    };
    match found.is_empty() {
        true => exemplars_of_firing(known),
        false => found,
    }
}

fn exemplars_of_firing(known: Option<&AlertLine>) -> Vec<String> {
    known.filter(|line| line.state == AlertState::Firing).map(|line| line.exemplars.clone()).unwrap_or_default()
}

fn keep_ms(report: &Report) -> i64 {
    i64::try_from(report.keep.as_millis()).unwrap_or(i64::MAX)
}

fn verdict_on(rule: &AlertRule, group: &Group, is_there: bool, frame: &Frame, before: &GroupState) -> Verdict {
    let is_whole = group.labels.is_empty();
    match (&rule.test, is_there) {
        (Test::Absent, _) if is_whole => {
            if frame.rows == 0 {
                Verdict::Bad
            } else {
                Verdict::Good
            }
        }
        // Without any row the result says so once, and not for each group.
        (Test::Absent, false) if frame.rows == 0 => Verdict::Unknown,
        (Test::Absent, false) => Verdict::Bad,
        (Test::Absent, true) => Verdict::Good,
        // Nothing is beyond a limit that is not there: a result may list no others than the bad.
        (_, false) => Verdict::Good,
        (test, true) => match group.value {
            Some(value) => verdict::of_value(test, value, &before.memory.values),
            None => Verdict::Unknown,
        },
    }
}

fn remember_value(rule: &AlertRule, group: &Group, after: &mut GroupState) {
    let values = &mut after.memory.values;
    // One value without end would make every later mean the same.
    values.extend(group.value.filter(|value| value.is_finite() && verdict::values_kept(&rule.test) > 0));
    let surplus = values.len().saturating_sub(verdict::values_kept(&rule.test));
    values.drain(..surplus);
}

/// Whether it matters to a rule that the group was there.
fn is_waited_for(rule: &AlertRule, labels: &Labels) -> bool {
    match rule.test {
        Test::Above { .. } | Test::Below { .. } => false,
        Test::Change { .. } => true,
        Test::Absent => !labels.is_empty(),
    }
}

/// Notes that the group was there; only now and then, so that not each run has a line for each group.
fn remember_seen(report: &Report, after: &mut GroupState, now_ms: i64) {
    let is_due = |seen_ms: i64| now_ms.saturating_sub(seen_ms).saturating_abs() > keep_ms(report) / SEEN_PARTS;
    if after.memory.seen_ms.is_none_or(is_due) || !after.is_quiet() {
        after.memory.seen_ms = Some(now_ms);
    }
}

/// Keeps the groups of a rule within bounds: those that are gone and good are forgotten first, the longest unseen before others.
fn bound(moment: &Moment<'_>, rule: &AlertRule, judged: &mut [Judged<'_>]) -> Result<()> {
    let kept = judged.iter().filter(|group| !group.forget && !group.key.labels.is_empty()).count();
    let surplus = kept.saturating_sub(MOST_GROUPS);
    let is_idle = |group: &&mut Judged<'_>| !group.forget && !group.is_there && group.after.is_quiet();
    let mut idle: Vec<_> = judged.iter_mut().filter(is_idle).collect();
    idle.sort_by_key(|group| group.after.memory.seen_ms);
    if idle.len() < surplus {
        return Err(group::too_many(moment.report, rule));
    }
    for group in idle.into_iter().take(surplus) {
        group.forget = true;
    }
    Ok(())
}

impl Judged<'_> {
    fn notice(&self) -> Notice {
        Notice {
            report: self.key.report.clone(),
            rule: self.key.rule.clone(),
            severity: self.severity.clone(),
            state: self.after.state,
            labels: self.key.labels.clone(),
            value: self.value,
            since_ms: self.after.since_ms,
            fired_ms: self.after.memory.fired_ms,
            summary: self.summary.clone(),
            exemplars: self.exemplars.clone(),
            silenced_by: self.silenced_by.clone(),
            is_news: self.is_news,
        }
    }

    /// The line for the journal, when something changed that later runs or readers need.
    fn line(self, moment: &Moment<'_>) -> Option<AlertLine> {
        let was_remembered = self.before != GroupState::default();
        let is_same = self.before == self.after && !self.is_news;
        if (is_same && !self.forget) || (self.forget && !was_remembered && self.after.state == AlertState::Ok) {
            return None;
        }
        let has_lasting_memory = self.rule.is_some() && !self.forget;
        Some(AlertLine {
            report: self.key.report,
            rule: self.key.rule,
            severity: self.severity,
            labels: self.key.labels,
            state: self.after.state,
            was: self.before.state,
            value: self.value,
            since_ms: self.after.since_ms,
            at_ms: moment.now_ms,
            run: moment.run.id.clone(),
            summary: self.summary,
            exemplars: self.exemplars,
            silenced_by: self.silenced_by,
            is_news: self.is_news,
            forgotten: self.forget,
            memory: if has_lasting_memory { self.after.memory } else { Default::default() },
        })
    }
}

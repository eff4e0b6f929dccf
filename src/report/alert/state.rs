//! The states of one group from run to run, as a pure function over verdicts.
//!
//! ```text
//!            bad, fewer than bad_runs of of_runs            bad in bad_runs of of_runs
//!   OK ───────────────────────────────────► PENDING ───────────────────────────────────► FIRING
//!   ▲ ▲        all of of_runs good             │                                           │
//!   │ └────────────────────────────────────────┘                                           │
//!   │                       next run good                 clear_runs good runs in a row    │
//!   └──────────────────────────────────────────── RESOLVED ◄───────────────────────────────┘
//! ```
//!
//! OK fires at once when one bad run is enough; RESOLVED goes to PENDING or FIRING when the next run is bad.

use super::line::Memory;
use super::notice::AlertState;
use super::verdict::Verdict;
use crate::report::definition::AlertRule;

/// A group's state with what later runs need.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct GroupState {
    pub state: AlertState,
    pub since_ms: i64,
    pub memory: Memory,
}

impl GroupState {
    /// The state after a run with this verdict.
    pub(super) fn after(mut self, rule: &AlertRule, verdict: Verdict, now_ms: i64) -> Self {
        let next = match self.state {
            AlertState::Firing => self.still_firing(rule, verdict),
            _ => self.not_yet_firing(rule, verdict),
        };
        if next != self.state {
            self.since_ms = now_ms;
            if matches!(next, AlertState::Firing | AlertState::Resolved) {
                // What led here has had its effect: the next firing needs its own bad runs.
                self.memory.verdicts.clear();
                self.memory.good_runs = 0;
            }
            match next {
                AlertState::Firing => (self.memory.fired_ms, self.memory.told_ms) = (Some(now_ms), None),
                AlertState::Resolved => {}
                AlertState::Ok | AlertState::Pending => (self.memory.fired_ms, self.memory.told_ms) = (None, None),
            }
        }
        self.state = next;
        self
    }

    /// The state is one that nothing needs to be remembered of.
    pub(super) fn is_quiet(&self) -> bool {
        self.state == AlertState::Ok && !self.memory.verdicts.contains('b')
    }

    fn still_firing(&mut self, rule: &AlertRule, verdict: Verdict) -> AlertState {
        match verdict {
            Verdict::Unknown => {}
            Verdict::Bad | Verdict::Between => self.memory.good_runs = 0,
            Verdict::Good => self.memory.good_runs += 1,
        }
        match self.memory.good_runs >= rule.clear_runs.max(1) {
            true => AlertState::Resolved,
            false => AlertState::Firing,
        }
    }

    fn not_yet_firing(&mut self, rule: &AlertRule, verdict: Verdict) -> AlertState {
        match verdict {
            Verdict::Unknown => {}
            Verdict::Bad => self.memory.verdicts.push('b'),
            Verdict::Good | Verdict::Between => self.memory.verdicts.push('g'),
        }
        let surplus = self.memory.verdicts.len().saturating_sub(rule.of_runs.max(1) as usize);
        self.memory.verdicts.drain(..surplus);
        let bad_runs = self.memory.verdicts.matches('b').count();
        if verdict == Verdict::Bad && bad_runs >= rule.bad_runs.max(1) as usize {
            AlertState::Firing
        } else if bad_runs > 0 {
            AlertState::Pending
        } else {
            AlertState::Ok
        }
    }
}

/// Whether a group's state is to be told now, and keeps that it was.
///
/// A firing is told when it begins, or when its silence ends, and again each `repeat_every`; its end is told when its firing was, also while it is
/// silenced: who was called must not go on to believe that it fires.
pub(super) fn is_news(rule: &AlertRule, group: &mut GroupState, was: AlertState, silenced: bool, now_ms: i64) -> bool {
    match group.state {
        AlertState::Firing if silenced => false,
        AlertState::Firing => {
            let is_due = group.memory.told_ms.is_none_or(|told_ms| is_over(rule, told_ms, now_ms));
            if is_due {
                group.memory.told_ms = Some(now_ms);
            }
            is_due
        }
        AlertState::Resolved => was == AlertState::Firing && group.memory.told_ms.is_some(),
        AlertState::Ok | AlertState::Pending => false,
    }
}

fn is_over(rule: &AlertRule, told_ms: i64, now_ms: i64) -> bool {
    let repeat_ms = rule.repeat_every.map(|every| i64::try_from(every.as_millis()).unwrap_or(i64::MAX));
    repeat_ms.is_some_and(|repeat_ms| now_ms.saturating_sub(told_ms) >= repeat_ms)
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::report::definition::Test;

    /// A rule above 5, clear at 2.
    pub fn rule(bad_runs: u32, of_runs: u32, clear_runs: u32) -> AlertRule {
        AlertRule {
            name: "r".to_owned(),
            test: Test::Above { column: "v".to_owned(), limit: 5.0, clear: 2.0 },
            group_by: Vec::new(),
            bad_runs,
            of_runs,
            clear_runs,
            repeat_every: None,
            severity: "warning".to_owned(),
            exemplars: None,
            summary: None,
        }
    }

    fn verdict(letter: char) -> Verdict {
        match letter {
            'b' => Verdict::Bad,
            'm' => Verdict::Between,
            'g' => Verdict::Good,
            _ => Verdict::Unknown,
        }
    }

    fn letter(state: AlertState) -> char {
        match state {
            AlertState::Ok => 'o',
            AlertState::Pending => 'p',
            AlertState::Firing => 'F',
            AlertState::Resolved => 'R',
        }
    }

    fn states(rule: &AlertRule, verdicts: &str) -> String {
        let mut group = GroupState::default();
        let mut shown = String::new();
        for (run, judged) in verdicts.chars().enumerate() {
            group = group.after(rule, verdict(judged), run as i64);
            shown.push(letter(group.state));
        }
        shown
    }

    #[test]
    fn runs_lead_from_state_to_state() {
        for (bad, of, clear, verdicts, expected) in [
            // Once is enough, and the end shows for one run.
            (1, 1, 1, "gbbgggb", "oFFRooF"),
            (1, 1, 1, "bgb", "FRF"),
            // Between is no beginning and no end.
            (1, 1, 1, "mmbmmgm", "ooFFFRo"),
            // No data keeps what was; a resolution is over with the next run, whatever that says.
            (1, 1, 1, "?b??g??", "oFFFRoo"),
            // Two of three.
            (2, 3, 1, "bgb", "ppF"),
            (2, 3, 1, "bgggbg", "pppopp"),
            (2, 3, 1, "bb?gg", "pFFRo"),
            (2, 3, 1, "b??b", "pppF"),
            // What led to the first firing does not lead to the next.
            (2, 3, 1, "bbgbgb", "pFRppF"),
            (3, 5, 1, "bbbgggggg", "ppFRooooo"),
            // A good run among bad ones never begins a firing.
            (2, 2, 1, "bgbg", "pppp"),
            // Clear only after three good runs in a row.
            (1, 1, 3, "bggbgggo", "FFFFFFRo"),
            (1, 1, 3, "bgmggg", "FFFFFR"),
            (1, 1, 3, "bg?gg", "FFFFR"),
            (1, 1, 2, "bggbgg", "FFRFFR"),
        ] {
            assert_eq!(states(&rule(bad, of, clear), verdicts), expected, "{bad} of {of}, clear {clear}: {verdicts}");
        }
    }

    #[test]
    fn a_state_knows_since_when_it_holds() {
        let rule = rule(2, 2, 1);
        let mut group = GroupState::default();
        let mut since = Vec::new();
        for (run, judged) in "bbbgg".chars().enumerate() {
            group = group.after(&rule, verdict(judged), 10 * (run as i64 + 1));
            since.push(group.since_ms);
        }
        assert_eq!(since, [10, 20, 20, 40, 50]);
    }

    /// Tells the runs in which a firing group that is bad, or good in the last run, is news; `s` marks a silenced run.
    fn news(repeat_every: Option<Duration>, runs: &str) -> String {
        let rule = AlertRule { repeat_every, ..rule(1, 1, 1) };
        let mut group = GroupState::default();
        let mut shown = String::new();
        for (run, judged) in runs.chars().enumerate() {
            let was = group.state;
            let now_ms = 1000 * run as i64;
            let bad = matches!(judged, 'b' | 's');
            group = group.after(&rule, if bad { Verdict::Bad } else { Verdict::Good }, now_ms);
            let silenced = matches!(judged, 's' | 'S');
            shown.push(if is_news(&rule, &mut group, was, silenced, now_ms) { '!' } else { '.' });
        }
        shown
    }

    #[test]
    fn news_are_beginnings_ends_and_repeats() {
        let every = |seconds| Some(Duration::from_secs(seconds));
        for (repeat, runs, expected) in [
            (None, "gbbbgg", ".!..!."),
            (every(2), "gbbbbbg", ".!.!.!!"),
            (every(1), "bbb", "!!!"),
            (every(60), "bbbgb", "!..!!"),
            // Silenced from the beginning: told when the silence ends, and its end is not told when it never was.
            (None, "ssb", "..!"),
            (None, "ssg", "..."),
            (None, "bSg", "!!."),
            (None, "bsSg", "!.!."),
            (None, "bsg", "!.!"),
            (every(1), "bssb", "!..!"),
        ] {
            assert_eq!(news(repeat, runs), expected, "{repeat:?} {runs}");
        }
    }

    #[test]
    fn a_clock_that_jumps_back_repeats_nothing() {
        let rule = AlertRule { repeat_every: Some(Duration::from_secs(1)), ..rule(1, 1, 1) };
        let mut group = GroupState::default().after(&rule, Verdict::Bad, 10_000);
        assert!(is_news(&rule, &mut group, AlertState::Ok, false, 10_000));
        assert!(!is_news(&rule, &mut group, AlertState::Firing, false, 2_000));
    }

    /// The states, each found anew from the whole history of verdicts.
    fn model(rule: &AlertRule, verdicts: &str) -> String {
        let all: Vec<char> = verdicts.chars().collect();
        let mut shown = String::new();
        // Where the current stretch of not firing, or of firing, began.
        let (mut from, mut firing) = (0, false);
        for run in 0..all.len() {
            let known: Vec<char> = all[from..=run].iter().copied().filter(|letter| *letter != '?').collect();
            if firing {
                let good = known.iter().rev().take_while(|letter| **letter == 'g').count();
                if good >= rule.clear_runs as usize {
                    (from, firing) = (run + 1, false);
                    shown.push('R');
                } else {
                    shown.push('F');
                }
                continue;
            }
            let bad = known.iter().rev().take(rule.of_runs as usize).filter(|letter| **letter == 'b').count();
            if all[run] == 'b' && bad >= rule.bad_runs as usize {
                (from, firing) = (run + 1, true);
                shown.push('F');
            } else {
                shown.push(if bad > 0 { 'p' } else { 'o' });
            }
        }
        shown
    }

    proptest! {
        #[test]
        fn any_runs_lead_where_a_look_at_the_whole_history_does(
            (of_runs, bad_runs) in (1u32..6).prop_flat_map(|of| (Just(of), 1..=of)),
            clear_runs in 1u32..4,
            verdicts in "[bbmgg?]{0,60}",
        ) {
            let rule = rule(bad_runs, of_runs, clear_runs);
            prop_assert_eq!(states(&rule, &verdicts), model(&rule, &verdicts));
        }
    }
}

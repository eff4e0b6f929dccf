//! The clock: what spans say of it, what files say of it, and whether it jumps.

use std::time::{Duration, Instant, SystemTime};

use super::seen::Seen;
use crate::cli::note::{Note, duration};

/// Clocks are slewed by half a millisecond in a second at most; what is more was set.
const LEAST_JUMP: Duration = Duration::from_millis(100);
/// Machines whose clocks are kept by NTP agree within less.
const MOST_AHEAD_SECONDS: f64 = 60.0;

/// Both clocks at the beginning of a run.
pub(super) struct Run {
    monotonic: Instant,
    wall: SystemTime,
}

impl Run {
    pub(super) fn begin() -> Self {
        Self { monotonic: Instant::now(), wall: SystemTime::now() }
    }

    /// How far the wall clock went beyond what passed since, in seconds; below zero when it was set back.
    fn jump_seconds(&self) -> f64 {
        let passed = self.monotonic.elapsed().as_secs_f64();
        match self.wall.elapsed() {
            Ok(by_wall) => by_wall.as_secs_f64() - passed,
            Err(back) => -back.duration().as_secs_f64() - passed,
        }
    }
}

pub(super) fn check(seen: &Seen, run: &Run) -> Note {
    let written =
        seen.stored.iter().flat_map(|stored| stored.snapshot.files.iter()).map(|file| file.written_unix_ms).max();
    let ahead = |unix_seconds: f64| unix_seconds - seen.now_s();
    let written_ahead = written.map(|unix_ms| ahead(unix_ms as f64 / 1e3));
    judge(run.jump_seconds(), written_ahead, seen.newest_ns().map(|ns| ahead(ns as f64 / 1e9)))
}

/// `written_ahead` and `newest_ahead` are how far the newest file and the newest span lie ahead of now, in seconds.
fn judge(jump_seconds: f64, written_ahead: Option<f64>, newest_ahead: Option<f64>) -> Note {
    const NTP: &str = "is NTP running? `timedatectl` or `chronyc tracking` says so";
    let is_ahead = |seconds: &f64| *seconds > MOST_AHEAD_SECONDS;
    if jump_seconds.abs() > LEAST_JUMP.as_secs_f64() {
        let way = if jump_seconds > 0.0 { "forward" } else { "back" };
        let text = format!("this machine's clock went {:.1} s {way} while this ran", jump_seconds.abs());
        return Note::bad(
            "clock",
            text,
            format!("spans keep the times that senders give, retention and now() do not: {NTP}"),
        );
    }
    if let Some(seconds) = written_ahead.filter(is_ahead) {
        let text =
            format!("the newest file was written {} from now: this machine's clock was set back", duration(seconds));
        return Note::bad("clock", text, format!("retention, schedules and now() go by it: {NTP}"));
    }
    if let Some(seconds) = newest_ahead.filter(is_ahead) {
        let text = format!("the newest span starts {} from now", duration(seconds));
        let advice = format!(
            "a sender's clock is ahead, or this one's is behind ({NTP}). Which sender:\n\
             spanhouse sql \"SELECT service_name, max(timestamp) FROM spans WHERE timestamp > now() GROUP BY 1\""
        );
        return Note::warn("clock", text, advice);
    }
    let newest = newest_ahead
        .map_or(String::new(), |ahead| format!("; the newest span started {} ago", duration((-ahead).max(0.0))));
    Note::ok("clock", format!("it did not jump, and nothing lies ahead of it{newest}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::note::Level;

    #[test]
    fn a_clock_is_judged_by_its_jumps_and_by_what_lies_ahead() {
        for (jump, written, newest, level, text) in [
            (0.0, None, None, Level::Ok, "it did not jump, and nothing lies ahead of it"),
            (
                0.05,
                Some(-5.0),
                Some(-7_300.0),
                Level::Ok,
                "it did not jump, and nothing lies ahead of it; the newest span started 2 h ago",
            ),
            (
                0.0,
                Some(30.0),
                Some(59.0),
                Level::Ok,
                "it did not jump, and nothing lies ahead of it; the newest span started 0 s ago",
            ),
            (3.0, None, Some(900.0), Level::Bad, "this machine's clock went 3.0 s forward while this ran"),
            (-0.2, None, None, Level::Bad, "this machine's clock went 0.2 s back while this ran"),
            (
                0.0,
                Some(600.0),
                None,
                Level::Bad,
                "the newest file was written 10 min from now: this machine's clock was set back",
            ),
            (0.0, Some(0.0), Some(600.0), Level::Warn, "the newest span starts 10 min from now"),
        ] {
            let note = judge(jump, written, newest);
            assert_eq!((note.level, note.text.as_str()), (level, text));
        }
        assert!(Run::begin().jump_seconds().abs() < 1.0);
    }
}

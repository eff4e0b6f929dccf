//! What figures mean: pure decisions from what a server or a directory says.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::admin::Vitals;
use crate::cli::note::{Note, duration, size};
use crate::render::count;
use crate::store::DiskRoom;

/// Of a budget, from here on it is worth a look: what comes in a burst may not find room.
const NEARLY_FULL: f64 = 0.8;
/// Of the disk, so much free is worth a look.
const LITTLE_DISK_SHARE: f64 = 0.1;
/// How long spans wait for the table at most when all is well; `seal_after` is a minute unless it was set.
const LONG_WAIT_SECONDS: f64 = 900.0;
/// Files that compaction merges within minutes when it keeps up.
const LARGE_BACKLOG_FILES: f64 = 200.0;

/// A server that answers.
pub(super) fn running(vitals: &Vitals, now_unix_seconds: i64) -> Vec<Note> {
    let figures = Figures(&vitals.figures);
    let mut notes = vec![server(vitals, &figures, now_unix_seconds)];
    // Before the server is open there are no figures.
    if figures.get("spanhouse_log_bytes").is_none() {
        return notes;
    }
    let free = figures.get("spanhouse_disk_free_bytes").zip(figures.get("spanhouse_disk_bytes"));
    notes.extend([ingest(&figures), refused(&figures), log(&figures), table(&figures), compaction(&figures)]);
    notes.extend(free.map(|(free, all)| disk(free, all)));
    notes.extend([statements(&figures), memory(&figures), reports(&figures)]);
    notes
}

/// A server that does not answer on its admin listener.
pub(super) fn silent(pid: u32, address: SocketAddr, why: &str) -> Note {
    let text = format!("process {pid} does not answer at {address}: {why}");
    Note::bad("server", text, "its log of events says what it does; ask again, and restart it if it stays silent")
}

/// A server that runs without an admin listener.
pub(super) fn without_admin(pid: u32) -> Note {
    let text = format!("process {pid} runs, and its admin listener is off");
    Note::warn("server", text, "set admin_listen to have it tell of itself; below is what the directory tells")
}

/// No server that is known.
pub(super) fn no_server(holder: Option<u32>) -> Note {
    match holder {
        Some(pid) => {
            let text = format!("process {pid} has the data directory and is no server, or one that is just starting");
            Note::warn("server", text, "ask again in a moment")
        }
        None => Note::warn("server", "no server runs on this data directory".to_owned(), "start one: spanhouse serve"),
    }
}

/// What a reader of the directory sees.
pub(super) fn directory(files: u64, rows: u64, bytes: u64, waiting: u64, room: Option<DiskRoom>) -> Vec<Note> {
    let stored = format!("{} in {} of {}", count(rows, "span"), count(files, "file"), size(bytes as f64));
    let waits = match waiting {
        0 => "nothing waits for the table".to_owned(),
        waiting => format!("{} in the log wait for the table, which the server moves there", count(waiting, "span")),
    };
    let mut notes = vec![Note::ok("log", waits), Note::ok("table", stored)];
    notes.extend(room.map(|room| disk(room.free_bytes as f64, room.total_bytes as f64)));
    notes
}

struct Figures<'a>(&'a BTreeMap<String, f64>);

impl Figures<'_> {
    fn get(&self, name: &str) -> Option<f64> {
        self.0.get(name).copied()
    }

    fn of(&self, name: &str) -> f64 {
        self.get(name).unwrap_or(0.0)
    }

    fn count(&self, name: &str) -> u64 {
        self.of(name) as u64
    }

    fn labelled(&self, name: &str) -> Vec<(String, u64)> {
        labelled(self.0, name)
    }

    fn share(&self, of: &str, limit: &str) -> f64 {
        self.of(of) / self.of(limit).max(1.0)
    }
}

/// The samples of a metric that has one label, each with the label's value, where they are not 0.
pub(in crate::cli) fn labelled(figures: &BTreeMap<String, f64>, name: &str) -> Vec<(String, u64)> {
    let label = |key: &str| {
        Some(key.strip_prefix(name)?.strip_prefix('{')?.strip_suffix("\"}")?.split_once("=\"")?.1.to_owned())
    };
    let found = figures.iter().filter(|(_, value)| **value > 0.0);
    found.filter_map(|(key, value)| Some((label(key)?, *value as u64))).collect()
}

pub(in crate::cli) fn listed(counts: &[(String, u64)]) -> String {
    counts.iter().map(|(name, count)| format!("{count} {name}")).collect::<Vec<_>>().join(", ")
}

fn server(vitals: &Vitals, figures: &Figures<'_>, now_unix_seconds: i64) -> Note {
    let started = figures.get("process_start_time_seconds");
    let up = started.map_or(String::new(), |at| format!(", up {}", duration((now_unix_seconds as f64 - at).max(0.0))));
    let text = format!("spanhouse {}, process {}{up}", vitals.version, vitals.pid);
    match vitals.ready {
        true => Note::ok("server", text + "; it takes exports and statements"),
        false => {
            let text = format!("{text}; it is not ready: {}", vitals.reasons.join("; "));
            Note::bad("server", text, "docs/operations.md, \"When something is wrong\", says what to do")
        }
    }
}

fn ingest(figures: &Figures<'_>) -> Note {
    let spans = count(figures.count("spanhouse_ingest_accepted_spans_total"), "span");
    let requests = count(figures.count("spanhouse_ingest_accepted_requests_total"), "request");
    Note::ok("ingest", format!("{spans} of {requests} since the start"))
}

fn refused(figures: &Figures<'_>) -> Note {
    let (requests, spans) = (
        figures.labelled("spanhouse_ingest_refused_requests_total"),
        figures.labelled("spanhouse_ingest_refused_spans_total"),
    );
    let is_ours = |(reason, _): &(String, u64)| matches!(reason.as_str(), "overloaded" | "unavailable" | "internal");
    let texts: Vec<String> = [("requests", &requests), ("spans", &spans)]
        .into_iter()
        .filter(|(_, counts)| !counts.is_empty())
        .map(|(what, counts)| format!("{what} refused since the start: {}", listed(counts)))
        .collect();
    let advice = match requests.iter().any(is_ours) {
        true => "more comes than there is room for, or the log cannot be written: the log of events says which",
        false => "a sender makes what cannot be kept: docs/ingest.md has the reasons",
    };
    match texts.is_empty() {
        true => Note::ok("refused", "nothing since the start".to_owned()),
        false => Note::warn("refused", texts.join("; "), advice),
    }
}

fn log(figures: &Figures<'_>) -> Note {
    let (log, fresh) = (
        figures.share("spanhouse_log_bytes", "spanhouse_log_limit_bytes"),
        figures.share("spanhouse_fresh_bytes", "spanhouse_fresh_limit_bytes"),
    );
    let oldest_seconds = figures.of("spanhouse_log_oldest_seconds");
    let text = format!(
        "{} of {}; {} wait for the table, the oldest for {}",
        size(figures.of("spanhouse_log_bytes")),
        size(figures.of("spanhouse_log_limit_bytes")),
        count(figures.count("spanhouse_fresh_spans"), "span"),
        duration(oldest_seconds)
    );
    let advice =
        "sealing does not keep up or fails: is the disk or the object store slow or full? The log of events says so";
    match log.max(fresh) {
        full if full >= 1.0 => Note::bad("log", text, advice),
        full if full >= NEARLY_FULL || oldest_seconds > LONG_WAIT_SECONDS => Note::warn("log", text, advice),
        _ => Note::ok("log", text),
    }
}

fn table(figures: &Figures<'_>) -> Note {
    let rows = count(figures.count("spanhouse_table_spans"), "span");
    let files = count(figures.count("spanhouse_table_files"), "file");
    let text = format!("{rows} in {files} of {}", size(figures.of("spanhouse_table_bytes")));
    let damaged =
        figures.count("spanhouse_trace_index_failures_total") + figures.count("spanhouse_object_cache_damaged_total");
    match damaged {
        0 => Note::ok("table", text),
        times => {
            let text = format!("{text}; an index or a cached block could not be read {times} times");
            Note::warn("table", text, "the log of events names the file; `spanhouse check` looks at all of them")
        }
    }
}

fn compaction(figures: &Figures<'_>) -> Note {
    let backlog = figures.of("spanhouse_compaction_backlog_files");
    let failures = figures.count("spanhouse_compaction_failures_total");
    let text = format!("{} to merge", count(backlog as u64, "file"));
    match (failures, backlog) {
        (1.., _) => {
            let text = format!("{text}; {} failed since the start", count(failures, "merge"));
            Note::warn("compaction", text, "the log of events names the files and the cause")
        }
        (0, backlog) if backlog > LARGE_BACKLOG_FILES => Note::warn(
            "compaction",
            text,
            "it does not keep up, and statements read more files: see whether that grows",
        ),
        _ => Note::ok("compaction", text),
    }
}

fn disk(free: f64, all: f64) -> Note {
    let room = DiskRoom { free_bytes: free as u64, total_bytes: all as u64 };
    let text = format!("{} free of {}", size(free), size(all));
    match room.is_full() {
        true => Note::bad(
            "disk",
            text,
            "exports are refused soon or already: make room; `retention` and `spanhouse table` say what takes it",
        ),
        false if free < all * LITTLE_DISK_SHARE => Note::warn("disk", text, "make room, or set `retention`"),
        false => Note::ok("disk", text),
    }
}

fn statements(figures: &Figures<'_>) -> Note {
    let failed = figures.labelled("spanhouse_statements_failed_total");
    let is_ours = |(class, _): &&(String, u64)| matches!(class.as_str(), "53" | "58" | "XX");
    let ours: Vec<_> = failed.iter().filter(is_ours).cloned().collect();
    let text = format!(
        "{} running in {}; {} since the start, of which {} failed",
        figures.count("spanhouse_statements_running"),
        count(figures.count("spanhouse_sessions"), "session"),
        figures.count("spanhouse_statements_started_total"),
        failed.iter().map(|(_, count)| count).sum::<u64>()
    );
    match ours.is_empty() {
        true => Note::ok("statements", text),
        false => {
            let text = format!("{text}, {} for want of memory or disk, or by a fault of the server", listed(&ours));
            Note::warn(
                "statements",
                text,
                "53 is memory or temporary disk (query_memory, spill_size); 58 and XX are told in the log of events",
            )
        }
    }
}

fn memory(figures: &Figures<'_>) -> Note {
    let text = format!(
        "{} resident; statements hold {} of {}, the cache of columns {} of {}",
        size(figures.of("process_resident_memory_bytes")),
        size(figures.of("spanhouse_query_memory_bytes")),
        size(figures.of("spanhouse_query_memory_limit_bytes")),
        size(figures.of("spanhouse_column_cache_bytes")),
        size(figures.of("spanhouse_column_cache_limit_bytes"))
    );
    match figures.share("spanhouse_query_memory_bytes", "spanhouse_query_memory_limit_bytes") >= NEARLY_FULL {
        true => {
            Note::warn("memory", text, "large statements run: pg_stat_activity names them; the next ones spill or fail")
        }
        false => Note::ok("memory", text),
    }
}

fn reports(figures: &Figures<'_>) -> Note {
    let runs = figures.labelled("spanhouse_report_runs");
    let firing = figures.count("spanhouse_alerts{state=\"firing\"}");
    let wrong: Vec<_> =
        runs.iter().filter(|(status, _)| matches!(status.as_str(), "failed" | "timed_out" | "died")).cloned().collect();
    let all: u64 = runs.iter().map(|(_, count)| count).sum();
    let text = format!(
        "{}; {}",
        count(all, "run"),
        if firing == 0 { "no alert fires".to_owned() } else { format!("{} firing", count(firing, "alert")) }
    );
    match (wrong.is_empty(), firing) {
        (true, 0) => Note::ok("reports", text),
        (true, _) => Note::warn("reports", text, "SELECT * FROM system.alerts WHERE is_current AND state = 'firing'"),
        (false, _) => {
            Note::warn("reports", format!("{text}; {}", listed(&wrong)), "`spanhouse report history` says why")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::note::Level;

    const GIB: f64 = (1u64 << 30) as f64;

    fn vitals(more: &[(&str, f64)]) -> Vitals {
        let usual = [
            ("process_start_time_seconds", 1_000.0),
            ("spanhouse_log_bytes", 5.0e6),
            ("spanhouse_log_limit_bytes", 4.0 * GIB),
            ("spanhouse_fresh_limit_bytes", GIB),
            ("spanhouse_disk_free_bytes", 50.0 * GIB),
            ("spanhouse_disk_bytes", 100.0 * GIB),
            ("spanhouse_query_memory_limit_bytes", GIB),
        ];
        Vitals {
            version: "1.2.3".into(),
            pid: 7,
            ready: true,
            reasons: Vec::new(),
            figures: usual.iter().chain(more).map(|(name, value)| ((*name).to_owned(), *value)).collect(),
        }
    }

    /// The subjects that are not well.
    fn unwell(vitals: &Vitals) -> Vec<(&'static str, Level)> {
        let notes = running(vitals, 1_000 + 7_500);
        assert!(notes.iter().all(|note| (note.level == Level::Ok) == note.advice.is_none()), "{notes:?}");
        notes.iter().filter(|note| note.level != Level::Ok).map(|note| (note.subject, note.level)).collect()
    }

    #[test]
    fn each_figure_is_judged_under_its_subject() {
        assert!(unwell(&vitals(&[])).is_empty());
        for (name, value, subject, level) in [
            ("spanhouse_ingest_refused_spans_total{reason=\"utf8\"}", 1.0, "refused", Level::Warn),
            ("spanhouse_ingest_refused_requests_total{reason=\"overloaded\"}", 1.0, "refused", Level::Warn),
            ("spanhouse_log_bytes", 4.0 * GIB, "log", Level::Bad),
            ("spanhouse_fresh_bytes", 0.85 * GIB, "log", Level::Warn),
            ("spanhouse_log_oldest_seconds", 901.0, "log", Level::Warn),
            ("spanhouse_trace_index_failures_total", 2.0, "table", Level::Warn),
            ("spanhouse_compaction_failures_total", 1.0, "compaction", Level::Warn),
            ("spanhouse_compaction_backlog_files", 201.0, "compaction", Level::Warn),
            ("spanhouse_disk_free_bytes", 9.0 * GIB, "disk", Level::Warn),
            ("spanhouse_disk_free_bytes", 1.0e6, "disk", Level::Bad),
            ("spanhouse_statements_failed_total{class=\"53\"}", 1.0, "statements", Level::Warn),
            ("spanhouse_query_memory_bytes", 0.9 * GIB, "memory", Level::Warn),
            ("spanhouse_report_runs{status=\"died\"}", 1.0, "reports", Level::Warn),
            ("spanhouse_alerts{state=\"firing\"}", 1.0, "reports", Level::Warn),
        ] {
            assert_eq!(unwell(&vitals(&[(name, value)])), [(subject, level)], "{name}");
        }
        assert!(unwell(&vitals(&[("spanhouse_statements_failed_total{class=\"42\"}", 9.0)])).is_empty());
    }

    #[test]
    fn a_server_that_is_not_ready_says_why() {
        let starting =
            Vitals { ready: false, reasons: vec!["it starts".into()], figures: BTreeMap::new(), ..vitals(&[]) };
        let notes = running(&starting, 0);
        assert_eq!((notes.len(), notes[0].level), (1, Level::Bad));
        assert!(notes[0].text.ends_with("not ready: it starts"), "{}", notes[0].text);
        let well = running(&vitals(&[]), 1_000 + 7_500).remove(0);
        assert_eq!(well.text, "spanhouse 1.2.3, process 7, up 2 h; it takes exports and statements");
    }
}

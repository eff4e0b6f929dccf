//! What there is to do, as anybody can tell who sees the table's files.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use super::input::memory_bytes;
use super::plan::{FileFacts, PlanLimits, plan};
use crate::store::DataFile;
use crate::store::table::FileName;

/// What compaction has to do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backlog {
    /// The files that are to be merged now, one merge after the other, and their rows.
    pub files: u64,
    pub rows: u64,
    /// The files that are to be merged besides when no file has come into their day for a while.
    pub waiting_files: u64,
    pub waiting_rows: u64,
}

/// What compaction has to do in `files`.
pub(crate) fn backlog(files: &[DataFile], now_unix_ms: i64) -> Backlog {
    let facts: Vec<_> = files.iter().filter(|file| is_ours(file)).map(|file| facts_of(file, now_unix_ms)).collect();
    backlog_of(&facts, &PlanLimits::default())
}

fn backlog_of(facts: &[FileFacts<'_>], limits: &PlanLimits) -> Backlog {
    let due = to_merge(facts, limits);
    let quiet: Vec<_> = facts.iter().map(|file| FileFacts { age: Duration::MAX, ..file.clone() }).collect();
    let mut waiting = to_merge(&quiet, limits);
    waiting.retain(|file| !due.contains(file));
    let rows = |files: &BTreeSet<usize>| files.iter().map(|&file| facts[file].rows).sum();
    Backlog {
        files: due.len() as u64,
        rows: rows(&due),
        waiting_files: waiting.len() as u64,
        waiting_rows: rows(&waiting),
    }
}

/// The files of all merges that are due: those that are planned, and those that are when these are done, but for what comes of them.
fn to_merge(facts: &[FileFacts<'_>], limits: &PlanLimits) -> BTreeSet<usize> {
    let mut merged = BTreeSet::new();
    let mut rest: Vec<usize> = (0..facts.len()).collect();
    loop {
        let of_rest: Vec<_> = rest.iter().map(|&file| facts[file].clone()).collect();
        let planned: Vec<usize> = plan(&of_rest, limits).into_iter().flat_map(|job| job.files).collect();
        if planned.is_empty() {
            return merged;
        }
        let dates: HashSet<&str> = planned.iter().map(|&at| of_rest[at].date).collect();
        merged.extend(planned.into_iter().map(|at| rest[at]));
        // A date of which nothing is due has nothing in the next round either.
        rest.retain(|file| !merged.contains(file) && dates.contains(facts[*file].date));
    }
}

/// Whether the file bears a name that we give: its rows are in order then.
pub(crate) fn is_ours(file: &DataFile) -> bool {
    file.location.filename().is_some_and(|name| FileName::parse(name).is_some())
}

pub(crate) fn facts_of(file: &DataFile, now_unix_ms: i64) -> FileFacts<'_> {
    let age_ms = now_unix_ms.saturating_sub(file.written_unix_ms).max(0);
    FileFacts {
        date: &file.date,
        rows: file.rows,
        size_bytes: file.size_bytes,
        min_start_ns: file.min_start_ns,
        max_start_ns: file.max_start_ns,
        age: Duration::from_millis(age_ms as u64),
        memory_bytes: memory_bytes(file),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: PlanLimits =
        PlanLimits { target_rows: 1000, target_bytes: 1 << 20, quiet_after: Duration::from_secs(600) };

    fn file(date: &str, rows: u64, age_s: u64) -> FileFacts<'_> {
        let age = Duration::from_secs(age_s);
        FileFacts { date, rows, size_bytes: rows, min_start_ns: 0, max_start_ns: 0, age, memory_bytes: 1 << 20 }
    }

    #[test]
    fn what_is_due_is_told_from_what_waits_for_quiet() {
        type Files<'a> = &'a [(&'a str, u64, u64)];
        let cases: &[(Files<'_>, [u64; 4])] = &[
            (&[], [0; 4]),
            (&[("1", 10, 5)], [0; 4]),
            // Two small files of a day into which more may come, and of one that is quiet.
            (&[("1", 10, 5), ("1", 20, 700)], [0, 0, 2, 30]),
            (&[("1", 10, 601), ("1", 20, 700)], [2, 30, 0, 0]),
            // Four are due at once, a fifth that is too large for them waits.
            (&[("1", 10, 5), ("1", 10, 5), ("1", 10, 5), ("1", 10, 5)], [4, 40, 0, 0]),
            (&[("1", 10, 5), ("1", 10, 5), ("1", 10, 5), ("1", 10, 5), ("1", 60, 5)], [4, 40, 1, 60]),
            // Days are told apart, and what is large enough waits for nothing.
            (&[("1", 10, 5), ("2", 10, 5), ("3", 500, 5), ("3", 1, 5)], [0; 4]),
        ];
        for (files, [due, due_rows, waiting, waiting_rows]) in cases {
            let facts: Vec<_> = files.iter().map(|&(date, rows, age)| file(date, rows, age)).collect();
            let expected =
                Backlog { files: *due, rows: *due_rows, waiting_files: *waiting, waiting_rows: *waiting_rows };
            assert_eq!(backlog_of(&facts, &LIMITS), expected, "{files:?}");
        }
        // More than one merge can take is due all the same.
        assert_eq!(backlog_of(&vec![file("1", 1, 5); 100], &LIMITS).files, 100);
    }
}

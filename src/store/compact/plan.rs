//! Which files of a date to make into fewer, larger ones.
//!
//! Small files are merged by size: the longest run of the smallest files in which the largest is not larger than the others together, so that
//! a row's file at least doubles whenever the row is written again. Large files are merged only when they overlap in time; their rows are
//! then cut anew into files that do not.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use crate::store::order::bucket_of;

/// The files that one merge reads at most: each holds a row group and a batch in memory.
const MOST_FILES: usize = 32;
/// The memory that one merge's inputs take at most, by [`FileFacts::memory_bytes`].
const MOST_MEMORY_BYTES: u64 = 128 << 20;
/// The rows of a merge of small files at most, in target files: it shall end in tens of seconds, since other dates wait.
const MOST_TARGETS: u64 = 2;
/// What a small file must find to be merged while more are coming: fewer would write each row more often.
const LEAST_FILES_BUSY: usize = 4;
/// The same for large files that lie over one moment: a query for a short time reads fewer than so many.
const LEAST_OVERLAP_BUSY: usize = 8;
/// In a quiet date, a file is merged with smaller ones that together have at least this part of its rows.
const QUIET_RATIO: u64 = 4;

/// A file of the table, as far as the decision needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileFacts<'a> {
    pub date: &'a str,
    pub rows: u64,
    pub size_bytes: u64,
    pub min_start_ns: i64,
    pub max_start_ns: i64,
    pub age: Duration,
    /// What reading it takes of memory.
    pub memory_bytes: u64,
}

/// The sizes that compaction aims at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PlanLimits {
    /// A file of half of this is left alone, unless it overlaps others.
    pub target_rows: u64,
    pub target_bytes: u64,
    /// A date into which no file came for this long is brought to its final form.
    pub quiet_after: Duration,
}

impl Default for PlanLimits {
    fn default() -> Self {
        Self { target_rows: 3 << 20, target_bytes: 512 << 20, quiet_after: Duration::from_secs(600) }
    }
}

/// Files to be merged, as indexes into what was planned over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Job {
    pub files: Vec<usize>,
    pub rows: u64,
    /// The rows after which a new file begins, at the next border.
    pub goal_rows: u64,
}

/// The merges that are due, at most one for each date, those of most files first.
pub(crate) fn plan(files: &[FileFacts<'_>], limits: &PlanLimits) -> Vec<Job> {
    let mut dates: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, file) in files.iter().enumerate().filter(|(_, file)| file.rows > 0) {
        dates.entry(file.date).or_default().push(index);
    }
    let mut jobs: Vec<Job> = dates.values().filter_map(|of_date| plan_date(files, of_date, limits)).collect();
    jobs.sort_by_key(|job| std::cmp::Reverse(job.files.len()));
    jobs
}

fn plan_date(files: &[FileFacts<'_>], of_date: &[usize], limits: &PlanLimits) -> Option<Job> {
    let quiet = of_date.iter().all(|&index| files[index].age >= limits.quiet_after);
    let is_large =
        |file: &FileFacts<'_>| file.rows >= limits.target_rows / 2 || file.size_bytes >= limits.target_bytes / 2;
    let (large, mut small): (Vec<usize>, Vec<usize>) = of_date.iter().partition(|&&index| is_large(&files[index]));
    small.sort_by_key(|&index| (files[index].rows, files[index].min_start_ns));
    let chosen = choose_small(files, &small, quiet, limits).or_else(|| choose_overlapping(files, &large, quiet))?;
    let rows: u64 = chosen.iter().map(|&index| files[index].rows).sum();
    let bytes: u64 = chosen.iter().map(|&index| files[index].size_bytes).sum();
    let outputs = u64::max(rows.div_ceil(limits.target_rows), bytes.div_ceil(limits.target_bytes)).max(1);
    Some(Job { files: chosen, rows, goal_rows: rows.div_ceil(outputs) })
}

/// The longest run of the smallest files that is worth merging; `small` is sorted by rows.
fn choose_small(files: &[FileFacts<'_>], small: &[usize], quiet: bool, limits: &PlanLimits) -> Option<Vec<usize>> {
    let (least, ratio) = if quiet { (2, QUIET_RATIO) } else { (LEAST_FILES_BUSY, 1) };
    let (mut rows, mut memory_bytes, mut good) = (0, 0, 0);
    for (count, &index) in (1..=MOST_FILES).zip(small) {
        let file = &files[index];
        memory_bytes += file.memory_bytes;
        let fits = memory_bytes <= MOST_MEMORY_BYTES && rows + file.rows <= MOST_TARGETS * limits.target_rows;
        if count > 2 && !fits {
            break;
        }
        if count >= least && file.rows <= ratio * rows {
            good = count;
        }
        rows += file.rows;
    }
    (good > 0).then(|| small[..good].to_vec())
}

/// The large files to cut anew: while more are coming, those that all lie over one moment; in a quiet date, those that one of them overlaps.
fn choose_overlapping(files: &[FileFacts<'_>], large: &[usize], quiet: bool) -> Option<Vec<usize>> {
    let least = if quiet { 2 } else { LEAST_OVERLAP_BUSY };
    let beside = |one: usize| {
        let start = buckets(&files[one]).start;
        let belongs = |other: usize| match quiet {
            true => overlap(&files[one], &files[other]),
            false => buckets(&files[other]).contains(&start),
        };
        let others = large.iter().copied().filter(|&other| other != one && belongs(other));
        std::iter::once(one).chain(others).collect::<Vec<_>>()
    };
    // The moment at which most files lie over each other is the start of one of them.
    let mut chosen = large.iter().map(|&one| beside(one)).max_by_key(Vec::len)?;
    if chosen.len() < least {
        return None;
    }
    let mut memory_bytes = 0;
    let fitting = chosen.iter().take(MOST_FILES).take_while(|&&index| {
        memory_bytes += files[index].memory_bytes;
        memory_bytes <= MOST_MEMORY_BYTES
    });
    let fitting = fitting.count().max(2);
    chosen.truncate(fitting);
    Some(chosen)
}

/// The time buckets that a file fills but for the last: files that were cut inside a bucket share that.
fn buckets(file: &FileFacts<'_>) -> Range<i64> {
    bucket_of(file.min_start_ns)..bucket_of(file.max_start_ns)
}

/// Whether two files share at least half of the shorter one's time.
fn overlap(a: &FileFacts<'_>, b: &FileFacts<'_>) -> bool {
    let (a, b) = (buckets(a), buckets(b));
    let shared = a.end.min(b.end).saturating_sub(a.start.max(b.start));
    let shorter = a.end.saturating_sub(a.start).min(b.end.saturating_sub(b.start));
    shared > 0 && shared.saturating_mul(2) >= shorter
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::order::BUCKET_NS;

    const QUIET: Duration = Duration::from_secs(3600);
    const BUSY: Duration = Duration::ZERO;
    const LIMITS: PlanLimits =
        PlanLimits { target_rows: 1000, target_bytes: 1 << 20, quiet_after: Duration::from_secs(60) };

    fn file(rows: u64, buckets: std::ops::Range<i64>, age: Duration) -> FileFacts<'static> {
        FileFacts {
            date: "2026-01-01",
            rows,
            size_bytes: rows,
            min_start_ns: buckets.start * BUCKET_NS,
            max_start_ns: buckets.end * BUCKET_NS - 1,
            age,
            memory_bytes: 1 << 20,
        }
    }

    fn sizes(rows: &[u64], age: Duration) -> Vec<u64> {
        let files: Vec<_> = rows.iter().map(|&rows| file(rows, 0..10, age)).collect();
        let mut jobs = plan(&files, &LIMITS);
        assert!(jobs.len() <= 1, "{jobs:?}");
        let mut chosen: Vec<u64> =
            jobs.pop().map_or(Vec::new(), |job| job.files.iter().map(|&index| files[index].rows).collect());
        chosen.sort_unstable();
        chosen
    }

    #[test]
    fn small_files_are_merged_by_size() {
        let cases: &[(&[u64], Duration, &[u64])] = &[
            (&[], BUSY, &[]),
            (&[10], QUIET, &[]),
            (&[10, 10, 10], BUSY, &[]),
            (&[10, 10, 10, 10], BUSY, &[10, 10, 10, 10]),
            (&[10, 0, 10, 10], BUSY, &[]),
            // The larger one waits until the others weigh as much.
            (&[10, 10, 10, 31], BUSY, &[]),
            (&[10, 10, 10, 30], BUSY, &[10, 10, 10, 30]),
            (&[40, 10, 10, 10, 10], BUSY, &[10, 10, 10, 10, 40]),
            (&[10, 10, 10, 10, 60, 120, 400], BUSY, &[10, 10, 10, 10]),
            // In a quiet date two are enough, but a large file is not written again for the sake of a tiny one.
            (&[10, 10], QUIET, &[10, 10]),
            (&[10, 40], QUIET, &[10, 40]),
            (&[10, 41], QUIET, &[]),
            (&[10, 41, 205], QUIET, &[]),
            // Half of the target is left alone.
            (&[100, 500], QUIET, &[]),
            (&[100, 499], QUIET, &[]),
            (&[200, 499], QUIET, &[200, 499]),
            // No more rows at once than two targets.
            (&[490, 490, 490, 490, 490, 490], BUSY, &[490, 490, 490, 490]),
        ];
        for (rows, age, expected) in cases {
            assert_eq!(sizes(rows, *age), *expected, "{rows:?} {age:?}");
        }
        assert_eq!(sizes(&[1; 100], BUSY).len(), MOST_FILES);
    }

    #[test]
    fn a_merge_reads_no_more_than_fits_its_memory() {
        let files = vec![FileFacts { memory_bytes: 30 << 20, ..file(10, 0..1, BUSY) }; 20];
        assert_eq!(plan(&files, &LIMITS)[0].files.len(), 4);
        let files = vec![FileFacts { memory_bytes: 1 << 40, ..file(10, 0..1, QUIET) }; 20];
        assert_eq!(plan(&files, &LIMITS)[0].files.len(), 2, "two are always possible");
        let files = vec![FileFacts { memory_bytes: 1 << 40, ..file(900, 0..9, QUIET) }; 20];
        assert_eq!(plan(&files, &LIMITS)[0].files.len(), 2);
    }

    #[test]
    fn large_files_are_merged_when_they_overlap() {
        let large = |spans: &[std::ops::Range<i64>], age| -> Vec<usize> {
            let files: Vec<_> = spans.iter().map(|span| file(900, span.clone(), age)).collect();
            let mut chosen = plan(&files, &LIMITS).pop().map_or(Vec::new(), |job| job.files);
            chosen.sort_unstable();
            chosen
        };
        assert_eq!(large(&[0..10, 10..20, 20..30], QUIET), Vec::<usize>::new());
        assert_eq!(large(&[0..10, 9..20], QUIET), Vec::<usize>::new(), "a shared bucket is no overlap");
        assert_eq!(large(&[0..10, 7..20], QUIET), Vec::<usize>::new(), "a little is left alone");
        assert_eq!(large(&[0..10, 4..20, 40..50], QUIET), vec![0, 1]);
        assert_eq!(large(&[0..10, 4..20], BUSY), Vec::<usize>::new());
        let mut spans = vec![0..10, 12..20, 0..10, 0..5, 0..10, 0..10, 0..10, 0..3];
        assert_eq!(large(&spans, BUSY), Vec::<usize>::new());
        spans.push(0..20);
        assert_eq!(large(&spans, BUSY), vec![0, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(large(&[5..6, 5..6, 5..6, 5..6], QUIET), Vec::<usize>::new(), "files of one bucket cannot be cut");
        let one_wide = [0..288, 0..10, 10..20, 20..30, 100..110];
        assert_eq!(large(&one_wide, BUSY), Vec::<usize>::new(), "no moment is in more than two");
        assert_eq!(large(&one_wide, QUIET), vec![0, 1, 2, 3, 4]);
    }

    #[test]
    fn dates_are_planned_apart_and_outputs_are_even() {
        let mut files = vec![file(450, 0..10, BUSY); 4];
        files.extend(vec![FileFacts { date: "2026-01-02", ..file(3, 0..10, BUSY) }; 5]);
        files.push(FileFacts { date: "2026-01-03", ..file(3, 0..10, BUSY) });
        let jobs = plan(&files, &LIMITS);
        assert_eq!(jobs[0], Job { files: vec![4, 5, 6, 7, 8], rows: 15, goal_rows: 15 });
        assert_eq!(jobs[1], Job { files: vec![0, 1, 2, 3], rows: 1800, goal_rows: 900 });
        assert_eq!(jobs.len(), 2);
        let heavy = vec![FileFacts { size_bytes: 500_000, ..file(10, 0..1, BUSY) }; 8];
        assert_eq!(plan(&heavy, &LIMITS)[0].goal_rows, 20, "large rows make more files");
    }

    /// Carries out plans as merging does, on descriptions alone, until nothing is due.
    fn settle(files: &mut Vec<FileFacts<'static>>, written: &mut u64) {
        for rounds in 0.. {
            assert!(rounds < 10_000, "compaction does not end: {} files", files.len());
            let Some(job) = plan(files, &LIMITS).into_iter().next() else { return };
            *written += job.rows;
            let of_job: Vec<_> = job.files.iter().map(|&index| files[index].clone()).collect();
            let first = of_job.iter().map(|file| bucket_of(file.min_start_ns)).min().expect("files");
            let last = of_job.iter().map(|file| bucket_of(file.max_start_ns)).max().expect("files");
            let outputs = job.rows.div_ceil(job.goal_rows) as i64;
            let age = of_job[0].age;
            let mut index = 0;
            files.retain(|_| (!job.files.contains(&index), index += 1).0);
            let width = (last + 1 - first).max(1);
            files.extend((0..outputs).map(|n| {
                let buckets = first + width * n / outputs..first + width * (n + 1) / outputs;
                let rows = job.rows * (n as u64 + 1) / outputs as u64 - job.rows * n as u64 / outputs as u64;
                file(rows, buckets.start..buckets.end.max(buckets.start + 1), age)
            }));
        }
    }

    #[test]
    fn files_of_a_date_stay_few_and_rows_are_written_few_times_whatever_comes() {
        for (name, rows, whole_day) in [
            ("even", vec![20; 2000], false),
            ("late", vec![20; 2000], true),
            ("uneven", (0..2000).map(|n| 1 + n * 7 % 90).collect(), true),
        ] {
            let (mut files, mut written, mut total) = (Vec::new(), 0, 0);
            for (n, &rows) in rows.iter().enumerate() {
                let at = n as i64 * 280 / 2000;
                files.push(file(rows, if whole_day { 0..288 } else { at..at + 2 }, BUSY));
                total += rows;
                settle(&mut files, &mut written);
                let small = files.iter().filter(|file| file.rows < 500).count();
                assert!(small <= 9, "{name}: {small} small files");
            }
            assert!(written <= 14 * total, "{name}: {written} rows written for {total}");
            files.iter_mut().for_each(|file| file.age = QUIET);
            settle(&mut files, &mut written);
            let most = total / 500 + 4;
            assert!(files.len() as u64 <= most, "{name}: {} files of {total} rows", files.len());
            assert!(written <= 20 * total, "{name}: {written} rows written for {total}");
        }
    }
}

//! What the model says of a store whose disk fails at any of its calls, once or for good.

use std::path::Path;
use std::sync::Arc;

use futures::{StreamExt, stream};

use super::failing_disk::FailingDisk;
use super::{Model, Run, Step, TRACES, open_on, run, runtime};
use crate::store::disk::Disk;
use crate::store::testing::{ManualClock, TestSpan};

/// Most of an image's time is waiting for threads.
const IMAGES_AT_A_TIME: usize = 6;

/// What is done before anything fails: spans of three days in files that are due for all that follows.
fn before() -> Vec<Step> {
    let append = |minutes: i64| Step::Append((0..12).map(|n| (1 + n % TRACES, minutes + n as i64, n == 7)).collect());
    let day = [append(0), Step::Seal, append(600), Step::Seal, append(1200), Step::Seal];
    [day.to_vec(), vec![Step::Wait(24)], day.to_vec(), vec![Step::Wait(24)], day.to_vec()].concat()
}

/// What fails: each of the ways in which files leave the table.
fn failing() -> Vec<(&'static str, Vec<Step>)> {
    let more = Step::Append(vec![(1, 0, false), (3, 5, false), (4, 700, true)]);
    vec![
        ("compaction", vec![more.clone(), Step::Compact]),
        ("redaction", vec![more.clone(), Step::Redact(3)]),
        // By rule and whole files, and the files that left the table are deleted.
        ("expiry", vec![Step::Wait(24 * 6), more.clone(), Step::Compact, Step::Seal]),
        ("closing", vec![more, Step::Reopen]),
    ]
}

/// The span ids that a model with any of the redactions under way done or not done would show.
fn acceptable(run: &Run, failed: Option<&Step>, appended: &[TestSpan]) -> Vec<Vec<u64>> {
    let mut models = vec![run.model.clone()];
    match failed {
        Some(Step::Redact(trace)) => {
            let mut done = run.model.clone();
            done.spans.retain(|span| span.trace != *trace);
            models.push(done);
        }
        Some(Step::Append(_)) => {
            let mut kept = run.model.clone();
            kept.spans.extend(appended);
            models.push(kept);
        }
        _ => {}
    }
    models.iter().map(|model| model.seen(run.house.now_ms())).collect()
}

/// A directory in which [`before`] has been done, and what the model knows of it.
struct Image {
    dir: tempfile::TempDir,
    model: Model,
    next_span: u64,
    now_ms: i64,
}

async fn image() -> Image {
    let dir = tempfile::tempdir().expect("directory");
    let disk: Arc<dyn Disk> = Arc::new(FailingDisk::default());
    let mut run = run(dir.path(), disk.clone()).await;
    for step in before() {
        run.take(&step, dir.path(), &disk).await.expect("a step before");
    }
    run.house.store.close().await.expect("closed");
    Image { dir, now_ms: run.house.now_ms(), model: run.model, next_span: run.next_span }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder").map(|entry| entry.expect("an entry")) {
        let to = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy(&entry.path(), &to),
            false => _ = std::fs::copy(entry.path(), to).expect("a copy"),
        }
    }
}

/// Makes the disk fail at the n-th call for each n, or every few, for one call or for good, and looks at what is there then; gives the number of images.
async fn fail_everywhere(what: &'static str, steps: Vec<Step>, for_calls: usize, every: usize) -> usize {
    let (image, steps) = (Arc::new(image().await), Arc::new(steps));
    let one = |at| {
        let (image, steps) = (image.clone(), steps.clone());
        tokio::spawn(async move { fail_at(what, &image, &steps, at, for_calls).await })
    };
    let mut images = 0;
    let mut running = stream::iter((1..).step_by(every)).map(one).buffered(IMAGES_AT_A_TIME);
    while let Some(passed) = running.next().await {
        if !passed.expect("no panic") {
            break;
        }
        images += 1;
    }
    images
}

/// Tells whether there was an n-th call.
async fn fail_at(what: &str, image: &Image, steps: &[Step], at: usize, for_calls: usize) -> bool {
    let dir = tempfile::tempdir().expect("directory");
    copy(image.dir.path(), dir.path());
    let failing = FailingDisk::default();
    let disk: Arc<dyn Disk> = Arc::new(failing.clone());
    let clock = Arc::new(ManualClock(image.now_ms.into()));
    let house = open_on(dir.path(), disk.clone(), clock.clone()).await.expect("a store");
    let mut run = Run { house, model: image.model.clone(), next_span: image.next_span };
    failing.fail(at, for_calls);
    let mut failed = None;
    let mut appended = Vec::new();
    for step in steps {
        if let Step::Append(spans) = step {
            let next = run.next_span;
            appended = run.spans_of(spans);
            run.next_span = next;
        }
        if run.take(step, dir.path(), &disk).await.is_err() {
            failed = Some(step);
            break;
        }
    }
    let passed = failing.calls() >= at;
    let expected = acceptable(&run, failed, &appended);
    if failed.is_none() {
        let seen = run.house.seen().await;
        assert!(expected.contains(&seen), "{what}, call {at}: {seen:?}");
    }
    // As a crash leaves it.
    drop(run);
    failing.fail(0, 0);
    let again = open_on(dir.path(), disk, clock).await.unwrap_or_else(|error| panic!("{what}, call {at}: {error}"));
    let seen = again.seen().await;
    assert!(expected.contains(&seen), "{what}, call {at}, opened again: {seen:?} and not {expected:?}");
    again.store.compact().await.expect("compacted");
    assert_eq!(again.seen().await, seen, "{what}, call {at}, compacted");
    again.store.close().await.expect("closed");
    passed
}

#[test]
fn a_disk_that_fails_once_anywhere_loses_and_repeats_nothing() {
    runtime().block_on(async {
        for (what, steps) in failing() {
            let images = fail_everywhere(what, steps, 1, 1).await;
            assert!(images > 20, "{what}: only {images} images");
        }
    });
}

#[test]
fn a_disk_that_fails_for_good_from_anywhere_loses_and_repeats_nothing() {
    runtime().block_on(async {
        for (what, steps) in failing() {
            // What a call leaves that fails for good is mostly what it leaves when it fails once.
            fail_everywhere(what, steps, usize::MAX, 3).await;
        }
    });
}

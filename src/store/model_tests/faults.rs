//! What the model says of a store whose disk or object store fails at any of its calls, once or for good.

use std::path::Path;
use std::sync::Arc;

use futures::{StreamExt, stream};

use super::failing_disk::FailingDisk;
use super::{Ground, Model, Run, Step, TRACES, open_on, run, runtime};
use crate::store::faulty_store::{Call, Fault, FaultyStore};
use crate::store::testing::{ManualClock, TestSpan};

/// Most of an image's time is waiting for threads.
pub(super) const IMAGES_AT_A_TIME: usize = 6;

/// What is done before anything fails: spans of three days in files that are due for all that follows.
pub(super) fn before() -> Vec<Step> {
    let append = |minutes: i64| Step::Append((0..12).map(|n| (1 + n % TRACES, minutes + n as i64, n == 7)).collect());
    let day = [append(0), Step::Seal, append(600), Step::Seal, append(1200), Step::Seal];
    [day.to_vec(), vec![Step::Wait(24)], day.to_vec(), vec![Step::Wait(24)], day.to_vec()].concat()
}

/// What fails: each of the ways in which files leave the table.
pub(super) fn failing() -> Vec<(&'static str, Vec<Step>)> {
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
pub(super) fn acceptable(run: &Run, failed: Option<&Step>, appended: &[TestSpan]) -> Vec<Vec<u64>> {
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

/// A directory in which [`before`] has been done, the objects of its table if that lies on an object store, and what the model knows.
pub(super) struct Image {
    pub dir: tempfile::TempDir,
    pub bucket: Option<FaultyStore>,
    pub model: Model,
    pub next_span: u64,
    pub now_ms: i64,
}

impl Image {
    pub async fn new(is_remote: bool) -> Self {
        let dir = tempfile::tempdir().expect("directory");
        let ground = Ground { bucket: is_remote.then(FaultyStore::default), ..Ground::local(FailingDisk::default()) };
        let mut run = run(dir.path(), &ground).await;
        for step in before() {
            run.take(&step, dir.path(), &ground).await.expect("a step before");
        }
        run.house.store.close().await.expect("closed");
        let Run { house, model, next_span } = run;
        Self { dir, bucket: ground.bucket, now_ms: house.now_ms(), model, next_span }
    }

    /// A directory and an object store with the same content.
    pub fn copy(&self) -> (tempfile::TempDir, Option<FaultyStore>) {
        let dir = tempfile::tempdir().expect("directory");
        copy(self.dir.path(), dir.path());
        (dir, self.bucket.as_ref().map(|bucket| FaultyStore::of(Arc::new(bucket.inner.fork()))))
    }
}

pub(super) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder").map(|entry| entry.expect("an entry")) {
        let to = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy(&entry.path(), &to),
            false => _ = std::fs::copy(entry.path(), to).expect("a copy"),
        }
    }
}

/// What fails, from the n-th call on.
#[derive(Debug, Clone, Copy)]
enum Breaks {
    /// The disk's calls, so many of them.
    Disk { calls: usize },
    /// The object store's calls.
    Bucket { fault: Fault, calls: usize },
}

/// What is done on copies of an image, one for each call that is broken.
pub(super) struct Trial {
    pub what: &'static str,
    pub image: Image,
    pub steps: Vec<Step>,
}

/// Has `broken` break the n-th call for each n, or every few, until it tells that there was no such call; gives how many there were.
pub(super) async fn break_each_call<F>(trial: Trial, every: usize, broken: impl Fn(Arc<Trial>, usize) -> F) -> usize
where
    F: Future<Output = bool> + Send + 'static,
{
    let trial = Arc::new(trial);
    let one = |at| tokio::spawn(broken(trial.clone(), at));
    let mut count = 0;
    let mut running = stream::iter((1..).step_by(every)).map(one).buffered(IMAGES_AT_A_TIME);
    while let Some(was_called) = running.next().await {
        if !was_called.expect("no panic") {
            break;
        }
        count += 1;
    }
    count
}

/// Breaks the n-th call for each n, or every few, and looks at what is there then; gives the number of images.
async fn fail_everywhere(what: &'static str, steps: Vec<Step>, breaks: Breaks, every: usize) -> usize {
    let image = Image::new(matches!(breaks, Breaks::Bucket { .. })).await;
    let trial = Trial { what, image, steps };
    break_each_call(trial, every, |trial, at| async move { fail_at(&trial, at, breaks).await }).await
}

/// Tells whether there was an n-th call.
async fn fail_at(trial: &Trial, at: usize, breaks: Breaks) -> bool {
    let Trial { what, image, steps } = trial;
    let (dir, bucket) = image.copy();
    let failing = FailingDisk::default();
    let ground = Ground { bucket: bucket.clone(), ..Ground::local(failing.clone()) };
    let clock = Arc::new(ManualClock(image.now_ms.into()));
    let house = open_on(dir.path(), &ground, clock.clone()).await.expect("a store");
    let mut run = Run { house, model: image.model.clone(), next_span: image.next_span };
    let calls = || bucket.as_ref().map_or_else(|| failing.calls(), FaultyStore::calls);
    let before = match breaks {
        Breaks::Disk { calls } => {
            failing.fail(at, calls);
            0
        }
        Breaks::Bucket { fault, calls } => {
            let bucket = bucket.as_ref().expect("an object store");
            bucket.fail_some(Call::Any, "", fault, at - 1, calls);
            bucket.calls()
        }
    };
    let mut failed = None;
    let mut appended = Vec::new();
    for step in steps {
        if let Step::Append(spans) = step {
            let next = run.next_span;
            appended = run.spans_of(spans);
            run.next_span = next;
        }
        if run.take(step, dir.path(), &ground).await.is_err() {
            failed = Some(step);
            break;
        }
    }
    let passed = calls() - before >= at;
    let heal = || {
        failing.fail(0, 0);
        bucket.iter().for_each(FaultyStore::heal);
    };
    let expected = acceptable(&run, failed, &appended);
    if failed.is_none() {
        // Without an object store, files cannot be read.
        bucket.iter().for_each(FaultyStore::heal);
        let seen = run.house.seen().await;
        assert!(expected.contains(&seen), "{what}, {breaks:?}, call {at}: {seen:?}");
    }
    // As a crash leaves it.
    drop(run);
    heal();
    let again = open_on(dir.path(), &ground, clock).await;
    let again = again.unwrap_or_else(|error| panic!("{what}, {breaks:?}, call {at}: {error}"));
    let seen = again.seen().await;
    assert!(expected.contains(&seen), "{what}, {breaks:?}, call {at}, opened again: {seen:?} and not {expected:?}");
    again.store.compact().await.expect("compacted");
    assert_eq!(again.seen().await, seen, "{what}, {breaks:?}, call {at}, compacted");
    again.store.close().await.expect("closed");
    passed
}

#[test]
fn a_disk_that_fails_once_anywhere_loses_and_repeats_nothing() {
    runtime().block_on(async {
        for (what, steps) in failing() {
            let images = fail_everywhere(what, steps, Breaks::Disk { calls: 1 }, 1).await;
            assert!(images > 20, "{what}: only {images} images");
        }
    });
}

#[test]
fn a_disk_that_fails_for_good_from_anywhere_loses_and_repeats_nothing() {
    runtime().block_on(async {
        for (what, steps) in failing() {
            // What a call leaves that fails for good is mostly what it leaves when it fails once.
            fail_everywhere(what, steps, Breaks::Disk { calls: usize::MAX }, 3).await;
        }
    });
}

#[test]
fn an_object_store_that_fails_anywhere_loses_and_repeats_nothing() {
    runtime().block_on(async {
        for (what, steps) in failing() {
            // A call that fails has its effect or not; what it leaves that fails for good is mostly what it leaves when it fails once.
            for (fault, calls, every) in
                [(Fault::Fail, 1, 1), (Fault::FailAfter, 1, 2), (Fault::FailAfter, usize::MAX, 5)]
            {
                let images = fail_everywhere(what, steps.clone(), Breaks::Bucket { fault, calls }, every).await;
                assert!(images * every > 20, "{what}: only {images} images");
            }
        }
    });
}

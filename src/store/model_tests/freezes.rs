//! A call of the disk or of the object store that does not return: exports and statements go on, and what is on disk at that moment is what
//! the model says.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::failing_disk::{FailingDisk, is_log};
use super::faults::{Image, Trial, break_each_call, copy, failing};
use super::{Ground, Model, Run, Step, open_on, runtime};
use crate::store::Store;
use crate::store::disk::OsDisk;
use crate::store::faulty_store::{Call, Fault, FaultyStore};
use crate::store::testing::{ManualClock, TestSpan, decode, payload};

/// What an export or a snapshot may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// Freezes the n-th call for every few n; gives how many calls froze.
async fn freeze_everywhere(what: &'static str, steps: Vec<Step>, is_remote: bool, every: usize) -> usize {
    let trial = Trial { what, image: Image::new(is_remote).await, steps };
    break_each_call(trial, every, |trial, at| async move { freeze_at(&trial, at).await }).await
}

/// Tells whether there was an n-th call.
async fn freeze_at(trial: &Trial, at: usize) -> bool {
    let Trial { what, image, steps } = trial;
    let what = format!("{what}, call {at}");
    let (dir, bucket) = image.copy();
    let disk = FailingDisk::default();
    let ground = Ground { bucket: bucket.clone(), ..Ground::local(disk.clone()) };
    let clock = Arc::new(ManualClock(image.now_ms.into()));
    let house = open_on(dir.path(), &ground, clock).await.expect("a store");
    let mut run = Run { house, model: image.model.clone(), next_span: image.next_span };
    match &bucket {
        Some(bucket) => bucket.fail_some(Call::Any, "", Fault::Freeze, at - 1, 1),
        None => disk.stop(at, true),
    }
    let is_frozen = || disk.stopped().is_some() || bucket.as_ref().is_some_and(|bucket| bucket.frozen() > 0);
    for step in steps {
        let (store, before) = (run.house.store.clone(), run.model.clone());
        let now_before = run.house.now_ms();
        let after = after(&mut run, step);
        let mut taking = std::pin::pin!(run.take(step, dir.path(), &ground));
        let frozen = loop {
            tokio::select! {
                biased;
                taken = &mut taking => break { taken.expect("a step"); false },
                () = tokio::time::sleep(Duration::from_millis(2)), if !is_frozen() => {}
                () = tokio::time::sleep(Duration::from_millis(20)), if is_frozen() => break true,
            }
        };
        if frozen {
            let mut models = [before, after];
            let log_goes_on = disk.stopped().is_none_or(|path| !is_log(&path));
            go_on_beside(&what, step, &store, &mut models, now_before, log_goes_on).await;
            look_at_copy(&what, dir.path(), bucket.as_ref(), &models, now_before).await;
            disk.go_on();
            bucket.iter().for_each(FaultyStore::heal);
            // It may fail now, as the call of an object store does that comes to its end.
            let _ = taking.await;
            return true;
        }
    }
    // What goes on in the background may have frozen, and nothing waited for it.
    let frozen = is_frozen();
    disk.go_on();
    bucket.iter().for_each(FaultyStore::heal);
    frozen
}

/// What the model will know after a step.
fn after(run: &mut Run, step: &Step) -> Model {
    let mut model = run.model.clone();
    match step {
        Step::Append(spans) => {
            let next = run.next_span;
            model.spans.extend(run.spans_of(spans));
            run.next_span = next;
        }
        Step::Redact(trace) => model.spans.retain(|span| span.trace != *trace),
        _ => {}
    }
    model
}

/// Exports and takes a snapshot beside a call that has frozen.
async fn go_on_beside(what: &str, step: &Step, store: &Store, models: &mut [Model; 2], now_ms: i64, log_goes_on: bool) {
    let seen = tokio::time::timeout(PATIENCE, super::seen(store)).await;
    let seen = seen.unwrap_or_else(|_| panic!("{what}: no snapshot while a call is frozen"));
    assert!(models.iter().any(|model| model.seen(now_ms) == seen), "{what}: {seen:?} while a call is frozen");
    if !log_goes_on || matches!(step, Step::Reopen) {
        return;
    }
    let span = TestSpan { trace: 5, span: 900_000, start_ns: now_ms * 1_000_000 };
    let payload = payload(&[span]);
    let batch = decode(&payload).expect("a batch");
    let appended = tokio::time::timeout(PATIENCE, store.append(payload, batch)).await;
    appended.unwrap_or_else(|_| panic!("{what}: no export while a call is frozen")).expect("acknowledged");
    models.iter_mut().for_each(|model| model.spans.push(span));
    let seen = super::seen(store).await;
    assert!(models.iter().any(|model| model.seen(now_ms) == seen), "{what}: {seen:?} after an export");
}

/// Opens what is on disk while the call has not returned.
async fn look_at_copy(what: &str, dir: &Path, bucket: Option<&FaultyStore>, models: &[Model; 2], now_ms: i64) {
    let copied = tempfile::tempdir().expect("directory");
    copy(dir, copied.path());
    let bucket = bucket.map(|bucket| FaultyStore::of(Arc::new(bucket.inner.fork())));
    let ground = Ground { bucket, ..Ground::local(OsDisk) };
    let house = open_on(copied.path(), &ground, Arc::new(ManualClock(now_ms.into()))).await;
    let house = house.unwrap_or_else(|error| panic!("{what}, its image: {error}"));
    let seen = house.seen().await;
    assert!(models.iter().any(|model| model.seen(now_ms) == seen), "{what}, its image: {seen:?}");
    house.store.close().await.expect("closed");
}

#[test]
fn a_disk_that_freezes_anywhere_holds_up_no_statement_and_only_its_log_holds_up_exports() {
    runtime().block_on(async {
        for (what, steps) in failing() {
            // `images` looks at what every call leaves; here it is those beside that matter.
            let frozen = freeze_everywhere(what, steps, false, 5).await;
            assert!(frozen > 3, "{what}: only {frozen} calls froze");
        }
    });
}

#[test]
fn an_object_store_that_freezes_anywhere_holds_up_neither_exports_nor_statements() {
    runtime().block_on(async {
        for (what, steps) in failing() {
            let frozen = freeze_everywhere(what, steps, true, 3).await;
            assert!(frozen > 3, "{what}: only {frozen} calls froze");
        }
    });
}

//! Lives in which steps fail in their middle: the disk or the object store breaks at some call, and whoever opens what is left sees what was
//! acknowledged, again and again.

use std::sync::Arc;

use proptest::prelude::*;

use super::failing_disk::FailingDisk;
use super::{Ground, Model, Run, Step, open_on, run, runtime, step};
use crate::store::faulty_store::{Call, Fault, FaultyStore};
use crate::store::testing::TestSpan;

/// What happens next.
#[derive(Debug, Clone)]
struct Move {
    step: Step,
    breaks: Option<Breaks>,
}

/// From the n-th call of a step on, so many fail.
#[derive(Debug, Clone, Copy)]
struct Breaks {
    at: usize,
    calls: usize,
    /// How the object store fails; the disk fails where there is none, or in its place.
    fault: Option<Fault>,
}

fn lives() -> impl Strategy<Value = Vec<Move>> {
    let fault = prop_oneof![
        Just(None::<Fault>),
        Just(Some(Fault::Fail)),
        Just(Some(Fault::FailAfter)),
        Just(Some(Fault::Half))
    ];
    let breaks = (1..80_usize, prop_oneof![2 => Just(1_usize), 1 => Just(usize::MAX)], fault);
    let breaks = breaks.prop_map(|(at, calls, fault)| Breaks { at, calls, fault });
    let next = (step(), prop::option::weighted(0.3, breaks)).prop_map(|(step, breaks)| Move { step, breaks });
    prop::collection::vec(next, 1..30)
}

struct Life {
    dir: tempfile::TempDir,
    disk: FailingDisk,
    ground: Ground,
    run: Run,
    /// What may be true: of a step that failed it shows later whether it is done.
    models: Vec<Model>,
}

impl Life {
    async fn new(is_remote: bool) -> Self {
        let (dir, disk) = (tempfile::tempdir().expect("directory"), FailingDisk::default());
        let ground = Ground { bucket: is_remote.then(FaultyStore::default), ..Ground::local(disk.clone()) };
        let run = run(dir.path(), &ground).await;
        Self { dir, disk, ground, run, models: vec![Model::default()] }
    }

    /// Takes a step; where it fails, the process dies as well, and its directory is opened again.
    async fn take(mut self, Move { step, breaks }: &Move) -> Self {
        let spans = self.spans_of(step);
        if let Some(breaks) = breaks {
            self.break_calls(*breaks);
        }
        let taken = self.run.take(step, self.dir.path(), &self.ground).await;
        self.heal();
        let done: Vec<Model> = self.models.iter().map(|model| after(model, step, &spans)).collect();
        let Err(error) = taken else { return Self { models: done, ..self } };
        assert!(breaks.is_some(), "{step:?}: {error}");
        self.models.extend(done);
        // The steps' own model bounds what a redaction may find.
        self.run.model.spans.extend(&spans);
        let Run { house, model, next_span } = self.run;
        let clock = house.clock.clone();
        drop(house);
        let house =
            open_on(self.dir.path(), &self.ground, clock).await.unwrap_or_else(|error| panic!("{step:?}: {error}"));
        Self { run: Run { house, model, next_span }, ..self }
    }

    /// The spans that a step will append.
    fn spans_of(&mut self, step: &Step) -> Vec<TestSpan> {
        let Step::Append(spans) = step else { return Vec::new() };
        let next = self.run.next_span;
        let spans = self.run.spans_of(spans);
        self.run.next_span = next;
        spans
    }

    fn break_calls(&self, Breaks { at, calls, fault }: Breaks) {
        match (&self.ground.bucket, fault) {
            (Some(bucket), Some(fault)) => bucket.fail_some(Call::Any, "", fault, at - 1, calls),
            _ => self.disk.fail(at, calls),
        }
    }

    fn heal(&self) {
        self.disk.fail(0, 0);
        self.ground.bucket.iter().for_each(FaultyStore::heal);
    }

    /// Asks what is seen, and lets go of what is not true then.
    async fn look(&mut self) -> Result<(), TestCaseError> {
        let (seen, now_ms) = (self.run.house.seen().await, self.run.house.now_ms());
        let expected: Vec<_> = self.models.iter().map(|model| model.seen(now_ms)).collect();
        prop_assert!(expected.contains(&seen), "{:?} and not {:?}", seen, expected);
        self.models.retain(|model| model.seen(now_ms) == seen);
        Ok(())
    }
}

/// What a model knows after a step.
fn after(model: &Model, step: &Step, appended: &[TestSpan]) -> Model {
    let mut model = model.clone();
    model.spans.extend(appended);
    if let Step::Redact(trace) = step {
        model.spans.retain(|span| span.trace != *trace);
    }
    model
}

async fn live(is_remote: bool, moves: &[Move]) -> Result<(), TestCaseError> {
    let mut life = Life::new(is_remote).await;
    for (number, next) in moves.iter().enumerate() {
        life = life.take(next).await;
        life.look().await.map_err(|error| TestCaseError::fail(format!("after {number}, {next:?}: {error}")))?;
    }
    let store = Arc::clone(&life.run.house.store);
    store.compact().await.expect("compacted");
    life.look().await?;
    store.close().await.expect("closed");
    Ok(())
}

proptest! {
    // Stores of two dozen steps each: some seconds. PROPTEST_CASES asks for more.
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 60, ..Default::default() })]

    #[test]
    fn whichever_steps_fail_on_a_disk_what_was_acknowledged_is_seen(moves in lives()) {
        runtime().block_on(live(false, &moves))?;
    }

    #[test]
    fn whichever_steps_fail_on_an_object_store_what_was_acknowledged_is_seen(moves in lives()) {
        runtime().block_on(live(true, &moves))?;
    }
}

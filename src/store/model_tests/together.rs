//! Steps that overlap: work stops in the middle while others go on, and statements hold what they began with.

use std::fmt::Debug;
use std::path::Path;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use tokio::task::JoinHandle;

use super::failing_disk::FailingDisk;
use super::{Done, Ground, Model, Run, Step, TRACES, run, step, work};
use crate::error::Error;
use crate::store::testing::TestSpan;
use crate::store::{Snapshot, SnapshotSource};

/// How long work may take beside other work that has stopped, before that is taken for what it waits for.
const PATIENCE: Duration = Duration::from_millis(60);
/// Statements that are under way at a time.
const MOST_HELD: usize = 2;

/// What happens next.
#[derive(Debug, Clone)]
pub(crate) enum Move {
    /// A step, to its end, or to where the disk has stopped.
    Take(Step),
    /// A step that goes on beside the next ones.
    Begin(Step),
    /// The n-th call of the disk from now stops what makes it, but for calls of the log.
    Stop(usize),
    /// What has stopped goes on to its end.
    GoOn,
    /// A statement begins.
    Hold,
    /// The statement that began first ends.
    Release,
}

/// Lives of up to 30 moves.
pub(crate) fn lives() -> impl Strategy<Value = Vec<Move>> {
    let work = prop_oneof![3 => Just(Step::Seal), 3 => Just(Step::Compact), 1 => (1..=TRACES).prop_map(Step::Redact)];
    let next = prop_oneof![
        12 => step().prop_map(Move::Take),
        3 => work.prop_map(Move::Begin),
        4 => (1..60_usize).prop_map(Move::Stop),
        1 => Just(Move::GoOn),
        3 => Just(Move::Hold),
        1 => Just(Move::Release),
    ];
    prop::collection::vec(next, 1..30)
}

/// Lives, and after each move asks what statements see, those that hold a snapshot too: `says` tells the answer from the spans that should
/// be seen.
pub(crate) async fn live<A: PartialEq + Debug>(
    moves: &[Move],
    ask: impl AsyncFn(Snapshot) -> A,
    says: impl Fn(&[TestSpan]) -> A,
) -> Result<(), TestCaseError> {
    let dir = tempfile::tempdir().expect("directory");
    let disk = FailingDisk::default();
    let ground = Ground::local(disk.clone());
    let run = run(dir.path(), &ground).await;
    let mut life = Life { disk, run, under_way: Vec::new() };
    let mut held: Vec<(usize, Snapshot, A)> = Vec::new();
    for (number, next) in moves.iter().enumerate() {
        match next {
            Move::Take(Step::Reopen) => {
                // What a process reads goes with it.
                held.clear();
                life.end().await;
                life.run.take(&Step::Reopen, dir.path(), &ground).await.expect("opened again");
            }
            Move::Take(step) => life.take(step, dir.path(), &ground).await,
            Move::Begin(step) => life.begin(step).await,
            Move::Stop(at) => life.disk.stop(*at, false),
            Move::GoOn => life.end().await,
            Move::Hold | Move::Release => {}
        }
        life.reap().await;
        let expected: Vec<A> = life.models().iter().map(|model| says(&model.spans_seen(life.now_ms()))).collect();
        let snapshot = life.run.house.store.snapshot().await.expect("a snapshot");
        let answer = ask(snapshot.clone()).await;
        prop_assert!(expected.contains(&answer), "after {number}, {next:?}: {answer:?} and not {expected:?}");
        match next {
            Move::Hold if held.len() < MOST_HELD => held.push((number, snapshot, answer)),
            Move::Release if !held.is_empty() => _ = held.remove(0),
            _ => {}
        }
        for (since, snapshot, answer) in &held {
            let again = ask(snapshot.clone()).await;
            prop_assert!(
                again == *answer,
                "held since {since}, after {number}, {next:?}: {again:?} and not {answer:?}"
            );
        }
    }
    life.end().await;
    Ok(())
}

struct Life {
    disk: FailingDisk,
    run: Run,
    under_way: Vec<Work>,
}

/// Work that others go on beside.
struct Work {
    step: Step,
    done: JoinHandle<Result<Done, Error>>,
}

impl Life {
    fn now_ms(&self) -> i64 {
        self.run.house.now_ms()
    }

    async fn take(&mut self, step: &Step, dir: &Path, ground: &Ground) {
        match step {
            Step::Seal | Step::Compact | Step::Redact(_) => {
                self.begin(step).await;
                self.wait().await;
            }
            Step::Append(spans) => {
                // Whether spans that come while their trace is being taken out go with it is not settled.
                let kept = |trace: u64| if self.redacting(trace) { 1 + trace % TRACES } else { trace };
                let spans = spans.iter().map(|&(trace, minutes, slow)| (kept(trace), minutes, slow)).collect();
                self.run.take(&Step::Append(spans), dir, ground).await.expect("kept");
            }
            Step::Wait(_) | Step::Reopen => self.run.take(step, dir, ground).await.expect("a step"),
        }
    }

    fn redacting(&self, trace: u64) -> bool {
        self.under_way.iter().any(|work| matches!(work.step, Step::Redact(other) if other == trace))
    }

    async fn begin(&mut self, step: &Step) {
        let is_redaction = |step: &Step| matches!(step, Step::Redact(_));
        // Two that end in either order would give more answers than a test can tell apart.
        if self.under_way.len() > 1
            || (is_redaction(step) && self.under_way.iter().any(|work| is_redaction(&work.step)))
        {
            self.end().await;
        }
        let done = tokio::spawn(work(self.run.house.store.clone(), step.clone()));
        self.under_way.push(Work { step: step.clone(), done });
    }

    /// Waits until nothing is under way but what the disk has stopped.
    async fn wait(&mut self) {
        let begun = Instant::now();
        loop {
            self.reap().await;
            let is_stopped = self.disk.stopped().is_some();
            match self.under_way.len() {
                0 => return,
                1 if is_stopped => return,
                _ if is_stopped && begun.elapsed() > PATIENCE => self.disk.go_on(),
                _ => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        }
    }

    /// Lets everything come to its end.
    async fn end(&mut self) {
        self.disk.go_on();
        while !self.under_way.is_empty() {
            self.reap().await;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Takes note of what has come to its end.
    async fn reap(&mut self) {
        while let Some(ended) = self.under_way.iter().position(|work| work.done.is_finished()) {
            let Work { step, done } = self.under_way.remove(ended);
            let done = done.await.expect("no panic").unwrap_or_else(|error| panic!("{step:?}: {error}"));
            self.run.settle(&step, &done);
        }
    }

    /// What may be true now: a redaction that is under way may be done or not.
    fn models(&self) -> Vec<Model> {
        let mut models = vec![self.run.model.clone()];
        for work in &self.under_way {
            if let Step::Redact(trace) = work.step {
                let mut done = self.run.model.clone();
                done.spans.retain(|span| span.trace != trace);
                models.push(done);
            }
        }
        models
    }
}

proptest! {
    // Stores of a dozen moves each: some seconds. PROPTEST_CASES asks for more.
    #![proptest_config(ProptestConfig { cases: 40, max_shrink_iters: 60, ..Default::default() })]

    #[test]
    fn whatever_overlaps_statements_see_what_the_model_says_from_their_first_row_to_their_last(moves in lives()) {
        let ids = |spans: &[TestSpan]| {
            let mut ids: Vec<u64> = spans.iter().map(|span| span.span).collect();
            ids.sort_unstable();
            ids
        };
        super::runtime().block_on(live(&moves, async |snapshot| super::ids_of(&snapshot).await, ids))?;
    }
}

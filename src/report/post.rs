//! The post: makes the deliveries of runs beside everything else, from the folders that the runs left.
//!
//! A delivery of a report waits for that of the run before it, so that nobody hears that an alert ended and then that it fires. It has a place for
//! each attempt, and gives it back while it pauses: a receiver that hangs has a few of the places and no more, and nobody else waits for it. What
//! waits holds no files.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::definition::{Delivery, Report};
use super::delivery::{Progress, Step};
use super::history::{Delivered, Run};
use super::letters;
use super::results::Parcel;
use super::runner::Runner;
use crate::error::Result;

/// So many attempts are made at once, each with the files of a run in memory; the others wait.
const MOST_AT_ONCE: usize = 16;
/// So many of them are made at one receiver: one that hangs takes a minute for each.
const MOST_TO_ONE: usize = 4;
/// So often the files of a run are asked for, with this pause: what keeps them from being read may pass.
const MOST_READS: usize = 5;
const READ_PAUSE: Duration = Duration::from_secs(5);

/// Who makes deliveries; clones are the same one.
#[derive(Debug, Clone)]
pub(super) struct Post {
    runner: Runner,
    lanes: Lanes,
    places: Places,
}

impl Post {
    pub(super) fn new(runner: Runner) -> Self {
        Self { runner, lanes: Lanes::default(), places: Places::new() }
    }

    /// Makes the deliveries of a run that are still to be made, each behind those that were given before, and notes each as it ends. What could not
    /// be kept in the run's folder is `held`.
    pub(super) fn deliver(
        &self,
        report: Arc<Report>,
        run: &Run,
        held: Option<Parcel>,
    ) -> impl Future<Output = Result<()>> + Send + use<> {
        let held = held.map(Arc::new);
        let letters: Vec<Letter> = letters::pending(run)
            .map(|pending| Letter {
                post: self.clone(),
                report: report.clone(),
                run_id: run.id.clone(),
                name: pending.name.clone(),
                held: held.clone(),
                ticket: self.lanes.ticket(&run.report, &pending.name),
            })
            .collect();
        async { join_all(letters.into_iter().map(Letter::delivered)).await.into_iter().collect() }
    }
}

/// A delivery of a run on its way.
struct Letter {
    post: Post,
    report: Arc<Report>,
    run_id: String,
    name: String,
    held: Option<Arc<Parcel>>,
    ticket: Ticket,
}

impl Letter {
    async fn delivered(self) -> Result<()> {
        self.ticket.turn().await;
        let runner = &self.post.runner;
        // What another process has done meanwhile is not done again.
        let (run, pending) = match runner.still_pending(&self.run_id, &self.name).await {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(()),
            // Nothing was sent, so that it may be begun again.
            Err(error) => {
                tracing::error!(run = self.run_id, delivery = self.name, %error, "whether it is to be delivered could not be read; it is looked at again");
                return Ok(());
            }
        };
        let delivered = match letters::delivery_of(&self.report, &pending) {
            Some(delivery) => self.tried(delivery, &run, &pending).await,
            None => letters::without_target(&pending, runner.now_ms()),
        };
        letters::tell_failure(&run, &delivered);
        runner.note_delivered(&run.id, delivered).await
    }

    /// Tries until it is made or given up.
    async fn tried(&self, delivery: &Delivery, run: &Run, pending: &Delivered) -> Delivered {
        let (runner, clock) = (&self.post.runner, self.post.runner.clock());
        let mut progress = Progress::default();
        let mut unread = 0;
        loop {
            let place = self.post.places.take(&delivery.target.receiver()).await;
            let parcel = match &self.held {
                Some(held) => Ok(held.clone()),
                None => runner.parcel(run).await.map(Arc::new),
            };
            let step = match parcel {
                Ok(parcel) => {
                    let letter = letters::Letter { report: &self.report, run, parcel: &parcel };
                    letters::attempt(delivery, pending, &letter, clock.as_ref(), &mut progress).await
                }
                Err(error) => {
                    unread += 1;
                    if unread == MOST_READS {
                        return letters::failed(pending, &error.to_string(), runner.now_ms());
                    }
                    Step::Pause(READ_PAUSE)
                }
            };
            drop(place);
            match step {
                Step::Ended(delivered) => return delivered,
                Step::Pause(pause) => clock.sleep_until(runner.now_ms().saturating_add(whole_ms(pause))).await,
            }
        }
    }
}

fn whole_ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Where attempts are made: a number of places, of which each receiver has a part.
#[derive(Debug, Clone)]
struct Places {
    all: Arc<Semaphore>,
    of_receivers: Arc<Mutex<HashMap<String, Arc<Semaphore>>>>,
}

/// A place that is taken.
#[derive(Debug)]
struct Place {
    _at_receiver: Option<OwnedSemaphorePermit>,
    _of_all: Option<OwnedSemaphorePermit>,
}

impl Places {
    fn new() -> Self {
        Self { all: Arc::new(Semaphore::new(MOST_AT_ONCE)), of_receivers: Arc::default() }
    }

    /// Waits for a place. Who waits for a receiver has none of the others'.
    async fn take(&self, receiver: &str) -> Place {
        // Neither is ever closed.
        let at_receiver = self.of_receiver(receiver).acquire_owned().await.ok();
        let of_all = self.all.clone().acquire_owned().await.ok();
        Place { _at_receiver: at_receiver, _of_all: of_all }
    }

    fn of_receiver(&self, receiver: &str) -> Arc<Semaphore> {
        let mut known = locked(&self.of_receivers);
        // Nobody is there, and nobody waits.
        known.retain(|name, places| name == receiver || Arc::strong_count(places) > 1);
        known.entry(receiver.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(MOST_TO_ONE))).clone()
    }
}

/// The deliveries of each report by their name, one behind the other.
#[derive(Debug, Clone, Default)]
struct Lanes(Arc<Mutex<HashMap<Lane, Last>>>);

type Lane = (String, String);

/// The last in a lane.
#[derive(Debug)]
struct Last {
    number: u64,
    is_over: CancellationToken,
}

/// A place in a lane, which is free for the next once it is dropped.
#[derive(Debug)]
struct Ticket {
    lanes: Lanes,
    lane: Lane,
    number: u64,
    /// Whether the one before is over.
    before: Option<CancellationToken>,
    is_over: CancellationToken,
}

impl Lanes {
    /// Takes the place behind all others of the lane.
    fn ticket(&self, report: &str, delivery: &str) -> Ticket {
        let (lane, is_over) = ((report.to_owned(), delivery.to_owned()), CancellationToken::new());
        let mut lanes = locked(&self.0);
        let last = lanes.get(&lane);
        let number = last.map_or(0, |last| last.number + 1);
        let before = last.map(|last| last.is_over.clone());
        lanes.insert(lane.clone(), Last { number, is_over: is_over.clone() });
        Ticket { lanes: self.clone(), lane, number, before, is_over }
    }
}

impl Ticket {
    /// Waits until all before are over.
    async fn turn(&self) {
        if let Some(before) = &self.before {
            before.cancelled().await;
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.is_over.cancel();
        let mut lanes = locked(&self.lanes.0);
        if lanes.get(&self.lane).is_some_and(|last| last.number == self.number) {
            lanes.remove(&self.lane);
        }
    }
}

fn locked<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_lane_is_gone_through_in_order_and_no_other_waits_for_it() {
        let lanes = Lanes::default();
        let [first, second, third] = [0; 3].map(|_| lanes.ticket("a", "hook"));
        let others = [lanes.ticket("a", "mail"), lanes.ticket("b", "hook")];
        assert!(others.iter().all(|other| other.turn().now_or_never().is_some()));
        assert!(first.turn().now_or_never().is_some() && second.turn().now_or_never().is_none());
        drop(first);
        assert!(second.turn().now_or_never().is_some() && third.turn().now_or_never().is_none());
        drop(second);
        assert!(third.turn().now_or_never().is_some());
        drop((third, others));
        assert!(locked(&lanes.0).is_empty(), "what is over is forgotten");
    }

    #[tokio::test]
    async fn a_receiver_has_a_part_of_the_places() {
        let places = Places::new();
        let mut hanging = Vec::new();
        for _ in 0..MOST_TO_ONE {
            hanging.push(places.take("hanging").await);
        }
        assert!(places.take("hanging").now_or_never().is_none());
        let mut others = Vec::new();
        for other in 0..MOST_AT_ONCE - MOST_TO_ONE {
            others.push(places.take(&format!("other {other}")).now_or_never().expect("free"));
        }
        assert!(places.take("one more").now_or_never().is_none(), "all places are taken");
        hanging.pop();
        assert!(places.take("one more").now_or_never().is_some());
        drop((hanging, others));
        assert!(places.take("hanging").now_or_never().is_some());
        assert_eq!(locked(&places.of_receivers).len(), 1);
    }
}

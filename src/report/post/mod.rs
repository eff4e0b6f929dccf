//! The post: makes the deliveries of runs beside everything else, from the folders that the runs left.
//!
//! What goes to one receiver of a report goes in the order of its runs (`lanes`), so that nobody hears that an alert ended and then that it fires,
//! and nothing waits for another receiver. Each attempt has a place, and gives it back while it pauses (`places`): a receiver that hangs holds up
//! nobody but those that hang too. What waits holds no files.

mod lanes;
mod places;

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;

use self::lanes::{Lane, Lanes, MOST_WAITING, Ticket, Turn};
pub(super) use self::places::Bounds;
use self::places::Places;
use super::definition::{Delivery, Report};
use super::delivery::{Progress, Step};
use super::history::{Delivered, Run};
use super::letters;
use super::results::Parcel;
use super::runner::Runner;
use crate::error::Result;

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
    pub(super) fn new(runner: Runner, bounds: Bounds) -> Self {
        Self { runner, lanes: Lanes::default(), places: Places::new(bounds) }
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
                ticket: self.lanes.ticket(lane(&report, pending)),
            })
            .collect();
        async { join_all(letters.into_iter().map(Letter::delivered)).await.into_iter().collect() }
    }
}

fn lane(report: &Report, pending: &Delivered) -> Lane {
    let receiver = letters::delivery_of(report, pending).map(|delivery| delivery.target.receiver());
    Lane { report: report.name.clone(), delivery: pending.name.clone(), receiver: receiver.unwrap_or_default() }
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
        let turn = self.ticket.turn().await;
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
        let delivered = match (turn, letters::delivery_of(&self.report, &pending)) {
            (Turn::GivenUp, _) => {
                let why = format!("those before it were not taken, and {MOST_WAITING} newer ones wait");
                letters::failed(&pending, &why, runner.now_ms())
            }
            (Turn::Taken, Some(delivery)) => self.tried(delivery, &run, &pending).await,
            (Turn::Taken, None) => letters::without_target(&pending, runner.now_ms()),
        };
        letters::tell_failure(&run, &delivered);
        runner.note_delivered(&run.id, delivered).await
    }

    /// Tries until it is made or given up.
    async fn tried(&self, delivery: &Delivery, run: &Run, pending: &Delivered) -> Delivered {
        let (runner, clock) = (&self.post.runner, self.post.runner.clock());
        let receiver = delivery.target.receiver();
        let mut progress = Progress::default();
        let mut unread = 0;
        loop {
            let attempt = self.attempt(delivery, run, pending, &mut progress);
            let Some(tried) = self.post.places.make(&receiver, attempt).await else { continue };
            let step = tried.unwrap_or_else(|error| {
                unread += 1;
                match unread {
                    MOST_READS => Step::Ended(letters::failed(pending, &error.to_string(), runner.now_ms())),
                    _ => Step::Pause(READ_PAUSE),
                }
            });
            match step {
                Step::Ended(delivered) => return delivered,
                Step::Pause(pause) => clock.sleep_until(runner.now_ms().saturating_add(whole_ms(pause))).await,
            }
        }
    }

    /// Makes an attempt with the files of the run, which have to be read first.
    async fn attempt(
        &self,
        delivery: &Delivery,
        run: &Run,
        pending: &Delivered,
        progress: &mut Progress,
    ) -> Result<Step> {
        let runner = &self.post.runner;
        let parcel = match &self.held {
            Some(held) => held.clone(),
            None => Arc::new(runner.parcel(run).await?),
        };
        let letter = letters::Letter { report: &self.report, run, parcel: &parcel };
        Ok(letters::attempt(delivery, pending, &letter, runner.clock().as_ref(), progress).await)
    }
}

fn whole_ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

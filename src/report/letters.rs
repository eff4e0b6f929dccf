//! What is sent with a run, to whom, and what became of it.

use std::future::Future;

use futures::future::try_join_all;

use super::alert::{AlertLine, Notice};
use super::clock::Clock;
use super::definition::{Delivery, Report};
use super::delivery::{self, Message, Progress, RetryPolicy, Step};
use super::history::{Delivered, DeliveryStatus, Run};
use super::journal::Journal;
use super::results::Parcel;
use crate::error::Result;

/// A few lines of Markdown about a run.
pub(super) fn summary(report: &Report, run: &Run, notices: &[Notice]) -> String {
    delivery::summarise(report, run, notices)
}

/// The deliveries that are to be made of a run.
pub(super) fn due(report: &Report, run: &Run, notices: &[Notice], now_ms: i64) -> Vec<Delivered> {
    let wanted = report.deliveries.iter().filter(|delivery| delivery::is_wanted(delivery, run, notices));
    let pending = wanted.map(|delivery| Delivered {
        name: delivery.name.clone(),
        key: key_of(run, &delivery.name),
        status: DeliveryStatus::Pending,
        attempts: 0,
        error: None,
        at_ms: now_ms,
    });
    pending.collect()
}

/// By this a receiver knows what came twice.
fn key_of(run: &Run, delivery: &str) -> String {
    format!("{}/{delivery}", run.id)
}

/// Makes the deliveries of a run that are still to be made, all at once, and notes each as it ends.
pub(super) async fn deliver<N: Future<Output = Result<()>>>(
    report: &Report,
    run: &Run,
    parcel: &Parcel,
    clock: &dyn Clock,
    note: impl Fn(Delivered) -> N,
) -> Result<()> {
    let (note, letter) = (&note, Letter { report, run, parcel });
    let deliveries = pending(run).map(|pending| async move {
        let delivered = match delivery_of(report, pending) {
            Some(delivery) => {
                delivery::deliver(delivery, &letter.message(pending), &RetryPolicy::default(), clock).await
            }
            None => without_target(pending, clock.now_ms()),
        };
        tell_failure(run, &delivered);
        note(delivered).await
    });
    try_join_all(deliveries).await.map(|_| ())
}

/// What is sent with a run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Letter<'a> {
    pub report: &'a Report,
    pub run: &'a Run,
    pub parcel: &'a Parcel,
}

impl<'a> Letter<'a> {
    fn message(&self, pending: &Delivered) -> Message<'a> {
        Message {
            key: pending.key.clone(),
            report: self.report,
            run: self.run,
            artifacts: &self.parcel.artifacts,
            notices: &self.parcel.notices,
            summary: self.parcel.summary.clone(),
        }
    }
}

/// Makes one attempt at a delivery that is still to be made.
pub(super) async fn attempt(
    delivery: &Delivery,
    pending: &Delivered,
    letter: &Letter<'_>,
    clock: &dyn Clock,
    progress: &mut Progress,
) -> Step {
    delivery::attempt(delivery, &letter.message(pending), &RetryPolicy::default(), clock, progress).await
}

/// The deliveries of a run that are still to be made.
pub(super) fn pending(run: &Run) -> impl Iterator<Item = &Delivered> {
    run.deliveries.iter().filter(|delivered| delivered.status == DeliveryStatus::Pending)
}

/// Where a delivery goes as the report is now, if it still has it.
pub(super) fn delivery_of<'a>(report: &'a Report, pending: &Delivered) -> Option<&'a Delivery> {
    report.deliveries.iter().find(|delivery| delivery.name == pending.name)
}

/// What becomes of a delivery that the report has no more.
pub(super) fn without_target(pending: &Delivered, now_ms: i64) -> Delivered {
    failed(pending, "the report has no delivery of this name any more", now_ms)
}

/// Says in the log what was not delivered.
pub(super) fn tell_failure(run: &Run, delivered: &Delivered) {
    if delivered.status == DeliveryStatus::Failed {
        let error = delivered.error.as_deref().unwrap_or_default();
        tracing::warn!(run = run.id, delivery = delivered.name, error, "a report was not delivered");
    }
}

/// What becomes of the deliveries of a run that nobody can make any more.
pub(super) fn given_up(run: &Run, why: &str, now_ms: i64) -> Vec<Delivered> {
    pending(run).map(|pending| failed(pending, why, now_ms)).collect()
}

/// A delivery that cannot be made.
pub(super) fn failed(pending: &Delivered, why: &str, now_ms: i64) -> Delivered {
    Delivered { status: DeliveryStatus::Failed, error: Some(why.to_owned()), at_ms: now_ms, ..pending.clone() }
}

/// What a run had judged and was to tell when its process ended: its alerts are in their journal before the run has its end in the other.
pub(super) fn noted(alerts: &Journal, run_id: &str) -> Result<Vec<Notice>> {
    let lines = alerts.read_as(AlertLine::parse)?;
    let of_run = lines.into_iter().filter(|line| line.run == run_id && line.is_news);
    Ok(of_run.map(Notice::from).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::alert::AlertState;
    use crate::report::definition::{Deliver, Delivery, Target};
    use crate::report::delivery::testing;
    use crate::report::history::Status;

    #[test]
    fn each_delivery_says_which_runs_it_wants() {
        let delivery = |when: Deliver| Delivery {
            name: when.name().to_owned(),
            target: Target::Directory("out".into()),
            when,
            attempts: 1,
        };
        let report = Report { deliveries: Deliver::ALL.map(delivery).to_vec(), ..testing::report() };
        let run = |status, rows| Run { status, rows, ..testing::run() };
        let news = testing::notice("cart", AlertState::Firing);
        let old = Notice { is_news: false, ..news.clone() };
        for (run, notices, expected) in [
            (run(Status::Succeeded, Some(3)), vec![], "always rows"),
            (run(Status::Succeeded, Some(0)), vec![old.clone()], "always"),
            (run(Status::Succeeded, Some(0)), vec![old, news.clone()], "always firing"),
            (run(Status::Failed, None), vec![], "always failed"),
            (run(Status::Failed, Some(3)), vec![news], "always firing failed"),
            (run(Status::TimedOut, None), vec![], "always failed"),
            (run(Status::Died, None), vec![], "always failed"),
        ] {
            let due = due(&report, &run, &notices, 7);
            let names: Vec<&str> = due.iter().map(|delivered| delivered.name.as_str()).collect();
            assert_eq!(names.join(" "), expected, "{run:?}");
            assert!(due.iter().all(|due| due.status == DeliveryStatus::Pending && due.at_ms == 7));
            assert_eq!(due[0].key, "health@2026-03-29T05:00:00Z/always");
        }
    }

    #[test]
    fn what_cannot_be_delivered_any_more_has_failed() {
        let delivered = |name: &str, status| Delivered {
            name: name.to_owned(),
            key: key_of(&testing::run(), name),
            status,
            attempts: 1,
            error: None,
            at_ms: 1,
        };
        let deliveries = vec![delivered("a", DeliveryStatus::Delivered), delivered("b", DeliveryStatus::Pending)];
        let run = Run { deliveries, ..testing::run() };
        let failed = given_up(&run, "it is gone", 9);
        assert_eq!(failed.len(), 1);
        assert_eq!((failed[0].name.as_str(), failed[0].status, failed[0].at_ms), ("b", DeliveryStatus::Failed, 9));
        assert_eq!(failed[0].error.as_deref(), Some("it is gone"));
    }
}

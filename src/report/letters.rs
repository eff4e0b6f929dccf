//! What is sent with a run, to whom, and what became of it.

use std::future::Future;

use futures::future::try_join_all;

use super::alert::{AlertLine, Notice};
use super::clock::Clock;
use super::definition::Report;
use super::delivery::{self, Message, RetryPolicy};
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
    let pending = run.deliveries.iter().filter(|delivered| delivered.status == DeliveryStatus::Pending);
    let note = &note;
    let deliveries = pending.map(|pending| async move {
        let Some(delivery) = report.deliveries.iter().find(|delivery| delivery.name == pending.name) else {
            return note(failed(pending, "the report has no delivery of this name any more", clock.now_ms())).await;
        };
        let message = Message {
            key: pending.key.clone(),
            report,
            run,
            artifacts: &parcel.artifacts,
            notices: &parcel.notices,
            summary: parcel.summary.clone(),
        };
        let delivered = delivery::deliver(delivery, &message, &RetryPolicy::default(), clock).await;
        if delivered.status == DeliveryStatus::Failed {
            let error = delivered.error.as_deref().unwrap_or_default();
            tracing::warn!(run = run.id, delivery = delivery.name, error, "a report was not delivered");
        }
        note(delivered).await
    });
    try_join_all(deliveries).await.map(|_| ())
}

/// What becomes of the deliveries of a run that nobody can make any more.
pub(super) fn given_up(run: &Run, why: &str, now_ms: i64) -> Vec<Delivered> {
    let pending = run.deliveries.iter().filter(|delivered| delivered.status == DeliveryStatus::Pending);
    pending.map(|pending| failed(pending, why, now_ms)).collect()
}

fn failed(pending: &Delivered, why: &str, now_ms: i64) -> Delivered {
    Delivered { status: DeliveryStatus::Failed, error: Some(why.to_owned()), at_ms: now_ms, ..pending.clone() }
}

/// What a run had judged and was to tell when its process ended: its alerts are in their journal before the run has its end in the other.
pub(super) fn noted(alerts: &Journal, run_id: &str) -> Result<Vec<Notice>> {
    let lines = alerts.read_as(AlertLine::parse)?;
    let of_run = lines.into_iter().filter(|line| line.run == run_id && line.is_news);
    Ok(of_run.map(notice_of).collect())
}

fn notice_of(line: AlertLine) -> Notice {
    Notice {
        report: line.report,
        rule: line.rule,
        severity: line.severity,
        state: line.state,
        labels: line.labels,
        value: line.value,
        since_ms: line.since_ms,
        fired_ms: line.memory.fired_ms,
        summary: line.summary,
        exemplars: line.exemplars,
        silenced_by: line.silenced_by,
        is_news: line.is_news,
    }
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

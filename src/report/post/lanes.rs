//! What is to be delivered of a report to one receiver, one behind the other.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

/// So many deliveries wait in a lane. Of a receiver that takes none for so long the newest are of use, and the oldest are given up.
pub(super) const MOST_WAITING: usize = 100;

/// A delivery of a report to a receiver: where the report names another one, that has a lane of its own.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Lane {
    pub report: String,
    pub delivery: String,
    pub receiver: String,
}

/// All lanes in which something waits; clones are the same ones.
#[derive(Debug, Clone, Default)]
pub(super) struct Lanes(Arc<Mutex<HashMap<Lane, Waiting>>>);

/// Those in a lane, the first of whom is at work.
#[derive(Debug, Default)]
struct Waiting {
    begun: u64,
    line: VecDeque<Place>,
}

#[derive(Debug, Clone)]
struct Place {
    number: u64,
    is_first: CancellationToken,
    is_given_up: CancellationToken,
}

/// A place in a lane, which is free for the next once it is dropped.
#[derive(Debug)]
pub(super) struct Ticket {
    lanes: Lanes,
    lane: Lane,
    place: Place,
}

/// What becomes of who waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// All before are over.
    Taken,
    /// Too many newer ones wait.
    GivenUp,
}

impl Lanes {
    /// Takes the place behind all others of the lane.
    pub(super) fn ticket(&self, lane: Lane) -> Ticket {
        let mut lanes = self.lanes();
        let waiting = lanes.entry(lane.clone()).or_default();
        let place =
            Place { number: waiting.begun, is_first: CancellationToken::new(), is_given_up: CancellationToken::new() };
        waiting.begun += 1;
        waiting.line.push_back(place.clone());
        waiting.admit();
        let of_use = waiting.line.iter().skip(1).filter(|place| !place.is_given_up.is_cancelled());
        if of_use.clone().count() > MOST_WAITING
            && let Some(oldest) = of_use.clone().next()
        {
            oldest.is_given_up.cancel();
        }
        drop(lanes);
        Ticket { lanes: self.clone(), lane, place }
    }

    fn lanes(&self) -> MutexGuard<'_, HashMap<Lane, Waiting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn admit(&self) {
        if let Some(first) = self.line.front() {
            first.is_first.cancel();
        }
    }
}

impl Ticket {
    /// Waits until all before are over, or this one is given up.
    pub(super) async fn turn(&self) -> Turn {
        tokio::select! {
            biased;
            () = self.place.is_first.cancelled() => Turn::Taken,
            () = self.place.is_given_up.cancelled() => Turn::GivenUp,
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut lanes = self.lanes.lanes();
        let Some(waiting) = lanes.get_mut(&self.lane) else { return };
        waiting.line.retain(|place| place.number != self.place.number);
        waiting.admit();
        if waiting.line.is_empty() {
            lanes.remove(&self.lane);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn lane(report: &str, delivery: &str, receiver: &str) -> Lane {
        Lane { report: report.to_owned(), delivery: delivery.to_owned(), receiver: receiver.to_owned() }
    }

    fn turn(ticket: &Ticket) -> Option<Turn> {
        ticket.turn().now_or_never()
    }

    #[test]
    fn a_lane_is_gone_through_in_order_and_no_other_waits_for_it() {
        let lanes = Lanes::default();
        let [first, second, third] = [0; 3].map(|_| lanes.ticket(lane("a", "hook", "x")));
        let others = [lane("a", "mail", "x"), lane("b", "hook", "x"), lane("a", "hook", "y")];
        let others = others.map(|other| lanes.ticket(other));
        assert!(others.iter().all(|other| turn(other) == Some(Turn::Taken)));
        assert_eq!((turn(&first), turn(&second), turn(&third)), (Some(Turn::Taken), None, None));
        // One that goes from the middle lets nobody pass.
        drop(second);
        assert_eq!(turn(&third), None);
        drop(first);
        assert_eq!(turn(&third), Some(Turn::Taken));
        drop((third, others));
        assert!(lanes.lanes().is_empty(), "what is over is forgotten");
    }

    #[test]
    fn of_too_many_that_wait_the_oldest_are_given_up() {
        let lanes = Lanes::default();
        let tickets: Vec<Ticket> = (0..MOST_WAITING + 3).map(|_| lanes.ticket(lane("a", "hook", "x"))).collect();
        let turns: Vec<Option<Turn>> = tickets.iter().map(turn).collect();
        assert_eq!(turns[..4], [Some(Turn::Taken), Some(Turn::GivenUp), Some(Turn::GivenUp), None]);
        assert!(turns[4..].iter().all(Option::is_none));
        let mut tickets = VecDeque::from(tickets);
        tickets.drain(..3);
        assert_eq!(tickets.front().and_then(turn), Some(Turn::Taken));
    }
}

//! The connections of all listeners, and those of them that were not let in yet: an address has so many of these, and one more sends its oldest
//! away.
//!
//! Whoever opens connections and shows nothing, or shows what is wrong, takes away from others of the same address only.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use super::failures::network;

/// Connections of one address that wait to be let in: more than a pool or a fleet behind one address opens at a time, and a fraction of what each
/// listener has for all.
const MOST_WAITING: usize = 64;

/// Where a connection came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listener {
    OtlpGrpc,
    OtlpHttp,
    Postgres,
}

impl Listener {
    pub const ALL: [Self; 3] = [Self::OtlpGrpc, Self::OtlpHttp, Self::Postgres];

    /// Its name, as that of its setting.
    pub fn name(self) -> &'static str {
        match self {
            Self::OtlpGrpc => "otlp_grpc",
            Self::OtlpHttp => "otlp_http",
            Self::Postgres => "postgres",
        }
    }
}

/// All connections of a process.
#[derive(Debug, Default)]
pub(super) struct Doorstep {
    open: [AtomicU64; Listener::ALL.len()],
    waiting: Mutex<Waiting>,
    sent_away: AtomicU64,
}

/// Those that wait, by address and in the order in which they came.
#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    by_address: HashMap<IpAddr, BTreeMap<u64, CancellationToken>>,
}

/// What is to be told of connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionCounts {
    /// Open ones, in the order of [`Listener::ALL`].
    pub open: [u64; Listener::ALL.len()],
    /// Those among them that were not let in yet.
    pub waiting: u64,
    /// Those since the start that had to make room for others of their address.
    pub sent_away: u64,
}

/// A connection; it counts until this is dropped.
#[derive(Debug)]
pub struct Guest {
    doorstep: Arc<Doorstep>,
    listener: Listener,
    network: IpAddr,
    number: u64,
    is_waiting: AtomicBool,
}

impl Doorstep {
    /// Takes a new connection. `sent_away` is cancelled when it has to go before it was let in.
    pub(super) fn arrives(
        self: &Arc<Self>,
        listener: Listener,
        address: IpAddr,
        sent_away: CancellationToken,
    ) -> Guest {
        let network = network(address);
        self.open[listener as usize].fetch_add(1, Ordering::Relaxed);
        let mut waiting = self.waiting();
        let number = waiting.next;
        waiting.next += 1;
        let of_address = waiting.by_address.entry(network).or_default();
        if of_address.len() >= MOST_WAITING
            && let Some((_, oldest)) = of_address.pop_first()
        {
            oldest.cancel();
            self.sent_away.fetch_add(1, Ordering::Relaxed);
        }
        of_address.insert(number, sent_away);
        drop(waiting);
        Guest { doorstep: self.clone(), listener, network, number, is_waiting: AtomicBool::new(true) }
    }

    pub(super) fn counts(&self) -> ConnectionCounts {
        let waiting = self.waiting().by_address.values().map(BTreeMap::len).sum::<usize>() as u64;
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        ConnectionCounts { open: self.open.each_ref().map(load), waiting, sent_away: load(&self.sent_away) }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Guest {
    /// It has shown who it is: it is not sent away for others any more.
    pub fn is_let_in(&self) {
        if self.is_waiting.swap(false, Ordering::Relaxed) {
            let mut waiting = self.doorstep.waiting();
            if let Some(of_address) = waiting.by_address.get_mut(&self.network) {
                of_address.remove(&self.number);
                if of_address.is_empty() {
                    waiting.by_address.remove(&self.network);
                }
            }
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.is_let_in();
        self.doorstep.open[self.listener as usize].fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_that_waits_goes_and_others_stay() {
        let doorstep = Arc::new(Doorstep::default());
        let arrives = |address: &str| {
            let sent_away = CancellationToken::new();
            let address = address.parse().expect("an address");
            (doorstep.arrives(Listener::Postgres, address, sent_away.clone()), sent_away)
        };
        let (other, first) = (arrives("192.0.2.2"), arrives("192.0.2.1"));
        first.0.is_let_in();
        let waiting: Vec<_> = (0..MOST_WAITING).map(|_| arrives("::ffff:192.0.2.1")).collect();
        assert!(waiting.iter().all(|(_, sent_away)| !sent_away.is_cancelled()), "who was let in takes no place");
        assert_eq!(doorstep.counts().waiting, MOST_WAITING as u64 + 1);
        let last = arrives("192.0.2.1");
        let gone = waiting.iter().map(|(_, sent_away)| sent_away.is_cancelled()).collect::<Vec<_>>();
        assert!(gone[0] && !gone[1..].contains(&true), "{gone:?}");
        assert!([&other, &first, &last].iter().all(|(_, sent_away)| !sent_away.is_cancelled()));
        let counts = doorstep.counts();
        assert_eq!((counts.open, counts.sent_away), ([0, 0, MOST_WAITING as u64 + 3], 1));
        drop((other, first, waiting, last));
        assert_eq!(doorstep.counts(), ConnectionCounts { open: [0; 3], waiting: 0, sent_away: 1 });
        assert!(doorstep.waiting().by_address.is_empty(), "nothing is remembered of who has gone");
    }
}

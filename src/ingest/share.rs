//! What one tenant may take of a server that takes spans of many.
//!
//! A tenant has limits of its own. All tenants together have one budget of memory for fresh spans, which is divided among those that have some:
//! who keeps to its part is served whatever the others do.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;

use super::admission::Admission;
use crate::error::{Error, Kind, Result};
use crate::store::{RefusalWatch, Store};

/// When senders shall come again: a sealing takes about a second.
const RETRY_AFTER: Duration = Duration::from_secs(2);
/// How long nothing is sealed ahead of time after that failed.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(10);

/// What a tenant may take, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShareLimits {
    /// Memory for fresh spans.
    pub fresh_bytes: u64,
    /// Disk for its log.
    pub log_bytes: u64,
}

/// What all tenants together may take.
#[derive(Debug)]
pub(super) struct Pool {
    fresh_bytes: u64,
    /// Requests of all tenants in flight.
    in_flight: OnceLock<Arc<Admission>>,
    shares: Mutex<Vec<Weak<Share>>>,
}

impl Pool {
    pub fn new(fresh_bytes: u64) -> Arc<Self> {
        Arc::new(Self { fresh_bytes, in_flight: OnceLock::new(), shares: Mutex::default() })
    }

    /// One tenant's part of the memory for requests in flight, of which all have `max_bytes`.
    pub fn admission(&self, max_bytes: usize) -> Arc<Admission> {
        Admission::within(self.in_flight.get_or_init(|| Admission::new(max_bytes)))
    }

    /// What all have, and how many have some.
    fn taken(&self) -> (u64, u64) {
        let shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = shares.iter().filter_map(Weak::upgrade).map(|share| share.store.fresh_bytes());
        fresh.filter(|bytes| *bytes > 0).fold((0, 0), |(sum, count), bytes| (sum + bytes, count + 1))
    }
}

/// The part of one tenant.
#[derive(Debug)]
pub(super) struct Share {
    pool: Arc<Pool>,
    store: Arc<Store>,
    limits: ArcSwap<ShareLimits>,
    /// Whether fresh spans are being sealed because of this.
    is_sealing: Arc<AtomicBool>,
    refusals: RefusalWatch,
}

impl Share {
    pub fn of(pool: &Arc<Pool>, store: Arc<Store>, limits: ShareLimits) -> Arc<Self> {
        let share = Arc::new(Self {
            pool: pool.clone(),
            store,
            limits: ArcSwap::from_pointee(limits),
            is_sealing: Arc::default(),
            refusals: RefusalWatch::new("the share of a tenant"),
        });
        let mut shares = pool.shares.lock().unwrap_or_else(PoisonError::into_inner);
        shares.retain(|share| share.strong_count() > 0);
        shares.push(Arc::downgrade(&share));
        share
    }

    pub fn limit(&self, limits: ShareLimits) {
        self.limits.store(Arc::new(limits));
    }

    pub fn limits(&self) -> ShareLimits {
        **self.limits.load()
    }

    /// Whether one more export may come now.
    ///
    /// # Errors
    /// [`Kind::Overloaded`] when not.
    pub fn check(&self) -> Result<()> {
        let (of_all, sharing) = self.pool.taken();
        let taken = Taken { fresh: self.store.fresh_bytes(), log: self.store.log_bytes(), of_all, sharing };
        let verdict = judge(taken, self.limits(), self.pool.fresh_bytes);
        if verdict != Verdict::Room {
            self.seal_soon();
        }
        match verdict {
            Verdict::Room | Verdict::Nearly => {
                self.refusals.taken();
                Ok(())
            }
            Verdict::Full(why) => {
                self.refusals.refused(1, why);
                Err(Error::new(Kind::Overloaded { retry_after: RETRY_AFTER }, why))
            }
        }
    }

    /// Moves fresh spans into the table before the store does so by itself, whose limits are those of the whole server.
    fn seal_soon(&self) {
        if self.is_sealing.swap(true, Ordering::Relaxed) {
            return;
        }
        let (store, is_sealing) = (self.store.clone(), self.is_sealing.clone());
        tokio::spawn(async move {
            if let Err(error) = store.seal().await {
                tracing::warn!(%error, "cannot seal the fresh spans of a tenant that has many");
                tokio::time::sleep(PAUSE_AFTER_FAILURE).await;
            }
            is_sealing.store(false, Ordering::Relaxed);
        });
    }
}

/// What is taken now, in bytes.
#[derive(Debug, Clone, Copy)]
struct Taken {
    fresh: u64,
    log: u64,
    /// Fresh spans of all tenants, and how many have some.
    of_all: u64,
    sharing: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Room,
    /// There is room, and it is time to make more.
    Nearly,
    Full(&'static str),
}

fn judge(taken: Taken, limits: ShareLimits, pool_bytes: u64) -> Verdict {
    let part = pool_bytes / taken.sharing.max(1);
    let is_contended = taken.of_all >= pool_bytes;
    match () {
        () if taken.fresh >= limits.fresh_bytes => {
            Verdict::Full("the tenant's memory for fresh spans is full; they are being moved to the table")
        }
        () if taken.log >= limits.log_bytes => {
            Verdict::Full("the tenant's log has its full size; its spans are being moved to the table")
        }
        () if is_contended && taken.fresh >= part => {
            Verdict::Full("the memory for fresh spans of all tenants is full, and this one has its part of it")
        }
        // Early enough that ingest goes on in the rest meanwhile, as a store does it.
        () if is_contended || taken.fresh >= limits.fresh_bytes / 5 * 2 => Verdict::Nearly,
        () if taken.log >= limits.log_bytes / 5 * 4 => Verdict::Nearly,
        () => Verdict::Room,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_has_its_limits_and_its_part_of_what_all_have() {
        let limits = ShareLimits { fresh_bytes: 100, log_bytes: 1_000 };
        let full = |verdict| matches!(verdict, Verdict::Full(_));
        let taken = |fresh, log, of_all, sharing| judge(Taken { fresh, log, of_all, sharing }, limits, 200);
        assert_eq!(taken(0, 0, 0, 0), Verdict::Room);
        assert_eq!(taken(39, 799, 39, 1), Verdict::Room);
        assert_eq!(taken(40, 0, 40, 1), Verdict::Nearly);
        assert_eq!(taken(0, 800, 0, 1), Verdict::Nearly);
        assert_eq!(taken(99, 999, 99, 1), Verdict::Nearly);
        assert!(full(taken(100, 0, 100, 1)) && full(taken(0, 1_000, 0, 0)));
        // Four share 200: who has 50 waits, and who has less does not, nor does one that comes new.
        assert!(full(taken(50, 0, 200, 4)));
        assert_eq!(taken(49, 0, 200, 4), Verdict::Nearly);
        assert_eq!(taken(0, 0, 300, 4), Verdict::Nearly);
        assert_eq!(taken(50, 0, 199, 4), Verdict::Nearly, "nobody lacks anything");
    }
}

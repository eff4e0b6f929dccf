//! Ctrl-C: every press is counted, whether it comes as a signal or as a key, and a press after Enter stops what was entered.
//!
//! Counting leaves no moment in which a press is missed: what was entered carries the number of presses until then, and one more stops it, also before
//! it has begun. A press that comes after the end is counted as well, and stops nothing.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::shell::{Next, Shell};
use super::splitter::Item;
use super::text::Line;
use crate::error::{Error, Kind, Result};

/// The presses so far.
#[derive(Debug, Clone)]
pub struct Interrupts {
    presses: watch::Sender<u64>,
}

impl Interrupts {
    pub fn new() -> Self {
        Self { presses: watch::Sender::new(0) }
    }

    /// Counts what the terminal sends as a signal; before this is called, such a press ends the process.
    pub fn listen(&self) -> Result<()> {
        let mut signals =
            signal(SignalKind::interrupt()).map_err(|error| Error::io("cannot listen for Ctrl-C", error))?;
        let interrupts = self.clone();
        tokio::spawn(async move {
            while signals.recv().await.is_some() {
                interrupts.press();
            }
        });
        Ok(())
    }

    /// Counts a press.
    pub fn press(&self) {
        self.presses.send_modify(|presses| *presses += 1);
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        *self.presses.borrow()
    }

    /// Waits until there have been more than so many.
    pub async fn after(&self, count: u64) {
        // It fails only without a sender, and this is one.
        let _ = self.presses.subscribe().wait_for(|presses| *presses > count).await;
    }
}

impl Shell {
    /// Runs an item that a press after the first `presses` stops.
    pub async fn cancellable(&mut self, item: &Item, presses: u64) -> Result<Next> {
        if self.interrupts.count() == presses {
            let interrupts = self.interrupts.clone();
            tokio::select! {
                biased;
                () = interrupts.after(presses) => {}
                next = self.item(item, None) => return next,
            }
            self.backend.cancel().await;
            self.block_failed |= self.backend.is_local() && self.backend.in_transaction();
            self.depth = 0;
        }
        // The terminal has echoed `^C`, perhaps in the middle of a line of output.
        self.say(&[Line::default()])?;
        if !std::mem::take(&mut self.is_live) {
            self.report(&Error::new(Kind::Cancelled, "canceling statement due to user request"), None, None);
        }
        Ok(Next::Stopped)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn a_press_is_seen_by_all_that_was_entered_before_it() {
        let interrupts = Interrupts::new();
        let (first, presses) = (interrupts.clone(), interrupts.count());
        assert!(interrupts.after(presses).now_or_never().is_none());
        first.press();
        assert!(interrupts.after(presses).now_or_never().is_some(), "it came before anybody waited");
        assert!(interrupts.after(interrupts.count()).now_or_never().is_none(), "the next statement is not stopped");
    }
}

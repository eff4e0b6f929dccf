//! What a journal tells, kept in memory beside it: each line is read once, whoever wrote it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Journal;
use super::follower::Follower;
use crate::error::Result;

/// What lines tell one after the other.
pub(in crate::report) trait Told: Default {
    /// Takes in the next line; taking one in twice in a row changes nothing.
    fn take(&mut self, line: &str) -> Result<()>;
}

/// A journal, and what it tells; clones are the same one.
#[derive(Debug)]
pub(in crate::report) struct Ledger<T>(Arc<Shared<T>>);

#[derive(Debug)]
struct Shared<T> {
    journal: Journal,
    /// Held while the journal is read or written, and so for as long as the disk takes.
    follower: Mutex<Follower>,
    /// Held while nobody waits for anything.
    told: Mutex<T>,
}

impl<T> Clone for Ledger<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Told> Ledger<T> {
    /// Reads a journal. Waits for the disk.
    ///
    /// # Errors
    /// [`crate::error::Kind::Corrupt`], naming the line, when one is damaged.
    pub fn open(journal: Journal) -> Result<Self> {
        let ledger = Self(Arc::new(Shared { journal, follower: Mutex::default(), told: Mutex::default() }));
        ledger.catch_up()?;
        Ok(ledger)
    }

    pub fn journal(&self) -> &Journal {
        &self.0.journal
    }

    /// What was told when the journal was last looked at.
    pub fn known(&self) -> MutexGuard<'_, T> {
        self.0.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in what came since. Waits for the disk.
    pub fn catch_up(&self) -> Result<()> {
        self.take_in(&mut self.follower())
    }

    /// Adds lines, durably, and takes them in. Waits for the disk.
    pub fn append(&self, lines: Vec<String>) -> Result<()> {
        self.append_made(|_| Ok(lines))
    }

    /// Adds the lines that `make` gives, which sees all that is told, and no other process can add a line meanwhile. What it changes holds
    /// if the lines can be added.
    pub fn append_made(&self, make: impl FnOnce(&mut T) -> Result<Vec<String>>) -> Result<()> {
        let mut follower = self.follower();
        let appended = self.0.journal.append_made(|| {
            self.take_in(&mut follower)?;
            make(&mut self.known())
        });
        if appended.is_err() {
            // What is known may be more than what was written.
            *follower = Follower::default();
            *self.known() = T::default();
        }
        let taken_in = self.take_in(&mut follower);
        appended.and(taken_in)
    }

    fn follower(&self) -> MutexGuard<'_, Follower> {
        self.0.follower.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_in(&self, follower: &mut Follower) -> Result<()> {
        let taken_in = self.try_take_in(follower);
        if taken_in.is_err() {
            // The next look tells the same line, and none is left out.
            *follower = Follower::default();
        }
        taken_in
    }

    fn try_take_in(&self, follower: &mut Follower) -> Result<()> {
        let came = self.0.journal.follow(follower)?;
        let take = |told: &mut T| {
            let mut lines = came.lines.iter();
            lines.try_for_each(|(at, line)| told.take(line).map_err(|error| self.0.journal.damaged(*at, error)))
        };
        if !came.is_anew {
            return take(&mut self.known());
        }
        let mut told = T::default();
        take(&mut told)?;
        *self.known() = told;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Error, Kind};

    /// A sum of the numbers of all lines.
    #[derive(Debug, Default, PartialEq)]
    struct Sum(u64);

    impl Told for Sum {
        fn take(&mut self, line: &str) -> Result<()> {
            self.0 += line.parse::<u64>().map_err(|error| Error::corrupt(error.to_string()))?;
            Ok(())
        }
    }

    #[test]
    fn what_others_write_is_taken_in_and_what_failed_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("sums.ndjson");
        let [one, other] = [(); 2].map(|()| Ledger::<Sum>::open(Journal::new(&path)).expect("opened"));
        one.append(vec!["1".to_owned(), "2".to_owned()]).expect("added");
        assert_eq!((one.known().0, other.known().0), (3, 0));
        other.append_made(|sum| Ok(vec![(sum.0 * 10).to_string()])).expect("added");
        assert_eq!(other.known().0, 33, "it saw all before it wrote");
        one.catch_up().expect("read");
        assert_eq!(one.known().0, 33);
        let failed = one.append_made(|sum| {
            sum.0 = 0;
            Err(Error::bad_input("no"))
        });
        assert_eq!((failed.expect_err("refused").kind, one.known().0), (Kind::BadInput, 33));
        other.journal().rewrite(|line| (line != "30").then(|| line.into())).expect("rewritten");
        one.catch_up().expect("read");
        assert_eq!(one.known().0, 3);
        other.journal().append(&["x".to_owned()]).expect("added");
        for _ in 0..2 {
            assert!(one.catch_up().expect_err("damaged").message.starts_with("line 3 of "));
        }
        assert_eq!(one.known().0, 3, "what was known stays");
    }
}

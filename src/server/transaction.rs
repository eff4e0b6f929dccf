//! Transaction blocks: the engine pins a snapshot for one; its state towards the client is kept here.

use pgwire::messages::response::TransactionStatus;

use super::connection::Connection;
use super::sql::Transaction;
use super::wire::{Halt, Stops};
use crate::error::{Error, Kind};

impl Connection {
    /// Runs a transaction command and returns its tag.
    pub(super) async fn transaction(&mut self, command: &Transaction, stops: &Stops) -> Result<String, Halt> {
        match command {
            Transaction::Begin if self.status == TransactionStatus::Idle => {
                self.engine_command("BEGIN", stops).await?;
                self.status = TransactionStatus::Transaction;
                Ok("BEGIN".to_owned())
            }
            Transaction::Begin => {
                self.wire.put_warning("25001", "there is already a transaction in progress");
                Ok("BEGIN".to_owned())
            }
            // A failed transaction cannot be committed: PostgreSQL says so with the tag.
            Transaction::Commit if self.status == TransactionStatus::Transaction => self.end("COMMIT", stops).await,
            Transaction::Commit if self.status == TransactionStatus::Idle => {
                self.wire.put_warning("25P01", "there is no transaction in progress");
                Ok("COMMIT".to_owned())
            }
            Transaction::Rollback if self.status == TransactionStatus::Idle => {
                self.wire.put_warning("25P01", "there is no transaction in progress");
                Ok("ROLLBACK".to_owned())
            }
            Transaction::Commit | Transaction::Rollback => self.end("ROLLBACK", stops).await,
            Transaction::Savepoint(_) | Transaction::Release(_) | Transaction::RollbackTo(_)
                if self.status == TransactionStatus::Idle =>
            {
                let message = "savepoints can only be used in transaction blocks";
                Err(Error::bad_input(message).with_sqlstate("25P01").into())
            }
            Transaction::Savepoint(name) => {
                if self.savepoints.len() >= MAX_SAVEPOINTS {
                    let message = format!("more than {MAX_SAVEPOINTS} savepoints; release some");
                    return Err(Error::new(Kind::TooLarge, message).with_sqlstate("53400").into());
                }
                self.savepoints.push(name.clone());
                Ok("SAVEPOINT".to_owned())
            }
            Transaction::Release(name) => {
                let at = self.savepoint(name)?;
                self.savepoints.truncate(at);
                Ok("RELEASE".to_owned())
            }
            Transaction::RollbackTo(name) => {
                let at = self.savepoint(name)?;
                self.savepoints.truncate(at + 1);
                self.status = TransactionStatus::Transaction;
                Ok("ROLLBACK".to_owned())
            }
        }
    }

    async fn end(&mut self, command: &str, stops: &Stops) -> Result<String, Halt> {
        let tag = self.engine_command(command, stops).await?;
        self.status = TransactionStatus::Idle;
        self.savepoints.clear();
        self.named.end_transaction();
        self.style = super::settings::text_style(&self.session)?;
        Ok(tag)
    }

    fn savepoint(&self, name: &str) -> Result<usize, Error> {
        self.savepoints.iter().rposition(|open| open == name).ok_or_else(|| {
            Error::new(Kind::NotFound, format!("savepoint \"{name}\" does not exist")).with_sqlstate("3B001")
        })
    }
}

/// Most savepoints of a transaction: their names are all that they hold.
const MAX_SAVEPOINTS: usize = 10_000;

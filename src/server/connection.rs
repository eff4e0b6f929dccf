//! One client's session: its messages in order, its state, and what is said when something fails.

use pgwire::messages::response::TransactionStatus;
use tokio_util::sync::CancellationToken;

use super::audited::Audited;
use super::backend::Severity;
use super::frontend::Frontend;
use super::rights::Standing;
use super::statement::Named;
use super::wire::{FLUSH_BYTES, Halt, Stops, Wire, shutting_down};
use crate::engine::{Doing, Registration, Session};
use crate::error::Error;
use crate::pg::TextStyle;

/// A session of the PostgreSQL protocol, from its first statement to its end.
pub(super) struct Connection {
    pub(super) wire: Wire,
    pub(super) session: Session,
    pub(super) registration: Registration,
    pub(super) standing: Standing,
    pub(super) shutdown: CancellationToken,
    pub(super) status: TransactionStatus,
    /// Names of the open savepoints, oldest first.
    pub(super) savepoints: Vec<String>,
    pub(super) named: Named,
    pub(super) style: TextStyle,
    /// Values of the settings that the client was told, in the order of `settings::REPORTED`.
    pub(super) reported: Vec<String>,
    pub(super) audited: Audited,
}

impl Connection {
    /// Serves the client until it leaves, the server stops, or it breaks the protocol.
    pub(super) async fn serve(mut self) {
        match self.serve_messages().await {
            Ok(()) | Err(Halt::Gone) => {}
            Err(Halt::Statement(error) | Halt::Fatal(error)) => {
                self.wire.put_error(&error, Severity::Fatal);
                // The client may be the one that does not read; the listener bounds the wait.
                let _ = self.wire.flush().await;
            }
        }
    }

    async fn serve_messages(&mut self) -> Result<(), Halt> {
        let shutdown = self.shutdown.clone();
        self.wire.put_ready(self.status);
        self.wire.flush().await?;
        let mut skip_to_sync = false;
        loop {
            let (kind, body) = tokio::select! {
                biased;
                () = shutdown.cancelled() => return Err(Halt::Fatal(shutting_down())),
                message = self.wire.read_message() => message?,
            };
            let message = Frontend::decode(kind, body);
            match message {
                Ok(Frontend::Terminate) => return Ok(()),
                Ok(Frontend::Sync) => {
                    skip_to_sync = false;
                    self.sync().await?;
                }
                Ok(Frontend::Query(text)) => {
                    skip_to_sync = false;
                    self.query(text).await?;
                }
                Ok(Frontend::Flush) => self.wire.flush().await?,
                Ok(_) if skip_to_sync => {}
                Ok(message) => skip_to_sync = !self.extended(message).await?,
                Err(error) if skip_to_sync => drop(error),
                Err(error) => {
                    self.fail(&error);
                    skip_to_sync = kind != b'Q';
                    if kind == b'Q' {
                        self.ready().await?;
                    }
                }
            }
            if self.wire.output.len() >= FLUSH_BYTES {
                self.wire.flush().await?;
            }
        }
    }

    /// Starts a statement: what stops it is watched until [`Registration::end`].
    pub(super) fn begin(&self) -> Stops {
        Stops { cancel: self.registration.begin(), shutdown: self.shutdown.clone() }
    }

    /// Says that a statement failed, and fails the open transaction with it.
    pub(super) fn fail(&mut self, error: &Error) {
        self.wire.put_error(error, Severity::Error);
        if self.status == TransactionStatus::Transaction {
            self.status = TransactionStatus::Error;
        }
    }

    /// Says that the next statement may come, and writes everything out.
    pub(super) async fn ready(&mut self) -> Result<(), Halt> {
        self.report_settings();
        self.registration.rests(match self.status {
            TransactionStatus::Idle => Doing::Idle,
            TransactionStatus::Transaction => Doing::IdleInTransaction,
            TransactionStatus::Error => Doing::IdleInFailedTransaction,
        });
        self.wire.put_ready(self.status);
        self.wire.flush().await
    }

    /// Answers an extended-protocol message; `false` when it failed and the rest up to `Sync` is to be passed over.
    async fn extended(&mut self, message: Frontend) -> Result<bool, Halt> {
        let stops = self.begin();
        let answered = match self.take_rights() {
            Ok(()) => self.answer(message, &stops).await,
            Err(error) => Err(error.into()),
        };
        self.registration.end();
        match answered {
            Ok(()) => Ok(true),
            Err(Halt::Statement(error)) => {
                self.fail(&error);
                Ok(false)
            }
            Err(other) => Err(other),
        }
    }

    async fn sync(&mut self) -> Result<(), Halt> {
        if self.status == TransactionStatus::Idle {
            self.named.end_transaction();
        }
        self.ready().await
    }
}

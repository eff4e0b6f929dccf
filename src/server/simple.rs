//! The simple protocol: a script in, each statement's answer out, as text.

use std::sync::Arc;
use std::time::Instant;

use super::audited::Sent;
use super::connection::Connection;
use super::execute::Started;
use super::sql::{Piece, split};
use super::statement::spread;
use super::wire::{Halt, Stops};
use crate::error::Error;
use pgwire::messages::response::{EmptyQueryResponse, TransactionStatus};

impl Connection {
    /// Answers a `Query` message, up to the statement that fails.
    pub(super) async fn query(&mut self, script: String) -> Result<(), Halt> {
        // The unnamed statement and portal end with the next simple query.
        self.named.drop_prepared("");
        self.named.drop_portal("");
        let stops = self.begin();
        self.registration.runs(&script);
        let answered = self.script(&script, &stops).await;
        self.registration.end();
        match answered {
            Ok(()) => {}
            Err(Halt::Statement(error)) => self.fail(&error),
            Err(other) => return Err(other),
        }
        if self.status == TransactionStatus::Idle {
            self.named.end_transaction();
        }
        self.ready().await
    }

    async fn script(&mut self, script: &str, stops: &Stops) -> Result<(), Halt> {
        let pieces = match split(script).map_err(Halt::from) {
            Ok(pieces) => pieces,
            Err(halt) => {
                let refused = Err(halt);
                self.audited.ended(script, Instant::now(), Sent::default(), &refused);
                return refused;
            }
        };
        if pieces.is_empty() {
            self.wire.put(&EmptyQueryResponse::new());
        }
        for piece in pieces {
            let (text, began) = (piece.text, Instant::now());
            self.wire.sent = Sent::default();
            let ended = self.piece(piece, stops).await;
            self.audited.ended(text, began, self.wire.sent, &ended);
            ended?;
        }
        Ok(())
    }

    async fn piece(&mut self, piece: Piece<'_>, stops: &Stops) -> Result<(), Halt> {
        self.take_rights()?;
        let prepared = Arc::new(self.prepare(piece.text, &[], Some(piece.offset_chars), stops).await?);
        if !prepared.parameters.is_empty() {
            let message = "there is no parameter $1: a simple query has none";
            return Err(Error::bad_input(message).with_sqlstate("42P02").into());
        }
        match self.start(&prepared, &[], stops).await? {
            Started::Done(tag) => self.wire.put_complete(tag),
            Started::Rows(mut cursor) => {
                let columns = cursor.columns().clone();
                let formats = spread(&[], columns.len())?;
                self.wire.put_columns(Some(&columns), &formats);
                let sent = cursor.send(&mut self.wire, stops, &formats, u64::MAX).await?;
                let tag = cursor.tag;
                self.wire.put_complete(counted(tag, sent));
            }
            Started::Copy(cursor, options) => self.copy_out(cursor, &options, stops).await?,
            Started::Fetch { cursor, count, rows_shown } => {
                if rows_shown {
                    let portal = self.named.portal(&cursor)?;
                    let columns = portal.columns();
                    let formats = spread(&portal.formats, columns.as_ref().map_or(0, |columns| columns.len()))?;
                    self.wire.put_columns(columns.as_deref(), &formats);
                }
                let (rows, _) = self.fetch(&cursor, count, rows_shown, None, stops).await?;
                self.wire.put_complete(counted(if rows_shown { "FETCH" } else { "MOVE" }, rows));
            }
        }
        Ok(())
    }
}

/// Adds the count to a tag that has one.
pub(super) fn counted(tag: &str, rows: u64) -> String {
    match tag {
        "SELECT" | "FETCH" | "MOVE" | "COPY" => format!("{tag} {rows}"),
        other => other.to_owned(),
    }
}

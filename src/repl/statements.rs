//! A text of SQL: its statements one after the other, what each gives, and transactions in which one failed.

use std::time::Instant;

use super::backend::Answer;
use super::notes;
use super::shell::Shell;
use super::splitter::Script;
use super::text::{Line, Style};
use crate::error::{Error, Result};
use crate::render::Expanded;

impl Shell {
    /// Runs a text of SQL and shows what it gives.
    pub async fn statement(&mut self, script: &Script) -> Result<()> {
        let done = self.statements(script).await;
        self.block_failed |= done.is_err() && self.backend.is_local() && self.backend.in_transaction();
        done
    }

    async fn statements(&mut self, script: &Script) -> Result<()> {
        let backend = self.backend.clone();
        for statement in backend.prepare(&script.text).await? {
            if self.block_failed {
                self.end_failed_block(statement.text()).await?;
                self.say(&[Line::of(Style::Plain, "ROLLBACK")])?;
                continue;
            }
            let started = Instant::now();
            match backend.run(&statement).await? {
                Answer::Rows { schema, stream, is_plan } => {
                    let expanded = if script.expanded { Expanded::On } else { self.expanded };
                    self.show_result(expanded, is_plan, schema, stream, started).await?;
                }
                Answer::Command(tag) => self.say(&[Line::of(Style::Plain, tag)])?,
            }
            if self.terminal.interactive && !self.is_live && !backend.in_transaction() {
                self.say(&notes::on_attributes(&backend, &self.names.load(), statement.text()).await)?;
            }
        }
        Ok(())
    }

    /// Ends a transaction in which a statement failed; only its end is taken, as in PostgreSQL.
    async fn end_failed_block(&mut self, text: &str) -> Result<()> {
        let word = text.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default().to_ascii_lowercase();
        if !["commit", "end", "rollback", "abort"].contains(&word.as_str()) {
            let message = "current transaction is aborted, commands ignored until end of transaction block";
            return Err(Error::bad_input(message).with_sqlstate("25P02").with_hint("ROLLBACK ends it"));
        }
        self.block_failed = false;
        for statement in self.backend.prepare("ROLLBACK").await? {
            self.backend.run(&statement).await?;
        }
        Ok(())
    }
}

//! What the server says: errors and notices with their fields, column descriptions, completion.

use pgwire::messages::data::{NoData, RowDescription};
use pgwire::messages::response::{CommandComplete, ErrorResponse, NoticeResponse, ReadyForQuery, TransactionStatus};
use pgwire::messages::startup::ParameterStatus;

use super::row::{Column, Format};
use super::wire::Wire;
use crate::error::Error;

/// How bad an error is for the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Severity {
    Error,
    Fatal,
}

impl Wire {
    /// Says what went wrong.
    pub(super) fn put_error(&mut self, error: &Error, severity: Severity) {
        let severity = match severity {
            Severity::Error => "ERROR",
            Severity::Fatal => "FATAL",
        };
        let mut fields = vec![
            (b'S', severity.to_owned()),
            (b'V', severity.to_owned()),
            (b'C', error.sqlstate().to_owned()),
            (b'M', clean(&error.message)),
        ];
        if let Some(hint) = &error.hint {
            fields.push((b'H', clean(hint)));
        }
        if let Some(position) = error.position {
            fields.push((b'P', position.to_string()));
        }
        self.put(&ErrorResponse::new(fields));
    }

    /// Says something that is no error.
    pub(super) fn put_warning(&mut self, sqlstate: &str, message: &str) {
        self.put(&NoticeResponse::new(vec![
            (b'S', "WARNING".to_owned()),
            (b'V', "WARNING".to_owned()),
            (b'C', sqlstate.to_owned()),
            (b'M', clean(message)),
        ]));
    }

    /// Says that the next statement may come.
    pub(super) fn put_ready(&mut self, status: TransactionStatus) {
        self.put(&ReadyForQuery::new(status));
    }

    /// Says a statement's tag.
    pub(super) fn put_complete(&mut self, tag: impl Into<String>) {
        self.put(&CommandComplete::new(tag.into()));
    }

    /// Says what columns rows have, or that there are none.
    pub(super) fn put_columns(&mut self, columns: Option<&[Column]>, formats: &[Format]) {
        match columns {
            Some(columns) => {
                let described = columns.iter().zip(formats).map(|(column, format)| column.description(*format));
                self.put(&RowDescription::new(described.collect()));
            }
            None => self.put(&NoData::new()),
        }
    }

    /// Says the value of a session setting that clients follow.
    pub(super) fn put_parameter(&mut self, name: &str, value: &str) {
        self.put(&ParameterStatus::new(clean(name), clean(value)));
    }
}

/// A NUL would end the field early and shift all that follows.
fn clean(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

//! Where statements are run: the data directory that the shell was started on, or a server elsewhere.

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::ScalarValue;
use futures::StreamExt;

use super::remote::Remote;
use crate::engine::{Engine, Outcome, RowStream, Session, Statement};
use crate::error::{Error, Result};

/// A session somewhere.
pub enum Backend {
    Local { engine: Arc<Engine>, session: Session },
    Remote(Box<Remote>),
}

/// A statement that is ready to run.
pub enum Ready {
    Local(Statement),
    Remote(String),
}

/// What a statement gives.
pub enum Answer {
    Rows { schema: SchemaRef, stream: RowStream, is_plan: bool },
    Command(String),
}

impl Ready {
    /// The statement's own text.
    pub fn text(&self) -> &str {
        match self {
            Self::Local(statement) => &statement.text,
            Self::Remote(text) => text,
        }
    }
}

impl Backend {
    /// A new session of an engine.
    pub fn local(engine: &Arc<Engine>) -> Self {
        Self::Local { engine: engine.clone(), session: engine.session() }
    }

    /// A second session in the same place, so that what it does disturbs nothing in this one.
    pub async fn another(&self) -> Result<Self> {
        match self {
            Self::Local { engine, .. } => Ok(Self::local(engine)),
            Self::Remote(remote) => remote.another().await.map(|remote| Self::Remote(Box::new(remote))),
        }
    }

    /// Whether the statements of a failed transaction are for the shell to refuse; a server does that itself.
    pub fn is_local(&self) -> bool {
        matches!(self, Self::Local { .. })
    }

    pub fn in_transaction(&self) -> bool {
        match self {
            Self::Local { session, .. } => session.in_transaction(),
            Self::Remote(remote) => remote.in_transaction(),
        }
    }

    /// The zone in which times are shown.
    pub fn time_zone(&self) -> Result<String> {
        match self {
            Self::Local { session, .. } => session.setting("timezone"),
            Self::Remote(remote) => Ok(remote.time_zone().to_owned()),
        }
    }

    /// Splits a text into statements; a server is sent it as it is.
    pub async fn prepare(&self, text: &str) -> Result<Vec<Ready>> {
        match self {
            Self::Local { session, .. } => Ok(session.prepare(text).await?.into_iter().map(Ready::Local).collect()),
            Self::Remote(_) => Ok(vec![Ready::Remote(text.to_owned())]),
        }
    }

    /// Runs a statement.
    pub async fn run(&self, statement: &Ready) -> Result<Answer> {
        match (self, statement) {
            (Self::Local { session, .. }, Ready::Local(statement)) => answer(session, statement, &[]).await,
            (Self::Remote(remote), statement) => remote.run(statement.text()).await,
            (Self::Local { session, .. }, Ready::Remote(text)) => {
                let statements = session.prepare(text).await?;
                let [statement] = statements.as_slice() else { return Err(not_one()) };
                answer(session, statement, &[]).await
            }
        }
    }

    /// The columns that a query gives, without running it.
    pub async fn columns(&self, text: &str) -> Result<SchemaRef> {
        match self {
            Self::Local { session, .. } => {
                let schema = session.prepare(text).await?.into_iter().next().and_then(|statement| statement.schema);
                schema.ok_or_else(not_one)
            }
            Self::Remote(remote) => remote.columns(text).await,
        }
    }

    /// Runs one query of the shell's own, whose text bounds its result, and gives all its batches.
    pub async fn batches(&self, sql: &str, parameters: &[&str]) -> Result<Vec<RecordBatch>> {
        let answer = match self {
            Self::Local { session, .. } => {
                let statements = session.prepare(sql).await?;
                let [statement] = statements.as_slice() else { return Err(not_one()) };
                let values: Vec<ScalarValue> = parameters.iter().map(|text| ScalarValue::from(*text)).collect();
                answer(session, statement, &values).await?
            }
            Self::Remote(remote) => remote.run(&with_values(sql, parameters)).await?,
        };
        let Answer::Rows { mut stream, .. } = answer else {
            return Err(Error::internal("a query of the shell gives no rows"));
        };
        let mut batches = Vec::new();
        while let Some(batch) = stream.next().await {
            batches.push(batch?);
        }
        Ok(batches)
    }

    /// Stops what a server still does for this session. What runs here has stopped when its answer was dropped.
    pub async fn cancel(&self) {
        if let Self::Remote(remote) = self {
            remote.cancel().await;
        }
    }
}

async fn answer(session: &Session, statement: &Statement, values: &[ScalarValue]) -> Result<Answer> {
    match session.execute(statement, values).await? {
        Outcome::Rows(rows) => {
            Ok(Answer::Rows { schema: rows.schema, stream: rows.stream, is_plan: rows.tag == "EXPLAIN" })
        }
        Outcome::Command(tag) => Ok(Answer::Command(tag)),
    }
}

fn not_one() -> Error {
    Error::internal("a query of the shell is not one statement")
}

/// The query with its parameters written into it, the last first so that `$1` is not the beginning of `$10`.
fn with_values(sql: &str, parameters: &[&str]) -> String {
    let numbered = parameters.iter().enumerate().rev();
    numbered.fold(sql.to_owned(), |sql, (at, value)| sql.replace(&format!("${}", at + 1), &literal(value)))
}

/// A text as SQL writes it.
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_where_their_numbers_stood() {
        assert_eq!(with_values("a = $1 AND b LIKE $2", &["it's", "x%"]), "a = 'it''s' AND b LIKE 'x%'");
    }
}

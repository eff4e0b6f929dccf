//! Statements whose files others have deleted: tried once more with what the table is by then, as long as no row was sent.

use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use futures::future::ready;
use futures::stream::{self, StreamExt};

use super::execution::{Deadline, RowStream, ToRun};
use super::session::Session;
use crate::error::{Error, Kind, REPEAT, Result};
use crate::store::{Snapshot, missing_file};

/// What it takes to run a query, and to run it once more.
pub(super) struct Repeatable {
    pub session: Session,
    pub plan: ToRun,
    /// What the result's columns are shown as.
    pub shown: SchemaRef,
    pub deadline: Option<Deadline>,
}

/// Runs a statement. Where a file of its snapshot has left the table and is gone, it begins anew with a newer one before its first row, and
/// is ended with an error that says to repeat it after that.
pub(super) async fn run(statement: Repeatable) -> Result<(SchemaRef, RowStream)> {
    let statement = Arc::new(statement);
    let snapshot = statement.session.snapshot().await?;
    let (schema, rows) = match statement.start(snapshot.clone()).await {
        Ok((schema, rows)) => (schema, begun_anew_once(statement.clone(), snapshot, rows)),
        Err(error) => again(&statement, &snapshot, error).await?,
    };
    let rows = rows.then(move |batch| {
        let statement = statement.clone();
        async move {
            match batch {
                Err(error) => Err(told(&statement, error).await),
                batch => batch,
            }
        }
    });
    Ok((schema, Box::pin(rows)))
}

impl Repeatable {
    async fn start(&self, snapshot: Snapshot) -> Result<(SchemaRef, RowStream)> {
        self.session.start(self.plan.clone(), snapshot, &self.shown, self.deadline).await
    }
}

/// Rows of `snapshot`, or those of a newer one where none came of it.
fn begun_anew_once(statement: Arc<Repeatable>, snapshot: Snapshot, rows: RowStream) -> RowStream {
    let begun = stream::once(async move {
        match first_rows(rows).await {
            Ok(rows) => rows,
            Err(error) => match again(&statement, &snapshot, error).await {
                Ok((_, rows)) => rows,
                Err(error) => stream::once(ready(Err(error))).boxed(),
            },
        }
    });
    begun.flatten().boxed()
}

/// The same rows once the first of them have come, or the error that came in their place.
async fn first_rows(mut rows: RowStream) -> Result<RowStream> {
    while let Some(batch) = rows.next().await.transpose()? {
        if batch.num_rows() > 0 {
            return Ok(stream::once(ready(Ok(batch))).chain(rows).boxed());
        }
    }
    Ok(stream::empty().boxed())
}

/// Begins a statement anew if that is the answer to `error`, and gives the error back if not.
async fn again(statement: &Repeatable, pinned: &Snapshot, error: Error) -> Result<(SchemaRef, RowStream)> {
    let Some(newest) = newer(statement, &error).await else { return Err(error) };
    match statement.session.pin_instead(pinned, &newest) {
        true => statement.start(newest).await,
        false => Err(repeat(error)),
    }
}

/// What an error that ends a statement says: whether to repeat it.
async fn told(statement: &Repeatable, error: Error) -> Error {
    match error.sqlstate() != REPEAT && newer(statement, &error).await.is_some() {
        true => repeat(error),
        false => error,
    }
}

/// A snapshot without the file that `error` says is missing; `None` where it is about something else, or the file should be there.
async fn newer(statement: &Repeatable, error: &Error) -> Option<Snapshot> {
    let missing = missing_file(error)?;
    let newest = statement.session.newest().await.ok()?;
    (!newest.has(&missing)).then_some(newest)
}

fn repeat(cause: Error) -> Error {
    Error::new(Kind::Io, "a data file that the statement reads has left the table and was deleted")
        .with_sqlstate(REPEAT)
        .with_hint("repeat it; whoever compacts or redacts the table deletes replaced files after its keep_removed")
        .with_source(cause)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use async_trait::async_trait;
    use datafusion::arrow::util::pretty::pretty_format_batches;
    use futures::TryStreamExt;
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
    use opentelemetry_proto::tonic::trace::v1::span::Event;
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
    use prost::Message;

    use super::*;
    use crate::engine::{Engine, EngineSettings, Outcome};
    use crate::store::testing::append_export;
    use crate::store::{SnapshotSource, Store, StoreSettings, TableUrl};

    /// Noon of a day, in nanoseconds.
    const NOON_NS: u64 = 1_767_268_800_000_000_000;

    fn request(ids: std::ops::Range<u64>) -> ExportTraceServiceRequest {
        let text = |text: String| Some(AnyValue { value: Some(Value::StringValue(text)) });
        let span = |id: u64| Span {
            trace_id: u128::from(1 + id / 5).to_be_bytes().to_vec(),
            span_id: id.to_be_bytes().to_vec(),
            parent_span_id: if id.is_multiple_of(5) { Vec::new() } else { (id - 1).to_be_bytes().to_vec() },
            name: format!("operation {}", id % 3),
            start_time_unix_nano: NOON_NS + id * 1000,
            end_time_unix_nano: NOON_NS + id * 1000 + id % 97,
            attributes: vec![KeyValue { key: "k".into(), value: text(format!("v{}", id % 7)), ..KeyValue::default() }],
            events: vec![Event { time_unix_nano: NOON_NS, name: "here".into(), ..Event::default() }],
            ..Span::default()
        };
        let scope_spans = vec![ScopeSpans { spans: ids.map(span).collect(), ..ScopeSpans::default() }];
        ExportTraceServiceRequest { resource_spans: vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }] }
    }

    /// What a store saw some time ago.
    #[derive(Debug)]
    struct Behind {
        known: Snapshot,
        store: Arc<Store>,
    }

    #[async_trait]
    impl SnapshotSource for Behind {
        async fn snapshot(&self) -> Result<Snapshot> {
            Ok(self.known.clone())
        }

        async fn newest(&self) -> Result<Snapshot> {
            self.store.newest().await
        }
    }

    /// Two stores over the table in a directory.
    struct Two {
        table: tempfile::TempDir,
        _dirs: [tempfile::TempDir; 2],
        writer: Arc<Store>,
        other: Arc<Store>,
    }

    impl Two {
        async fn new(files: u64, rows: u64) -> Self {
            let folder = || tempfile::tempdir().expect("a directory");
            let (table, dirs) = (folder(), [folder(), folder()]);
            let table_url = Some(TableUrl::parse(&format!("file://{}", table.path().display())).expect("a URL"));
            let settings = StoreSettings {
                table_url,
                compact: false,
                keep_removed: Duration::ZERO,
                seal_after: Duration::from_secs(3600),
                ..StoreSettings::default()
            };
            let writer = Store::open(dirs[0].path(), settings.clone()).await.expect("a store");
            let other = Store::open(dirs[1].path(), settings).await.expect("a store");
            for file in 0..files {
                let payload = request(file * rows..(file + 1) * rows).encode_to_vec();
                append_export(&writer, payload.into()).await.expect("kept");
                writer.seal().await.expect("sealed");
            }
            Self { table, _dirs: dirs, writer, other }
        }

        /// An engine over what the other store sees now, and goes on to see.
        async fn behind(&self) -> Arc<Engine> {
            let known = self.other.newest().await.expect("a snapshot");
            engine(Arc::new(Behind { known, store: self.other.clone() }))
        }
    }

    fn engine(source: Arc<dyn SnapshotSource>) -> Arc<Engine> {
        Engine::new(source, EngineSettings::default()).expect("an engine")
    }

    async fn ask(session: &Session, sql: &str) -> Result<String> {
        let statement = session.prepare(sql).await?.remove(0);
        match session.execute(&statement, &[]).await? {
            Outcome::Rows(rows) => {
                let batches: Vec<_> = rows.stream.try_collect().await?;
                Ok(pretty_format_batches(&batches).expect("text").to_string())
            }
            Outcome::Command(tag) => Ok(tag),
        }
    }

    fn data_files(dir: &Path) -> Vec<std::path::PathBuf> {
        let days = std::fs::read_dir(dir).expect("a table").flatten().map(|day| day.path());
        let days = days.filter(|day| day.to_string_lossy().contains("date="));
        days.flat_map(|day| std::fs::read_dir(day).expect("a day").flatten().map(|file| file.path())).collect()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_statement_whose_files_are_gone_is_answered_from_those_that_took_their_place() {
        const STATEMENTS: [&str; 12] = [
            "SELECT count(*) FROM spans",
            "SELECT sum(duration_ns), min(span_name) FROM spans",
            "SELECT span_name, count(*), quantile(0.5)(duration_ns) FROM spans GROUP BY 1 ORDER BY 1",
            "SELECT DISTINCT span_name FROM spans ORDER BY 1",
            "SELECT DISTINCT unnest(map_keys(attributes)) FROM spans",
            "SELECT span_id FROM spans WHERE trace_id = '00000000000000000000000000000007' ORDER BY 1",
            "SELECT span_id, duration_ns FROM spans ORDER BY duration_ns DESC, span_id LIMIT 5",
            "SELECT count(*) FROM spans WHERE attributes['k'] = 'v3'",
            "SELECT attributes['k'], count(*) FROM spans GROUP BY 1 ORDER BY 1",
            "SELECT count(*) FROM spans c JOIN spans p ON c.trace_id = p.trace_id AND c.parent_span_id = p.span_id",
            "SELECT trace_id, span_count FROM traces.traces ORDER BY trace_id LIMIT 3",
            "SELECT count(*) FROM events WHERE event_name = 'here'",
        ];
        let two = Two::new(4, 100).await;
        let known = two.other.newest().await.expect("a snapshot");
        two.writer.compact().await.expect("compacted");
        assert_eq!(data_files(two.table.path()).len(), 1, "the four are gone");
        for sql in STATEMENTS {
            let behind = engine(Arc::new(Behind { known: known.clone(), store: two.other.clone() }));
            let expected = ask(&engine(two.writer.clone()).session(), sql).await.expect(sql);
            assert_eq!(ask(&behind.session(), sql).await.expect(sql), expected, "{sql}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_transaction_begins_anew_with_its_first_statement_and_is_to_be_repeated_after_that() {
        const SUM: &str = "SELECT sum(duration_ns) FROM spans";
        let two = Two::new(4, 100).await;
        let expected = ask(&engine(two.writer.clone()).session(), SUM).await.expect("a sum");
        let (first, later) = (two.behind().await.session(), two.behind().await.session());
        for session in [&first, &later] {
            ask(session, "BEGIN").await.expect("begun");
        }
        ask(&later, "SELECT count(*) FROM system.files").await.expect("a count");
        two.writer.compact().await.expect("compacted");
        assert_eq!(ask(&first, SUM).await.expect("a sum"), expected);
        assert!(ask(&first, "SELECT count(*) FROM system.files").await.expect("a count").contains("| 1 "));
        assert_eq!(ask(&first, SUM).await.expect("a sum"), expected);

        let error = ask(&later, SUM).await.expect_err("another statement has seen four files");
        assert_eq!((error.sqlstate(), error.kind), (REPEAT, Kind::Io), "{error}");
        assert!(error.hint.as_deref().is_some_and(|hint| hint.contains("repeat")), "{error:?}");
        ask(&later, "ROLLBACK").await.expect("ended");
        assert_eq!(ask(&later, SUM).await.expect("a sum"), expected);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_statement_that_has_sent_rows_is_ended_and_to_be_repeated() {
        let begin = async |two: &Two| {
            let session = two.behind().await.session();
            let statement = session.prepare("SELECT * FROM spans").await.expect("prepared").remove(0);
            match session.execute(&statement, &[]).await.expect("rows") {
                Outcome::Rows(rows) => rows,
                Outcome::Command(tag) => panic!("{tag}"),
            }
        };
        let two = Two::new(60, 2_000).await;
        let mut rows = begin(&two).await;
        let first = rows.stream.next().await.expect("a batch").expect("rows");
        assert!(first.num_rows() > 0);
        for file in data_files(two.table.path()) {
            std::fs::remove_file(file).expect("removed");
        }
        // As far as the table says they should be there.
        let rest: Result<Vec<_>> = rows.stream.try_collect().await;
        assert_eq!(rest.expect_err("gone").kind, Kind::Corrupt);

        let two = Two::new(60, 2_000).await;
        let mut rows = begin(&two).await;
        rows.stream.next().await.expect("a batch").expect("rows");
        two.writer.compact().await.expect("compacted");
        let rest: Result<Vec<_>> = rows.stream.try_collect().await;
        assert_eq!(rest.expect_err("gone").sqlstate(), REPEAT);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_file_that_should_be_there_is_damage_and_not_to_be_repeated() {
        let two = Two::new(4, 100).await;
        let session = two.behind().await.session();
        std::fs::remove_file(&data_files(two.table.path())[0]).expect("removed");
        let error = ask(&session, "SELECT sum(duration_ns) FROM spans").await.expect_err("damage");
        assert_eq!(error.kind, Kind::Corrupt, "{error}");
        assert!(error.message.contains("a data file cannot be read"), "{error}");
    }
}

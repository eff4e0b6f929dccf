//! The sample of real traces in a store, the ready-made reports over it, and their results.

use std::fs;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray};
use datafusion::arrow::datatypes::{Float64Type, Int64Type};
use spanhouse::engine::{Engine, EngineSettings, Outcome};
use spanhouse::otlp::{decode_export, json_to_protobuf};
use spanhouse::report::library::{READY_MADE, init};
use spanhouse::report::{Folder, Frame, bind};
use spanhouse::store::{Store, StoreSettings};
use tempfile::TempDir;

use super::truth::{self, Figures, Span};

/// 2023-01-29 08:42:00 UTC, when the sample begins, in nanoseconds.
pub const BEGIN_NS: i64 = 1_674_981_720_000_000_000;
pub const MINUTE_NS: i64 = 60_000_000_000;
/// The minute that is reported.
pub const NOW: Range<i64> = BEGIN_NS + MINUTE_NS..BEGIN_NS + 2 * MINUTE_NS;
/// The minute that it is compared with.
pub const BEFORE: Range<i64> = BEGIN_NS..BEGIN_NS + MINUTE_NS;
/// A time in which nothing happened, and nothing before either.
pub const NEVER: Range<i64> = 0..3600 * 1_000_000_000;
const ROUNDING: f64 = 1e-9;

/// The sample in a store, and as its JSON has it.
pub struct Sample {
    pub spans: Vec<Span>,
    engine: Arc<Engine>,
    reports: Folder,
    _folder: TempDir,
}

impl Sample {
    pub async fn load(data: &Path) -> Self {
        let file = data.join("trainticket.sample.jsonl");
        let folder = TempDir::new().expect("folder");
        let store = Store::open(folder.path(), StoreSettings::default()).await.expect("store");
        for request in fs::read_to_string(&file).expect("data").lines() {
            let payload = json_to_protobuf(request.as_bytes()).expect("OTLP JSON");
            let batch = decode_export(&payload).expect("OTLP").batch;
            store.append(payload.into(), batch).await.expect("appended");
        }
        let engine = Engine::new(store, EngineSettings::default()).expect("engine");
        let reports = ready_made(&folder.path().join("reports"));
        Self { spans: truth::spans(&file), engine, reports, _folder: folder }
    }

    /// The result of a ready-made report over a range of time.
    pub async fn report(&self, name: &str, range: &Range<i64>, values: &[(&str, &str)]) -> Frame {
        let given = values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let window = [("from", range.start), ("to", range.end)].map(|(name, ns)| (name.to_owned(), time_text(ns)));
        let report = self.reports.find(name).expect("known").report;
        let sql = bind(&report, &window.into_iter().chain(given).collect::<Vec<_>>()).expect("bound");
        let session = self.engine.session();
        let statements = session.prepare(&sql).await.unwrap_or_else(|error| panic!("{error} in {name}"));
        let Ok(Outcome::Rows(rows)) = session.execute(&statements[0], &[]).await else { panic!("{name} gave no rows") };
        Frame::collect(rows, 64 << 20).await.unwrap_or_else(|error| panic!("{error} in {name}"))
    }

    pub fn requests(&self) -> impl Iterator<Item = &Span> {
        self.spans.iter().filter(|span| span.is_request())
    }
}

/// All of them, as a person gets them.
pub fn ready_made(folder: &Path) -> Folder {
    let names: Vec<&str> = READY_MADE.iter().map(|report| report.name).collect();
    init(folder, &names).expect("written");
    Folder::open(folder)
}

/// A moment as RFC 3339.
fn time_text(ns: i64) -> String {
    chrono::DateTime::from_timestamp_nanos(ns).to_rfc3339_opts(chrono::SecondsFormat::Nanos, true)
}

pub fn texts(frame: &Frame, column: &str) -> Vec<Option<String>> {
    frame.texts(column).unwrap_or_else(|error| panic!("{error}"))
}

pub fn names(frame: &Frame, column: &str) -> Vec<String> {
    texts(frame, column).into_iter().map(|text| text.expect("not NULL")).collect()
}

pub fn values(frame: &Frame, column: &str) -> ArrayRef {
    frame.column(column).unwrap_or_else(|error| panic!("{error}"))
}

pub fn counts(frame: &Frame, column: &str) -> Vec<i64> {
    values(frame, column).as_primitive::<Int64Type>().iter().map(|count| count.expect("not NULL")).collect()
}

pub fn numbers(frame: &Frame, column: &str) -> Vec<Option<f64>> {
    values(frame, column).as_primitive::<Float64Type>().iter().collect()
}

pub fn assert_close(told: Option<f64>, wanted: f64, what: &str) {
    let told = told.unwrap_or_else(|| panic!("{what} is NULL"));
    assert!((told - wanted).abs() <= wanted.abs() * ROUNDING, "{what}: {told} and not {wanted}");
}

/// The p95 of a group, NULL where there is none.
pub fn assert_p95(told: Option<f64>, group: Option<&Figures>, what: &str) {
    match (told, group) {
        (Some(told), Some(group)) => assert!(group.is_quantile(0.95, told), "{what}: {told} of {group:?}"),
        (told, group) => assert!(told.is_none() && group.is_none(), "{what}: {told:?} of {group:?}"),
    }
}

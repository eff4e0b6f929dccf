//! What users see who do not see everything. The truth is a store that never received the rest: what is not seen is left out of what it is sent, and
//! what is masked is sent to it as it is shown.

mod attempts;
mod relations;
mod sessions;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Float64Type};
use datafusion::arrow::util::display::array_value_to_string;
use futures::TryStreamExt;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use prost::Message;
use spanhouse::engine::{Engine, EngineSettings, Masks, Outcome, Rights, Session, Sight};
use spanhouse::error::Result;
use spanhouse::generate::{Generator, Limit, Parameters};
use spanhouse::store::Store;

use crate::store_support::{append, open_uncompacted};

const SPANS: u64 = 2_000;
/// The services and zones that the guest sees.
const SERVICES: [&str; 6] = ["storefront-web", "gateway", "cart", "checkout", "payment", "catalog"];
const ZONES: [&str; 2] = ["eu-central-1a", "eu-central-1b"];
/// The keys that are masked, and what each begins with.
const MASKS: [(&str, &str); 6] = [
    ("user.*", "user."),
    ("HTTP.response.*", "http.response."),
    ("server.address", "server.address"),
    ("exception.*", "exception."),
    ("db.query.text", "db.query.text"),
    ("host.*", "host."),
];

/// How much of what a store received lies in files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stored {
    Nothing,
    Half,
    All,
}

/// A store of all spans, one of what the guest sees of them, and their engines.
struct Two {
    all: Arc<Engine>,
    seen: Arc<Engine>,
    _stores: [Arc<Store>; 2],
    _folders: [tempfile::TempDir; 2],
}

impl Two {
    async fn new(stored: Stored) -> Self {
        let requests: Vec<_> = requests().collect();
        let shown: Vec<_> = requests.iter().cloned().map(shown).collect();
        let folders = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
        let stores =
            [filled(folders[0].path(), &requests, stored).await, filled(folders[1].path(), &shown, stored).await];
        let [all, seen] = [0, 1].map(|at| engine(&stores[at]));
        Self { all, seen, _stores: stores, _folders: folders }
    }

    /// A session that sees some of all spans.
    fn guest(&self) -> Session {
        guest(&self.all)
    }

    /// Rows of a statement as the guest has them, which must be those of the store that received nothing else; also when its plan is known.
    async fn same(&self, sql: &str) -> Vec<String> {
        let truth = ask(&self.seen.session(), sql).await.unwrap_or_else(told);
        for _ in 0..2 {
            let guest = ask(&self.guest(), sql).await.unwrap_or_else(told);
            let first = guest.iter().zip(&truth).find(|(guest, truth)| !alike(guest, truth));
            assert!(
                guest.len() == truth.len() && first.is_none(),
                "{sql}: {} rows and {} rows, {first:?}",
                guest.len(),
                truth.len()
            );
        }
        truth
    }
}

/// Whether two rows say the same: the last digits of a sum of fractions depend on the order of its parts.
fn alike(row: &str, other: &str) -> bool {
    let near = |a: &str, b: &str| match (a.parse::<f64>(), b.parse::<f64>()) {
        (Ok(a), Ok(b)) => (a - b).abs() <= 2e-6 * a.abs().max(b.abs()),
        _ => false,
    };
    let (cells, others): (Vec<_>, Vec<_>) = (row.split(" | ").collect(), other.split(" | ").collect());
    cells.len() == others.len() && cells.iter().zip(&others).all(|(a, b)| a == b || near(a, b))
}

/// An error as a row.
fn told(error: spanhouse::error::Error) -> Vec<String> {
    vec![format!("{}: {error}", error.sqlstate())]
}

fn engine(store: &Arc<Store>) -> Arc<Engine> {
    Engine::new(store.clone(), EngineSettings::default()).expect("an engine")
}

fn guest(engine: &Arc<Engine>) -> Session {
    let session = engine.session();
    session.set_rights(Rights { is_admin: false, sight: Some(Arc::new(sight())), ..Rights::default() });
    session
}

fn sight() -> Sight {
    let set = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<BTreeSet<_>>();
    Sight {
        services: Some(set(&SERVICES)),
        resources: [("cloud.availability_zone".to_owned(), set(&ZONES))].into(),
        masks: Masks::new(MASKS.map(|(glob, _)| glob.to_owned())).expect("masks"),
    }
}

fn requests() -> impl Iterator<Item = ExportTraceServiceRequest> {
    let parameters = Parameters { limit: Limit::Spans(SPANS), batch_spans: 250, ..Parameters::default() };
    Generator::new(parameters)
        .map(|request| ExportTraceServiceRequest::decode(request.payload.as_slice()).expect("a request"))
}

/// What the guest sees of a request.
fn shown(mut request: ExportTraceServiceRequest) -> ExportTraceServiceRequest {
    request.resource_spans.retain(is_seen);
    for of_resource in &mut request.resource_spans {
        mask(of_resource.resource.iter_mut().flat_map(|resource| &mut resource.attributes));
        for of_scope in &mut of_resource.scope_spans {
            mask(of_scope.scope.iter_mut().flat_map(|scope| &mut scope.attributes));
            for span in &mut of_scope.spans {
                mask(&mut span.attributes);
                mask(span.events.iter_mut().flat_map(|event| &mut event.attributes));
                mask(span.links.iter_mut().flat_map(|link| &mut link.attributes));
            }
        }
    }
    request
}

fn is_seen(spans: &ResourceSpans) -> bool {
    let value = |key: &str| {
        let attributes = spans.resource.iter().flat_map(|resource| &resource.attributes);
        attributes.filter(|attribute| attribute.key == key).find_map(|attribute| match &attribute.value {
            Some(AnyValue { value: Some(Value::StringValue(text)) }) => Some(text.clone()),
            _ => None,
        })
    };
    let is_among = |key: &str, some: &[&str]| value(key).is_some_and(|value| some.contains(&value.as_str()));
    is_among("service.name", &SERVICES) && is_among("cloud.availability_zone", &ZONES)
}

fn mask<'a>(attributes: impl IntoIterator<Item = &'a mut KeyValue>) {
    for attribute in attributes {
        if MASKS.iter().any(|(_, beginning)| attribute.key.starts_with(beginning)) {
            attribute.value = Some(AnyValue { value: Some(Value::StringValue("***".into())) });
        }
    }
}

/// A store that received these requests, in several files where they are stored.
async fn filled(folder: &Path, requests: &[ExportTraceServiceRequest], stored: Stored) -> Arc<Store> {
    let store = open_uncompacted(folder).await;
    for (at, request) in requests.iter().enumerate() {
        append(&store, Bytes::from(request.encode_to_vec())).await.expect("kept");
        let is_last = at + 1 == requests.len();
        let seals = match stored {
            Stored::Nothing => false,
            Stored::Half => at % 3 == 2 && !is_last,
            Stored::All => at % 4 == 3 || is_last,
        };
        if seals {
            store.seal().await.expect("sealed");
        }
    }
    store
}

/// The rows of a statement in the order of their texts.
async fn ask(session: &Session, sql: &str) -> Result<Vec<String>> {
    let statement = session.prepare(sql).await?.remove(0);
    let Outcome::Rows(rows) = session.execute(&statement, &[]).await? else { return Ok(Vec::new()) };
    let batches: Vec<RecordBatch> = rows.stream.try_collect().await?;
    let text = |batch: &RecordBatch, row: usize| {
        let schema = batch.schema();
        let cells = batch.columns().iter().zip(schema.fields()).map(|(column, field)| cell(field.name(), column, row));
        cells.collect::<Vec<_>>().join(" | ")
    };
    let mut rows: Vec<String> =
        batches.iter().flat_map(|batch| (0..batch.num_rows()).map(move |row| text(batch, row))).collect();
    rows.sort_unstable();
    Ok(rows)
}

/// A value as text. Which attributes a table has columns for is told by all of its spans, and decides about the order of a map's entries and of the
/// letters of their types; sums of fractions end with the digits that the order of their rows gives them.
fn cell(name: &str, column: &ArrayRef, row: usize) -> String {
    if column.is_null(row) {
        return String::new();
    }
    match column.data_type() {
        DataType::Float64 => format!("{:.6e}", column.as_primitive::<Float64Type>().value(row)),
        DataType::Map(..) => {
            let entries: ArrayRef = Arc::new(column.as_map().value(row));
            let mut entries: Vec<String> =
                (0..entries.len()).map(|entry| array_value_to_string(&entries, entry).expect("text")).collect();
            entries.sort_unstable();
            entries.join(", ")
        }
        _ if name.ends_with("attribute_types") => {
            let mut letters: Vec<char> = array_value_to_string(column, row).expect("text").chars().collect();
            letters.sort_unstable();
            letters.into_iter().collect()
        }
        _ => array_value_to_string(column, row).expect("text"),
    }
}

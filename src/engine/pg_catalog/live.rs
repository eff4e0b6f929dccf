//! Relations whose rows are made when a statement runs: sessions, settings, roles, and the sizes of ours.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};

use chrono::{DateTime, Utc};
use datafusion::arrow::array::{
    ArrayRef, AsArray, BooleanArray, Float64Array, Int32Array, Int64Array, ListBuilder, RecordBatch, StringArray,
    StringBuilder, TimestampNanosecondArray, UInt32Array, new_null_array,
};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{Float64Type, SchemaRef, UInt32Type};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::internal_datafusion_err;
use datafusion::error::Result;
use xxhash_rust::xxh3::xxh3_64;

use super::functions::OWNER;
use super::recorded;
use super::reg::Objects;
use crate::engine::activity::{Activity, Doing, Shown};
use crate::engine::catalog::TRACES;
use crate::engine::computed::Computed;
use crate::engine::rights::Sight;
use crate::engine::scan::PinnedSnapshot;
use crate::engine::session_data::ThisSession;

/// The lists of columns: `name: column type, column type`.
const LIST: &str = include_str!("../../../schema/pg_catalog/live.txt");

/// The relations by name. `classes` is `pg_class` without counts of rows.
pub(super) fn tables(
    activity: &Arc<Activity>,
    objects: &Arc<Objects>,
    classes: &RecordBatch,
) -> Vec<(&'static str, Arc<dyn TableProvider>)> {
    let mut tables = Vec::new();
    for (name, schema) in super::empty::read(LIST) {
        let (activity, objects) = (activity.clone(), objects.clone());
        let table = match name {
            "pg_stat_activity" => {
                Computed::table(schema, move |schema, session| sessions(schema, session, &activity, &objects))
            }
            "pg_stat_database" => Computed::table(schema, move |schema, _| database(schema, &activity, &objects)),
            "pg_settings" => Computed::table(schema, settings),
            "pg_stat_user_tables" | "pg_stat_all_tables" => {
                Computed::table(schema, move |schema, session| user_tables(schema, &objects, spans(session)))
            }
            _ => Computed::table(schema, move |schema, _| roles(schema, &activity)),
        };
        tables.push((name, table));
    }
    let (objects, classes) = (objects.clone(), classes.clone());
    let counted = Computed::table(classes.schema(), move |_, session| counted(&classes, &objects, spans(session)));
    tables.push(("pg_class", counted));
    tables
}

/// Puts columns into their places; those without values are NULL.
fn fill(schema: &SchemaRef, rows: usize, columns: &[(&str, ArrayRef)]) -> Result<RecordBatch> {
    let column = |name: &str| columns.iter().find(|(known, _)| *known == name).map(|(_, values)| values);
    let filled = schema.fields().iter().map(|field| match column(field.name()) {
        Some(values) => Ok(cast(values, field.data_type())?),
        None => Ok(new_null_array(field.data_type(), rows)),
    });
    Ok(RecordBatch::try_new(schema.clone(), filled.collect::<Result<_>>()?)?)
}

fn texts<'a>(values: impl Iterator<Item = &'a str>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

fn times(values: impl Iterator<Item = Option<DateTime<Utc>>>) -> ArrayRef {
    let values: TimestampNanosecondArray = values.map(|at| at.and_then(|at| at.timestamp_nanos_opt())).collect();
    Arc::new(values.with_timezone("+00:00"))
}

/// What is shown of a statement to whom it is none of their business, as in PostgreSQL.
const NOT_FOR_OTHERS: &str = "<insufficient privilege>";

/// Who asks sees of other users' sessions that they are there; an admin sees all of them.
fn sessions(schema: &SchemaRef, state: &dyn Session, activity: &Activity, objects: &Objects) -> Result<RecordBatch> {
    let this = this_session(state)?;
    let (is_admin, own) = (this.rights().is_admin, this.process_id().and_then(|own| activity.user_of(own)));
    let shown = activity.shown();
    let rows = shown.len();
    let mine = |session: &Shown| is_admin || own.as_ref() == Some(&session.client.user);
    let of_mine = || shown.iter().map(|session| Some(session).filter(|session| mine(session)));
    let address = || of_mine().map(|session| session.and_then(|session| session.client.address));
    let addresses: StringArray = address().map(|at| at.map(|at| at.ip().to_canonical().to_string())).collect();
    let ports: Int32Array = address().map(|at| at.map(|at| i32::from(at.port()))).collect();
    let states: StringArray = of_mine().map(|session| session.map(|session| state_word(session.doing))).collect();
    let columns: [(&str, ArrayRef); 14] = [
        ("datid", Arc::new(UInt32Array::from(vec![objects.database; rows]))),
        ("datname", texts(shown.iter().map(|_| &*objects.database_name))),
        ("pid", Arc::new(shown.iter().map(|session| session.process_id).collect::<Int32Array>())),
        ("usesysid", Arc::new(shown.iter().map(|session| role_oid(&session.client.user)).collect::<UInt32Array>())),
        ("usename", texts(shown.iter().map(|session| session.client.user.as_str()))),
        ("application_name", texts(shown.iter().map(|session| session.application.as_str()))),
        ("client_addr", Arc::new(addresses)),
        ("client_port", Arc::new(ports)),
        ("backend_start", times(of_mine().map(|session| Some(session?.started)))),
        ("xact_start", times(of_mine().map(|session| session?.transaction_since))),
        ("query_start", times(of_mine().map(|session| session?.text_since))),
        ("state_change", times(of_mine().map(|session| Some(session?.changed)))),
        ("state", Arc::new(states)),
        ("query", texts(of_mine().map(|session| session.map_or(NOT_FOR_OTHERS, |session| session.text.as_str())))),
    ];
    let kinds = ("backend_type", texts(shown.iter().map(|_| "client backend")));
    fill(schema, rows, &columns.into_iter().chain([kinds]).collect::<Vec<_>>())
}

fn state_word(doing: Doing) -> &'static str {
    match doing {
        Doing::Idle => "idle",
        Doing::Runs => "active",
        Doing::IdleInTransaction => "idle in transaction",
        Doing::IdleInFailedTransaction => "idle in transaction (aborted)",
    }
}

fn database(schema: &SchemaRef, activity: &Activity, objects: &Objects) -> Result<RecordBatch> {
    let sessions = i32::try_from(activity.shown().len()).unwrap_or(i32::MAX);
    let columns: [(&str, ArrayRef); 3] = [
        ("datid", Arc::new(UInt32Array::from(vec![objects.database]))),
        ("datname", texts([&*objects.database_name].into_iter())),
        ("numbackends", Arc::new(Int32Array::from(vec![sessions]))),
    ];
    fill(schema, 1, &columns)
}

fn settings(schema: &SchemaRef, session: &dyn Session) -> Result<RecordBatch> {
    let this = this_session(session)?;
    let inner = this.0.lock().unwrap_or_else(PoisonError::into_inner);
    let shown: Vec<_> = inner.variables.shown().collect();
    let mut values = ListBuilder::new(StringBuilder::new());
    for setting in &shown {
        for value in setting.values {
            values.values().append_value(value);
        }
        values.append(!setting.values.is_empty());
    }
    let context = |fixed| if fixed { "internal" } else { "user" };
    let source = |changed| if changed { "session" } else { "default" };
    let columns: [(&str, ArrayRef); 10] = [
        ("name", texts(shown.iter().map(|setting| setting.name))),
        ("setting", texts(shown.iter().map(|setting| setting.value))),
        ("short_desc", texts(shown.iter().map(|setting| setting.note))),
        ("context", texts(shown.iter().map(|setting| context(setting.fixed)))),
        ("vartype", texts(shown.iter().map(|setting| setting.kind))),
        ("source", texts(shown.iter().map(|setting| source(setting.value != setting.default)))),
        ("enumvals", Arc::new(values.finish())),
        ("boot_val", texts(shown.iter().map(|setting| setting.default))),
        ("reset_val", texts(shown.iter().map(|setting| setting.default))),
        ("pending_restart", Arc::new(BooleanArray::from(vec![false; shown.len()]))),
    ];
    fill(schema, shown.len(), &columns)
}

fn this_session(state: &dyn Session) -> Result<Arc<ThisSession>> {
    let this = state.config().get_extension::<ThisSession>();
    this.ok_or_else(|| internal_datafusion_err!("a scan of what a session is shown without a session"))
}

/// What no role may, by its column.
const POWERS: [&str; 9] = [
    "rolbypassrls",
    "rolcreatedb",
    "rolcreaterole",
    "rolreplication",
    "rolsuper",
    "usebypassrls",
    "usecreatedb",
    "userepl",
    "usesuper",
];

/// The owner of all there is, and the users of open sessions: nobody else is known.
fn roles(schema: &SchemaRef, activity: &Activity) -> Result<RecordBatch> {
    let mut names: BTreeSet<String> = activity.shown().into_iter().map(|session| session.client.user).collect();
    names.insert(OWNER.1.to_owned());
    let (no, yes): (ArrayRef, ArrayRef) =
        (Arc::new(BooleanArray::from(vec![false; names.len()])), Arc::new(BooleanArray::from(vec![true; names.len()])));
    let oids: ArrayRef = Arc::new(names.iter().map(|name| role_oid(name)).collect::<UInt32Array>());
    let named = texts(names.iter().map(String::as_str));
    let unlimited: ArrayRef = Arc::new(Int32Array::from(vec![-1; names.len()]));
    let mut columns = vec![
        ("oid", oids.clone()),
        ("usesysid", oids),
        ("rolname", named.clone()),
        ("usename", named),
        ("rolconnlimit", unlimited),
        ("rolcanlogin", yes.clone()),
        ("rolinherit", yes),
    ];
    columns.extend(POWERS.iter().map(|power| (*power, no.clone())));
    fill(schema, names.len(), &columns)
}

/// A role's OID: its owner's own, and for others a number that their name always gives, above the OIDs of relations.
fn role_oid(name: &str) -> u32 {
    const ABOVE_RELATIONS: u32 = 0x4000_0000;
    match name == OWNER.1 {
        true => OWNER.0,
        false => (xxh3_64(name.as_bytes()) as u32 & (ABOVE_RELATIONS - 1)) | ABOVE_RELATIONS,
    }
}

/// The number of spans that the statement sees. Who does not see all of them is told nothing before they are counted.
fn spans(session: &dyn Session) -> Option<u64> {
    if Sight::of(session).is_some() {
        return None;
    }
    let pinned = session.config().get_extension::<PinnedSnapshot>()?;
    let stored: u64 = pinned.0.files.iter().map(|file| file.rows).sum();
    Some(stored + pinned.0.fresh.iter().map(|batch| batch.num_rows() as u64).sum::<u64>())
}

fn user_tables(schema: &SchemaRef, objects: &Objects, spans: Option<u64>) -> Result<RecordBatch> {
    let ours: Vec<_> = objects.relations.iter().filter(|(_, (of, _))| of == TRACES).collect();
    let live: Int64Array = ours
        .iter()
        .map(|(_, (_, name))| if name == "spans" { spans.and_then(|spans| i64::try_from(spans).ok()) } else { None })
        .collect();
    let columns: [(&str, ArrayRef); 4] = [
        ("relid", Arc::new(ours.iter().map(|(oid, _)| **oid).collect::<UInt32Array>())),
        ("schemaname", texts(ours.iter().map(|(_, (of, _))| of.as_str()))),
        ("relname", texts(ours.iter().map(|(_, (_, name))| name.as_str()))),
        ("n_live_tup", Arc::new(live)),
    ];
    fill(schema, ours.len(), &columns)
}

/// `pg_class` with the number of spans; what follows from them is not counted, which PostgreSQL writes as −1.
fn counted(classes: &RecordBatch, objects: &Objects, spans: Option<u64>) -> Result<RecordBatch> {
    let schema = classes.schema();
    let (oids, counts) = (schema.index_of("oid")?, schema.index_of("reltuples")?);
    let known = classes.column(counts).as_primitive::<Float64Type>();
    let oids = classes.column(oids).as_primitive::<UInt32Type>();
    let rows = oids.values().iter().zip(known.values()).map(|(oid, known)| match objects.relations.get(oid) {
        Some((of, name)) if of == TRACES && name == "spans" => spans.map_or(-1.0, |spans| spans as f64),
        Some((of, _)) if of == TRACES => -1.0,
        _ => *known,
    });
    let mut columns = classes.columns().to_vec();
    columns[counts] = Arc::new(rows.collect::<Float64Array>());
    recorded::with_classes(&RecordBatch::try_new(schema, columns)?, objects)
}

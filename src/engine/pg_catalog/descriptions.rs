//! What relations, their columns and functions are, as `\d+`, `\dt+` and `\df+` show it and inspectors read it from `pg_description`.
//!
//! The words stand in `schema/descriptions.txt`; those of functions in FROM before their queries, those of the planner's own
//! functions with the functions.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, AsArray, Int32Array, Int64Array, RecordBatch, StringArray, UInt32Array, new_null_array,
};
use datafusion::arrow::compute::{cast, concat_batches};
use datafusion::arrow::datatypes::{DataType, Int32Type, Int64Type, UInt32Type};
use datafusion::common::internal_datafusion_err;
use datafusion::error::Result;
use datafusion::execution::context::SessionContext;
use datafusion::logical_expr::{ColumnarValue, ScalarUDF};

use super::callable;
use super::functions::{function, of_oid};
use super::reg::Objects;

const TEXT: &str = include_str!("../../../schema/descriptions.txt");

/// The catalogue's own tables, which say what kind of object an OID is of.
const PG_CLASS: u32 = 1259;
const PG_PROC: u32 = 1255;

/// Descriptions by the object's OID and, for columns, their number.
type Texts = BTreeMap<(u32, i32), String>;

/// What is said of what there is.
#[derive(Debug)]
pub(super) struct Descriptions {
    ours: Texts,
    /// What PostgreSQL says of its own functions.
    theirs: Texts,
}

impl Descriptions {
    /// What is said of the relations in `attributes` (`pg_attribute`) and of the functions that can be called. PostgreSQL's own
    /// `pg_description` is `known`.
    pub(super) fn of(
        attributes: &RecordBatch,
        known: &RecordBatch,
        objects: &Objects,
        context: &SessionContext,
    ) -> Result<Self> {
        let (written, theirs) = (Written::read(TEXT), theirs(known)?);
        let mut all = Texts::new();
        for (oid, (schema, name)) in &objects.relations {
            if let Some(text) = written.relations.get(format!("{schema}.{name}").as_str()) {
                all.insert((*oid, 0), (*text).to_owned());
            }
        }
        let (relations, numbers) = (numbers_of(attributes, "attrelid")?, numbers_of(attributes, "attnum")?);
        let names = cast(column(attributes, "attname")?, &DataType::Utf8)?;
        for (at, name) in names.as_string::<i32>().iter().enumerate() {
            let Ok(oid) = u32::try_from(relations.value(at)) else { continue };
            let (Ok(number), Some((schema, relation))) =
                (i32::try_from(numbers.value(at)), objects.relations.get(&oid))
            else {
                continue;
            };
            if let Some(text) = name.and_then(|name| written.column(&format!("{schema}.{relation}"), name)) {
                all.insert((oid, number), text.to_owned());
            }
        }
        for (oid, name) in callable::all() {
            let text = callable::purpose(oid).or_else(|| written.functions.get(name).copied()).map(str::to_owned);
            let of_planner = || if theirs.contains_key(&(oid, 0)) { None } else { of_planner(context, name) };
            if let Some(text) = text.or_else(of_planner) {
                all.insert((oid, 0), text);
            }
        }
        Ok(Self { ours: all, theirs })
    }

    fn get(&self, oid: u32, number: i32) -> Option<&str> {
        let key = (oid, number);
        self.ours.get(&key).or_else(|| self.theirs.get(&key)).map(String::as_str)
    }

    /// The rows of `pg_description`: those that PostgreSQL has, and ours.
    pub(super) fn rows(&self, known: &RecordBatch, objects: &Objects) -> Result<RecordBatch> {
        let keys = || self.ours.keys();
        // 'pg_class'::regclass is the OID that the table has here.
        let here = |table: &str, otherwise: u32| {
            let mut tables = objects.relations.iter();
            let found = tables.find(|(_, (schema, name))| schema == "pg_catalog" && name == table);
            found.map_or(otherwise, |(oid, _)| *oid)
        };
        let (classes, functions) = (here("pg_class", PG_CLASS), here("pg_proc", PG_PROC));
        let class = |oid: &u32| if objects.relations.contains_key(oid) { classes } else { functions };
        let schema = known.schema();
        let columns = schema.fields().iter().map(|field| {
            let values: ArrayRef = match field.name().as_str() {
                "objoid" => Arc::new(keys().map(|(oid, _)| *oid).collect::<UInt32Array>()),
                "classoid" => Arc::new(keys().map(|(oid, _)| class(oid)).collect::<UInt32Array>()),
                "objsubid" => Arc::new(keys().map(|(_, number)| *number).collect::<Int32Array>()),
                "description" => Arc::new(self.ours.values().map(Some).collect::<StringArray>()),
                _ => new_null_array(field.data_type(), self.ours.len()),
            };
            Ok(cast(&values, field.data_type())?)
        });
        let ours = RecordBatch::try_new(schema.clone(), columns.collect::<Result<_>>()?)?;
        Ok(concat_batches(&schema, [known, &ours])?)
    }

    /// `obj_description` and `col_description`.
    pub(super) fn functions(self: &Arc<Self>) -> [ScalarUDF; 2] {
        let (of_objects, of_columns) = (self.clone(), self.clone());
        [
            of_oid("obj_description", 1..=2, move |oid| of_objects.get(oid, 0).map(str::to_owned)),
            function("col_description", 2..=2, DataType::Utf8, move |arguments| {
                let arrays = ColumnarValue::values_to_arrays(arguments)?;
                let (oids, numbers) = (cast(&arrays[0], &DataType::UInt32)?, cast(&arrays[1], &DataType::Int32)?);
                let pairs = oids.as_primitive::<UInt32Type>().iter().zip(numbers.as_primitive::<Int32Type>());
                let texts = pairs.map(|(oid, number)| of_columns.get(oid?, number?).map(str::to_owned));
                Ok(ColumnarValue::Array(Arc::new(texts.collect::<StringArray>())))
            }),
        ]
    }
}

/// What `pg_description` says of functions.
fn theirs(known: &RecordBatch) -> Result<Texts> {
    let (oids, classes) = (numbers_of(known, "objoid")?, numbers_of(known, "classoid")?);
    let texts = cast(column(known, "description")?, &DataType::Utf8)?;
    let rows = oids.values().iter().zip(classes.values()).zip(texts.as_string::<i32>());
    let of_functions = rows.filter(|((_, class), _)| **class == i64::from(PG_PROC));
    Ok(of_functions.filter_map(|((oid, _), text)| Some(((u32::try_from(*oid).ok()?, 0), text?.to_owned()))).collect())
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef> {
    batch.column_by_name(name).ok_or_else(|| internal_datafusion_err!("pg_catalog has no column {name}"))
}

/// A column of OIDs or numbers, whatever their width.
fn numbers_of(batch: &RecordBatch, name: &str) -> Result<Int64Array> {
    Ok(cast(column(batch, name)?, &DataType::Int64)?.as_primitive::<Int64Type>().clone())
}

/// What the planner's own functions say of themselves: their first sentence.
fn of_planner(context: &SessionContext, name: &str) -> Option<String> {
    let state = context.state();
    let scalar = state.scalar_functions().get(name).and_then(|function| function.documentation().cloned());
    let aggregate = || state.aggregate_functions().get(name).and_then(|function| function.documentation().cloned());
    let window = || state.window_functions().get(name).and_then(|function| function.documentation().cloned());
    let said = scalar.or_else(aggregate).or_else(window)?.description;
    let words = said.split_whitespace().collect::<Vec<_>>().join(" ");
    let sentence = words.split_once(". ").map_or(words.as_str(), |(first, _)| first).trim_end_matches('.');
    (!sentence.is_empty()).then(|| format!("{sentence}."))
}

/// The file by what its lines are of.
#[derive(Default)]
struct Written<'a> {
    relations: BTreeMap<&'a str, &'a str>,
    columns: BTreeMap<(&'a str, &'a str), &'a str>,
    functions: BTreeMap<&'a str, &'a str>,
}

impl<'a> Written<'a> {
    fn read(text: &'a str) -> Self {
        let (mut written, mut relation) = (Self::default(), "");
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let Some((name, says)) = line.split_once(": ") else { continue };
            if let Some(column) = name.strip_prefix("  ") {
                written.columns.insert((relation, column), says);
            } else if let Some(function) = name.strip_prefix("function ") {
                written.functions.insert(function, says);
            } else {
                relation = name;
                written.relations.insert(name, says);
            }
        }
        written
    }

    /// What is said of a column; what a tree has of its spans is said of these.
    fn column(&self, relation: &str, column: &str) -> Option<&'a str> {
        let of_spans = || self.columns.get(&("traces.spans", column)).filter(|_| relation == "traces.span_tree");
        self.columns.get(&(relation, column)).or_else(of_spans).copied()
    }
}

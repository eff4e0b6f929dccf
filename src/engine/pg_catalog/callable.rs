//! `pg_proc`: the functions that can be called, and of PostgreSQL's others only those by which its types are read and written.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{
    ArrayRef, AsArray, BooleanArray, Int32Array, ListBuilder, RecordBatch, StringArray, StringBuilder, UInt32Array,
    new_null_array,
};
use datafusion::arrow::compute::{cast, concat_batches, filter_record_batch};
use datafusion::arrow::datatypes::{DataType, Schema, UInt32Type};
use datafusion::common::internal_datafusion_err;
use datafusion::error::Result;

use super::functions::OWNER;
use crate::engine::catalog::TRACES;
use crate::engine::table_functions::{self, TableFunction};
use crate::pg::oid_of_name;

/// The list of functions.
const LIST: &str = include_str!("../../../schema/pg_catalog/functions.txt");

/// The first OID of functions that PostgreSQL does not have: above all of its own, below all relations'.
const FIRST_OF_OURS: u32 = 16_000;

/// The first OID of functions in FROM that are a query, in the order of their names.
const FIRST_IN_FROM: u32 = 16_200;

/// Columns of `pg_type` that name functions. Clients look these up, and nobody calls them.
const BY_TYPES: [&str; 7] = ["typinput", "typoutput", "typreceive", "typsend", "typmodin", "typmodout", "typanalyze"];

const ARGUMENT_NAMES: &str = "proargnames";

/// A function as clients see it.
struct Callable {
    kind: &'static str,
    name: &'static str,
    arguments: Cow<'static, str>,
    /// The same with the values that arguments have where a call gives none.
    declared: Cow<'static, str>,
    defaults: i32,
    result: &'static str,
    purpose: Option<&'static str>,
    /// Its SQL, of one that stands in FROM.
    source: Option<&'static str>,
}

static CALLABLE: LazyLock<BTreeMap<u32, Callable>> = LazyLock::new(|| {
    LIST.lines().filter_map(read).chain((FIRST_IN_FROM..).zip(table_functions::all().iter().map(in_from))).collect()
});

/// Reads a line of the list; `None` for a comment.
fn read(line: &'static str) -> Option<(u32, Callable)> {
    let (oid, rest) = line.split_once(' ')?;
    let (kind, rest) = rest.split_once(' ')?;
    let (name, rest) = rest.split_once('(')?;
    let (arguments, result) = rest.rsplit_once(") ")?;
    let arguments = Cow::from(arguments);
    let declared = arguments.clone();
    Some((
        oid.parse().ok()?,
        Callable { kind, name, arguments, declared, defaults: 0, result, purpose: None, source: None },
    ))
}

fn in_from(function: &'static TableFunction) -> Callable {
    let (mut arguments, mut declared, mut defaults) = (Vec::new(), Vec::new(), 0);
    for (name, of_type, default) in function.parameters() {
        let argument = format!("{name} {of_type}");
        declared.push(match default {
            Some(default) => {
                defaults += 1;
                format!("{argument} DEFAULT {default}")
            }
            None => argument.clone(),
        });
        arguments.push(argument);
    }
    Callable {
        kind: "f",
        name: &function.name,
        arguments: arguments.join(", ").into(),
        declared: declared.join(", ").into(),
        defaults,
        result: "SETOF record",
        purpose: Some(&function.purpose),
        source: Some(&function.source),
    }
}

/// The arguments of a function, as it is declared.
pub(super) fn arguments(oid: u32) -> Option<&'static str> {
    Some(CALLABLE.get(&oid).map_or("", |function| &function.declared))
}

/// The arguments of a function by which it is told from others.
pub(super) fn identity_arguments(oid: u32) -> Option<&'static str> {
    Some(CALLABLE.get(&oid).map_or("", |function| &function.arguments))
}

/// The result of a function, as it is declared.
pub(super) fn result(oid: u32) -> Option<&'static str> {
    CALLABLE.get(&oid).map(|function| function.result)
}

/// What a function is for, where that is known.
pub(super) fn purpose(oid: u32) -> Option<&'static str> {
    CALLABLE.get(&oid)?.purpose
}

/// The statement that would make a function, as `\sf` shows it; aggregates and windows have none.
pub(super) fn definition(oid: u32) -> Option<String> {
    let function = CALLABLE.get(&oid).filter(|function| function.kind == "f")?;
    if let Some(source) = function.source {
        let rest = source.strip_prefix("CREATE FUNCTION ")?;
        return Some(format!("CREATE OR REPLACE FUNCTION {TRACES}.{rest}\n"));
    }
    let schema = if oid < FIRST_OF_OURS { "pg_catalog" } else { TRACES };
    let Callable { name, declared, result, .. } = function;
    Some(format!(
        "CREATE OR REPLACE FUNCTION {schema}.{name}({declared})\n RETURNS {result}\n LANGUAGE internal\nAS $function${name}$function$\n"
    ))
}

/// Whether a function is offered to who looks for one.
pub(super) fn is_visible(oid: u32) -> bool {
    CALLABLE.contains_key(&oid)
}

/// All functions that can be called, by OID.
pub(super) fn all() -> impl Iterator<Item = (u32, &'static str)> {
    CALLABLE.iter().map(|(oid, function)| (*oid, function.name))
}

/// The functions that PostgreSQL does not have, by OID.
pub(super) fn ours() -> impl Iterator<Item = (u32, String)> {
    CALLABLE.range(FIRST_OF_OURS..).map(|(oid, function)| (*oid, function.name.to_owned()))
}

/// The rows of `pg_proc`, from those that PostgreSQL has. Ours lie in the schema `namespace`.
pub(super) fn listed(proc: &RecordBatch, types: &RecordBatch, namespace: u32) -> Result<RecordBatch> {
    let lacks = || internal_datafusion_err!("pg_proc has no OIDs");
    let oids = proc.column_by_name("oid").and_then(|oids| oids.as_primitive_opt::<UInt32Type>()).ok_or_else(lacks)?;
    let by_types: HashSet<u32> = BY_TYPES
        .iter()
        .filter_map(|name| types.column_by_name(name)?.as_primitive_opt::<UInt32Type>())
        .flat_map(|oids| oids.iter().flatten())
        .collect();
    let kept: BooleanArray =
        oids.values().iter().map(|oid| Some(CALLABLE.contains_key(oid) || by_types.contains(oid))).collect();
    let theirs = filter_record_batch(proc, &kept)?;
    let ours = rows_of_ours(proc, namespace)?;
    let schema = ours.schema();
    let columns = theirs.columns().iter().zip(schema.fields()).map(|(column, field)| {
        match column.data_type() == field.data_type() {
            true => column.clone(),
            false => new_null_array(field.data_type(), column.len()),
        }
    });
    let theirs = RecordBatch::try_new(schema.clone(), columns.collect())?;
    Ok(concat_batches(&schema, [&theirs, &ours])?)
}

fn rows_of_ours(proc: &RecordBatch, namespace: u32) -> Result<RecordBatch> {
    let ours: Vec<(u32, &Callable)> = CALLABLE.range(FIRST_OF_OURS..).map(|(oid, function)| (*oid, function)).collect();
    let ints = |value: &dyn Fn(&Callable) -> i32| {
        Arc::new(ours.iter().map(|(_, function)| value(function)).collect::<Int32Array>()) as ArrayRef
    };
    let texts = |value: &dyn Fn(&Callable) -> String| {
        Arc::new(ours.iter().map(|(_, function)| Some(value(function))).collect::<StringArray>()) as ArrayRef
    };
    let schema = nullable(proc);
    let mut columns = Vec::new();
    for field in schema.fields() {
        let values = match field.name().as_str() {
            "oid" => Arc::new(ours.iter().map(|(oid, _)| *oid).collect::<UInt32Array>()) as ArrayRef,
            "proname" | "prosrc" => texts(&|function| function.name.to_owned()),
            "pronamespace" => Arc::new(UInt32Array::from(vec![namespace; ours.len()])) as ArrayRef,
            "proowner" => Arc::new(UInt32Array::from(vec![OWNER.0; ours.len()])) as ArrayRef,
            // PostgreSQL's internal functions.
            "prolang" => ints(&|_| 12),
            "prokind" => texts(&|function| function.kind.to_owned()),
            "provolatile" => texts(&|_| "i".to_owned()),
            "proparallel" => texts(&|_| "s".to_owned()),
            "prorettype" => ints(&|function| type_oid(function.result) as i32),
            "pronargs" => ints(&|function| function.arguments().count() as i32),
            "proargtypes" => texts(&|function| {
                let oids = function.arguments().map(|(_, of_type)| type_oid(of_type).to_string());
                oids.collect::<Vec<_>>().join(" ")
            }),
            ARGUMENT_NAMES => names(&ours),
            "proretset" => {
                let gives_rows = |function: &Callable| function.result.starts_with("SETOF ");
                Arc::new(ours.iter().map(|(_, function)| Some(gives_rows(function))).collect::<BooleanArray>())
                    as ArrayRef
            }
            "pronargdefaults" => ints(&|function| function.defaults),
            "provariadic" | "proisstrict" | "prosecdef" | "proleakproof" => ints(&|_| 0),
            _ => new_null_array(field.data_type(), ours.len()),
        };
        columns.push(cast(&values, field.data_type())?);
    }
    Ok(RecordBatch::try_new(schema, columns)?)
}

impl Callable {
    /// Names and types of the arguments.
    fn arguments(&self) -> impl Iterator<Item = (&str, &str)> {
        let each = self.arguments.split([',', '(', ')']).map(str::trim).filter(|argument| !argument.is_empty());
        each.filter_map(|argument| argument.strip_prefix("VARIADIC ").unwrap_or(argument).split_once(' '))
    }
}

fn names(functions: &[(u32, &Callable)]) -> ArrayRef {
    let mut lists = ListBuilder::new(StringBuilder::new());
    for (_, function) in functions {
        function.arguments().for_each(|(name, _)| lists.values().append_value(name));
        lists.append(true);
    }
    Arc::new(lists.finish())
}

/// The OID of a type of the list, of its elements where a function gives rows.
fn type_oid(name: &str) -> u32 {
    match name.strip_prefix("SETOF ").unwrap_or(name) {
        "record" => 2249,
        "anyarray" => 2277,
        "anyelement" => 2283,
        "double precision[]" => 1022,
        name => oid_of_name(name).unwrap_or(0),
    }
}

/// PostgreSQL's own functions have a value in every column, and ours do not. The names of arguments are a list, which the crate has as text.
fn nullable(batch: &RecordBatch) -> Arc<Schema> {
    let schema = batch.schema();
    let fields = schema.fields().iter().map(|field| {
        let field = field.as_ref().clone().with_nullable(true);
        match field.name() == ARGUMENT_NAMES {
            true => field.with_data_type(DataType::new_list(DataType::Utf8, true)),
            false => field,
        }
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_list_is_read_and_its_types_are_known() {
        let lines = LIST.lines().filter(|line| !line.starts_with('#'));
        assert_eq!(
            lines.count() + table_functions::all().len(),
            CALLABLE.len(),
            "a line that cannot be read, or an OID twice"
        );
        for (oid, function) in CALLABLE.range(FIRST_OF_OURS..) {
            let types = function.arguments().map(|(_, of_type)| of_type).chain([function.result]);
            for of_type in types {
                assert_ne!(type_oid(of_type), 0, "{oid} {}: {of_type}", function.name);
            }
        }
    }
}

//! Names of objects and their OIDs, both ways: what PostgreSQL's types `regclass`, `regtype` and their kin read and show.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, ListBuilder, StringArray, StringBuilder, UInt32Array};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{ColumnarValue, ScalarUDF};

use super::functions::{OWNER, function, of_oid};
use super::recorded;
use crate::engine::catalog::{REPORTS, TRACES};
use crate::engine::recorded::Recorded;
use crate::error::{Error, Kind};
use crate::pg::oid_of_name;

/// The types that name objects.
pub(super) const KINDS: [&str; 6] = ["regclass", "regnamespace", "regproc", "regprocedure", "regrole", "regtype"];

/// The function that shows a list of types.
pub(super) const TYPE_NAMES: &str = "regtypenames";

/// Every object that has a name and an OID.
#[derive(Debug, Default)]
pub(super) struct Objects {
    pub(super) database: u32,
    pub(super) database_name: Arc<str>,
    /// Schema and name of each relation.
    pub(super) relations: BTreeMap<u32, (String, String)>,
    pub(super) namespaces: BTreeMap<u32, String>,
    pub(super) functions: BTreeMap<u32, String>,
    pub(super) types: BTreeMap<u32, String>,
    /// The tables that reports keep, which are not among `relations`.
    pub(super) recorded: Arc<Recorded>,
}

/// The functions that read and show names, and those that look without failing.
pub(super) fn functions(objects: &Arc<Objects>) -> Vec<ScalarUDF> {
    let mut functions = Vec::new();
    for kind in KINDS {
        let known = objects.clone();
        functions.push(reads(&format!("{kind}in"), move |name| {
            known.find(kind, name).map(Some).ok_or_else(|| missing(kind, name))
        }));
        let known = objects.clone();
        functions.push(of_oid(&format!("{kind}out"), 1..=1, move |oid| Some(known.show(kind, oid))));
    }
    functions.push(type_names(objects.clone()));
    for (name, kind) in [
        ("to_regclass", "regclass"),
        ("to_regnamespace", "regnamespace"),
        ("to_regproc", "regproc"),
        ("to_regrole", "regrole"),
        ("to_regtype", "regtype"),
    ] {
        let known = objects.clone();
        functions.push(reads(name, move |name| Ok(known.find(kind, name))));
    }
    functions
}

/// A function of a name, or of an OID, which it gives back.
fn reads(name: &str, find: impl Fn(&str) -> Result<Option<u32>> + Send + Sync + 'static) -> ScalarUDF {
    function(name, 1..=1, DataType::UInt32, move |arguments| {
        let arrays = ColumnarValue::values_to_arrays(&arguments[..1])?;
        let oids: ArrayRef = match arrays[0].data_type() {
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
                let names = cast(&arrays[0], &DataType::Utf8)?;
                let names: &StringArray = names.as_string();
                let oids: UInt32Array = names.iter().map(|name| name.map_or(Ok(None), &find)).collect::<Result<_>>()?;
                Arc::new(oids)
            }
            _ => cast(&arrays[0], &DataType::UInt32)?,
        };
        Ok(ColumnarValue::Array(oids))
    })
}

/// The names of types in a list of OIDs, however it is written: `23 25`, `{23,25}`.
fn type_names(objects: Arc<Objects>) -> ScalarUDF {
    let result = DataType::new_list(DataType::Utf8, true);
    function(TYPE_NAMES, 1..=1, result, move |arguments| {
        let arrays = ColumnarValue::values_to_arrays(&arguments[..1])?;
        let texts = cast(&arrays[0], &DataType::Utf8)?;
        let mut names = ListBuilder::new(StringBuilder::new());
        for text in texts.as_string::<i32>() {
            let oids = text.unwrap_or_default().split(|c: char| !c.is_ascii_digit());
            for oid in oids.filter_map(|digits| digits.parse().ok()) {
                names.values().append_value(objects.show("regtype", oid));
            }
            names.append(text.is_some());
        }
        Ok(ColumnarValue::Array(Arc::new(names.finish())))
    })
}

fn missing(kind: &str, name: &str) -> DataFusionError {
    let (message, state) = match kind {
        "regclass" => (format!("relation \"{name}\" does not exist"), "42P01"),
        "regnamespace" => (format!("schema \"{name}\" does not exist"), "3F000"),
        "regrole" => (format!("role \"{name}\" does not exist"), "42704"),
        "regtype" => (format!("type \"{name}\" does not exist"), "42704"),
        _ => (format!("function \"{name}\" does not exist"), "42883"),
    };
    DataFusionError::External(Box::new(Error::new(Kind::NotFound, message).with_sqlstate(state)))
}

impl Objects {
    fn find(&self, kind: &str, text: &str) -> Option<u32> {
        if let Ok(oid) = text.parse() {
            return Some(oid);
        }
        let words = words(text);
        let (schema, name) = match words.as_slice() {
            [name] => (None, name.as_str()),
            [schema, name] | [_, schema, name] => (Some(schema.as_str()), name.as_str()),
            _ => return None,
        };
        let named = |names: &BTreeMap<u32, String>| names.iter().find(|(_, known)| *known == name).map(|(oid, _)| *oid);
        match kind {
            "regclass" => schema.map_or_else(
                || self.relation(TRACES, name).or_else(|| self.relation("pg_catalog", name)),
                |schema| self.relation(schema, name),
            ),
            "regnamespace" => named(&self.namespaces),
            "regrole" => (name == OWNER.1).then_some(OWNER.0),
            "regtype" => {
                let plain = text.trim_start_matches("pg_catalog.");
                oid_of_name(plain).ok().filter(|oid| *oid != 0).or_else(|| {
                    let array = plain.strip_suffix("[]").map(|element| format!("_{element}"));
                    let name = array.as_deref().unwrap_or(name);
                    self.types.iter().find(|(_, known)| *known == name).map(|(oid, _)| *oid)
                })
            }
            // A procedure is named with its arguments.
            _ => named(&self.functions).or_else(|| {
                let name = text.split('(').next().unwrap_or_default().trim_start_matches("pg_catalog.");
                self.functions.iter().find(|(_, known)| *known == name).map(|(oid, _)| *oid)
            }),
        }
    }

    pub(super) fn relation(&self, schema: &str, name: &str) -> Option<u32> {
        if schema == REPORTS {
            return self.recorded.has(name).then(|| recorded::oid(name));
        }
        self.relations.iter().find(|(_, (of, known))| of == schema && known == name).map(|(oid, _)| *oid)
    }

    fn show(&self, kind: &str, oid: u32) -> String {
        let known = match kind {
            _ if oid == 0 => Some("-".to_owned()),
            "regclass" => self
                .relations
                .get(&oid)
                .map(|(schema, name)| match schema.as_str() {
                    TRACES | "pg_catalog" => name.clone(),
                    schema => format!("{schema}.{name}"),
                })
                .or_else(|| recorded::of_oid(self, oid).map(|name| format!("{REPORTS}.{name}"))),
            "regnamespace" => self.namespaces.get(&oid).cloned(),
            "regrole" => (oid == OWNER.0).then(|| OWNER.1.to_owned()),
            "regtype" => self.types.get(&oid).map(|name| type_shown(name)),
            _ => self.functions.get(&oid).cloned(),
        };
        known.unwrap_or_else(|| oid.to_string())
    }
}

/// A type's name in SQL, of its name in the catalogue.
fn type_shown(name: &str) -> String {
    if let Some(element) = name.strip_prefix('_') {
        return format!("{}[]", type_shown(element));
    }
    let shown = match name {
        "bool" => "boolean",
        "bpchar" => "character",
        "char" => "\"char\"",
        "float4" => "real",
        "float8" => "double precision",
        "int2" => "smallint",
        "int4" => "integer",
        "int8" => "bigint",
        "time" => "time without time zone",
        "timestamp" => "timestamp without time zone",
        "timestamptz" => "timestamp with time zone",
        "timetz" => "time with time zone",
        "varbit" => "bit varying",
        "varchar" => "character varying",
        other => other,
    };
    shown.to_owned()
}

/// The parts of a name between dots: as written in quotes, else in lower case.
fn words(text: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), String::new(), false);
    let mut chars = text.trim().chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '"' if quoted && chars.next_if_eq(&'"').is_some() => word.push('"'),
            '"' => quoted = !quoted,
            '.' if !quoted => words.push(std::mem::take(&mut word)),
            char if quoted => word.push(char),
            char => word.extend(char.to_lowercase()),
        }
    }
    words.push(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_postgresql_reads_them() {
        assert_eq!(words("Traces.Spans"), ["traces", "spans"]);
        assert_eq!(words("\"a.B\".\"c\"\"d\""), ["a.B", "c\"d"]);
    }

    #[test]
    fn objects_are_found_and_shown() {
        let objects = Objects {
            database: 5,
            database_name: "spanhouse".into(),
            relations: [(1, ("traces".into(), "spans".into())), (2, ("system".into(), "files".into()))].into(),
            types: [(23, "int4".into()), (1007, "_int4".into()), (2950, "uuid".into())].into(),
            functions: [(750, "array_in".into())].into(),
            namespaces: [(11, "pg_catalog".into())].into(),
            recorded: Arc::default(),
        };
        for (kind, name, oid, shown) in [
            ("regclass", "spans", Some(1), "spans"),
            ("regclass", "\"traces\".\"spans\"", Some(1), "spans"),
            ("regclass", "system.files", Some(2), "system.files"),
            ("regclass", "files", None, ""),
            ("regclass", "99", Some(99), "99"),
            ("regtype", "integer", Some(23), "integer"),
            ("regtype", "pg_catalog.int4", Some(23), "integer"),
            ("regtype", "_int4", Some(1007), "integer[]"),
            ("regtype", "uuid", Some(2950), "uuid"),
            ("regtype", "nonsense", None, ""),
            ("regproc", "pg_catalog.array_in", Some(750), "array_in"),
            ("regnamespace", "pg_catalog", Some(11), "pg_catalog"),
            ("regrole", "spanhouse", Some(10), "spanhouse"),
        ] {
            assert_eq!(objects.find(kind, name), oid, "{kind} {name}");
            if let Some(oid) = oid {
                assert_eq!(objects.show(kind, oid), shown, "{kind} {name}");
            }
        }
    }
}

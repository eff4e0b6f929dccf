//! Object identifiers as a type of their own: unsigned 32-bit numbers, which clients are told are `oid`.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, RecordBatch, UInt32Array};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::error::Result;
use datafusion::logical_expr::planner::TypePlanner;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature};
use datafusion::sql::sqlparser::ast::{self, ObjectNamePart};
use datafusion_pg_catalog::pg_catalog::oid_field::{OID_ALIAS_KEY, OID_ALIAS_TYPE_NAMES};
use datafusion_pg_catalog::pg_catalog::oid_type_planner::PgOidTypePlanner;

/// Columns of identifiers that the crate does not mark as such.
const UNMARKED: [&str; 10] = [
    "datdba",
    "dattablespace",
    "nspowner",
    "oid",
    "relam",
    "relfilenode",
    "relfrozenxid",
    "relminmxid",
    "relowner",
    "reltablespace",
];

/// The batch with its identifiers as `oid`.
pub(super) fn with_oids(batch: &RecordBatch) -> Result<RecordBatch> {
    let schema = batch.schema();
    let (mut fields, mut columns) = (Vec::new(), Vec::new());
    for (field, column) in schema.fields().iter().zip(batch.columns()) {
        let marked = field.metadata().contains_key(OID_ALIAS_KEY) || UNMARKED.contains(&field.name().as_str());
        let data_type = match field.data_type() {
            DataType::Int32 if marked => DataType::UInt32,
            other => other.clone(),
        };
        columns.push(cast(column, &data_type)?);
        fields.push(Field::new(field.name(), data_type, field.is_nullable()));
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

/// Puts OIDs for the names of functions, which the crate has as text; `-` stands for none.
pub(super) fn with_functions(batch: &RecordBatch, marked: &Schema, oid_of: &HashMap<&str, u32>) -> Result<RecordBatch> {
    let (mut fields, mut columns) = (Vec::new(), Vec::new());
    for ((field, column), marked) in batch.schema().fields().iter().zip(batch.columns()).zip(marked.fields()) {
        let kind = marked.metadata().get(OID_ALIAS_KEY);
        match (field.data_type(), kind.is_some_and(|kind| kind == "regproc")) {
            (DataType::Utf8, true) => {
                let names = column.as_string::<i32>().iter();
                let oids: UInt32Array =
                    names.map(|name| name.map(|name| oid_of.get(name).copied().unwrap_or(0))).collect();
                fields.push(Field::new(field.name(), DataType::UInt32, true));
                columns.push(Arc::new(oids) as ArrayRef);
            }
            _ => {
                fields.push(field.as_ref().clone());
                columns.push(column.clone());
            }
        }
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

/// Plans types that only catalogue queries name.
#[derive(Debug)]
pub(super) struct CatalogTypes;

impl TypePlanner for CatalogTypes {
    fn plan_type_field(&self, sql_type: &ast::DataType) -> Result<Option<Arc<Field>>> {
        match word(sql_type).as_deref() {
            Some(name) if OID_ALIAS_TYPE_NAMES.contains(&name) || matches!(name, "xid" | "cid") => {
                Ok(Some(Arc::new(Field::new("", DataType::UInt32, true))))
            }
            Some("name" | "cstring") => Ok(Some(Arc::new(Field::new("", DataType::Utf8, true)))),
            _ => PgOidTypePlanner.plan_type_field(sql_type),
        }
    }
}

/// A type's name in lower case, without `pg_catalog`.
pub(super) fn word(sql_type: &ast::DataType) -> Option<String> {
    match sql_type {
        ast::DataType::Regclass => Some("regclass".to_owned()),
        ast::DataType::Custom(name, modifiers) if modifiers.is_empty() => match name.0.last()? {
            ObjectNamePart::Identifier(name) => Some(name.value.to_ascii_lowercase()),
            _ => None,
        },
        _ => None,
    }
}

/// A function of the crate, which takes signed numbers, for identifiers as well.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct OverOids {
    inner: Arc<ScalarUDF>,
    signature: Signature,
    /// The types of its arguments, one list a number of arguments.
    takes: Vec<Vec<DataType>>,
}

impl OverOids {
    pub(super) fn of(inner: Arc<ScalarUDF>) -> Self {
        let mut takes: Vec<Vec<DataType>> = Vec::new();
        let alternatives = match &inner.signature().type_signature {
            TypeSignature::OneOf(alternatives) => alternatives.clone(),
            one => vec![one.clone()],
        };
        for alternative in alternatives {
            if let TypeSignature::Exact(types) = alternative
                && takes.iter().all(|known| known.len() != types.len())
            {
                takes.push(types);
            }
        }
        let counts = takes.iter().map(|types| TypeSignature::Any(types.len())).collect();
        let signature = Signature::one_of(counts, inner.signature().volatility);
        Self { inner, signature, takes }
    }
}

impl ScalarUDFImpl for OverOids {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let takes = self.takes.iter().find(|types| types.len() == args.args.len());
        for (value, wanted) in args.args.iter_mut().zip(takes.into_iter().flatten()) {
            *value = value.cast_to(wanted, None)?;
        }
        self.inner.inner().invoke_with_args(args)
    }
}

//! `information_schema`, and `DESCRIBE` and `SHOW` over it: DataFusion's, with PostgreSQL's columns and names for types.

use std::sync::{Arc, LazyLock};

use async_trait::async_trait;
use datafusion::arrow::array::{AsArray, StringArray};
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::catalog::information_schema::InformationSchemaProvider;
use datafusion::catalog::{MemTable, SchemaProvider, TableProvider};
use datafusion::common::ScalarValue;
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::error::Result;
use datafusion::execution::context::SessionContext;
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, LogicalPlanBuilder, Volatility, cast, create_udf, when,
};
use datafusion::prelude::{col, lit};

use super::catalog::{TRACES, database};
use super::pg_catalog;
use crate::pg::PgType;

/// The schema's name.
const INFORMATION_SCHEMA: &str = "information_schema";

/// The relations that are always empty.
static EMPTY: LazyLock<Vec<(&str, SchemaRef)>> =
    LazyLock::new(|| pg_catalog::read(include_str!("../../schema/information_schema/empty.txt")));
/// The relations that have more columns than DataFusion gives them.
static FULL: LazyLock<Vec<(&str, SchemaRef)>> =
    LazyLock::new(|| pg_catalog::read(include_str!("../../schema/information_schema/full.txt")));

/// Adds the schema to the engine's catalogue.
pub(super) fn install(context: &SessionContext) -> Result<()> {
    let state = context.state();
    let inner = InformationSchemaProvider::new(state.catalog_list().clone())
        .with_table_functions(state.table_functions().clone());
    let database = database(context);
    if let Some(catalog) = context.catalog(&database) {
        catalog.register_schema(INFORMATION_SCHEMA, Arc::new(InformationSchema { inner, database }))?;
    }
    Ok(())
}

/// The plan of a `DESCRIBE`, with its rows; any other plan as it is.
pub(super) fn described(plan: LogicalPlan) -> Result<LogicalPlan> {
    let LogicalPlan::DescribeTable(table) = &plan else { return Ok(plan) };
    let rows: Vec<_> = table
        .schema
        .fields()
        .iter()
        .map(|field| {
            let nullable = if field.is_nullable() { "YES" } else { "NO" };
            vec![lit(field.name().as_str()), lit(PgType::of(field.data_type()).name()), lit(nullable)]
        })
        .collect();
    let names = table.output_schema.fields().iter().enumerate();
    let columns: Vec<_> = names.map(|(at, field)| col(format!("column{}", at + 1)).alias(field.name())).collect();
    LogicalPlanBuilder::values(rows)?.project(columns)?.build()
}

/// Leaves the relations of `traces` in what `SHOW TABLES` lists.
pub(super) fn only_traces(plan: LogicalPlan) -> Result<LogicalPlan> {
    LogicalPlanBuilder::from(plan).filter(col("table_schema").eq(lit(TRACES)))?.build()
}

#[derive(Debug)]
struct InformationSchema {
    inner: InformationSchemaProvider,
    database: String,
}

#[async_trait]
impl SchemaProvider for InformationSchema {
    fn table_names(&self) -> Vec<String> {
        let mut names = self.inner.table_names();
        names.extend(EMPTY.iter().map(|(name, _)| (*name).to_owned()));
        names
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let name = name.to_ascii_lowercase();
        if let Some((_, schema)) = EMPTY.iter().find(|(empty, _)| *empty == name) {
            return Ok(Some(Arc::new(MemTable::try_new(schema.clone(), vec![Vec::new()])?)));
        }
        let table = self.inner.table(&name).await?;
        match (table, FULL.iter().find(|(full, _)| *full == name)) {
            (Some(table), Some((full, schema))) => Ok(Some(widened(full, table, schema, &self.database)?)),
            (table, _) => Ok(table),
        }
    }

    fn table_exist(&self, name: &str) -> bool {
        self.inner.table_exist(name) || EMPTY.iter().any(|(empty, _)| empty.eq_ignore_ascii_case(name))
    }
}

/// The table with all columns of `schema`: DataFusion's where it has them, and what we know of the others.
fn widened(
    name: &str,
    table: Arc<dyn TableProvider>,
    schema: &SchemaRef,
    database: &str,
) -> Result<Arc<dyn TableProvider>> {
    let known = table.schema();
    let columns = schema.fields().iter().map(|field| {
        let value = match (field.name().as_str(), known.field_with_name(field.name())) {
            // DataFusion counts from zero.
            ("ordinal_position", Ok(_)) => col("ordinal_position") + lit(1),
            (other, _) => match told(name, other, database) {
                Some(value) => value,
                None if known.field_with_name(other).is_ok() => col(other),
                None => lit(ScalarValue::Null),
            },
        };
        cast(value, field.data_type().clone()).alias(field.name())
    });
    let mut rows = LogicalPlanBuilder::scan(name, provider_as_source(table), None)?.project(columns)?;
    if name == "schemata" {
        let itself = schema.fields().iter().map(|field| match field.name().as_str() {
            "catalog_name" => lit(database),
            "schema_name" => lit(INFORMATION_SCHEMA),
            _ => lit(ScalarValue::Utf8(None)),
        });
        rows = rows.union(LogicalPlanBuilder::values(vec![itself.collect()])?.build()?)?;
    }
    Ok(Arc::new(ViewTable::new(rows.build()?, None)))
}

/// What is the same for all of ours, or follows from their types.
fn told(table: &str, column: &str, database: &str) -> Option<Expr> {
    Some(match (table, column) {
        ("columns", "data_type") => of_type("type_name", |pg_type| match pg_type {
            PgType::Array(_) => "ARRAY".to_owned(),
            other => other.name().to_owned(),
        }),
        ("columns", "udt_name") => of_type("udt_name", udt_name),
        ("columns", "udt_catalog") => lit(database),
        ("columns", "udt_schema") => lit("pg_catalog"),
        ("columns", "dtd_identifier") => cast(col("ordinal_position") + lit(1), DataType::Utf8),
        ("columns", "is_self_referencing" | "is_identity" | "identity_cycle" | "is_updatable")
        | ("tables", "is_insertable_into" | "is_typed") => lit("NO"),
        ("columns", "is_generated") => lit("NEVER"),
        // As in pg_class: what lists only tables lists all of ours.
        ("tables", "table_type") => {
            when(col("table_schema").eq(lit(INFORMATION_SCHEMA)), lit("VIEW")).otherwise(lit("BASE TABLE")).ok()?
        }
        _ => return None,
    })
}

/// A call that tells of the type in the column `data_type`.
fn of_type(name: &str, tells: fn(PgType) -> String) -> Expr {
    let implementation = move |arguments: &[ColumnarValue]| {
        let arrays = ColumnarValue::values_to_arrays(&arguments[..1])?;
        let names: StringArray =
            arrays[0].as_string::<i32>().iter().map(|text| text.map(|text| tells(pg_type(text)))).collect();
        Ok(ColumnarValue::Array(Arc::new(names)))
    };
    let text = vec![DataType::Utf8];
    create_udf(name, text, DataType::Utf8, Volatility::Immutable, Arc::new(implementation)).call(vec![col("data_type")])
}

/// The name that the catalogue has for a type.
fn udt_name(pg_type: PgType) -> String {
    let name = pg_type.name();
    let (element, prefix) = name.strip_suffix("[]").map_or((name, ""), |element| (element, "_"));
    let short = match element {
        "bigint" => "int8",
        "boolean" => "bool",
        "double precision" => "float8",
        "integer" => "int4",
        "real" => "float4",
        "smallint" => "int2",
        "time without time zone" => "time",
        "timestamp with time zone" => "timestamptz",
        "timestamp without time zone" => "timestamp",
        other => other,
    };
    format!("{prefix}{short}")
}

/// The type that Arrow has written as text. What Arrow cannot read back is nested.
fn pg_type(arrow: &str) -> PgType {
    arrow.parse::<DataType>().map_or(PgType::Jsonb, |data_type| PgType::of(&data_type))
}

//! `information_schema`, and `DESCRIBE` and `SHOW` over it: DataFusion's, with PostgreSQL's names for types.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::{AsArray, StringArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::catalog::information_schema::InformationSchemaProvider;
use datafusion::catalog::{SchemaProvider, TableProvider};
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::error::Result;
use datafusion::execution::context::SessionContext;
use datafusion::logical_expr::{ColumnarValue, LogicalPlan, LogicalPlanBuilder, ScalarUDF, Volatility, create_udf};
use datafusion::prelude::{col, lit};

use super::catalog::{CATALOG, TRACES};
use crate::pg::PgType;

/// The schema's name.
const INFORMATION_SCHEMA: &str = "information_schema";

/// Adds the schema to the engine's catalogue.
pub(super) fn install(context: &SessionContext) -> Result<()> {
    let state = context.state();
    let inner = InformationSchemaProvider::new(state.catalog_list().clone())
        .with_table_functions(state.table_functions().clone());
    if let Some(catalog) = context.catalog(CATALOG) {
        catalog.register_schema(INFORMATION_SCHEMA, Arc::new(InformationSchema { inner }))?;
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
}

#[async_trait]
impl SchemaProvider for InformationSchema {
    fn table_names(&self) -> Vec<String> {
        self.inner.table_names()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let table = self.inner.table(name).await?;
        match table {
            Some(table) if name.eq_ignore_ascii_case("columns") => Ok(Some(with_type_names(table)?)),
            table => Ok(table),
        }
    }

    fn table_exist(&self, name: &str) -> bool {
        self.inner.table_exist(name)
    }
}

/// The table with PostgreSQL's names in its column `data_type`.
fn with_type_names(table: Arc<dyn TableProvider>) -> Result<Arc<dyn TableProvider>> {
    let type_name = type_name();
    let columns: Vec<_> = table
        .schema()
        .fields()
        .iter()
        .map(|field| match field.name().as_str() {
            name @ "data_type" => type_name.call(vec![col(name)]).alias(name),
            name => col(name),
        })
        .collect();
    let plan = LogicalPlanBuilder::scan("columns", provider_as_source(table), None)?.project(columns)?.build()?;
    Ok(Arc::new(ViewTable::new(plan, None)))
}

fn type_name() -> ScalarUDF {
    let implementation = |arguments: &[ColumnarValue]| {
        let arrays = ColumnarValue::values_to_arrays(&arguments[..1])?;
        let names: StringArray = arrays[0].as_string::<i32>().iter().map(|text| text.map(name_of)).collect();
        Ok(ColumnarValue::Array(Arc::new(names)))
    };
    create_udf("type_name", vec![DataType::Utf8], DataType::Utf8, Volatility::Immutable, Arc::new(implementation))
}

/// PostgreSQL's name of a type that Arrow has written as text. What Arrow cannot read back is nested.
fn name_of(arrow: &str) -> &'static str {
    arrow.parse::<DataType>().map_or(PgType::Jsonb, |data_type| PgType::of(&data_type)).name()
}

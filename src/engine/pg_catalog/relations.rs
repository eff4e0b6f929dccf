//! The tables of `pg_catalog`. Our relations are known when the engine starts, so what describes them is made once, with
//! OIDs that do not depend on who asks first.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::{ArrayRef, AsArray, BooleanArray, Int32Array, RecordBatch, UInt32Array, new_null_array};
use datafusion::arrow::compute::{concat_batches, filter_record_batch};
use datafusion::arrow::datatypes::{DataType, Field, Int16Type, Schema, SchemaRef, UInt32Type};
use datafusion::catalog::{CatalogProviderList, MemTable, SchemaProvider, TableProvider};
use datafusion::datasource::TableType;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::context::SessionContext;
use datafusion_pg_catalog::pg_catalog::catalog_info::CatalogInfo;
use datafusion_pg_catalog::pg_catalog::context::EmptyContextProvider;
use datafusion_pg_catalog::pg_catalog::{PgCatalogSchemaProvider, PgCatalogStaticTables, PgCatalogTable};
use futures::TryStreamExt;

use super::oids::with_oids;
use super::{empty, ours};
use crate::engine::catalog::{CATALOG, SYSTEM, TRACES, VIEWS};
use crate::pg::PgType;

/// The schema's name.
const PG_CATALOG: &str = "pg_catalog";
/// Tables of our relations, made first and in the order that gives the OIDs.
const FIRST: [&str; 5] = ["pg_namespace", "pg_class", "pg_attribute", "pg_database", "pg_tables"];

/// `pg_catalog` as a schema.
#[derive(Debug)]
pub(super) struct PgCatalog {
    tables: BTreeMap<String, Arc<dyn TableProvider>>,
    oids: OidsByName,
}

impl PgCatalog {
    /// Describes the relations that `context` has now.
    pub(super) fn new(context: &SessionContext) -> Result<Self> {
        let listed = Listed(context.state().catalog_list().clone());
        let inner = PgCatalogSchemaProvider::try_new(
            listed.clone(),
            Arc::new(PgCatalogStaticTables::try_new()?),
            EmptyContextProvider,
        )?;
        let mut batches = BTreeMap::new();
        let names = FIRST.iter().map(|name| (*name).to_owned()).chain(inner.table_names());
        for name in names {
            if !batches.contains_key(&name) && !empty::is_empty(&name) {
                let batch = with_oids(&rows(&inner, context, &name)?)?;
                batches.insert(name, batch);
            }
        }
        let oids = OidsByName::new(&batches)?;
        mend(&mut batches, &listed, &oids)?;
        for (name, schema) in empty::IN_PG_CATALOG.iter() {
            batches.insert((*name).to_owned(), RecordBatch::new_empty(schema.clone()));
        }
        let mut tables: BTreeMap<String, Arc<dyn TableProvider>> = BTreeMap::new();
        for (name, batch) in batches {
            tables.insert(name, Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch]])?));
        }
        Ok(Self { tables, oids })
    }

    /// The SQL of our relations by OID.
    pub(super) fn definitions(&self) -> BTreeMap<u32, &'static str> {
        let sql = |name: &str| VIEWS.iter().find(|(view, _)| *view == name).map(|(_, sql)| sql.trim());
        let ours = self.oids.relations.iter().filter(|(_, (schema, _))| schema == TRACES);
        ours.filter_map(|(oid, (_, name))| Some((*oid, sql(name)?))).collect()
    }

    /// OIDs of the relations that are found without their schema.
    pub(super) fn visible(&self) -> Vec<u32> {
        let relations = self.oids.relations.iter();
        relations.filter(|(_, (schema, _))| schema == TRACES || schema == PG_CATALOG).map(|(oid, _)| *oid).collect()
    }
}

#[async_trait]
impl SchemaProvider for PgCatalog {
    fn table_names(&self) -> Vec<String> {
        self.tables.keys().cloned().collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        Ok(self.tables.get(&name.to_ascii_lowercase()).cloned())
    }

    fn table_exist(&self, name: &str) -> bool {
        self.tables.contains_key(&name.to_ascii_lowercase())
    }
}

/// Puts right what the crate says of our relations, types and functions.
fn mend(batches: &mut BTreeMap<String, RecordBatch>, listed: &Listed, oids: &OidsByName) -> Result<()> {
    if let Some(attributes) = batches.get_mut("pg_attribute") {
        *attributes = futures::executor::block_on(typed(attributes, listed, oids))?;
    }
    if let Some(classes) = batches.get_mut("pg_class") {
        *classes = with_nulls(classes, &["relacl", "reloptions"])?;
    }
    if let Some(databases) = batches.get_mut("pg_database") {
        *databases = only_ours(databases)?;
    }
    if let Some(proc) = batches.get_mut("pg_proc") {
        *proc = ours::add_ours(proc, oids.traces)?;
    }
    Ok(())
}

/// Returns all rows of a table of the crate.
fn rows(
    inner: &PgCatalogSchemaProvider<Listed, EmptyContextProvider>,
    context: &SessionContext,
    name: &str,
) -> Result<RecordBatch> {
    match inner.build_table_by_name(name)? {
        Some(PgCatalogTable::Dynamic(stream)) => {
            let batches = stream.execute(context.task_ctx()).try_collect::<Vec<_>>();
            // Names resolve in memory, so this never waits.
            Ok(concat_batches(stream.schema(), &futures::executor::block_on(batches)?)?)
        }
        Some(PgCatalogTable::Static(table)) => Ok(concat_batches(&table.schema(), table.data())?),
        Some(PgCatalogTable::Empty(table)) => Ok(RecordBatch::new_empty(table.schema())),
        None => Err(DataFusionError::Internal(format!("pg_catalog has no rows for {name}"))),
    }
}

/// What the OIDs of schemas and relations stand for.
#[derive(Debug)]
struct OidsByName {
    traces: u32,
    /// OID of a relation → its schema and name.
    relations: BTreeMap<u32, (String, String)>,
}

impl OidsByName {
    fn new(batches: &BTreeMap<String, RecordBatch>) -> Result<Self> {
        let table =
            |name: &str| batches.get(name).ok_or_else(|| DataFusionError::Internal(format!("{name} is missing")));
        let (spaces, classes) = (table("pg_namespace")?, table("pg_class")?);
        let names: BTreeMap<u32, String> =
            oids(spaces, "oid")?.values().iter().copied().zip(texts(spaces, "nspname")?).collect();
        let traces = names.iter().find(|(_, name)| *name == TRACES).map_or(0, |(oid, _)| *oid);
        let mut relations = BTreeMap::new();
        let (class_oids, spaces) = (oids(classes, "oid")?, oids(classes, "relnamespace")?);
        for (row, name) in texts(classes, "relname")?.into_iter().enumerate() {
            if let Some(schema) = names.get(&spaces.value(row)) {
                relations.insert(class_oids.value(row), (schema.clone(), name));
            }
        }
        Ok(Self { traces, relations })
    }
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef> {
    batch.column_by_name(name).ok_or_else(|| DataFusionError::Internal(format!("pg_catalog has no column {name}")))
}

fn oids(batch: &RecordBatch, name: &str) -> Result<UInt32Array> {
    Ok(column(batch, name)?.as_primitive::<UInt32Type>().clone())
}

fn texts(batch: &RecordBatch, name: &str) -> Result<Vec<String>> {
    Ok(column(batch, name)?.as_string::<i32>().iter().map(|text| text.unwrap_or_default().to_owned()).collect())
}

/// Gives every attribute the type that the wire sends it as.
async fn typed(attributes: &RecordBatch, listed: &Listed, known: &OidsByName) -> Result<RecordBatch> {
    let relations = oids(attributes, "attrelid")?;
    let numbers = column(attributes, "attnum")?.as_primitive::<Int16Type>().clone();
    let mut schemas: BTreeMap<u32, Option<SchemaRef>> = BTreeMap::new();
    let (mut types, mut modifiers) = (Vec::new(), Vec::new());
    for (relation, number) in relations.values().iter().zip(numbers.values()) {
        if let (false, Some((schema, name))) = (schemas.contains_key(relation), known.relations.get(relation)) {
            schemas.insert(*relation, listed.table_schema(CATALOG, schema, name).await?);
        }
        let field = schemas
            .get(relation)
            .and_then(Option::as_ref)
            .and_then(|schema| schema.fields().get(usize::try_from(*number - 1).ok()?).cloned());
        let pg_type = field.map_or(PgType::Text, |field| PgType::of(field.data_type()));
        types.push(pg_type.oid());
        modifiers.push(pg_type.modifier());
    }
    replace(
        attributes,
        &[("atttypid", Arc::new(UInt32Array::from(types))), ("atttypmod", Arc::new(Int32Array::from(modifiers)))],
    )
}

/// Adds columns of text arrays, all NULL, that clients name and the crate lacks.
fn with_nulls(batch: &RecordBatch, names: &[&str]) -> Result<RecordBatch> {
    let data_type = DataType::new_list(DataType::Utf8, true);
    let mut fields: Vec<Field> = batch.schema().fields().iter().map(|field| field.as_ref().clone()).collect();
    let mut columns = batch.columns().to_vec();
    for name in names {
        fields.push(Field::new(*name, data_type.clone(), true));
        columns.push(new_null_array(&data_type, batch.num_rows()));
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

/// Leaves the one database that there is.
fn only_ours(databases: &RecordBatch) -> Result<RecordBatch> {
    let ours: BooleanArray = texts(databases, "datname")?.iter().map(|name| Some(name == CATALOG)).collect();
    Ok(filter_record_batch(databases, &ours)?)
}

/// Puts other values into columns.
fn replace(batch: &RecordBatch, values: &[(&str, ArrayRef)]) -> Result<RecordBatch> {
    let mut columns = batch.columns().to_vec();
    for (name, array) in values {
        let index = batch.schema().index_of(name)?;
        columns[index] = array.clone();
    }
    Ok(RecordBatch::try_new(batch.schema(), columns)?)
}

/// The relations that clients see. All of ours are tables to them: what lists only tables lists them all.
#[derive(Debug, Clone)]
struct Listed(Arc<dyn CatalogProviderList>);

#[async_trait]
impl CatalogInfo for Listed {
    async fn catalog_names(&self) -> Result<Vec<String>> {
        Ok(vec![CATALOG.to_owned()])
    }

    async fn schema_names(&self, catalog: &str) -> Result<Option<Vec<String>>> {
        Ok((catalog == CATALOG).then(|| [TRACES, SYSTEM, PG_CATALOG, "information_schema"].map(str::to_owned).to_vec()))
    }

    async fn table_names(&self, catalog: &str, schema: &str) -> Result<Option<Vec<String>>> {
        self.0.table_names(catalog, schema).await
    }

    async fn table_schema(&self, catalog: &str, schema: &str, table: &str) -> Result<Option<SchemaRef>> {
        self.0.table_schema(catalog, schema, table).await
    }

    async fn table_type(&self, _catalog: &str, schema: &str, _table: &str) -> Result<Option<TableType>> {
        Ok(Some(if schema == TRACES || schema == SYSTEM { TableType::Base } else { TableType::View }))
    }
}

//! The tables of `pg_catalog`. Our relations are known when the engine starts, so what describes them is made once, with
//! OIDs that do not depend on who asks first; the tables that reports keep are added to it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::{
    ArrayRef, AsArray, BooleanArray, Int32Array, RecordBatch, StringArray, UInt32Array, new_null_array,
};
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

use super::descriptions::Descriptions;
use super::functions::OWNER;
use super::oids::{with_functions, with_oids};
use super::reg::Objects;
use super::{callable, empty, live, recorded};
use crate::engine::activity::Activity;
use crate::engine::catalog::{REPORTS, SYSTEM, TRACES, VIEWS, database};
use crate::engine::recorded::Recorded;
use crate::pg::PgType;

/// The schema's name.
const PG_CATALOG: &str = "pg_catalog";
/// Tables of our relations, made first and in the order that gives the OIDs.
const FIRST: [&str; 5] = ["pg_namespace", "pg_class", "pg_attribute", "pg_database", "pg_tables"];

/// `pg_catalog` as a schema.
#[derive(Debug)]
pub(super) struct PgCatalog {
    tables: BTreeMap<String, Arc<dyn TableProvider>>,
    objects: Arc<Objects>,
    descriptions: Arc<Descriptions>,
}

impl PgCatalog {
    /// Describes the relations that `context` has now.
    pub(super) fn new(context: &SessionContext, activity: &Arc<Activity>, recorded: &Arc<Recorded>) -> Result<Self> {
        let listed = Listed { catalogs: context.state().catalog_list().clone(), database: database(context).into() };
        let inner = PgCatalogSchemaProvider::try_new(
            listed.clone(),
            Arc::new(PgCatalogStaticTables::try_new()?),
            EmptyContextProvider,
        )?;
        let (mut batches, mut marked) = (BTreeMap::new(), BTreeMap::new());
        let names = FIRST.iter().map(|name| (*name).to_owned()).chain(inner.table_names());
        for name in names {
            if !batches.contains_key(&name) && !empty::is_empty(&name) {
                let batch = rows(&inner, context, &name)?;
                marked.insert(name.clone(), batch.schema());
                batches.insert(name, with_oids(&batch)?);
            }
        }
        let mut objects = Objects::of(&batches, &listed.database, recorded)?;
        objects.functions.extend(callable::ours());
        let objects = Arc::new(objects);
        // Of functions of one name, the first is meant.
        let functions: HashMap<&str, u32> =
            objects.functions.iter().rev().map(|(oid, name)| (name.as_str(), *oid)).collect();
        for (name, batch) in &mut batches {
            if let Some(schema) = marked.get(name) {
                *batch = with_functions(batch, schema, &functions)?;
            }
        }
        mend(&mut batches, &listed, &objects)?;
        let descriptions = describe(&mut batches, &objects, context)?;
        let classes = batches.get("pg_class").ok_or_else(|| DataFusionError::Internal("pg_class is missing".into()))?;
        let live = live::tables(activity, &objects, classes);
        let added = recorded::tables(&objects, |name| batches.get(name).cloned());
        for (name, schema) in empty::IN_PG_CATALOG.iter() {
            batches.insert((*name).to_owned(), RecordBatch::new_empty(schema.clone()));
        }
        let mut tables: BTreeMap<String, Arc<dyn TableProvider>> = BTreeMap::new();
        for (name, batch) in batches {
            tables.insert(name, Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch]])?));
        }
        for (name, table) in live.into_iter().chain(added) {
            tables.insert(name.to_owned(), table);
        }
        Ok(Self { tables, objects, descriptions: Arc::new(descriptions) })
    }

    /// The SQL of our relations by OID.
    pub(super) fn definitions(&self) -> BTreeMap<u32, &'static str> {
        let sql = |name: &str| VIEWS.iter().find(|(view, _)| *view == name).map(|(_, sql)| sql.trim());
        let ours = self.objects.relations.iter().filter(|(_, (schema, _))| schema == TRACES);
        ours.filter_map(|(oid, (_, name))| Some((*oid, sql(name)?))).collect()
    }

    /// What has a name and an OID.
    pub(super) fn objects(&self) -> &Arc<Objects> {
        &self.objects
    }

    /// What is said of relations, columns and functions.
    pub(super) fn descriptions(&self) -> &Arc<Descriptions> {
        &self.descriptions
    }

    /// OIDs of the relations that are found without their schema.
    pub(super) fn visible(&self) -> Vec<u32> {
        let relations = self.objects.relations.iter();
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
fn mend(batches: &mut BTreeMap<String, RecordBatch>, listed: &Listed, objects: &Objects) -> Result<()> {
    if let Some(attributes) = batches.get_mut("pg_attribute") {
        *attributes = futures::executor::block_on(typed(attributes, listed, objects))?;
    }
    if let Some(classes) = batches.get_mut("pg_class") {
        let owners = UInt32Array::from(vec![OWNER.0; classes.num_rows()]);
        *classes = with_nulls(&replace(classes, &[("relowner", Arc::new(owners))])?, &["relacl", "reloptions"])?;
    }
    if let Some(tables) = batches.get_mut("pg_tables") {
        let owners = StringArray::from(vec![OWNER.1; tables.num_rows()]);
        *tables = replace(tables, &[("tableowner", Arc::new(owners))])?;
    }
    if let Some(databases) = batches.get_mut("pg_database") {
        *databases = only_ours(databases, &listed.database)?;
    }
    if let Some(collations) = batches.get_mut("pg_collation") {
        // The crate has the name of a later PostgreSQL than the one that we say we are.
        *collations = renamed(collations, "colllocale", "colliculocale")?;
    }
    if let (Some(proc), Some(types)) = (batches.get("pg_proc"), batches.get("pg_type")) {
        let listed = callable::listed(proc, types, objects.namespace(TRACES))?;
        batches.insert("pg_proc".to_owned(), listed);
    }
    Ok(())
}

/// Adds what is said of our relations and functions to `pg_description`.
fn describe(
    batches: &mut BTreeMap<String, RecordBatch>,
    objects: &Objects,
    context: &SessionContext,
) -> Result<Descriptions> {
    let table = |name: &str| {
        batches.get(name).ok_or_else(|| DataFusionError::Internal(format!("{name} is missing from pg_catalog")))
    };
    let known = table("pg_description")?.clone();
    let descriptions = Descriptions::of(table("pg_attribute")?, &known, objects, context)?;
    batches.insert("pg_description".to_owned(), descriptions.rows(&known, objects)?);
    Ok(descriptions)
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

impl Objects {
    fn of(batches: &BTreeMap<String, RecordBatch>, ours: &Arc<str>, recorded: &Arc<Recorded>) -> Result<Self> {
        let named = |table: &str, column: &str| -> Result<BTreeMap<u32, String>> {
            let batch = batches.get(table).ok_or_else(|| DataFusionError::Internal(format!("{table} is missing")))?;
            Ok(oids(batch, "oid")?.values().iter().copied().zip(texts(batch, column)?).collect())
        };
        let (namespaces, names) = (named("pg_namespace", "nspname")?, named("pg_class", "relname")?);
        let classes = batches.get("pg_class").ok_or_else(|| DataFusionError::Internal("pg_class is missing".into()))?;
        let (class_oids, spaces) = (oids(classes, "oid")?, oids(classes, "relnamespace")?);
        let mut relations = BTreeMap::new();
        for (oid, space) in class_oids.values().iter().zip(spaces.values()) {
            if let (Some(schema), Some(name)) = (namespaces.get(space), names.get(oid)) {
                relations.insert(*oid, (schema.clone(), name.clone()));
            }
        }
        let (functions, types) = (named("pg_proc", "proname")?, named("pg_type", "typname")?);
        let databases = named("pg_database", "datname")?;
        let database = databases.iter().find(|(_, name)| **name == **ours).map_or(0, |(oid, _)| *oid);
        let database_name = ours.clone();
        Ok(Self { database, database_name, relations, namespaces, functions, types, recorded: recorded.clone() })
    }

    pub(super) fn namespace(&self, wanted: &str) -> u32 {
        self.namespaces.iter().find(|(_, name)| *name == wanted).map_or(0, |(oid, _)| *oid)
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
async fn typed(attributes: &RecordBatch, listed: &Listed, known: &Objects) -> Result<RecordBatch> {
    let relations = oids(attributes, "attrelid")?;
    let numbers = column(attributes, "attnum")?.as_primitive::<Int16Type>().clone();
    let mut schemas: BTreeMap<u32, Option<SchemaRef>> = BTreeMap::new();
    let (mut types, mut modifiers) = (Vec::new(), Vec::new());
    for (relation, number) in relations.values().iter().zip(numbers.values()) {
        if let (false, Some((schema, name))) = (schemas.contains_key(relation), known.relations.get(relation)) {
            schemas.insert(*relation, listed.table_schema(&listed.database, schema, name).await?);
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

fn renamed(batch: &RecordBatch, from: &str, to: &str) -> Result<RecordBatch> {
    let fields = batch
        .schema()
        .fields()
        .iter()
        .map(|field| match field.name() == from {
            true => field.as_ref().clone().with_name(to),
            false => field.as_ref().clone(),
        })
        .collect::<Vec<_>>();
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), batch.columns().to_vec())?)
}

/// Leaves the one database that there is.
fn only_ours(databases: &RecordBatch, ours: &str) -> Result<RecordBatch> {
    let ours: BooleanArray = texts(databases, "datname")?.iter().map(|name| Some(name == ours)).collect();
    Ok(filter_record_batch(databases, &ours)?)
}

/// Puts other values into columns.
pub(super) fn replace(batch: &RecordBatch, values: &[(&str, ArrayRef)]) -> Result<RecordBatch> {
    let mut columns = batch.columns().to_vec();
    for (name, array) in values {
        let index = batch.schema().index_of(name)?;
        columns[index] = array.clone();
    }
    Ok(RecordBatch::try_new(batch.schema(), columns)?)
}

/// The relations that clients see. All of ours are tables to them: what lists only tables lists them all.
#[derive(Debug, Clone)]
struct Listed {
    catalogs: Arc<dyn CatalogProviderList>,
    database: Arc<str>,
}

#[async_trait]
impl CatalogInfo for Listed {
    async fn catalog_names(&self) -> Result<Vec<String>> {
        Ok(vec![self.database.to_string()])
    }

    async fn schema_names(&self, catalog: &str) -> Result<Option<Vec<String>>> {
        Ok((*catalog == *self.database)
            .then(|| [TRACES, SYSTEM, PG_CATALOG, "information_schema", REPORTS].map(str::to_owned).to_vec()))
    }

    async fn table_names(&self, catalog: &str, schema: &str) -> Result<Option<Vec<String>>> {
        self.catalogs.table_names(catalog, schema).await
    }

    async fn table_schema(&self, catalog: &str, schema: &str, table: &str) -> Result<Option<SchemaRef>> {
        self.catalogs.table_schema(catalog, schema, table).await
    }

    async fn table_type(&self, _catalog: &str, schema: &str, _table: &str) -> Result<Option<TableType>> {
        Ok(Some(if [TRACES, SYSTEM, REPORTS].contains(&schema) { TableType::Base } else { TableType::View }))
    }
}

//! The schema as the planner sees it: names are looked up anew for each statement.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::{SchemaProvider, TableProvider};
use datafusion::datasource::TableType;
use datafusion::error::Result;

use super::table::{RecordedTable, external};
use super::{Recorded, RecordedTables};

/// The recorded tables by name.
#[derive(Debug)]
pub(in crate::engine) struct RecordedSchema(Arc<Recorded>);

impl RecordedSchema {
    pub fn of(recorded: &Arc<Recorded>) -> Self {
        Self(recorded.clone())
    }

    fn tables(&self) -> Option<&Arc<dyn RecordedTables>> {
        self.0.tables()
    }
}

#[async_trait]
impl SchemaProvider for RecordedSchema {
    fn table_names(&self) -> Vec<String> {
        // What cannot be read would end every statement that lists columns.
        self.0.listed().into_iter().map(|(name, _)| name).collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let Some(tables) = self.tables() else { return Ok(None) };
        let columns = tables.columns(name).map_err(external)?;
        let table = columns.map(|columns| RecordedTable::new(name, columns, tables.clone()));
        Ok(table.map(|table| Arc::new(table) as Arc<dyn TableProvider>))
    }

    async fn table_type(&self, name: &str) -> Result<Option<TableType>> {
        Ok(self.table_exist(name).then_some(TableType::Base))
    }

    fn table_exist(&self, name: &str) -> bool {
        // A table that cannot be read is there: its error says why.
        self.tables().is_some_and(|tables| !matches!(tables.columns(name), Ok(None)))
    }
}

//! The names that completion offers.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::backend::Backend;
use super::query;
use super::reports::ReportQuestion;
use crate::engine::{LibraryQuery, library};
use crate::error::Result;

/// Everything that has a name.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    pub relations: Vec<Relation>,
    pub functions: Vec<String>,
    /// Functions that stand in FROM.
    pub table_functions: Vec<TableFunction>,
    pub questions: Vec<Question>,
    pub reports: Vec<Question>,
    /// What SET, SHOW and RESET take.
    pub settings: Vec<String>,
    pub attribute_keys: Vec<Key>,
}

/// A key of attributes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The column of the map that has it.
    pub map: String,
    pub key: String,
}

/// A table or a view.
#[derive(Debug, Clone)]
pub struct Relation {
    pub schema: String,
    pub name: String,
    pub columns: Vec<String>,
}

/// A function that stands in FROM. Several may have one name.
#[derive(Debug, Clone)]
pub struct TableFunction {
    pub name: String,
    pub parameters: Vec<String>,
    /// Whether the first parameter is a text; it is a condition, or anything else, of another function of that name.
    pub takes_text: bool,
    pub columns: Vec<String>,
}

impl TableFunction {
    /// A function by its name, its parameters with their types and how many of these a call has to give. Its columns are not known yet.
    fn declared(name: &str, parameters: &str) -> Self {
        let parameters: Vec<(&str, &str)> =
            parameters.split(", ").filter_map(|parameter| parameter.split_once(' ')).collect();
        Self {
            name: name.to_owned(),
            takes_text: parameters.first().is_some_and(|(_, of_type)| *of_type == "text"),
            parameters: parameters.into_iter().map(|(name, _)| name.to_owned()).collect(),
            columns: Vec::new(),
        }
    }

    /// A statement that selects all columns, and is only to be planned.
    fn statement(&self, wanted: usize) -> String {
        let argument = if self.takes_text { "''" } else { "false" };
        format!("SELECT * FROM {}({})", self.name, vec![argument; wanted].join(", "))
    }
}

/// A shipped question, or a report.
#[derive(Debug, Clone)]
pub struct Question {
    pub name: String,
    pub parameters: Vec<String>,
}

impl Question {
    fn of(query: &LibraryQuery) -> Self {
        let parameters = query.parameters.iter().map(|parameter| parameter.name.clone()).collect();
        Self { name: query.name.to_owned(), parameters }
    }

    /// The one that a report is.
    fn of_report(report: ReportQuestion) -> Self {
        Self { name: report.name, parameters: report.parameters.into_iter().map(|known| known.name).collect() }
    }
}

/// The schema that statements search without being told.
pub const SEARCH_PATH: &str = "traces";

impl Catalog {
    /// The relation of that name, with or without its schema.
    pub fn relation(&self, schema: Option<&str>, name: &str) -> Option<&Relation> {
        let schema = schema.unwrap_or(SEARCH_PATH);
        let is = |relation: &&Relation| {
            relation.schema.eq_ignore_ascii_case(schema) && relation.name.eq_ignore_ascii_case(name)
        };
        self.relations.iter().find(is)
    }
}

/// Reads all names and puts them into `catalog` as they come; completion offers fewer where a query fails.
pub async fn load(backend: Arc<Backend>, reports: Vec<ReportQuestion>, catalog: Arc<ArcSwap<Catalog>>) {
    let mut names = Catalog {
        questions: library().iter().map(Question::of).collect(),
        reports: reports.into_iter().map(Question::of_report).collect(),
        ..Catalog::default()
    };
    if let Ok(relations) = relations(&backend).await {
        names.relations = relations;
    }
    if let Ok(functions) = query::texts(&backend, query::FUNCTIONS, &["%"]).await {
        let others = functions.into_iter().filter(|row| row.get(1).is_some_and(|of_type| of_type != "table"));
        names.functions = others.filter_map(|row| row.into_iter().next()).collect();
        names.functions.dedup();
    }
    if let Ok(functions) = table_functions(&backend).await {
        names.table_functions = functions;
    }
    if let Ok(settings) = query::texts(&backend, "SHOW ALL", &[]).await {
        names.settings = settings.into_iter().filter_map(|row| row.into_iter().next()).collect();
    }
    catalog.store(Arc::new(names.clone()));
    // These are read out of files, so the names need not wait for them.
    if let Ok(keys) = query::texts(&backend, query::ATTRIBUTE_KEYS, &[]).await {
        let key = |row: Vec<String>| <[String; 2]>::try_from(row).ok().map(|[map, key]| Key { map, key });
        names.attribute_keys = keys.into_iter().filter_map(key).collect();
        catalog.store(Arc::new(names));
    }
}

/// The functions in FROM. Their columns are those of a call that is planned and not run.
async fn table_functions(backend: &Backend) -> Result<Vec<TableFunction>> {
    let mut functions = Vec::new();
    for row in query::texts(backend, query::TABLE_FUNCTIONS, &[]).await? {
        let [name, parameters, wanted] = row.as_slice() else { continue };
        let mut function = TableFunction::declared(name, parameters);
        let statement = function.statement(wanted.parse().unwrap_or_default());
        if let Ok(schema) = backend.columns(&statement).await {
            function.columns = schema.fields().iter().map(|field| field.name().clone()).collect();
        }
        functions.push(function);
    }
    Ok(functions)
}

async fn relations(backend: &Backend) -> Result<Vec<Relation>> {
    let mut relations: Vec<Relation> = Vec::new();
    for row in query::texts(backend, query::COLUMNS, &[]).await? {
        let [schema, name, column] = row.as_slice() else { continue };
        match relations.last_mut().filter(|last| last.schema == *schema && last.name == *name) {
            Some(last) => last.columns.push(column.clone()),
            None => {
                relations.push(Relation { schema: schema.clone(), name: name.clone(), columns: vec![column.clone()] })
            }
        }
    }
    Ok(relations)
}

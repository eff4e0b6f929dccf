//! Statements: a text that was parsed, admitted and planned, before it is given parameters and spans.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::error::DataFusionError;
use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::sqlparser::ast;

use super::commands::Command;
use super::errors::from_datafusion;
use super::expansion;
use super::information_schema;
use super::narrow;
use super::nesting;
use super::parameters;
use super::plans::Lasting;
use super::result_types;
use super::script::{self, Body, Parsed};
use super::session_data::show_schema;
use super::stop::Stop;
use super::substitution;
use crate::error::{Error, Result};

/// A parsed, admitted and analysed statement.
#[derive(Debug, Clone)]
pub struct Statement {
    /// The statement's own text.
    pub text: String,
    /// Types of `$1 …`, in order; `None` where the statement does not tell.
    pub parameter_types: Vec<Option<DataType>>,
    /// Which parameters are ordered against an attribute, where a text that is a number is compared as one.
    pub ordered_beside_attributes: Vec<bool>,
    /// The result's columns; `None` for a command without rows.
    pub schema: Option<SchemaRef>,
    pub(super) work: Arc<Work>,
}

/// What a statement does.
#[derive(Debug)]
pub(super) enum Work {
    /// A query's plan, and what its columns are shown as.
    Plan {
        plan: LogicalPlan,
        tag: &'static str,
        schema: SchemaRef,
        lasting: Option<Arc<Lasting>>,
    },
    Command(Command),
}

impl Statement {
    /// What is kept of the statement's plan, where it may be kept.
    pub(super) fn lasting(&self) -> Option<&Lasting> {
        match &*self.work {
            Work::Plan { lasting, .. } => lasting.as_deref(),
            Work::Command(_) => None,
        }
    }

    /// Whether the two are one plan, made once.
    #[cfg(test)]
    pub(super) fn is_same_work(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.work, &other.work)
    }
}

/// Splits a script into statements and admits each: limits, read-only, known names, types.
pub(super) async fn prepared(state: &SessionState, script: &str) -> Result<Vec<Statement>> {
    let mut statements = Vec::new();
    for parsed in script::parse(script)? {
        // Between two statements nothing waits.
        Stop::check_in(state.config_options()).map_err(from_datafusion)?;
        statements.push(prepare_one(state, parsed, script).await?);
    }
    Ok(statements)
}

/// Admits and plans one statement of `script`.
async fn prepare_one(state: &SessionState, parsed: Parsed, script: &str) -> Result<Statement> {
    let Parsed { text, body } = parsed;
    match body {
        Body::Command(command) => {
            let schema = show_schema(&command)?;
            let work = Arc::new(Work::Command(command));
            Ok(Statement { text, parameter_types: Vec::new(), ordered_beside_attributes: Vec::new(), schema, work })
        }
        Body::Query { ast, names } => {
            let tag = if text.get(..7).is_some_and(|word| word.eq_ignore_ascii_case("explain")) {
                "EXPLAIN"
            } else {
                "SELECT"
            };
            expansion::check(&ast)?;
            nesting::check(&ast)?;
            let shows_tables = matches!(*ast, ast::Statement::ShowTables { .. });
            let statement = datafusion::sql::parser::Statement::Statement(ast);
            let plan = state.statement_to_plan(statement).await.map_err(|e| placed(e, script))?;
            let plan = match shows_tables {
                true => information_schema::only_traces(plan),
                false => information_schema::described(plan),
            };
            let plan = plan.map_err(from_datafusion)?;
            substitution::check(&plan).map_err(from_datafusion)?;
            let parameter_types = parameter_types(&plan)?;
            let ordered_beside_attributes =
                parameters::ordered_beside_attributes(&plan, parameter_types.len()).map_err(from_datafusion)?;
            // Whoever runs it may skip this; here the stack is as large.
            let plan = narrow::narrowed(plan).map_err(from_datafusion)?;
            let schema = shown_schema(&result_types::settled(state, &plan, &parameter_types), names);
            let lasting = Lasting::of(&text, &plan).map_err(from_datafusion)?.map(Arc::new);
            let work = Work::Plan { plan, tag, schema: schema.clone(), lasting };
            let (schema, work) = (Some(schema), Arc::new(work));
            Ok(Statement { text, parameter_types, ordered_beside_attributes, schema, work })
        }
    }
}

/// The planner's error with the place in the script that it is about, where it tells.
fn placed(error: DataFusionError, script: &str) -> Error {
    let place = error
        .diagnostic()
        .and_then(|about| about.span)
        .and_then(|span| script::position(script, span.start.line, span.start.column));
    let error = from_datafusion(error);
    match place {
        Some(position) => error.with_position(position),
        None => error,
    }
}

fn shown_schema(planned: &SchemaRef, names: Option<Vec<String>>) -> SchemaRef {
    match names {
        Some(names) if names.len() == planned.fields().len() => {
            let fields: Vec<_> = planned
                .fields()
                .iter()
                .zip(names)
                .map(|(field, name)| field.as_ref().clone().with_name(name))
                .collect();
            Arc::new(Schema::new(fields))
        }
        _ => planned.clone(),
    }
}

fn parameter_types(plan: &LogicalPlan) -> Result<Vec<Option<DataType>>> {
    let mut types = Vec::new();
    for (name, data_type) in plan.get_parameter_types().map_err(from_datafusion)? {
        let Some(number) = name.strip_prefix('$').and_then(|number| number.parse::<usize>().ok()).filter(|n| *n > 0)
        else {
            return Err(Error::bad_input(format!("there is no parameter {name}")).with_sqlstate("42P02"));
        };
        // The wire protocol counts parameters in 16 bits.
        if number > usize::from(u16::MAX) {
            return Err(Error::bad_input(format!("there is no parameter {name}")).with_sqlstate("42P02"));
        }
        if types.len() < number {
            types.resize(number, None);
        }
        // NULL is no type: the planner says it where a parameter only stands beside another one.
        types[number - 1] = data_type.filter(|data_type| !data_type.is_null());
    }
    parameters::infer(plan, &mut types).map_err(from_datafusion)?;
    Ok(types)
}

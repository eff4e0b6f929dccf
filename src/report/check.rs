//! A report's statement against the schema: whether it can be planned, and has the columns that its header names.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Schema};

use super::bind::{bound, samples};
use super::definition::{ChartKind, FROM, RecordMode, Report, TO};
use super::frame::value_type;
use super::header::Definition;
use super::mistake::Mistake;
use crate::engine::{Engine, bind};
use crate::error::{Error, Kind, Result};
use crate::typed::nearest;

/// How long planning may take, in milliseconds: what takes longer is not checked to be wrong.
const PLANNING_MS: &str = "30000";

/// What is wrong with a report's statement; nothing is run.
///
/// # Errors
/// When it cannot be checked: the store cannot be read, or time ran out.
pub async fn check(engine: &Arc<Engine>, definition: &Definition) -> Result<Vec<Mistake>> {
    let report = &definition.report;
    match schema(engine, report).await {
        Ok(schema) => Ok(columns(definition, &schema)),
        Err(Unplanned::Wrong(mistake)) => Ok(vec![mistake]),
        Err(Unplanned::Unknown(error)) => Err(error),
    }
}

/// What is likely not meant so, though it can be run.
pub fn doubts(definition: &Definition) -> Vec<Mistake> {
    let report = &definition.report;
    let mut used: Vec<String> = Vec::new();
    let names = bind(&report.sql, |placeholder| {
        used.push(placeholder.name.to_owned());
        Ok(None)
    });
    if names.is_err() {
        return Vec::new();
    }
    let is_unused = |name: &str| !used.iter().any(|used| used == name);
    let mut doubts = Vec::new();
    let mut doubt = |place: &str, why: String| {
        let line = definition.lines.get(place).copied();
        doubts.push(Mistake { path: definition.header_path.clone(), line, why });
    };
    if report.window.is_some() && is_unused(FROM) && is_unused(TO) {
        doubt("window", "the statement has neither :from nor :to, so that the window changes nothing".to_owned());
    }
    for parameter in report.parameters.iter().filter(|parameter| is_unused(&parameter.name)) {
        let name = &parameter.name;
        doubt(&format!("parameters.{name}"), format!("the statement has no :{name}"));
    }
    doubts
}

/// Why there is no plan.
enum Unplanned {
    Wrong(Mistake),
    Unknown(Error),
}

async fn schema(engine: &Arc<Engine>, report: &Report) -> std::result::Result<Arc<Schema>, Unplanned> {
    let wrong = |position: Option<usize>, why: String| {
        let line = position.map_or_else(|| first_line(&report.sql), |position| line_of(&report.sql, position));
        Unplanned::Wrong(Mistake::at(&report.path, line, why))
    };
    let bound = bound(report, &samples(report)).map_err(|error| wrong(error.position, told(&error)))?;
    let session = engine.session();
    session.set("statement_timeout", PLANNING_MS).map_err(Unplanned::Unknown)?;
    let statements = session.prepare(&bound.sql).await.map_err(|error| match error.kind {
        Kind::BadInput | Kind::TooLarge | Kind::NotFound | Kind::Denied => {
            wrong(error.position.map(|position| bound.position_before(position)), told(&error))
        }
        _ => Unplanned::Unknown(error),
    })?;
    let [statement] = statements.as_slice() else {
        return Err(wrong(None, format!("there are {} statements: a report is one SELECT", statements.len())));
    };
    if !statement.parameter_types.is_empty() {
        return Err(wrong(None, "there is no $1 here: declare [parameters.NAME] and write :name".to_owned()));
    }
    let schema = statement.schema.clone();
    schema.ok_or_else(|| wrong(None, "the statement gives no rows: a report is one SELECT".to_owned()))
}

/// The error with its hint, on one line.
fn told(error: &Error) -> String {
    match &error.hint {
        Some(hint) => format!("{error} ({hint})"),
        None => error.to_string(),
    }
}

/// The line of a position in characters from 1.
fn line_of(sql: &str, position: usize) -> usize {
    1 + sql.chars().take(position.saturating_sub(1)).filter(|c| *c == '\n').count()
}

/// The line on which the statement begins.
fn first_line(sql: &str) -> usize {
    let is_code = |line: &str| !line.trim().is_empty() && !line.trim_start().starts_with("--");
    1 + sql.lines().position(is_code).unwrap_or(0)
}

/// What a column has to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Anything,
    Number,
    /// A text, or a list of texts.
    TraceIds,
    Time,
}

impl Wanted {
    fn allows(self, kind: &DataType) -> bool {
        match (self, value_type(kind)) {
            (Self::Anything, _) | (_, DataType::Null) => true,
            (Self::Number, kind) => kind.is_numeric() || matches!(kind, DataType::Boolean | DataType::Duration(_)),
            (Self::TraceIds, DataType::List(item) | DataType::LargeList(item) | DataType::ListView(item)) => {
                value_type(item.data_type()).is_string()
            }
            (Self::TraceIds, kind) => kind.is_string(),
            (Self::Time, kind) => matches!(kind, DataType::Timestamp(..) | DataType::Date32 | DataType::Date64),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Anything => "values",
            Self::Number => "numbers",
            Self::TraceIds => "trace ids",
            Self::Time => "times",
        }
    }
}

/// The columns that a header names, each with the place of its key.
fn named(report: &Report) -> Vec<(String, &str, Wanted)> {
    let mut named = Vec::new();
    for (at, chart) in report.charts.iter().enumerate() {
        let mut add = |key, column, wanted| named.push((format!("charts.{at}.{key}"), column, wanted));
        let (x, y) = match chart.kind {
            ChartKind::Line | ChartKind::Bar => (Wanted::Anything, Wanted::Number),
            ChartKind::Heatmap | ChartKind::ServiceMap => (Wanted::Anything, Wanted::Anything),
            ChartKind::Waterfall => (Wanted::TraceIds, Wanted::Anything),
        };
        add("x", chart.x.as_str(), x);
        chart.y.iter().for_each(|column| add("y", column, y));
        chart.series.iter().for_each(|column| add("series", column, Wanted::Anything));
        chart.value.iter().for_each(|column| add("value", column, Wanted::Number));
    }
    for (at, rule) in report.alerts.iter().enumerate() {
        let mut add = |key, column, wanted| named.push((format!("alerts.{at}.{key}"), column, wanted));
        rule.test.column().into_iter().for_each(|column| add("column", column, Wanted::Number));
        rule.group_by.iter().for_each(|column| add("group_by", column, Wanted::Anything));
        rule.exemplars.iter().for_each(|column| add("exemplars", column, Wanted::TraceIds));
    }
    if let Some(record) = &report.record {
        let replaced = if let RecordMode::ReplaceWindow { column } = &record.mode { Some(column) } else { None };
        let column = replaced.or(record.keep.as_ref().map(|keep| &keep.column));
        column.into_iter().for_each(|column| named.push(("record.column".to_owned(), column, Wanted::Time)));
    }
    named
}

fn columns(definition: &Definition, schema: &Schema) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    for (place, column, wanted) in named(&definition.report) {
        let key = place.rsplit('.').next().unwrap_or_default();
        let why = match schema.field_with_name(column) {
            Ok(field) if wanted.allows(field.data_type()) => continue,
            Ok(field) => {
                let (has, wanted) = (type_name(field.data_type()), wanted.name());
                format!("{key}: the column \"{column}\" of the result has {has}, not {wanted}")
            }
            Err(_) => {
                let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
                let advice = match nearest(column, names.iter().copied()) {
                    Some(near) => format!("did you mean \"{near}\"?"),
                    None => format!("it has {}", names.join(", ")),
                };
                format!("{key}: the result has no column \"{column}\": {advice}")
            }
        };
        mistakes.push(match definition.lines.get(&place) {
            Some(line) => Mistake::at(&definition.header_path, *line, why),
            None => Mistake::of_file(&definition.header_path, why),
        });
    }
    mistakes
}

/// A type in a person's words.
fn type_name(kind: &DataType) -> String {
    match value_type(kind) {
        kind if kind.is_string() => "text".to_owned(),
        kind if kind.is_numeric() => "numbers".to_owned(),
        DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 => "times".to_owned(),
        DataType::Boolean => "true and false".to_owned(),
        kind if kind.is_nested() => "lists or maps".to_owned(),
        kind => format!("values of type {kind}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::EngineSettings;
    use crate::report::header::{Source, parse};
    use crate::store::{Store, StoreSettings};

    async fn checked(engine: &Arc<Engine>, sql: &str) -> Vec<String> {
        let source = Source { name: "r".to_owned(), sql_path: "r.sql".into(), sql: sql.to_owned(), toml: None };
        let definition = Definition::of(parse(&source).expect("a header"));
        let mistakes = check(engine, &definition).await.expect("checked");
        mistakes.iter().map(ToString::to_string).collect()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_statement_is_held_against_the_schema() {
        let dir = tempfile::tempdir().expect("directory");
        let store = Store::open(dir.path(), StoreSettings::default()).await.expect("store");
        let engine = Engine::new(store.clone(), EngineSettings::default()).expect("engine");
        let header = "-- window = \"1 day\"\n-- [[charts]]\n-- kind = \"line\"\n-- x = \"time\"\n-- y = [\"n\"]\n-- [[alerts]]\n-- name = \"a\"\n-- column = \"n\"\n-- above = 1\n-- group_by = [\"service_name\"]\n";
        let right = "SELECT date_trunc('hour', timestamp) AS time, service_name, count(*) AS n FROM spans\nWHERE timestamp >= :from AND timestamp < :to GROUP BY 1, 2";
        assert!(checked(&engine, &format!("{header}{right}")).await.is_empty());
        for (sql, expected) in [
            (format!("{header}SELECT 1 AS x"), "r.sql:4: x: the result has no column \"time\": it has x"),
            (
                format!("{header}SELECT 'a' AS n, 1 AS time, 2 AS service_name"),
                "r.sql:5: y: the column \"n\" of the result has text, not numbers",
            ),
            (format!("{header}SELECT count(*) AS n\nFROM spans WHERE nope = :from"), "r.sql:12: "),
            (format!("{header}SELECT 1;\nSELECT 2"), "r.sql:11: there are 2 statements: a report is one SELECT"),
            ("SET a = 1".to_owned(), "r.sql:1: "),
            ("-- title = \"x\"\n\nSELECT :nope".to_owned(), "r.sql:3: report r has no parameter \"nope\""),
            ("SELECT $1".to_owned(), "r.sql:1: there is no $1 here"),
            ("\nDROP TABLE spans".to_owned(), "r.sql:2: "),
            ("INSERT INTO reports.t SELECT * FROM spans".to_owned(), "r.sql:1: "),
            ("WITH x AS (DELETE FROM spans RETURNING *) SELECT * FROM x".to_owned(), "r.sql:1: "),
            ("COPY (SELECT 1) TO '/tmp/x.csv'".to_owned(), "r.sql:1: "),
            ("CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'".to_owned(), "r.sql:1: "),
            ("CREATE TABLE t AS SELECT 1".to_owned(), "r.sql:1: "),
            ("SELECT 1 INTO t".to_owned(), "r.sql:1: "),
            ("SELECT * FROM '/etc/passwd'".to_owned(), "r.sql:1: "),
            ("SELECT * FROM read_csv('/etc/passwd')".to_owned(), "r.sql:1: "),
            ("SELECT 1 +".to_owned(), "r.sql:1: syntax error"),
            ("SELECT 'open".to_owned(), "r.sql:1: "),
        ] {
            let told = checked(&engine, &sql).await;
            assert!(told.first().is_some_and(|told| told.starts_with(expected)), "{sql}: {told:?}");
        }
        store.close().await.expect("closed");
    }

    #[test]
    fn what_is_not_used_is_doubted() {
        let told = |sql: &str| -> Vec<String> {
            let source = Source { name: "r".to_owned(), sql_path: "r.sql".into(), sql: sql.to_owned(), toml: None };
            doubts(&Definition::of(parse(&source).expect("a header"))).iter().map(ToString::to_string).collect()
        };
        let header = "-- window = \"1 day\"\n-- [parameters.x]\n-- type = \"text\"\n";
        assert!(told(&format!("{header}SELECT :to, :x")).is_empty());
        let expected = [
            "r.sql:1: the statement has neither :from nor :to, so that the window changes nothing",
            "r.sql:2: the statement has no :x",
        ];
        assert_eq!(told(&format!("{header}SELECT ':x'")), expected);
    }

    #[test]
    fn lines_are_those_of_the_file() {
        assert_eq!((line_of("a\nb\nc", 3), line_of("é\nb", 3), first_line("\n-- x\n SELECT")), (2, 2, 3));
    }
}

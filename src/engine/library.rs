//! The shipped questions: `queries/*.sql`, each with a header that names its purpose and parameters.
//!
//! A header is comment lines: the title, the purpose, then a line `param name type default purpose` for each parameter. In the text a
//! parameter is written `:name`.

use std::sync::LazyLock;

use super::binding::{ParameterKind, bind};
use crate::error::{Error, Kind, Result};

/// A shipped question.
#[derive(Debug, Clone, PartialEq)]
pub struct LibraryQuery {
    /// The file's name without its ending.
    pub name: &'static str,
    pub title: String,
    pub purpose: String,
    pub parameters: Vec<LibraryParameter>,
    /// The file's text, with `:name` where parameters go.
    pub sql: &'static str,
}

/// A parameter of a shipped question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LibraryParameter {
    pub name: String,
    pub kind: ParameterKind,
    /// What holds when no value is given.
    pub default: String,
    pub purpose: String,
}

const FILES: &[(&str, &str)] = &[
    ("anomalous_traces", include_str!("../../queries/anomalous_traces.sql")),
    ("bottlenecks", include_str!("../../queries/bottlenecks.sql")),
    ("capacity_forecast", include_str!("../../queries/capacity_forecast.sql")),
    ("critical_path", include_str!("../../queries/critical_path.sql")),
    ("error_propagation", include_str!("../../queries/error_propagation.sql")),
    ("exceptions", include_str!("../../queries/exceptions.sql")),
    ("flame_graph", include_str!("../../queries/flame_graph.sql")),
    ("http_endpoints", include_str!("../../queries/http_endpoints.sql")),
    ("incomplete_traces", include_str!("../../queries/incomplete_traces.sql")),
    ("latency_breakdown", include_str!("../../queries/latency_breakdown.sql")),
    ("latency_heatmap", include_str!("../../queries/latency_heatmap.sql")),
    ("n_plus_one_suspects", include_str!("../../queries/n_plus_one_suspects.sql")),
    ("red_by_operation", include_str!("../../queries/red_by_operation.sql")),
    ("red_by_service", include_str!("../../queries/red_by_service.sql")),
    ("red_over_time", include_str!("../../queries/red_over_time.sql")),
    ("service_dependencies", include_str!("../../queries/service_dependencies.sql")),
    ("service_health", include_str!("../../queries/service_health.sql")),
    ("slow_database_queries", include_str!("../../queries/slow_database_queries.sql")),
    ("slowest_traces", include_str!("../../queries/slowest_traces.sql")),
    ("top_errors", include_str!("../../queries/top_errors.sql")),
    ("unlike_past_weeks", include_str!("../../queries/unlike_past_weeks.sql")),
    ("what_changed_between_releases", include_str!("../../queries/what_changed_between_releases.sql")),
    ("what_distinguishes_errors", include_str!("../../queries/what_distinguishes_errors.sql")),
    ("what_distinguishes_slow_requests", include_str!("../../queries/what_distinguishes_slow_requests.sql")),
];

/// The shipped questions, in order of name.
pub fn library() -> &'static [LibraryQuery] {
    static LIBRARY: LazyLock<Vec<LibraryQuery>> =
        LazyLock::new(|| FILES.iter().map(|(name, sql)| parse(name, sql)).collect());
    &LIBRARY
}

impl LibraryQuery {
    /// Finds a question by name.
    ///
    /// # Errors
    /// [`Kind::NotFound`], with the known names as a hint.
    pub fn find(name: &str) -> Result<&'static Self> {
        library().iter().find(|query| query.name == name).ok_or_else(|| {
            let names = library().iter().map(|query| query.name).collect::<Vec<_>>().join(", ");
            Error::new(Kind::NotFound, format!("there is no shipped query \"{name}\""))
                .with_hint(format!("there are {names}"))
        })
    }

    /// The statement with each parameter as a literal: the given value, or the default.
    ///
    /// # Errors
    /// [`Kind::BadInput`] for an unknown parameter and for a value that is not of the parameter's type.
    pub fn bind(&self, values: &[(&str, &str)]) -> Result<String> {
        if let Some((name, _)) = values.iter().find(|(name, _)| self.parameters.iter().all(|known| known.name != *name))
        {
            let known = self.parameters.iter().map(|known| known.name.as_str()).collect::<Vec<_>>().join(", ");
            return Err(Error::bad_input(format!("query {} has no parameter \"{name}\"", self.name))
                .with_hint(format!("it has {known}")));
        }
        let bound = bind(self.sql, |placeholder| {
            let Some(known) = self.parameters.iter().find(|known| known.name == placeholder.name) else {
                return Ok(None);
            };
            let value = values.iter().rev().find(|(name, _)| *name == known.name);
            known.kind.literal(&known.name, value.map_or(&known.default, |(_, value)| value)).map(Some)
        });
        bound.map(|bound| bound.sql).map_err(|mut error| {
            // The position is in a text that the user did not write.
            error.position = None;
            error
        })
    }
}

fn parse(name: &'static str, sql: &'static str) -> LibraryQuery {
    let header = sql.lines().take_while(|line| line.starts_with("--")).map(|line| line.trim_start_matches('-').trim());
    let (mut title, mut purpose, mut parameters) = (String::new(), Vec::new(), Vec::new());
    for line in header {
        match line.strip_prefix("param ") {
            Some(parameter) => parameters.extend(parse_parameter(parameter)),
            None if title.is_empty() => title = line.to_string(),
            None if !line.is_empty() => purpose.push(line),
            None => {}
        }
    }
    LibraryQuery { name, title, purpose: purpose.join(" "), parameters, sql }
}

fn parse_parameter(line: &str) -> Option<LibraryParameter> {
    let (name, rest) = line.split_once(' ')?;
    let (kind, rest) = rest.split_once(' ')?;
    let kind = match kind {
        "text" => ParameterKind::Text,
        "integer" => ParameterKind::Integer,
        "double" => ParameterKind::Double,
        "timestamp" => ParameterKind::Timestamp,
        _ => return None,
    };
    let (default, purpose) = match rest.strip_prefix('\'') {
        Some(quoted) => quoted.split_once('\'')?,
        None => rest.split_once(' ')?,
    };
    Some(LibraryParameter { name: name.into(), kind, default: default.into(), purpose: purpose.trim().into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_in_the_library_with_a_whole_header() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("queries");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .expect("queries")
            .filter_map(|entry| {
                entry.expect("entry").path().file_stem().map(|stem| stem.to_string_lossy().into_owned())
            })
            .collect();
        files.sort();
        assert_eq!(files, library().iter().map(|query| query.name).collect::<Vec<_>>());
        for query in library() {
            assert!(!query.title.is_empty() && !query.purpose.is_empty(), "{}", query.name);
            let declared = query.sql.lines().filter(|line| line.starts_with("-- param ")).count();
            assert_eq!(query.parameters.len(), declared, "{}", query.name);
            for parameter in &query.parameters {
                assert!(query.sql.contains(&format!(":{}", parameter.name)), "{} {}", query.name, parameter.name);
            }
        }
    }

    #[test]
    fn values_are_bound_as_literals_of_their_type() {
        let query = LibraryQuery::find("red_by_operation").expect("known");
        let sql = query.bind(&[("service", "o'brien:from")]).expect("bound");
        assert!(sql.contains("LIKE 'o''brien:from'") && sql.contains(">= TIMESTAMP '1970-01-01'"), "{sql}");
        let traces = LibraryQuery::find("slowest_traces").expect("known");
        assert!(traces.bind(&[("limit", "5; DROP TABLE x")]).is_err());
        assert!(traces.bind(&[("from", "soon")]).is_err());
        assert!(traces.bind(&[("nope", "1")]).is_err());
        assert!(LibraryQuery::find("nope").is_err());
    }
}

//! Values for a report's parameters: what is given, else what the header says. Times without an offset are those of the report's zone, whoever
//! asks from wherever.

use super::definition::{FROM, Report, TO, ZONE};
use crate::engine::{Bound, ParameterKind, bind as bind_text};
use crate::error::{Error, Result};
use crate::typed::nearest;

/// A parameter's name, type and default; those of the window have none.
type Known<'a> = (&'a str, ParameterKind, Option<&'a str>);

/// The report's statement with each `:name` as a literal. `values` are those given, among them `from` and `to` as RFC 3339 when the
/// report has a window; the last of a name counts.
///
/// # Errors
/// [`crate::error::Kind::BadInput`] for an unknown parameter, a value that is missing, and one that is not of its parameter's type.
pub fn bind(report: &Report, values: &[(String, String)]) -> Result<String> {
    bound(report, values).map(|bound| bound.sql)
}

/// All parameters with the values that a run has, in order, the window's first.
///
/// # Errors
/// As [`bind`].
pub fn effective(report: &Report, values: &[(String, String)]) -> Result<Vec<(String, String)>> {
    let known = known(report);
    if let Some((name, _)) = values.iter().find(|(name, _)| known.iter().all(|(known, ..)| known != name)) {
        return Err(unknown(report, name));
    }
    known
        .into_iter()
        .map(|(name, kind, default)| {
            let given = values.iter().rev().find(|(given, _)| given == name).map(|(_, value)| value.as_str());
            let value = given.or(default).ok_or_else(|| {
                Error::bad_input(format!("report {} needs a value for its parameter \"{name}\"", report.name))
                    .with_hint(format!("give {name}=VALUE"))
            })?;
            let value = match kind {
                ParameterKind::Timestamp => report.instant_text(value).unwrap_or_else(|| value.to_owned()),
                _ => value.to_owned(),
            };
            kind.literal(name, &value)?;
            Ok((name.to_owned(), value))
        })
        .collect()
}

/// The same as [`bind`], with the way back to places in the report's file.
pub(super) fn bound(report: &Report, values: &[(String, String)]) -> Result<Bound> {
    let (known, values) = (known(report), effective(report, values)?);
    bind_text(&report.sql, |placeholder| {
        let parameter = known.iter().zip(&values).find(|((name, ..), _)| *name == placeholder.name);
        match parameter {
            Some(((name, kind, _), (_, value))) => kind.literal(name, value).map(Some),
            None if placeholder.name == ZONE => ParameterKind::Text.literal(ZONE, report.zone().name()).map(Some),
            None if placeholder.may_be_sql => Ok(None),
            None => Err(unknown(report, placeholder.name)),
        }
    })
}

/// Values with which any report can be planned.
pub(super) fn samples(report: &Report) -> Vec<(String, String)> {
    let sample = |kind, second| match kind {
        ParameterKind::Text => "",
        ParameterKind::Integer | ParameterKind::Double => "1",
        ParameterKind::Timestamp if second => "2026-01-02T00:00:00Z",
        ParameterKind::Timestamp => "2026-01-01T00:00:00Z",
    };
    let without = known(report).into_iter().filter(|(.., default)| default.is_none());
    without.map(|(name, kind, _)| (name.to_owned(), sample(kind, name == TO).to_owned())).collect()
}

fn known(report: &Report) -> Vec<Known<'_>> {
    let window = [FROM, TO].map(|name| (name, ParameterKind::Timestamp, None));
    let own = report.parameters.iter().map(|known| (known.name.as_str(), known.kind, known.default.as_deref()));
    window.into_iter().filter(|_| report.window.is_some()).chain(own).collect()
}

fn unknown(report: &Report, name: &str) -> Error {
    let error = Error::bad_input(format!("report {} has no parameter \"{name}\"", report.name));
    if [FROM, TO].contains(&name) {
        return error.with_hint("those of a window come with one: write window = \"1 day\" in its header");
    }
    let known: Vec<&str> = known(report).into_iter().map(|(name, ..)| name).collect();
    match nearest(name, known.iter().copied()) {
        Some(near) => error.with_hint(format!("did you mean \"{near}\"?")),
        None if known.is_empty() => error.with_hint("it has none: declare one with [parameters.NAME]"),
        None => error.with_hint(format!("it has {}", known.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::header::{Source, parse};

    fn report(header: &str, sql: &str) -> Report {
        let header: String = header.lines().map(|line| format!("-- {line}\n")).collect();
        let source =
            Source { name: "r".to_owned(), sql_path: "r.sql".into(), sql: format!("{header}{sql}"), toml: None };
        parse(&source).expect("right").report
    }

    fn given(values: &[(&str, &str)]) -> Vec<(String, String)> {
        values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    const HEADER: &str = "window = \"1 day\"\n[parameters.service]\ntype = \"text\"\ndefault = \"%\"\n[parameters.limit]\ntype = \"integer\"";
    const SQL: &str = "SELECT 1 WHERE t >= :from AND t < :to AND s LIKE :service LIMIT :limit";

    #[test]
    fn given_values_and_defaults_become_literals() {
        let report = report(HEADER, SQL);
        let window = [("from", "2026-01-01T00:00:00Z"), ("to", "2026-01-02T00:00:00Z"), ("limit", "5")];
        let sql = bind(&report, &given(&window)).expect("bound");
        let expected = "SELECT 1 WHERE t >= TIMESTAMPTZ '2026-01-01T00:00:00Z' AND t < TIMESTAMPTZ '2026-01-02T00:00:00Z' AND s LIKE '%' LIMIT 5";
        assert_eq!(sql.trim(), expected);
        let values = effective(&report, &given(&window)).expect("values");
        let names: Vec<&str> = values.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["from", "to", "service", "limit"]);
        assert!(bind(&report, &samples(&report)).is_ok());
    }

    #[test]
    fn times_without_an_offset_are_those_of_the_reports_zone() {
        let header = "schedule = { cron = \"0 7 * * *\", time_zone = \"Europe/Berlin\" }\n[parameters.at]\ntype = \"timestamp\"\ndefault = \"2026-01-15\"";
        let berlin = report(header, "SELECT :at, :zone");
        for (value, expected) in [
            ("2026-03-28 12:00", "2026-03-28T11:00:00Z"),
            ("2026-03-30", "2026-03-29T22:00:00Z"),
            ("2026-10-25T12:00:00", "2026-10-25T11:00:00Z"),
            ("2026-03-30T12:00:00Z", "2026-03-30T12:00:00Z"),
            ("2026-03-30T12:00:00.5+02:00", "2026-03-30T10:00:00.500Z"),
        ] {
            let values = effective(&berlin, &given(&[("at", value)])).expect(value);
            assert_eq!(values, given(&[("at", expected)]), "{value}");
        }
        let sql = bind(&berlin, &[]).expect("bound");
        assert_eq!(sql.trim(), "SELECT TIMESTAMPTZ '2026-01-14T23:00:00Z', 'Europe/Berlin'");
        assert!(effective(&berlin, &given(&[("at", "soon")])).is_err());
        let own = report("[parameters.zone]\ntype = \"text\"\ndefault = \"mine\"", "SELECT :zone");
        assert_eq!(bind(&own, &[]).expect("bound").trim(), "SELECT 'mine'");
    }

    #[test]
    fn what_is_unknown_missing_or_wrong_is_named() {
        let report = report(HEADER, SQL);
        let window = [("from", "2026-01-01T00:00:00Z"), ("to", "2026-01-02T00:00:00Z")];
        let fails = |more: &[(&str, &str)]| {
            let error = bind(&report, &given(&[&window, more].concat())).expect_err("an error");
            (error.to_string(), error.hint.map(|hint| hint.into_owned()).unwrap_or_default())
        };
        assert_eq!(fails(&[]).0, "report r needs a value for its parameter \"limit\"");
        let (message, hint) = fails(&[("servise", "x")]);
        assert_eq!(
            (message.as_str(), hint.as_str()),
            ("report r has no parameter \"servise\"", "did you mean \"service\"?")
        );
        assert_eq!(fails(&[("limit", "all")]).0, "parameter \"limit\" wants a whole number, not \"all\"");
    }

    #[test]
    fn a_name_in_the_statement_must_be_declared() {
        let report = report("title = \"x\"", "SELECT :from");
        let error = bind(&report, &[]).expect_err("unknown");
        assert_eq!(error.position, Some(9), "its line is the file's");
        assert!(error.hint.expect("a hint").contains("window = \"1 day\""));
    }
}

//! A session's settings under PostgreSQL's names.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::error::{Error, Kind, Result};
use crate::typed::nearest;

/// The version that clients see; they parse the number and choose their catalogue queries by it.
pub const SERVER_VERSION: &str = "16.9";

/// How a setting is checked.
#[derive(Debug, Clone, Copy)]
enum Check {
    /// Any text.
    Text,
    /// `on` or `off`, in PostgreSQL's spellings.
    Bool,
    /// A whole number in a range.
    Int(i64, i64),
    /// A time with or without a unit; plain numbers are milliseconds.
    Duration,
    /// A time zone's name or offset.
    TimeZone,
    /// One of these, in any case.
    OneOf(&'static [&'static str]),
    /// Cannot be changed.
    Fixed,
}

/// Each setting: its name as `SHOW ALL` writes it, its default, its check, its description.
const SETTINGS: &[(&str, &str, Check, &str)] = &[
    ("application_name", "", Check::Text, "The name that the client gave itself."),
    ("bytea_output", "hex", Check::OneOf(&["hex"]), "The text form of bytes."),
    ("client_encoding", "UTF8", Check::OneOf(&["utf8", "utf-8", "unicode"]), "The client's character set."),
    ("client_min_messages", "notice", Check::Text, "The least severe message that is sent."),
    ("DateStyle", "ISO, MDY", Check::Text, "The text form of dates; always ISO."),
    ("default_transaction_isolation", "repeatable read", Check::Text, "Every transaction reads one snapshot."),
    ("default_transaction_read_only", "on", Check::Bool, "SQL here only reads."),
    ("enable_bitmapscan", "on", Check::Bool, "Accepted and without effect."),
    ("enable_hashagg", "on", Check::Bool, "Accepted and without effect."),
    ("enable_hashjoin", "on", Check::Bool, "Accepted and without effect."),
    ("enable_indexonlyscan", "on", Check::Bool, "Accepted and without effect."),
    ("enable_indexscan", "on", Check::Bool, "Accepted and without effect."),
    ("enable_material", "on", Check::Bool, "Accepted and without effect."),
    ("enable_mergejoin", "on", Check::Bool, "Accepted and without effect."),
    ("enable_nestloop", "on", Check::Bool, "Accepted and without effect."),
    ("enable_seqscan", "on", Check::Bool, "Accepted and without effect."),
    ("enable_sort", "on", Check::Bool, "Accepted and without effect."),
    (
        "extra_float_digits",
        "1",
        Check::Int(-15, 3),
        "Floating-point numbers are always written in their shortest exact form.",
    ),
    ("idle_in_transaction_session_timeout", "0", Check::Duration, "Accepted and without effect."),
    ("in_hot_standby", "off", Check::Fixed, "Whether this server replays another's log."),
    ("integer_datetimes", "on", Check::Fixed, "Binary times are integers."),
    ("IntervalStyle", "postgres", Check::OneOf(&["postgres", "iso_8601"]), "The text form of intervals."),
    ("is_superuser", "off", Check::Fixed, "Nobody is."),
    ("jit", "off", Check::Bool, "Accepted and without effect."),
    ("lc_collate", "C", Check::Fixed, "Text sorts by its bytes."),
    ("lc_ctype", "C.UTF-8", Check::Fixed, "Letters are Unicode's."),
    ("lc_messages", "C", Check::Text, "The language of messages; always English."),
    ("lc_monetary", "C", Check::Text, "Accepted and without effect."),
    ("lc_numeric", "C", Check::Text, "Accepted and without effect."),
    ("lc_time", "C", Check::Text, "Accepted and without effect."),
    ("lock_timeout", "0", Check::Duration, "Accepted and without effect."),
    ("max_identifier_length", "63", Check::Fixed, "The longest name that clients should expect."),
    ("max_index_keys", "32", Check::Fixed, "As PostgreSQL has it."),
    ("max_parallel_workers_per_gather", "0", Check::Int(0, 1024), "Accepted and without effect."),
    ("role", "none", Check::Text, "The current role."),
    ("row_security", "on", Check::Bool, "Accepted and without effect."),
    ("search_path", "traces", Check::Text, "Where names without a schema are looked up; always traces."),
    ("server_encoding", "UTF8", Check::Fixed, "The server's character set."),
    ("server_version", SERVER_VERSION, Check::Fixed, "The version of PostgreSQL that the server behaves as."),
    ("server_version_num", "160009", Check::Fixed, "The same as a number."),
    ("session_authorization", "spanhouse", Check::Fixed, "The session's user."),
    ("ssl", "off", Check::Fixed, "Connections are not encrypted."),
    (
        "standard_conforming_strings",
        "on",
        Check::OneOf(&["on", "true", "1", "yes"]),
        "Backslashes in strings are ordinary.",
    ),
    ("statement_timeout", "0", Check::Duration, "The longest that a statement may run; 0 for no limit."),
    ("synchronous_commit", "on", Check::Text, "Accepted and without effect."),
    ("TimeZone", "UTC", Check::TimeZone, "The time zone for display and for times without one."),
    ("transaction_isolation", "repeatable read", Check::Text, "Every transaction reads one snapshot."),
    ("transaction_read_only", "on", Check::Bool, "SQL here only reads."),
    ("transaction_deferrable", "off", Check::Bool, "Accepted and without effect."),
    ("work_mem", "4MB", Check::Text, "Accepted and without effect."),
    ("xmloption", "content", Check::OneOf(&["content", "document"]), "Accepted and without effect."),
];

/// The settings of one session. Only what differs from the defaults is kept.
#[derive(Debug, Clone, Default)]
pub(super) struct Variables {
    changed: BTreeMap<&'static str, String>,
    /// The client's own name for its user; no `RESET` takes it back.
    user: Option<String>,
}

/// A setting as `pg_settings` shows it.
#[derive(Debug)]
pub(super) struct Shown<'a> {
    pub name: &'static str,
    pub value: &'a str,
    pub default: &'static str,
    pub note: &'static str,
    /// PostgreSQL's word for the kind of its values.
    pub kind: &'static str,
    /// The values that it takes, where they are few.
    pub values: &'static [&'static str],
    pub fixed: bool,
}

impl Variables {
    /// A setting's value by its name in any case.
    ///
    /// # Errors
    /// SQLSTATE 42704 when there is no such setting.
    pub fn get(&self, name: &str) -> Result<&str> {
        let (name, default, ..) = find(name)?;
        Ok(self.value(name, default))
    }

    fn value<'a>(&'a self, name: &str, default: &'a str) -> &'a str {
        match &self.user {
            Some(user) if name == "session_authorization" => user,
            _ => self.changed.get(name).map_or(default, String::as_str),
        }
    }

    /// Says whose session it is.
    pub fn set_user(&mut self, user: &str) {
        self.user = Some(user.to_owned());
    }

    /// The setting's name as `SHOW ALL` writes it.
    pub fn display_name(name: &str) -> Result<&'static str> {
        Ok(find(name)?.0)
    }

    /// Changes a setting; no value means its default.
    ///
    /// # Errors
    /// SQLSTATE 42704 for an unknown setting, 22023 for a value that it cannot take, 55P02 when it is fixed, 42501 for one of the engine's.
    pub fn set(&mut self, name: &str, value: Option<&str>) -> Result<()> {
        let (name, _, check, _) = find(name)?;
        let value = match value {
            Some(value) => checked(name, value, *check)?,
            None => {
                self.changed.remove(name);
                return Ok(());
            }
        };
        self.changed.insert(name, value);
        Ok(())
    }

    /// Puts all settings back to their defaults.
    pub fn reset_all(&mut self) {
        self.changed.clear();
    }

    /// All settings with values and descriptions, in order of name.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, &str, &'static str)> {
        SETTINGS.iter().map(|(name, default, _, note)| (*name, self.value(name, default), *note))
    }

    /// All settings with what `pg_settings` says of them.
    pub fn shown(&self) -> impl Iterator<Item = Shown<'_>> {
        SETTINGS.iter().map(|(name, default, check, note)| {
            let (kind, values): (_, &[&str]) = match check {
                Check::Bool => ("bool", &[]),
                Check::Int(..) => ("integer", &[]),
                Check::OneOf(values) => ("enum", values),
                Check::Text | Check::Duration | Check::TimeZone | Check::Fixed => ("string", &[]),
            };
            let fixed = matches!(check, Check::Fixed);
            Shown { name, value: self.value(name, default), default, note, kind, values, fixed }
        })
    }

    /// The longest that a statement may run.
    pub fn statement_timeout(&self) -> Option<Duration> {
        let millis = self.get("statement_timeout").ok().and_then(|text| parse_duration(text).ok())?;
        (!millis.is_zero()).then_some(millis)
    }
}

fn find(name: &str) -> Result<&'static (&'static str, &'static str, Check, &'static str)> {
    if let Some(setting) = SETTINGS.iter().find(|(known, ..)| known.eq_ignore_ascii_case(name)) {
        return Ok(setting);
    }
    if name.starts_with("datafusion.") {
        let message = format!("\"{name}\" is a setting of the engine and cannot be changed from SQL");
        return Err(Error::new(Kind::Denied, message));
    }
    let error = Error::new(Kind::NotFound, format!("unrecognized configuration parameter \"{name}\""));
    Err(match nearest(&name.to_lowercase(), SETTINGS.iter().map(|(known, ..)| *known)) {
        Some(known) => error.with_hint(format!("did you mean \"{known}\"?")),
        None => error.with_hint("SHOW ALL lists the parameters"),
    })
}

fn checked(name: &str, value: &str, check: Check) -> Result<String> {
    let invalid =
        || Err(Error::bad_input(format!("invalid value for parameter \"{name}\": \"{value}\"")).with_sqlstate("22023"));
    match check {
        Check::Text => Ok(value.to_string()),
        Check::Bool => match value.to_lowercase().as_str() {
            "on" | "true" | "yes" | "1" => Ok("on".into()),
            "off" | "false" | "no" | "0" => Ok("off".into()),
            _ => invalid(),
        },
        Check::Int(low, high) => match value.parse::<i64>() {
            Ok(number) if (low..=high).contains(&number) => Ok(number.to_string()),
            _ => invalid(),
        },
        Check::Duration => parse_duration(value).map(|_| value.to_string()).or_else(|_| invalid()),
        Check::TimeZone => match value.parse::<datafusion::arrow::array::timezone::Tz>() {
            _ if value.eq_ignore_ascii_case("local") => Ok("UTC".into()),
            Ok(_) => Ok(value.to_string()),
            Err(_) => invalid(),
        },
        Check::OneOf(values) if values.iter().any(|known| known.eq_ignore_ascii_case(value)) => Ok(match name {
            "client_encoding" => "UTF8".into(),
            _ => value.to_lowercase(),
        }),
        Check::OneOf(_) => invalid(),
        Check::Fixed => Err(Error::bad_input(format!("parameter \"{name}\" cannot be changed")).with_sqlstate("55P02")),
    }
}

fn parse_duration(text: &str) -> Result<Duration> {
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: f64 = number.parse().map_err(|_| Error::bad_input("not a time"))?;
    let millis = match unit.trim() {
        "" | "ms" => number,
        "us" => number / 1e3,
        "s" => number * 1e3,
        "min" => number * 60e3,
        "h" => number * 3_600e3,
        "d" => number * 86_400e3,
        _ => return Err(Error::bad_input("not a unit of time")),
    };
    // PostgreSQL's own bound: a signed 32-bit number of milliseconds.
    match millis.is_finite() && millis <= f64::from(i32::MAX) {
        true => Ok(Duration::from_micros((millis * 1e3) as u64)),
        false => Err(Error::bad_input("a time out of range")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_checked_and_unknown_ones_refused() {
        let mut variables = Variables::default();
        variables.set("statement_timeout", Some("1500ms")).expect("valid");
        assert_eq!(variables.statement_timeout(), Some(Duration::from_millis(1500)));
        variables.set("STATEMENT_TIMEOUT", Some("0")).expect("valid");
        assert_eq!(variables.statement_timeout(), None);
        variables.set("timezone", Some("Europe/Berlin")).expect("valid");
        assert_eq!(variables.get("TimeZone").expect("known"), "Europe/Berlin");
        for (name, value, state) in [
            ("no_such", "1", "42704"),
            ("statement_timeout", "soon", "22023"),
            ("timezone", "Mars/Olympus", "22023"),
            ("server_version", "17", "55P02"),
            ("client_encoding", "LATIN1", "22023"),
            ("datafusion.runtime.memory_limit", "1G", "42501"),
        ] {
            assert_eq!(variables.set(name, Some(value)).expect_err(name).sqlstate(), state, "{name}");
        }
        assert_eq!(variables.get("no_such").expect_err("unknown").sqlstate(), "42704");
    }
}

//! Backslash commands: what a user types, as a value.

use crate::error::{Error, Result};
use crate::render::{Expanded, Format};

/// A backslash command with its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// `\d` alone or `\dt`: all relations.
    Relations,
    /// `\d RELATION`: its columns.
    Describe(String),
    /// `\dn`
    Schemas,
    /// `\df`, with a part of the name or a pattern with `*`.
    Functions(Option<String>),
    /// `\timing`; `None` turns it over.
    Timing(Option<bool>),
    /// `\x`; `None` turns it over.
    Expanded(Option<Expanded>),
    /// `\format`; `None` asks which it is.
    Format(Option<Format>),
    /// `\queries`
    Questions,
    /// `\run NAME parameter=value …`
    Run { name: String, arguments: Vec<(String, String)> },
    /// `\report`
    Reports,
    /// `\report NAME parameter=value …`
    Report { name: String, arguments: Vec<(String, String)> },
    /// `\trace ID [all]`; the id may be cut short.
    Trace { id: String, all: bool },
    /// `\p`: the statement in the making.
    PrintPending,
    /// `\r`: forget it.
    ResetPending,
    /// `\h`
    SqlHelp,
    /// `\?`
    Help,
    /// `\q`
    Quit,
}

/// The names that completion offers, with what `\?` says of each.
pub const HELP: &[(&str, &str, &str)] = &[
    ("\\d", "[RELATION]", "list relations, or the columns of one"),
    ("\\dt", "", "list relations"),
    ("\\dn", "", "list schemas"),
    ("\\df", "[PATTERN]", "list functions; * stands for anything"),
    ("\\queries", "", "list the shipped questions and their parameters"),
    ("\\run", "NAME [PARAMETER=VALUE …]", "ask a shipped question"),
    ("\\report", "[NAME [PARAMETER=VALUE …]]", "list the reports, or ask one"),
    ("\\trace", "ID [all]", "draw a trace; the first digits of its id do"),
    ("\\format", "[NAME]", "set the output: table, csv, json, ndjson, markdown"),
    ("\\x", "[on|off|auto]", "show a record a block; auto: when a row is too wide"),
    ("\\timing", "[on|off]", "show how long each statement took"),
    ("\\g", "", "end a statement, as ; does"),
    ("\\gx", "", "end a statement and show a record a block"),
    ("\\p", "", "show the statement so far"),
    ("\\r", "", "forget the statement so far"),
    ("\\h", "", "what this SQL has that others do not"),
    ("\\?", "", "this list"),
    ("\\q", "", "quit"),
];

/// The formats that a terminal can be sent.
pub fn formats() -> impl Iterator<Item = Format> {
    Format::ALL.into_iter().filter(|format| !format.is_binary())
}

/// Reads a command line that starts with a backslash.
pub fn parse(text: &str) -> Result<Command> {
    let words = words(text.trim().trim_end_matches(';'))?;
    let Some((name, arguments)) = words.split_first() else {
        return Err(unknown(text));
    };
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let too_many = || Error::bad_input(format!("{name} does not take \"{}\"", arguments.join(" "))).with_hint(HINT);
    let command = match (name.trim_end_matches('+'), arguments.as_slice()) {
        ("\\d" | "\\dt" | "\\dv" | "\\d*", []) => Command::Relations,
        ("\\d" | "\\dt" | "\\dv", [relation]) => Command::Describe((*relation).to_owned()),
        ("\\dn", []) => Command::Schemas,
        ("\\df", []) => Command::Functions(None),
        ("\\df", [pattern]) => Command::Functions(Some((*pattern).to_owned())),
        ("\\timing", []) => Command::Timing(None),
        ("\\timing", [value]) => Command::Timing(Some(on_off(value, "\\timing")?)),
        ("\\x", []) => Command::Expanded(None),
        ("\\x", ["auto"]) => Command::Expanded(Some(Expanded::Auto)),
        ("\\x", [value]) => Command::Expanded(Some(if on_off(value, "\\x")? { Expanded::On } else { Expanded::Off })),
        ("\\format", []) => Command::Format(None),
        ("\\format", [format]) => Command::Format(Some(shown_format(format)?)),
        ("\\queries", []) => Command::Questions,
        ("\\run", []) => {
            return Err(
                Error::bad_input("\\run needs the name of a shipped question").with_hint("\\queries lists them")
            );
        }
        ("\\run", [name, arguments @ ..]) => {
            let arguments = arguments.iter().map(|argument| assignment(argument)).collect::<Result<_>>()?;
            Command::Run { name: (*name).to_owned(), arguments }
        }
        ("\\report", []) => Command::Reports,
        ("\\report", [name, arguments @ ..]) => {
            let arguments = arguments.iter().map(|argument| assignment(argument)).collect::<Result<_>>()?;
            Command::Report { name: (*name).to_owned(), arguments }
        }
        ("\\trace", [id]) => Command::Trace { id: (*id).to_owned(), all: false },
        ("\\trace", [id, "all"]) => Command::Trace { id: (*id).to_owned(), all: true },
        ("\\trace", []) => return Err(Error::bad_input("\\trace needs a trace id, or the first digits of one")),
        ("\\p", []) => Command::PrintPending,
        ("\\r", []) => Command::ResetPending,
        ("\\h", _) => Command::SqlHelp,
        ("\\?", _) => Command::Help,
        ("\\q" | "\\quit", []) => Command::Quit,
        (known, _) if HELP.iter().any(|(name, ..)| *name == known) => return Err(too_many()),
        _ => return Err(unknown(name)),
    };
    Ok(command)
}

const HINT: &str = "\\? lists the commands";

fn unknown(name: &str) -> Error {
    Error::bad_input(format!("there is no command {name}")).with_hint(HINT)
}

fn on_off(value: &str, name: &str) -> Result<bool> {
    match value.to_ascii_lowercase().as_str() {
        "on" | "true" | "1" => Ok(true),
        "off" | "false" | "0" => Ok(false),
        _ => Err(Error::bad_input(format!("{name} takes on or off, not \"{value}\""))),
    }
}

fn shown_format(name: &str) -> Result<Format> {
    let format: Format = name.parse().map_err(|error: Error| {
        let names = formats().map(|format| format.name().to_owned()).collect::<Vec<_>>();
        error.with_hint(format!("there are {}", names.join(", ")))
    })?;
    match format.is_binary() {
        false => Ok(format),
        true => Err(Error::bad_input(format!("{format} is bytes that no terminal shows"))
            .with_hint(format!("spanhouse sql --format {format} writes it into a file"))),
    }
}

fn assignment(text: &str) -> Result<(String, String)> {
    let (name, value) = text.split_once('=').ok_or_else(|| {
        Error::bad_input(format!("\"{text}\" is not parameter=value"))
            .with_hint("\\queries and \\report show what each question takes")
    })?;
    Ok((name.trim_start_matches(':').to_owned(), value.to_owned()))
}

/// Cuts at spaces; single or double quotes keep spaces in a word, and two of the same inside quotes are one.
fn words(text: &str) -> Result<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, quote) {
            (c, Some(open)) if c == open && chars.peek() == Some(&c) => {
                chars.next();
                word.get_or_insert_default().push(c);
            }
            (c, Some(open)) if c == open => quote = None,
            ('\'' | '"', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (c, None) if c.is_whitespace() => words.extend(word.take()),
            (c, _) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err(Error::bad_input("a quote is not closed"));
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read() {
        let run = |arguments: &[(&str, &str)]| Command::Run {
            name: "slow".to_owned(),
            arguments: arguments.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
        };
        let cases = [
            ("\\d", Command::Relations),
            ("\\dt+ ;", Command::Relations),
            ("\\d traces.spans", Command::Describe("traces.spans".to_owned())),
            ("\\df quant*", Command::Functions(Some("quant*".to_owned()))),
            ("\\timing ON", Command::Timing(Some(true))),
            ("\\x", Command::Expanded(None)),
            ("\\x auto", Command::Expanded(Some(Expanded::Auto))),
            ("\\format ndjson", Command::Format(Some(Format::Ndjson))),
            ("\\trace 5B8E all", Command::Trace { id: "5B8E".to_owned(), all: true }),
            ("\\run slow", run(&[])),
            ("\\run slow since='2 hours' :who='it''s' x=", run(&[("since", "2 hours"), ("who", "it's"), ("x", "")])),
            ("\\run slow to=\"2023-01-30 12:00\" who=\"it's\"", run(&[("to", "2023-01-30 12:00"), ("who", "it's")])),
            ("\\report", Command::Reports),
            (
                "\\report daily from='2026-03-28 05:00'",
                Command::Report {
                    name: "daily".to_owned(),
                    arguments: vec![("from".to_owned(), "2026-03-28 05:00".to_owned())],
                },
            ),
            ("\\q;", Command::Quit),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text).expect(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_command_says_so() {
        let cases = [
            ("\\", "there is no command \\"),
            ("\\nope", "there is no command \\nope"),
            ("\\timing maybe", "\\timing takes on or off, not \"maybe\""),
            ("\\p all", "\\p does not take \"all\""),
            ("\\format parquet", "parquet is bytes that no terminal shows"),
            ("\\run", "\\run needs the name of a shipped question"),
            ("\\run x y", "\"y\" is not parameter=value"),
            ("\\trace", "\\trace needs a trace id, or the first digits of one"),
            ("\\d 'x", "a quote is not closed"),
            ("\\d \"x'", "a quote is not closed"),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text).expect_err(text).to_string(), expected);
        }
    }

    #[test]
    fn every_command_of_the_help_is_known() {
        for (name, ..) in HELP.iter().filter(|(name, ..)| !name.starts_with("\\g")) {
            if let Err(error) = parse(name) {
                assert!(!error.to_string().starts_with("there is no command"), "{name}");
            }
        }
    }
}

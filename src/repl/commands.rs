//! Backslash commands: what a user types, as a value.

use std::time::Duration;

use super::conditions;
use crate::error::{Error, Result};
use crate::render::{Expanded, Format};

pub use super::conditions::sql_after;

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
    /// `\map`: who calls whom between two times.
    Map { from: Option<String>, to: Option<String> },
    /// `\flame`, of the spans of which a condition is true, as in the three below.
    Flame(String),
    /// `\heatmap`
    Heatmap(String),
    /// `\hist`
    Histogram { value: String, condition: String },
    /// `\tail`
    Tail(String),
    /// `\watch`: the last statement again and again; without a number of times, until Ctrl-C.
    Watch { interval: Duration, times: Option<u64> },
    /// `\o`: results go to a file; `None` brings them back.
    Output(Option<String>),
    /// `\i`: runs a file.
    Include(String),
    /// `\e`: the statement so far, or the last one, or a file, in the editor.
    Edit(Option<String>),
    /// `\pset`: all settings, one, or a new value for one.
    Set(Option<(String, Option<String>)>),
    /// `\errverbose`: the last error with all that is known of it.
    LastError,
    /// `\c`: another server, or the data directory again; `None` asks where this is.
    Connect(Option<String>),
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
    ("\\map", "[FROM [TO]]", "draw who calls whom; FROM is a time or how long ago, as 2h"),
    ("\\flame", "[CONDITION]", "draw what the time went to"),
    ("\\heatmap", "[CONDITION]", "draw when spans took how long"),
    ("\\hist", "VALUE [CONDITION]", "draw how often each value came"),
    ("\\tail", "[CONDITION]", "show spans as they arrive, until Ctrl-C"),
    ("\\watch", "[SECONDS] [c=TIMES]", "ask the last statement again and again, until Ctrl-C"),
    ("\\o", "[FILE]", "write results to a .csv, .json, .ndjson, .md, .html, .parquet or .txt"),
    ("\\i", "FILE", "run the statements of a file"),
    ("\\e", "[FILE]", "edit the statement in $VISUAL or $EDITOR"),
    ("\\c", "[URL|local]", "connect to a server: postgres://USER@HOST/spanhouse"),
    ("\\errverbose", "", "explain the last error"),
    ("\\pset", "[NAME [VALUE]]", "settings: format, null, pager, theme, timing, x"),
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
    if let Some(command) = conditions::parse(text) {
        return command;
    }
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
        ("\\map", [] | [_] | [_, _]) => {
            let word = |at: usize| arguments.get(at).map(|word| (*word).to_owned());
            Command::Map { from: word(0), to: word(1) }
        }
        ("\\watch", arguments) => watch(arguments)?,
        ("\\o" | "\\out", []) => Command::Output(None),
        ("\\o" | "\\out", [file]) => Command::Output(Some((*file).to_owned())),
        ("\\i" | "\\include", [file]) => Command::Include((*file).to_owned()),
        ("\\i" | "\\include", []) => return Err(Error::bad_input("\\i needs the name of a file")),
        ("\\e" | "\\edit", []) => Command::Edit(None),
        ("\\e" | "\\edit", [file]) => Command::Edit(Some((*file).to_owned())),
        ("\\c" | "\\connect" | "\\conninfo", []) => Command::Connect(None),
        ("\\c" | "\\connect", [place]) => Command::Connect(Some((*place).to_owned())),
        ("\\errverbose", []) => Command::LastError,
        ("\\pset", []) => Command::Set(None),
        ("\\pset", [name]) => Command::Set(Some(((*name).to_owned(), None))),
        ("\\pset", [name, value]) => Command::Set(Some(((*name).to_owned(), Some((*value).to_owned())))),
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
/// How often \watch asks when nothing else is said.
const WATCH_SECONDS: f64 = 2.0;
/// Nobody waits for longer.
const MAX_WATCH: Duration = Duration::from_secs(86_400);

fn unknown(name: &str) -> Error {
    Error::bad_input(format!("there is no command {name}")).with_hint(HINT)
}

/// Reads how often a statement is to be asked: `2`, `i=2`, `c=10`.
fn watch(arguments: &[&str]) -> Result<Command> {
    let wrong = |text: &str| {
        Error::bad_input(format!("\\watch takes seconds and a number of times, not \"{text}\""))
            .with_hint("\\watch 5 c=10")
    };
    let (mut seconds, mut times) = (WATCH_SECONDS, None);
    for argument in arguments {
        match argument.split_once('=') {
            Some(("c" | "count", text)) => {
                times = Some(text.parse().ok().filter(|times| *times > 0).ok_or_else(|| wrong(argument))?);
            }
            None | Some(("i" | "interval", _)) => {
                let text = argument.split_once('=').map_or(*argument, |(_, text)| text);
                seconds = text.parse().map_err(|_| wrong(argument))?;
            }
            _ => return Err(wrong(argument)),
        }
    }
    let interval = Duration::try_from_secs_f64(seconds).ok().filter(|interval| *interval <= MAX_WATCH);
    Ok(Command::Watch { interval: interval.ok_or_else(|| wrong(&arguments.join(" ")))?, times })
}

pub fn on_off(value: &str, name: &str) -> Result<bool> {
    match value.to_ascii_lowercase().as_str() {
        "on" | "true" | "1" => Ok(true),
        "off" | "false" | "0" => Ok(false),
        _ => Err(Error::bad_input(format!("{name} takes on or off, not \"{value}\""))),
    }
}

pub fn shown_format(name: &str) -> Result<Format> {
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
            ("\\map", Command::Map { from: None, to: None }),
            (
                "\\map 2h '2026-01-05 10:00'",
                Command::Map { from: Some("2h".to_owned()), to: Some("2026-01-05 10:00".to_owned()) },
            ),
            ("\\watch", Command::Watch { interval: Duration::from_secs(2), times: None }),
            ("\\watch 0.5 c=3", Command::Watch { interval: Duration::from_millis(500), times: Some(3) }),
            ("\\watch i=5", Command::Watch { interval: Duration::from_secs(5), times: None }),
            ("\\o", Command::Output(None)),
            ("\\o 'a b.csv'", Command::Output(Some("a b.csv".to_owned()))),
            ("\\i a.sql", Command::Include("a.sql".to_owned())),
            ("\\e", Command::Edit(None)),
            ("\\connect postgres://h/d", Command::Connect(Some("postgres://h/d".to_owned()))),
            ("\\pset pager off", Command::Set(Some(("pager".to_owned(), Some("off".to_owned()))))),
            ("\\errverbose", Command::LastError),
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
            ("\\watch soon", "\\watch takes seconds and a number of times, not \"soon\""),
            ("\\watch -1", "\\watch takes seconds and a number of times, not \"-1\""),
            ("\\watch c=0", "\\watch takes seconds and a number of times, not \"c=0\""),
            ("\\hist", "\\hist needs a column or another value"),
            ("\\i", "\\i needs the name of a file"),
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

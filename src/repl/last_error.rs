//! The last error, for `\errverbose`: all that is known of it, and what its kind means.

use super::text::{Line, Style};
use crate::error::{Error, Kind};
use crate::render::sanitize;

/// An error that was shown.
#[derive(Debug, Clone)]
pub struct LastError {
    message: String,
    sqlstate: &'static str,
    position: Option<usize>,
    hint: Option<String>,
    kind: Kind,
    causes: Vec<String>,
}

impl LastError {
    pub fn of(error: &Error) -> Self {
        let mut causes = Vec::new();
        let mut cause = std::error::Error::source(error);
        while let Some(inner) = cause {
            let text = inner.to_string();
            if !text.is_empty() && !error.message.contains(&text) && causes.last() != Some(&text) {
                causes.push(text);
            }
            cause = inner.source();
        }
        Self {
            message: error.message.clone().into_owned(),
            sqlstate: error.sqlstate(),
            position: error.position,
            hint: error.hint.as_ref().map(|hint| hint.clone().into_owned()),
            kind: error.kind,
            causes,
        }
    }

    pub fn lines(&self) -> Vec<Line> {
        let line = |style: Style, name: &str, text: &str| {
            let mut line = Line::of(style, format!("{name}:  "));
            line.push(Style::Plain, sanitize(text));
            line
        };
        let mut message = self.message.lines();
        let first = format!("{}: {}", self.sqlstate, message.next().unwrap_or_default());
        let mut lines = vec![line(Style::Error, "ERROR", &first)];
        lines.extend(message.map(|more| Line::of(Style::Plain, sanitize(more))));
        if let Some(position) = self.position {
            lines.push(line(Style::Dim, "POSITION", &position.to_string()));
        }
        lines.extend(self.hint.iter().map(|hint| line(Style::Dim, "HINT", hint)));
        lines.extend(self.causes.iter().map(|cause| line(Style::Dim, "CAUSE", cause)));
        lines.push(line(Style::Dim, "MEANS", meaning(self.sqlstate, self.kind)));
        lines
    }
}

/// What a person may do about an error.
fn meaning(sqlstate: &str, kind: Kind) -> &'static str {
    match sqlstate {
        "42703" => {
            "no relation of the statement has a column of that name: \\d RELATION lists them; attributes are attributes['key']"
        }
        "42P01" => "there is no relation of that name: \\d lists them",
        "42883" => {
            "there is no such function, or it takes other types: \\df PATTERN lists functions and what they take"
        }
        "42601" => "the text is no SQL at the place that is marked: look at what stands before it",
        "42803" => "a column that is not in GROUP BY stands outside an aggregate",
        "22P02" | "22007" | "22008" => "a text is no value of the type that it is compared with or cast to",
        "25P02" => "an earlier statement of this transaction failed: ROLLBACK ends it",
        "42501" => "this is not allowed here: statements only read, and a user may be denied more",
        "53200" => {
            "the statement needed more memory than one may have: read fewer columns, a shorter time, or fewer groups"
        }
        "57014" => "it was stopped, by Ctrl-C or by statement_timeout: SHOW statement_timeout",
        _ => match kind {
            Kind::BadInput => "the statement is wrong, and will be when it is asked again",
            Kind::TooLarge => "a stated limit is exceeded: ask for less",
            Kind::NotFound => "what is named is not there",
            Kind::Unauthenticated | Kind::Denied => "the server does not let you: look at the user and the password",
            Kind::Cancelled => "it was stopped",
            Kind::OutOfResources => "it needed more memory or temporary space than it may have: ask for less",
            Kind::Corrupt => "stored bytes are not what was written: spanhouse check says what is damaged",
            Kind::Internal => "this is a defect of the program: please report it with the statement",
            Kind::Io => {
                "the operating system, the network or the object store failed: it may do when it is asked again"
            }
            Kind::Incomplete | Kind::Overloaded { .. } | Kind::OverRate { .. } | Kind::Closed => {
                "it may do when it is asked again later"
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repl::text::Palette;

    #[test]
    fn all_that_is_known_is_told() {
        let cause = std::io::Error::other("the disk is on fire");
        let error = Error::bad_input("column \"x\" does not exist\nmore\x1b")
            .with_sqlstate("42703")
            .with_position(8)
            .with_hint("did you mean \"y\"?")
            .with_source(cause);
        let lines = LastError::of(&error).lines();
        let text: Vec<String> = lines.iter().map(|line| line.paint(Palette::Plain)).collect();
        assert_eq!(
            text[..5],
            [
                "ERROR:  42703: column \"x\" does not exist",
                "more\\x1b",
                "POSITION:  8",
                "HINT:  did you mean \"y\"?",
                "CAUSE:  the disk is on fire"
            ]
        );
        assert!(text[5].starts_with("MEANS:  no relation of the statement has a column"), "{text:?}");
    }
}

//! Where the shell writes: what the terminal can show, bytes made safe for it, and errors under their statement.

use std::io::{self, IsTerminal};

use super::charts::Paper;
use super::splitter::Script;
use super::text::{Line, Palette, Style, width};
use super::theme::Theme;
use super::waterfall::Canvas;
use crate::error::Error;
use crate::render::sanitize;

/// Columns when nothing tells how many there are.
const DEFAULT_COLUMNS: usize = 80;

/// What the shell's input and output can do.
#[derive(Debug, Clone, Copy)]
pub struct Terminal {
    /// A person sits at both ends.
    pub interactive: bool,
    pub stdout_is_terminal: bool,
    pub palette: Palette,
    pub ascii: bool,
}

impl Terminal {
    /// Looks at the process's streams and environment (`NO_COLOR`, `TERM`, `COLORFGBG`, the locale).
    pub fn detect() -> Self {
        let stdout_is_terminal = io::stdout().is_terminal();
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(variable);
        let speaks_utf8 = locale.is_none_or(|name| {
            let name = name.to_ascii_lowercase();
            name.contains("utf-8") || name.contains("utf8")
        });
        Self {
            interactive: stdout_is_terminal && io::stdin().is_terminal(),
            stdout_is_terminal,
            palette: if stdout_is_terminal { Theme::default().palette(variable) } else { Palette::Plain },
            ascii: stdout_is_terminal && !speaks_utf8,
        }
    }

    /// The same with the colours that its user wants; a pipe has none.
    pub fn with_theme(self, theme: Theme) -> Self {
        match self.stdout_is_terminal {
            true => Self { palette: theme.palette(|name| std::env::var(name).ok()), ..self },
            false => self,
        }
    }

    /// What drawings are drawn on.
    pub fn paper(self, columns: Option<usize>) -> Paper {
        Paper::new(columns.unwrap_or(DEFAULT_COLUMNS), self.ascii)
    }

    /// How to draw a trace of at most `max_spans`.
    pub fn canvas(self, columns: Option<usize>, max_spans: usize) -> Canvas {
        Canvas { width: columns.unwrap_or(DEFAULT_COLUMNS), max_spans, ascii: self.ascii }
    }
}

/// Says what went wrong, with the line of the statement and a caret under the place where that is known.
///
/// `first_line` is the number of the statement's first line as its reader counts.
pub fn error_lines(error: &Error, script: Option<&Script>, first_line: Option<usize>, columns: usize) -> Vec<Line> {
    let mut message = error.message.lines();
    let mut first = Line::of(Style::Error, "ERROR:  ");
    first.push(Style::Bold, sanitize(message.next().unwrap_or_default()));
    let mut lines = vec![first];
    lines.extend(message.map(|more| Line::of(Style::Plain, sanitize(more))));
    if let Some(script) = script {
        lines.extend(place(script, error.position, first_line, columns));
    }
    if let Some(hint) = &error.hint {
        let mut line = Line::of(Style::Dim, "HINT:  ");
        line.push(Style::Plain, sanitize(hint));
        lines.push(line);
    }
    lines
}

/// The statement's line and a caret; without a position the first line, when the reader counts lines.
fn place(script: &Script, position: Option<usize>, first_line: Option<usize>, columns: usize) -> Vec<Line> {
    let offset = position.map(|position| position.saturating_sub(1));
    if offset.is_none() && first_line.is_none() {
        return Vec::new();
    }
    let at = offset.unwrap_or(0);
    let byte = script.text.char_indices().nth(at).map_or(script.text.len(), |(byte, _)| byte);
    let start = script.text[..byte].rfind('\n').map_or(0, |feed| feed + 1);
    let end = script.text[byte..].find('\n').map_or(script.text.len(), |feed| byte + feed);
    let number = first_line.unwrap_or(1) + script.text[..start].matches('\n').count();
    let head = format!("LINE {number}: ");
    let room = columns.saturating_sub(width(&head) + 1).max(20);
    let (shown, caret) = window(&sanitize(&script.text[start..byte]), &sanitize(&script.text[byte..end]), room);
    let mut line = Line::of(Style::Dim, head.clone());
    line.push(Style::Plain, shown);
    let mut lines = vec![line];
    if offset.is_some() {
        lines.push(Line::of(Style::Error, format!("{}^", " ".repeat(width(&head) + caret))));
    }
    lines
}

/// The part of a long line around its middle that fits `room` columns, and the column where `after` begins in it.
fn window(before: &str, after: &str, room: usize) -> (String, usize) {
    const CUT: &str = "...";
    let keep_before = (room * 2 / 3).max(room.saturating_sub(width(after) + CUT.len()));
    let mut shown = before.to_owned();
    if width(before) > keep_before {
        let mut kept = width(before);
        let tail: String = before
            .chars()
            .skip_while(|c| {
                let cut = kept + CUT.len() > keep_before;
                kept -= if cut { width(c.encode_utf8(&mut [0; 4])) } else { 0 };
                cut
            })
            .collect();
        shown = format!("{CUT}{tail}");
    }
    let caret = width(&shown);
    match caret + width(after) <= room {
        true => shown.push_str(after),
        false => shown.push_str(super::text::fit(after, room.saturating_sub(caret), CUT).trim_end()),
    }
    (shown, caret)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(error: &Error, text: &str, first_line: Option<usize>, columns: usize) -> String {
        let script = Script { text: text.to_owned(), line: 1, expanded: false };
        let lines = error_lines(error, Some(&script), first_line, columns);
        lines.iter().map(|line| line.paint(Palette::Plain)).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn the_caret_stands_under_the_place() {
        let error = Error::bad_input("there is no column \"nme\"").with_position(8).with_hint("did you mean \"name\"?");
        assert_eq!(
            shown(&error, "select nme from t", None, 80),
            "ERROR:  there is no column \"nme\"\nLINE 1: select nme from t\n               ^\nHINT:  did you mean \"name\"?"
        );
        let error = Error::bad_input("no").with_position(12);
        assert_eq!(shown(&error, "select '日'\n, x", Some(40), 80), "ERROR:  no\nLINE 41: , x\n         ^");
        let error = Error::bad_input("no").with_position(11);
        assert_eq!(
            shown(&error, "select '日', x", None, 80),
            "ERROR:  no\nLINE 1: select '日', x\n                   ^"
        );
        assert_eq!(
            shown(&Error::bad_input("no").with_position(999), "select", None, 80),
            "ERROR:  no\nLINE 1: select\n              ^"
        );
    }

    #[test]
    fn without_a_position_only_a_script_names_its_line() {
        let error = Error::bad_input("bad\nworse\x1b[31m");
        assert_eq!(shown(&error, "select\n1", None, 80), "ERROR:  bad\nworse\\x1b[31m");
        assert_eq!(shown(&error, "select\n1", Some(7), 80), "ERROR:  bad\nworse\\x1b[31m\nLINE 7: select");
    }

    #[test]
    fn a_long_line_is_cut_around_the_caret() {
        let text = format!("select {} oops {}", "a, ".repeat(100), "b, ".repeat(100));
        let position = text.find("oops").expect("there") + 1;
        let lines = shown(&Error::bad_input("no").with_position(position), &text, None, 60);
        let lines: Vec<&str> = lines.lines().collect();
        assert!(lines[1].len() <= 60 && lines[1].contains("...a, "), "{}", lines[1]);
        assert_eq!(&lines[1][lines[2].len() - 1..][..4], "oops");
    }
}

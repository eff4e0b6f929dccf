//! Text that is safe and fits: styled pieces, display widths, and control characters made visible.

use std::fmt::Write as _;

use unicode_width::UnicodeWidthChar;

/// What a piece of text is, for colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    Plain,
    Dim,
    Bold,
    Error,
    Keyword,
    Text,
    Number,
    /// One of a few colours that tell things apart, by number.
    Tint(u8),
}

impl Style {
    /// The parameters of the terminal's colour sequence; empty for none.
    fn sgr(self) -> &'static str {
        const TINTS: [&str; 6] = ["36", "34", "35", "32", "33", "94"];
        match self {
            Self::Plain => "",
            Self::Dim => "2",
            Self::Bold => "1",
            Self::Error => "31",
            Self::Keyword => "1;34",
            Self::Text => "32",
            Self::Number => "36",
            Self::Tint(tint) => TINTS[usize::from(tint) % TINTS.len()],
        }
    }

    /// Writes `text` in this style when colour is on.
    pub fn paint(self, text: &str, colour: bool, out: &mut String) {
        let sgr = self.sgr();
        if !colour || sgr.is_empty() || text.is_empty() {
            out.push_str(text);
            return;
        }
        // Writing to a String cannot fail.
        let _ = write!(out, "\x1b[{sgr}m{text}\x1b[0m");
    }
}

/// A line of styled pieces.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Line(pub Vec<(Style, String)>);

impl Line {
    /// A line of one piece.
    pub fn of(style: Style, text: impl Into<String>) -> Self {
        Self(vec![(style, text.into())])
    }

    /// Adds a piece.
    pub fn push(&mut self, style: Style, text: impl Into<String>) {
        self.0.push((style, text.into()));
    }

    /// The line as text, without spaces at its end.
    pub fn paint(&self, colour: bool) -> String {
        let mut pieces = self.0.clone();
        while let Some((_, last)) = pieces.last_mut() {
            last.truncate(last.trim_end_matches(' ').len());
            if !last.is_empty() {
                break;
            }
            pieces.pop();
        }
        let mut out = String::new();
        pieces.iter().for_each(|(style, text)| style.paint(text, colour, &mut out));
        out
    }
}

/// The columns that a text takes.
pub fn width(text: &str) -> usize {
    text.chars().map(|c| c.width().unwrap_or(0)).sum()
}

/// The text cut to `columns`, with `mark` at a cut, and filled with spaces.
pub fn fit(text: &str, columns: usize, mark: &str) -> String {
    let total = width(text);
    if total <= columns {
        return format!("{text}{}", " ".repeat(columns - total));
    }
    let room = columns.saturating_sub(width(mark));
    let mut used = 0;
    let kept = text.chars().take_while(|c| {
        used += c.width().unwrap_or(0);
        used <= room
    });
    let mut cut: String = kept.collect();
    cut.push_str(&mark.chars().take(columns).collect::<String>());
    let filled = columns.saturating_sub(width(&cut));
    cut.extend(std::iter::repeat_n(' ', filled));
    cut
}

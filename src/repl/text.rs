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
    Function,
    Relation,
    /// One of a few colours that tell things apart, by number.
    Tint(u8),
    /// The same colours behind the text.
    Block(u8),
    /// From little, 0, to much, 3.
    Heat(u8),
}

/// The colours that a terminal is sent. They are of the sixteen that every terminal has, so that its user's own choice of them holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Palette {
    /// No colours, and nothing else that a terminal would have to understand.
    #[default]
    Plain,
    /// Light letters on a dark ground.
    Dark,
    /// Dark letters on a light ground.
    Light,
}

impl Palette {
    /// Whether there are any colours.
    pub fn is_coloured(self) -> bool {
        self != Self::Plain
    }

    /// The parameters of the terminal's sequence for a style; empty for none.
    fn sgr(self, style: Style) -> &'static str {
        const TINTS: [[&str; 6]; 2] = [["36", "94", "35", "32", "33", "96"], ["34", "35", "32", "36", "94", "95"]];
        const BLOCKS: [&str; 6] = ["30;46", "30;42", "30;43", "30;45", "30;47", "30;44"];
        const HEATS: [[&str; 4]; 2] = [["34", "36", "33", "91"], ["36", "34", "35", "31"]];
        let is_light = self == Self::Light;
        let either = |dark, light| if is_light { light } else { dark };
        match style {
            _ if self == Self::Plain => "",
            Style::Plain => "",
            Style::Dim => either("2", "90"),
            Style::Bold => "1",
            Style::Error => either("91", "31"),
            Style::Keyword => either("1;94", "1;34"),
            Style::Text => "32",
            Style::Number => either("36", "35"),
            Style::Function => either("33", "36"),
            Style::Relation => either("95", "1;35"),
            Style::Tint(tint) => TINTS[usize::from(is_light)][usize::from(tint) % 6],
            Style::Block(tint) => BLOCKS[usize::from(tint) % 6],
            Style::Heat(level) => HEATS[usize::from(is_light)][usize::from(level).min(3)],
        }
    }
}

impl Style {
    /// Writes `text` in this style.
    pub fn paint(self, text: &str, palette: Palette, out: &mut String) {
        let sgr = palette.sgr(self);
        if sgr.is_empty() || text.is_empty() {
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
    pub fn paint(&self, palette: Palette) -> String {
        let mut pieces = self.0.clone();
        while let Some((style, last)) = pieces.last_mut() {
            // A space may have a ground of its own.
            if matches!(style, Style::Block(_)) && palette.is_coloured() {
                break;
            }
            last.truncate(last.trim_end_matches(' ').len());
            if !last.is_empty() {
                break;
            }
            pieces.pop();
        }
        let mut out = String::new();
        pieces.iter().for_each(|(style, text)| style.paint(text, palette, &mut out));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_sixteen_colours_are_used() {
        let styles =
            [Style::Dim, Style::Bold, Style::Error, Style::Keyword, Style::Text, Style::Number, Style::Function];
        let more = (0..8).flat_map(|number| [Style::Tint(number), Style::Block(number), Style::Heat(number)]);
        let all: Vec<Style> = styles.into_iter().chain([Style::Relation]).chain(more).collect();
        for palette in [Palette::Dark, Palette::Light] {
            for code in all.iter().flat_map(|style| palette.sgr(*style).split(';')) {
                let code: u8 = code.parse().expect("a number");
                assert!(matches!(code, 1 | 2 | 30..=37 | 40..=47 | 90..=97), "{code}");
            }
        }
        assert!(all.iter().all(|style| Palette::Plain.sgr(*style).is_empty()));
    }
}

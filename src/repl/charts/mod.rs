//! Drawings in text: rows of numbers in, styled lines out.
//!
//! Pure, but for the width that they are told. Each fits its width whatever the data are, in Unicode and in ASCII; and all text from data is made
//! harmless here.

mod bars;
mod flame;
mod heatmap;
mod histogram;
mod map;
mod plan;

pub use flame::{Stack, flame};
pub use heatmap::{Cell, Heatmap, heatmap};
pub use histogram::{Bar, histogram};
pub use map::{Call, map};
pub use plan::{is_measured, plan};

use super::waterfall::duration;

/// What is drawn on.
#[derive(Debug, Clone, Copy)]
pub struct Paper {
    columns: usize,
    /// Whether only ASCII may be drawn.
    pub ascii: bool,
}

impl Paper {
    /// The columns that every drawing has.
    pub const MIN_COLUMNS: usize = 40;

    /// A paper of so many columns, and no fewer than [`Self::MIN_COLUMNS`].
    pub fn new(columns: usize, ascii: bool) -> Self {
        Self { columns: columns.max(Self::MIN_COLUMNS), ascii }
    }

    pub fn columns(self) -> usize {
        self.columns
    }

    /// A length of time in at most eight columns.
    pub fn duration(self, ns: i64) -> String {
        let text = duration(ns);
        if self.ascii { text.replace('µ', "u") } else { text }
    }

    /// What stands where a text was cut.
    pub fn ellipsis(self) -> &'static str {
        if self.ascii { ".." } else { "…" }
    }
}

#[cfg(test)]
mod golden {
    use std::path::Path;

    use crate::repl::text::{Line, Palette, width};

    /// Compares a drawing with its file in `goldens`; `UPDATE_GOLDENS=1` writes the files anew, for a person to look at.
    pub fn check(name: &str, lines: &[Line], columns: usize) {
        let text: String = lines.iter().map(|line| line.paint(Palette::Plain) + "\n").collect();
        for line in text.lines() {
            assert!(width(line) <= columns, "{name}: {} columns: {line}", width(line));
            assert!(!line.contains('\x1b'), "{name}: {line}");
        }
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/repl/charts/goldens").join(format!("{name}.txt"));
        if std::env::var_os("UPDATE_GOLDENS").is_some() {
            std::fs::write(&file, &text).expect("written");
        }
        assert_eq!(text, std::fs::read_to_string(&file).unwrap_or_default(), "{name}");
    }
}

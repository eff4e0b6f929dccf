//! How often each value, or each range of values, came.

use super::Paper;
use super::bars::{amount, bar, percent};
use crate::render::sanitize;
use crate::repl::text::{Line, Style, fit, width};

/// The columns of an amount.
const AMOUNT_COLUMNS: usize = 7;
/// The columns of a share.
const SHARE_COLUMNS: usize = 6;

/// A value, or a range of values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bar {
    pub label: String,
    pub count: u64,
}

/// Draws a line a bar, beside its number and its share of `total`.
pub fn histogram(bars: &[Bar], total: u64, paper: Paper) -> Vec<Line> {
    let labels: Vec<String> = bars.iter().map(|bar| sanitize(&bar.label).into_owned()).collect();
    let numbers = AMOUNT_COLUMNS + SHARE_COLUMNS + 2;
    let room = paper.columns() - numbers - 3;
    let widest = labels.iter().map(|label| width(label)).max().unwrap_or(0);
    let label_columns = widest.clamp(1, room * 3 / 5);
    let bar_columns = room - label_columns;
    let most = bars.iter().map(|bar| bar.count).max().unwrap_or(0).max(1);
    let edge = if paper.ascii { "|" } else { "│" };
    let line = |(label, counted): (&String, &Bar)| {
        let mut line = Line::of(Style::Plain, fit(label, label_columns, paper.ellipsis()));
        line.push(Style::Dim, format!(" {edge}"));
        let length = bar(counted.count as f64 / most as f64, bar_columns, paper);
        line.push(Style::Tint(0), fit(&length, bar_columns, ""));
        line.push(Style::Plain, format!(" {:>AMOUNT_COLUMNS$}", amount(counted.count)));
        line.push(Style::Dim, format!(" {:>SHARE_COLUMNS$}", percent(counted.count, total)));
        line
    };
    labels.iter().zip(bars).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repl::charts::golden;

    #[test]
    fn bars_are_as_they_were_approved() {
        let bars: Vec<Bar> = [
            ("1 ms to 2 ms", 12),
            ("2 ms to 4 ms", 4_162),
            ("4 ms to 8 ms", 900),
            ("8 ms to 16 ms", 0),
            ("\x1b[2J日本 with a name that is far too long to be shown whole", 1),
        ]
        .map(|(label, count)| Bar { label: label.to_owned(), count })
        .to_vec();
        for columns in [40, 80, 120] {
            golden::check(
                &format!("histogram_{columns}"),
                &histogram(&bars, 5_075, Paper::new(columns, false)),
                columns,
            );
        }
        golden::check("histogram_ascii", &histogram(&bars[..3], 5_075, Paper::new(60, true)), 60);
        assert!(histogram(&[], 0, Paper::new(1, false)).is_empty());
    }
}

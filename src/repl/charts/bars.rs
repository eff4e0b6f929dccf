//! Bars, and numbers as people read them.

use super::Paper;

/// A bar of a share of `columns`, in eighths of a column; what is more than nothing is seen.
pub fn bar(share: f64, columns: usize, paper: Paper) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let share = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 };
    let least = usize::from(share > 0.0);
    if paper.ascii {
        return "#".repeat(((share * columns as f64).round() as usize).max(least));
    }
    let eighths = ((share * 8.0 * columns as f64).round() as usize).max(least);
    format!("{}{}", "█".repeat(eighths / 8), EIGHTHS[eighths % 8])
}

/// A number of things in at most seven columns: `12,345`, `123k`, `4.56M`.
pub fn amount(number: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(1_000_000_000_000, "T"), (1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k")];
    if number < 100_000 {
        let (thousands, rest) = (number / 1000, number % 1000);
        return if thousands > 0 { format!("{thousands},{rest:03}") } else { rest.to_string() };
    }
    let (unit, name) = UNITS.into_iter().find(|(unit, _)| number >= *unit).unwrap_or((1, ""));
    let value = number as f64 / unit as f64;
    let decimals = if value < 9.995 {
        2
    } else if value < 99.95 {
        1
    } else {
        0
    };
    format!("{value:.decimals$}{name}")
}

/// A share in percent; what is not nothing is not shown as nothing, and what is not all not as all.
pub fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "0 %".to_owned();
    }
    let share = 100.0 * part as f64 / whole as f64;
    match share {
        _ if part == 0 => "0 %".to_owned(),
        _ if part == whole => "100 %".to_owned(),
        share if share < 0.1 => "<0.1 %".to_owned(),
        share if share < 9.95 => format!("{share:.1} %"),
        share => format!("{:.0} %", share.min(99.0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_to_scale() {
        let paper = Paper::new(80, false);
        let cases =
            [(0.0, ""), (0.0001, "▏"), (0.5, "██"), (0.53, "██▏"), (1.0, "████"), (7.0, "████"), (f64::NAN, "")];
        for (share, expected) in cases {
            assert_eq!(bar(share, 4, paper), expected, "{share}");
        }
        let ascii = Paper::new(80, true);
        assert_eq!([bar(0.0, 4, ascii), bar(0.01, 4, ascii), bar(0.5, 4, ascii)], ["", "#", "##"]);
    }

    #[test]
    fn numbers_are_short_and_true() {
        let amounts = [0, 999, 1000, 99_999, 100_000, 1_234_567, 99_960_000, u64::MAX].map(amount);
        assert_eq!(amounts, ["0", "999", "1,000", "99,999", "100k", "1.23M", "100M", "18446744T"]);
        let shares = [(0, 0), (0, 5), (5, 5), (1, 3), (1, 100_000), (999, 1000), (1, 20)].map(|(a, b)| percent(a, b));
        assert_eq!(shares, ["0 %", "0 %", "100 %", "33 %", "<0.1 %", "99 %", "5.0 %"]);
    }
}

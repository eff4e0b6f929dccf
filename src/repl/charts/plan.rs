//! `EXPLAIN ANALYZE` as a tree: what each operator took, gave and read, and which of them the time went to.
//!
//! Reads the text that the engine gives, also that of a remote server. What it does not understand it shows as it stands.

use super::Paper;
use super::bars::bar;
use crate::render::sanitize;
use crate::repl::text::{Line, Style, fit, width};

/// What the engine calls a plan that was run.
const MEASURED: &str = "Plan with Metrics";
/// A narrower drawing has no bars.
const BARS_FROM_COLUMNS: usize = 72;
const BAR_COLUMNS: usize = 8;
const NUMBER_COLUMNS: usize = 9;
const KIB: f64 = 1024.0;
/// An operator with more of the time than this stands out.
const HOT_SHARE: f64 = 0.5;

/// Whether rows of `plan_type` and `plan` are a plan that was run, and nothing more.
pub fn is_measured(rows: &[Vec<String>]) -> bool {
    matches!(rows, [row] if row.len() == 2 && row[0] == MEASURED)
}

/// An operator as its line tells of it.
struct Operator {
    depth: usize,
    name: String,
    detail: String,
    time_ns: u64,
    rows: Option<String>,
    /// Bytes that it read, of an operator that reads.
    read: Option<f64>,
    /// Bytes that it gave.
    given: Option<f64>,
}

/// Draws the plan of a statement that took so long.
pub fn plan(text: &str, took_ns: i64, paper: Paper) -> Vec<Line> {
    let operators = operators(text);
    let total_ns: u64 = operators.iter().map(|operator| operator.time_ns).sum();
    let bar_columns = if paper.columns() >= BARS_FROM_COLUMNS { BAR_COLUMNS + 1 } else { 0 };
    let numbers = 3 * (NUMBER_COLUMNS + 1) + bar_columns;
    let label_columns = paper.columns().saturating_sub(numbers).max(10);
    let mut head = Line::of(Style::Dim, fit("", label_columns, ""));
    let word = |text: &str| format!(" {text:>NUMBER_COLUMNS$}");
    head.push(Style::Dim, format!("{}{}{}{}", word("time"), " ".repeat(bar_columns), word("rows"), word("bytes")));
    let mut lines = vec![head];
    for (at, operator) in operators.iter().enumerate() {
        let guides = guides(&operators, at, label_columns / 4, paper);
        lines.push(drawn(operator, &guides, total_ns, label_columns, bar_columns, paper));
    }
    lines.extend(totals(&operators, total_ns, took_ns, paper));
    lines
}

fn drawn(
    operator: &Operator,
    guides: &str,
    total_ns: u64,
    label_columns: usize,
    bar_columns: usize,
    paper: Paper,
) -> Line {
    let share = if total_ns > 0 { operator.time_ns as f64 / total_ns as f64 } else { 0.0 };
    let style = if share > HOT_SHARE { Style::Error } else { Style::Plain };
    let mut line = Line::of(Style::Dim, guides.to_owned());
    let room = label_columns.saturating_sub(width(guides));
    let name = fit(&operator.name, width(&operator.name).min(room), paper.ellipsis());
    let left = room - width(&name);
    line.push(if share > HOT_SHARE { Style::Error } else { Style::Bold }, name);
    let detail = if operator.detail.is_empty() { String::new() } else { format!(" {}", operator.detail) };
    line.push(Style::Dim, fit(&detail, left, paper.ellipsis()));
    let took = paper.duration(i64::try_from(operator.time_ns).unwrap_or(i64::MAX));
    line.push(style, format!(" {took:>NUMBER_COLUMNS$}"));
    if bar_columns > 0 {
        line.push(Style::Tint(0), fit(&format!(" {}", bar(share, BAR_COLUMNS, paper)), bar_columns, ""));
    }
    let cell = |text: &str| format!(" {text:>NUMBER_COLUMNS$}");
    line.push(Style::Plain, cell(operator.rows.as_deref().unwrap_or("")));
    let style = if operator.read.is_some() { Style::Plain } else { Style::Dim };
    line.push(style, cell(&operator.read.or(operator.given).map(bytes_text).unwrap_or_default()));
    line
}

/// What is said of all operators together. Operators work side by side, so that their times may add up to more than the statement took.
fn totals(operators: &[Operator], total_ns: u64, took_ns: i64, paper: Paper) -> Vec<Line> {
    let mut parts = Vec::new();
    if let Some(rows) = operators.first().and_then(|operator| operator.rows.as_deref()) {
        parts.push(format!("{rows} {}", if rows == "1" { "row" } else { "rows" }));
    }
    let read: f64 = operators.iter().filter_map(|operator| operator.read).sum();
    if operators.iter().any(|operator| operator.read.is_some()) {
        parts.push(format!("{} read", bytes_text(read)));
    }
    let work = paper.duration(i64::try_from(total_ns).unwrap_or(i64::MAX));
    parts.push(format!("{work} of work in {}", paper.duration(took_ns)));
    let whole = parts.join(", ");
    let lines = if width(&whole) <= paper.columns() { vec![whole] } else { parts };
    lines.into_iter().map(|line| Line::of(Style::Plain, line)).collect()
}

/// The operators in the order of the text. Those that measure nothing only pass on what comes, and are left out.
fn operators(text: &str) -> Vec<Operator> {
    let mut operators = Vec::new();
    // The levels of the operators above that were left out.
    let mut left_out: Vec<usize> = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let depth = (line.len() - line.trim_start().len()) / 2;
        left_out.retain(|level| *level < depth);
        let (what, metrics) = match line.trim().rsplit_once(", metrics=[") {
            Some((what, metrics)) => (what, metrics.trim_end_matches(']')),
            None => (line.trim(), "-"),
        };
        if metrics.is_empty() {
            left_out.push(depth);
            continue;
        }
        operators.push(operator(depth - left_out.len(), what, metrics));
    }
    operators
}

fn operator(depth: usize, what: &str, metrics: &str) -> Operator {
    let (name, detail) = what.split_once(": ").unwrap_or((what, ""));
    let metric = |wanted: &str| {
        let found = metrics.split(", ").find_map(|metric| metric.strip_prefix(wanted)?.strip_prefix('='));
        found.map(str::to_owned)
    };
    let time = |wanted: &str| metric(wanted).and_then(|text| nanoseconds(&text)).unwrap_or(0);
    Operator {
        depth,
        name: sanitize(name.trim_end_matches("Exec")).into_owned(),
        detail: sanitize(&short(&detail.replacen("Exec: ", " ", 1))).into_owned(),
        // What reads files counts its work by itself.
        time_ns: time("elapsed_compute").max(time("time_elapsed_processing")),
        rows: metric("output_rows").map(|rows| rows.replace(' ', "")),
        read: metric("bytes_scanned").and_then(|read| counted(&read)),
        given: metric("output_bytes").and_then(|given| sized(&given)),
    }
}

/// What an operator does, without the names of files.
fn short(detail: &str) -> String {
    let Some((_, rest)) = detail.split_once("file_groups=").and_then(|_| detail.split_once("]}, ")) else {
        return detail.to_owned();
    };
    let files = detail.matches(".parquet").count();
    format!("{files} {}, {rest}", if files == 1 { "file" } else { "files" })
}

/// The lines of the tree before an operator; of a deeper tree only the nearest levels.
fn guides(operators: &[Operator], at: usize, max_levels: usize, paper: Paper) -> String {
    let (branch, last, pass) = if paper.ascii { ("|-", "`-", "| ") } else { ("├ ", "└ ", "│ ") };
    let depth = operators[at].depth;
    // Whether the level goes on below this operator, before one that lies above it.
    let goes_on = |level: usize| {
        operators[at + 1..].iter().take_while(|below| below.depth >= level).any(|below| below.depth == level)
    };
    let mut guides = String::new();
    for level in 1..=depth {
        let is_own = level == depth;
        if level + max_levels <= depth {
            continue;
        }
        guides.push_str(match (is_own, goes_on(level)) {
            (true, true) => branch,
            (true, false) => last,
            (false, true) => pass,
            (false, false) => "  ",
        });
    }
    guides
}

/// A length of time as the engine writes it: `1ns`, `18.91µs`, `1.20s`.
fn nanoseconds(text: &str) -> Option<u64> {
    const UNITS: [(&str, f64); 4] = [("ns", 1.0), ("µs", 1e3), ("ms", 1e6), ("s", 1e9)];
    let (number, unit) = UNITS.iter().find_map(|(unit, ns)| Some((text.strip_suffix(unit)?, ns)))?;
    number.parse::<f64>().ok().map(|number| (number * unit).round() as u64)
}

/// A count as the engine writes it, in thousands: `75.69 K`.
fn counted(text: &str) -> Option<f64> {
    in_units(text, &[("", 1.0), ("K", 1e3), ("M", 1e6), ("B", 1e9), ("T", 1e12)])
}

/// A size as the engine writes it: `6.7 KB`.
fn sized(text: &str) -> Option<f64> {
    in_units(
        text,
        &[("B", 1.0), ("KB", KIB), ("MB", KIB * KIB), ("GB", KIB * KIB * KIB), ("TB", KIB * KIB * KIB * KIB)],
    )
}

fn in_units(text: &str, units: &[(&str, f64)]) -> Option<f64> {
    let (number, unit) = text.split_once(' ').unwrap_or((text, ""));
    let factor = units.iter().find(|(name, _)| *name == unit)?.1;
    number.parse::<f64>().ok().map(|number| number * factor)
}

fn bytes_text(bytes: f64) -> String {
    const UNITS: [(f64, &str); 4] =
        [(KIB * KIB * KIB * KIB, "TiB"), (KIB * KIB * KIB, "GiB"), (KIB * KIB, "MiB"), (KIB, "KiB")];
    match UNITS.iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) if bytes / unit < 99.95 => format!("{:.1} {name}", bytes / unit),
        Some((unit, name)) => format!("{:.0} {name}", bytes / unit),
        None => format!("{bytes:.0} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repl::charts::golden;

    #[test]
    fn plans_are_as_they_were_approved() {
        let text = include_str!("goldens/plan.in");
        for columns in [40, 80, 120] {
            golden::check(&format!("plan_{columns}"), &plan(text, 151_000_000, Paper::new(columns, false)), columns);
        }
        golden::check("plan_ascii", &plan(text, 151_000_000, Paper::new(100, true)), 100);
    }

    #[test]
    fn what_the_engine_writes_is_read() {
        assert_eq!(
            ["1ns", "18.91µs", "1.5ms", "2s", "x"].map(nanoseconds),
            [Some(1), Some(18_910), Some(1_500_000), Some(2_000_000_000), None]
        );
        assert_eq!(["75.69 K", "12", "1.0 X"].map(counted), [Some(75_690.0), Some(12.0), None]);
        assert_eq!(["1 KB", "0.0 B", "12"].map(sized), [Some(1024.0), Some(0.0), None]);
        assert_eq!([0.0, 1023.0, 1536.0, 104_800_000.0].map(bytes_text), ["0 B", "1023 B", "1.5 KiB", "99.9 MiB"]);
    }

    #[test]
    fn only_a_plan_that_was_run_is_drawn() {
        let row = |kind: &str| vec![kind.to_owned(), "X".to_owned()];
        assert!(is_measured(&[row("Plan with Metrics")]));
        assert!(!is_measured(&[row("logical_plan"), row("physical_plan")]));
        assert!(!is_measured(&[row("Plan with Metrics"), row("Plan with Full Metrics")]));
        assert_eq!(plan("anything else", 0, Paper::new(80, false)).len(), 3);
    }
}

//! From a tree of spans to lines of a given width.

use std::collections::{BTreeMap, BTreeSet};

use chrono::DateTime;

use super::forest::{Forest, Node};
use super::{Canvas, TraceSpan};
use crate::render::{count, sanitize};
use crate::repl::text::{Line, Style, fit, width};

/// The columns of a duration such as `12m 34s`, right-aligned.
const DURATION_COLUMNS: usize = 8;
/// A drawing narrower than this has no column for the start's offset.
const OFFSET_FROM_WIDTH: usize = 64;
/// The columns of the mark before a label.
const MARK_COLUMNS: usize = 2;
const MIN_BAR_COLUMNS: usize = 10;
/// Of so many columns of the terminal one level of the tree is drawn, so that names keep their place in a deep trace.
const LEVELS_PER_COLUMNS: usize = 10;
/// A name is read this far; no terminal shows more.
const MAX_NAME_CHARS: usize = 300;

/// The characters that a drawing is made of.
struct Glyphs {
    branch: &'static str,
    last: &'static str,
    pass: &'static str,
    none: &'static str,
    ellipsis: &'static str,
    error: &'static str,
    /// Both halves of a cell, its left half, its right half.
    bar: [&'static str; 3],
    edge: &'static str,
}

const UNICODE: Glyphs = Glyphs {
    branch: "├ ",
    last: "└ ",
    pass: "│ ",
    none: "  ",
    ellipsis: "…",
    error: "✗",
    bar: ["█", "▌", "▐"],
    edge: "│",
};
const ASCII: Glyphs = Glyphs {
    branch: "|-",
    last: "`-",
    pass: "| ",
    none: "  ",
    ellipsis: "..",
    error: "x",
    bar: ["#", "#", "#"],
    edge: "|",
};

/// One line of the tree before it is fitted.
struct Row {
    guides: String,
    what: What,
}

enum What {
    Span {
        span: usize,
        /// Its service is not its parent's.
        new_service: bool,
        cut_cycle: bool,
        before_parent: bool,
    },
    Missing {
        id: String,
    },
    /// What was left out below the row's parent.
    Hidden {
        spans: usize,
        errors: usize,
    },
}

/// Where bars lie: the trace's time and the columns' widths.
struct Frame<'a> {
    glyphs: &'a Glyphs,
    tints: BTreeMap<&'a str, u8>,
    start_ns: i64,
    total_ns: i64,
    label_columns: usize,
    bar_columns: usize,
    shows_offset: bool,
}

/// Draws the nodes that are `shown`.
pub fn lines(trace_id: &str, spans: &[TraceSpan], forest: &Forest, shown: &[bool], canvas: Canvas) -> Vec<Line> {
    let glyphs = if canvas.ascii { &ASCII } else { &UNICODE };
    let columns = canvas.width.max(Canvas::MIN_WIDTH);
    let rows = rows(spans, forest, shown, glyphs, columns);
    let frame = Frame::new(spans, &rows, columns, glyphs);
    let mut lines = summary(trace_id, spans, forest, columns);
    lines.push(frame.axis());
    lines.extend(rows.iter().map(|row| frame.line(row, spans)));
    lines.extend(legend(&rows, glyphs));
    lines
}

/// What is said of the trace before its tree.
fn summary(trace_id: &str, spans: &[TraceSpan], forest: &Forest, columns: usize) -> Vec<Line> {
    let mut facts = vec![count(spans.len() as u64, "span")];
    facts.push(count(spans.iter().map(|span| span.service.as_str()).collect::<BTreeSet<_>>().len() as u64, "service"));
    let errors = spans.iter().filter(|span| span.is_error).count();
    let roots = spans.iter().filter(|span| span.parent_span_id.is_none()).count();
    let missing = forest.nodes.iter().filter(|node| node.span.is_none()).count();
    if errors > 0 {
        facts.push(count(errors as u64, "error"));
    }
    if roots != 1 {
        facts.push(if roots == 0 { "no root".to_owned() } else { count(roots as u64, "root") });
    }
    if missing > 0 {
        facts.push(count(missing as u64, "missing parent"));
    }
    let start_ns = spans.iter().map(|span| span.start_ns).min().unwrap_or(0);
    let end_ns = spans.iter().map(TraceSpan::end_ns).max().unwrap_or(0);
    let started = DateTime::from_timestamp_nanos(start_ns).format("%Y-%m-%d %H:%M:%S%.6f UTC");
    let took = duration(end_ns.saturating_sub(start_ns));
    let mut lines = vec![Line::of(Style::Bold, format!("Trace {trace_id}"))];
    let parts = [format!("{started}, took {took}"), facts.join(", ")];
    match width(&parts[0]) + 2 + width(&parts[1]) <= columns {
        true => lines.push(Line::of(Style::Plain, parts.join("; "))),
        false => lines.extend(parts.map(|part| Line::of(Style::Plain, part))),
    }
    lines
}

/// The tree's lines in drawing order.
fn rows(spans: &[TraceSpan], forest: &Forest, shown: &[bool], glyphs: &Glyphs, columns: usize) -> Vec<Row> {
    let max_levels = columns / LEVELS_PER_COLUMNS;
    let hidden = hidden_below(spans, forest, shown);
    let mut rows = Vec::new();
    // What is still to be drawn, and for each ancestor of the row whether more follows below it.
    let mut passes: Vec<bool> = Vec::new();
    let mut stack: Vec<(usize, Option<usize>, bool)> = Vec::new();
    let push_below =
        |stack: &mut Vec<(usize, Option<usize>, bool)>, depth, nodes: &[usize], left_out: (usize, usize)| {
            let start = stack.len();
            stack.extend(nodes.iter().filter(|&&node| shown[node]).map(|&node| (depth, Some(node), false)));
            if left_out.0 > 0 {
                stack.push((depth, None, false));
            }
            if let Some(last) = stack[start..].last_mut() {
                last.2 = true;
            }
            stack[start..].reverse();
        };
    let top = forest.roots.iter().filter(|&&root| !shown[root]).fold((0, 0), |sum, &root| add(sum, hidden.whole[root]));
    push_below(&mut stack, 0, &forest.roots, top);
    let mut parents: Vec<usize> = Vec::new();
    while let Some((depth, node, is_last)) = stack.pop() {
        passes.truncate(depth);
        parents.truncate(depth);
        let guides = guides(&passes, depth, is_last, max_levels, glyphs);
        let Some(node) = node else {
            let (spans, errors) = parents.last().map_or(top, |&parent| hidden.below[parent]);
            rows.push(Row { guides, what: What::Hidden { spans, errors } });
            continue;
        };
        rows.push(Row { guides, what: what(spans, forest, &forest.nodes[node]) });
        passes.push(!is_last);
        parents.push(node);
        push_below(&mut stack, depth + 1, &forest.nodes[node].children, hidden.below[node]);
    }
    rows
}

fn what(spans: &[TraceSpan], forest: &Forest, node: &Node) -> What {
    let Some(span) = node.span else {
        return What::Missing { id: node.missing_id.clone().unwrap_or_default() };
    };
    let parent = node.parent.and_then(|parent| forest.nodes[parent].span);
    let before_parent = parent.is_some_and(|parent| spans[span].start_ns < spans[parent].start_ns);
    let new_service = parent.is_none_or(|parent| spans[span].service != spans[parent].service);
    What::Span { span, new_service, cut_cycle: node.cut_cycle, before_parent }
}

/// Spans and errors that are not drawn.
struct Hidden {
    /// Of a node's hidden children, with all below them.
    below: Vec<(usize, usize)>,
    /// Of a node's whole subtree.
    whole: Vec<(usize, usize)>,
}

fn hidden_below(spans: &[TraceSpan], forest: &Forest, shown: &[bool]) -> Hidden {
    let none = vec![(0, 0); forest.nodes.len()];
    let mut hidden = Hidden { below: none.clone(), whole: none };
    let mut order: Vec<usize> = forest.roots.iter().flat_map(|&root| forest.preorder(root)).collect();
    order.reverse();
    for node in order {
        let own = forest.nodes[node].span.map_or((0, 0), |span| (1, usize::from(spans[span].is_error)));
        hidden.whole[node] = add(hidden.whole[node], own);
        let Some(parent) = forest.nodes[node].parent else { continue };
        hidden.whole[parent] = add(hidden.whole[parent], hidden.whole[node]);
        if !shown[node] {
            hidden.below[parent] = add(hidden.below[parent], hidden.whole[node]);
        }
    }
    hidden
}

fn add(a: (usize, usize), b: (usize, usize)) -> (usize, usize) {
    (a.0 + b.0, a.1 + b.1)
}

/// The tree's lines before a label; of a deeper tree than `max_levels` the depth and the nearest levels.
fn guides(passes: &[bool], depth: usize, is_last: bool, max_levels: usize, glyphs: &Glyphs) -> String {
    if depth == 0 {
        return String::new();
    }
    // The roots' level has no line of its own.
    let mut levels = &passes[1..];
    let mut guides = String::new();
    if levels.len() > max_levels {
        let number = format!("({depth})");
        let kept = max_levels.saturating_sub(number.len().div_ceil(2));
        guides = fit(&number, 2 * (max_levels - kept), "");
        levels = &levels[levels.len() - kept..];
    }
    levels.iter().for_each(|&pass| guides.push_str(if pass { glyphs.pass } else { glyphs.none }));
    guides.push_str(if is_last { glyphs.last } else { glyphs.branch });
    guides
}

impl<'a> Frame<'a> {
    fn new(spans: &'a [TraceSpan], rows: &[Row], columns: usize, glyphs: &'a Glyphs) -> Self {
        let start_ns = spans.iter().map(|span| span.start_ns).min().unwrap_or(0);
        let end_ns = spans.iter().map(TraceSpan::end_ns).max().unwrap_or(0);
        let services: BTreeSet<&str> = spans.iter().map(|span| span.service.as_str()).collect();
        let shows_offset = columns >= OFFSET_FROM_WIDTH;
        let numbers = (1 + DURATION_COLUMNS) * if shows_offset { 2 } else { 1 };
        // Two edges and the space before them.
        let room = columns - MARK_COLUMNS - numbers - 3;
        let mut frame = Self {
            glyphs,
            tints: services.into_iter().zip((0..=u8::MAX).cycle()).collect(),
            start_ns,
            total_ns: end_ns.saturating_sub(start_ns).max(1),
            label_columns: room,
            bar_columns: 0,
            shows_offset,
        };
        let widest = rows.iter().map(|row| frame.label(row, spans).iter().map(|(_, text)| width(text)).sum()).max();
        let most = (room * 11 / 20).min(room - MIN_BAR_COLUMNS);
        frame.label_columns = widest.unwrap_or(0).clamp(8, most);
        frame.bar_columns = room - frame.label_columns;
        frame
    }

    /// The line that says what the bars' left and right ends are.
    fn axis(&self) -> Line {
        let total = duration(self.total_ns);
        let zero = fit("0", self.bar_columns.saturating_sub(width(&total)), "");
        let mut line = Line::of(Style::Plain, " ".repeat(MARK_COLUMNS + self.label_columns + 2));
        line.push(Style::Dim, format!("{zero}{total} "));
        if self.shows_offset {
            line.push(Style::Dim, format!(" {:>DURATION_COLUMNS$}", "start"));
        }
        line.push(Style::Dim, format!(" {:>DURATION_COLUMNS$}", "took"));
        line
    }

    fn line(&self, row: &Row, spans: &[TraceSpan]) -> Line {
        let mut line = Line::default();
        let mark = self.mark(row, spans);
        line.push(mark.0, fit(mark.1, MARK_COLUMNS, ""));
        self.push_label(row, spans, &mut line);
        let What::Span { span, .. } = row.what else {
            return line;
        };
        let span = &spans[span];
        let style = if span.is_error { Style::Error } else { self.tint(&span.service) };
        line.push(Style::Dim, format!(" {}", self.glyphs.edge));
        line.push(style, self.bar(span));
        line.push(Style::Dim, self.glyphs.edge);
        if self.shows_offset {
            let offset = format!("+{}", duration(span.start_ns.saturating_sub(self.start_ns)));
            line.push(Style::Dim, format!(" {offset:>DURATION_COLUMNS$}"));
        }
        line.push(Style::Plain, format!(" {:>DURATION_COLUMNS$}", duration(span.duration_ns)));
        line
    }

    fn mark(&self, row: &Row, spans: &[TraceSpan]) -> (Style, &'static str) {
        match row.what {
            What::Span { span, .. } if spans[span].is_error => (Style::Error, self.glyphs.error),
            What::Span { cut_cycle: true, .. } => (Style::Error, "@"),
            What::Span { before_parent: true, .. } => (Style::Dim, "~"),
            What::Missing { .. } => (Style::Dim, "?"),
            What::Hidden { errors, .. } if errors > 0 => (Style::Error, self.glyphs.error),
            What::Span { .. } | What::Hidden { .. } => (Style::Plain, ""),
        }
    }

    fn label<'r>(&self, row: &'r Row, spans: &'r [TraceSpan]) -> Vec<(Style, String)> {
        let mut pieces = vec![(Style::Dim, row.guides.clone())];
        match &row.what {
            What::Span { span, new_service, .. } => {
                let span = &spans[*span];
                if *new_service {
                    pieces.push((self.tint(&span.service), format!("{} ", safe(&span.service))));
                }
                let name = if span.name.is_empty() { "(no name)".to_owned() } else { safe(&span.name) };
                pieces.push((Style::Plain, name));
            }
            What::Missing { id } => pieces.push((Style::Dim, format!("(span {} has not arrived)", safe(id)))),
            What::Hidden { spans, errors } => {
                let with = if *errors > 0 { format!(", {}", count(*errors as u64, "error")) } else { String::new() };
                pieces.push((
                    Style::Dim,
                    format!("{} {}{with}", self.glyphs.ellipsis, count(*spans as u64, "more span")),
                ));
            }
        }
        pieces
    }

    /// The label cut to its column; only a span's is filled up, because bars follow it.
    fn push_label(&self, row: &Row, spans: &[TraceSpan], line: &mut Line) {
        let is_span = matches!(row.what, What::Span { .. });
        let mut left = if is_span { self.label_columns } else { self.label_columns + self.bar_columns };
        for (style, text) in self.label(row, spans) {
            let cut = if width(&text) > left { fit(&text, left, self.glyphs.ellipsis) } else { text };
            left -= width(&cut).min(left);
            line.push(style, cut);
        }
        if is_span {
            line.push(Style::Plain, " ".repeat(left));
        }
    }

    fn tint(&self, service: &str) -> Style {
        Style::Tint(self.tints.get(service).copied().unwrap_or(0))
    }

    /// A bar to the half of a column; the shortest span still has a half.
    fn bar(&self, span: &TraceSpan) -> String {
        let halves = 2 * self.bar_columns;
        let at = |ns: i64| ns.saturating_sub(self.start_ns).max(0) as f64 / self.total_ns as f64 * halves as f64;
        let first = (at(span.start_ns).floor() as usize).min(halves - 1);
        let end = (at(span.end_ns()).ceil() as usize).clamp(first + 1, halves);
        let filled = |half: usize| (first..end).contains(&half);
        let cells = (0..self.bar_columns).map(|cell| match (filled(2 * cell), filled(2 * cell + 1)) {
            (true, true) => self.glyphs.bar[0],
            (true, false) => self.glyphs.bar[1],
            (false, true) => self.glyphs.bar[2],
            (false, false) => " ",
        });
        cells.collect()
    }
}

/// What the marks that were used mean.
fn legend(rows: &[Row], glyphs: &Glyphs) -> Vec<Line> {
    let any = |is: fn(&What) -> bool| rows.iter().any(|row| is(&row.what));
    let mut notes = Vec::new();
    if any(|what| matches!(what, What::Span { before_parent: true, .. })) {
        notes.push("~ starts before its parent: the clocks differ".to_owned());
    }
    if any(|what| matches!(what, What::Span { cut_cycle: true, .. })) {
        notes.push("@ names a parent that lies below it: shown as a root".to_owned());
    }
    if any(|what| matches!(what, What::Hidden { .. })) {
        notes.push(format!("{} left out: \\trace ID all shows every span", glyphs.ellipsis));
    }
    notes.into_iter().map(|note| Line::of(Style::Dim, note)).collect()
}

fn safe(text: &str) -> String {
    sanitize(&text.chars().take(MAX_NAME_CHARS).collect::<String>()).into_owned()
}

/// A duration in at most seven columns, with three digits that count.
pub fn duration(ns: i64) -> String {
    const UNITS: [(i64, &str); 3] = [(1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "µs")];
    // From a minute on, two whole units.
    const LONG: [(i64, &str, i64, &str); 3] = [(86_400, "d", 3_600, "h"), (3_600, "h", 60, "m"), (60, "m", 1, "s")];
    let seconds = ns / 1_000_000_000;
    if let Some((big, big_name, small, small_name)) = LONG.into_iter().find(|(big, ..)| seconds >= *big) {
        let days = seconds / big;
        return match days >= 1000 {
            true => format!("{days}{big_name}"),
            false => format!("{days}{big_name} {:02}{small_name}", seconds % big / small),
        };
    }
    let Some((unit, name)) = UNITS.into_iter().find(|(unit, _)| ns >= *unit) else {
        return format!("{ns} ns");
    };
    let value = ns as f64 / unit as f64;
    let decimals = if value < 9.995 {
        2
    } else if value < 99.95 {
        1
    } else {
        0
    };
    format!("{value:.decimals$} {name}")
}

#[cfg(test)]
mod tests {
    use crate::repl::text::Palette;
    use crate::repl::waterfall::{Canvas, TraceSpan, draw};

    const MS: i64 = 1_000_000;

    /// A span from `id parent service/name start+duration`, times in ms, with `!` after an error.
    fn span(text: &str) -> TraceSpan {
        let words: Vec<&str> = text.split(' ').collect();
        let (service, name) = words[2].split_once('/').expect("service/name");
        let (start, took) = words[3].trim_end_matches('!').split_once('+').expect("start+duration");
        TraceSpan {
            span_id: words[0].to_owned(),
            parent_span_id: (words[1] != "-").then(|| words[1].to_owned()),
            service: service.to_owned(),
            name: name.replace('_', " "),
            start_ns: 1_700_000_000_000 * MS + start.parse::<i64>().expect("ms") * MS,
            duration_ns: took.parse::<i64>().expect("ms") * MS,
            is_error: words[3].ends_with('!'),
        }
    }

    fn drawn(spans: &[&str], width: usize, max_spans: usize) -> Vec<String> {
        let spans: Vec<TraceSpan> = spans.iter().map(|text| span(text)).collect();
        draw("0af7", &spans, Canvas { width, max_spans, ascii: false })
            .iter()
            .map(|line| line.paint(Palette::Plain))
            .collect()
    }

    const SHOP: &[&str] = &[
        "a - web/GET_/cart 0+100",
        "b a cart/load 10+40",
        "c b cart/SELECT 20+20!",
        "d a web/render 60+30",
        "e d web/日本語\u{1b}[2J 55+1",
    ];

    /// Each drawing beside its file in `goldens`; `UPDATE_GOLDENS=1` writes the files anew, for a person to look at.
    #[test]
    fn drawings_are_as_they_were_approved() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/repl/waterfall/goldens");
        let broken = [
            "b x shop/orphan 10+5",
            "c x shop/its_sibling 20+5",
            "r - web/root 0+30",
            "s r web/too_early -20+10",
            "t - web/second_root 40+0",
            "u v queue/ring_one 50+1",
            "v u queue/ring_two 51+1!",
        ];
        let chain: Vec<String> = (0..40)
            .map(|i| match i {
                0 => "0 - deep/call 0+100".to_owned(),
                _ => format!("{i} {} deep/call_{i} {i}+{}", i - 1, 100 - 2 * i),
            })
            .collect();
        let mut large: Vec<String> = (1..10_000).map(|i| format!("{i} 0 db/SELECT_{i} {i}+{}", i % 7)).collect();
        large.push("0 - web/GET 0+10000".to_owned());
        large.push("e 17 db/failed 17+1!".to_owned());
        let owned = |spans: &[&str]| spans.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let (shop, broken) = (owned(SHOP), owned(&broken));
        let cases = [
            ("shop_80", &shop, 80, 100),
            ("shop_40", &shop, 40, 100),
            ("broken_100", &broken, 100, 100),
            ("chain_60", &chain, 60, 100),
            ("large_80", &large, 80, 8),
        ];
        for (name, spans, width, max_spans) in cases {
            let spans: Vec<&str> = spans.iter().map(String::as_str).collect();
            let text = drawn(&spans, width, max_spans).join("\n") + "\n";
            let file = folder.join(format!("{name}.txt"));
            if std::env::var_os("UPDATE_GOLDENS").is_some() {
                std::fs::write(&file, &text).expect("written");
            }
            assert_eq!(text, std::fs::read_to_string(&file).unwrap_or_default(), "{name}");
        }
    }

    #[test]
    fn every_line_fits_whatever_the_width() {
        for width in [40, 47, 63, 64, 80, 200] {
            for line in drawn(SHOP, width, 100).iter().skip(2).take(6) {
                assert!(crate::repl::text::width(line) <= width, "{width}: {line}");
                assert!(!line.contains('\u{1b}'), "{line}");
            }
        }
    }
}
